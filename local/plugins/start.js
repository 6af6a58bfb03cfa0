// Plain JavaScript, because it loads TypeScript: `node start.js NAME ARGUMENT...`. The engine starts every plugin for every
// preview, so start-up counts.
"use strict";

const { join } = require("node:path");

const name = process.argv[2];
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
    console.error(
        `pulumi-${name}: Node.js ${process.versions.node} is too old, 22.19 or newer is needed. ` +
            `It ran ${process.execPath}. Run 'npm ci' in ${join(__dirname, "../..")}.`,
    );
    process.exit(1);
}

const { programCompileCache } = require("../../components/prelude/load-typescript");

const plugins = {
    "language-nodejs": () => require("./language-host").main(process.argv.slice(3), programCompileCache),
    "resource-random": () => require("./random").main(process.argv.slice(3)),
    "resource-kubernetes": () => require("./kubernetes/provider").main(process.argv.slice(3)),
};
plugins[name]();
