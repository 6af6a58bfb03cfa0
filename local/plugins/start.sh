#!/bin/sh
# Starts one of the stand-in plugins with the Node.js that `npm ci` installed: start.sh NAME ARGUMENT...
# That Node.js goes first on PATH, so that the language host runs programs with it too.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P) || exit 1
if [ ! -x "$root/node_modules/.bin/node" ]; then
    echo "pulumi-$1: $root/node_modules/.bin/node is missing. Run 'npm ci' in $root, then try again." >&2
    exit 1
fi
PATH=$root/node_modules/.bin:$PATH
export PATH
exec "$root/node_modules/.bin/node" "$root/local/plugins/start.js" "$@"
