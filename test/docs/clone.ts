import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { forgetStackSalt } from "../../local/stack-salt";
import { checkoutRoot } from "../../local/paths";

const AUTHOR = ["ada", "ada@example.org"] as const;

/** What git and the commands of a page find around them: nothing of this machine's user, nor of the run of tests. */
export function newcomersEnvironment(folder: string): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(
        ([name]) => !/^(?:PULUMI_|KUBECONFIG$|ML_API_(?!CACHE$|HELM$)|CLUSTER$)/.test(name),
    );
    return {
        ...Object.fromEntries(own),
        // `npx` itself takes a second each time; the tests of the set-up use the real one.
        PATH: `${path.join(folder, "bin")}${path.delimiter}${process.env["PATH"] ?? ""}`,
        XDG_STATE_HOME: path.join(folder, "state"),
        GIT_CONFIG_GLOBAL: "/dev/null",
        ...{ GIT_AUTHOR_NAME: AUTHOR[0], GIT_AUTHOR_EMAIL: AUTHOR[1] },
        ...{ GIT_COMMITTER_NAME: AUTHOR[0], GIT_COMMITTER_EMAIL: AUTHOR[1] },
        PULUMI_SKIP_CONFIRMATIONS: "true",
    };
}

/** A clone of this checkout as it is, edits included, with one commit on `master` and its packages installed. */
export function cloneCheckout(folder: string, env: NodeJS.ProcessEnv): string {
    const [clone, bin] = [path.join(folder, "clone"), path.join(folder, "bin")];
    for (const made of [clone, bin]) fs.mkdirSync(made);
    writeScript(bin, "npx", '[ "$1 $2" = "--no ml-api" ] || exit 64; shift 2; exec node cli/ml-api.js "$@"');
    // The packages are a link to those of this checkout: a fresh install, also one by `make`, would empty them.
    writeScript(bin, "npm", '[ "$1" != ci ] || exit 0; PATH="${PATH#*:}" exec npm "$@"');
    const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
        cwd: checkoutRoot,
        encoding: "utf8",
    });
    for (const file of listed.split("\0")) {
        // One that was just removed is still in the index.
        if (file === "" || !fs.existsSync(path.join(checkoutRoot, file))) continue;
        fs.mkdirSync(path.dirname(path.join(clone, file)), { recursive: true });
        fs.copyFileSync(path.join(checkoutRoot, file), path.join(clone, file));
    }
    // The salts of this checkout's own stacks are not committed.
    for (const stack of ["dev", "staging", "production"]) forgetStackSalt(clone, `Pulumi.${stack}.yaml`);
    fs.symlinkSync(path.join(checkoutRoot, "node_modules"), path.join(clone, "node_modules"));
    const git = (...args: string[]): unknown => execFileSync("git", args, { cwd: clone, env });
    git("init", "--quiet", "--initial-branch=master");
    fs.appendFileSync(path.join(clone, ".git/info/exclude"), "node_modules\n");
    git("add", "--all");
    git("commit", "--quiet", "-m", "first");
    return clone;
}

export function writeScript(folder: string, name: string, body: string): void {
    fs.writeFileSync(path.join(folder, name), `#!/usr/bin/env bash\nset -euo pipefail\n${body}\n`, { mode: 0o755 });
}
