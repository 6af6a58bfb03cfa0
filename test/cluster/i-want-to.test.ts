import { expect } from "chai";
import { execFile, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { gate } from "../../branching/gate";
import { Git } from "../../branching/git";
import { loadBranchMap, stacksByEnvironment } from "../../branching/map";
import { appendRecord } from "../../branching/record";
import { resolve } from "../../branching/resolve";

const ROOT = path.join(__dirname, "..", "..");
const PAGE = "docs/i-want-to.md";

/**
 * Every block of docs/i-want-to.md, in a clone of a local bare repository. The commands, the branch map, the record and the checks
 * before a deploy are the real ones; in place of a cluster, each deploy counts as verified two hours ago. `gh` merges as GitHub does.
 */
describe("every block of “I want to …”", function () {
    this.timeout(240_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-page-"));
    const [origin, clone, bin] = ["origin", "clone", "bin"].map((name) => path.join(folder, name)) as [
        string,
        string,
        string,
    ];
    const env = {
        ...process.env,
        PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}`,
        GIT_CONFIG_GLOBAL: "/dev/null",
        XDG_STATE_HOME: path.join(folder, "state"),
        ORIGIN: origin,
        REQUESTS: path.join(folder, "requests"),
        ...{ GIT_AUTHOR_NAME: "ada", GIT_AUTHOR_EMAIL: "ada@example.org" },
        ...{ GIT_COMMITTER_NAME: "ada", GIT_COMMITTER_EMAIL: "ada@example.org" },
    };
    const git = (cwd: string, ...args: string[]): string =>
        execFileSync("git", args, { cwd, env, encoding: "utf8" }).trim();

    before(() => {
        for (const name of [clone, bin, env.REQUESTS]) fs.mkdirSync(name);
        script("npx", '[ "$1 $2" = "--no ml-api" ] || exit 64; shift 2; exec node cli/ml-api.js "$@"');
        script("gh", GH);
        const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
            cwd: ROOT,
        });
        for (const file of files.toString("utf8").split("\0")) {
            // A file that another session has just removed is still in the index.
            if (file === "" || !fs.existsSync(path.join(ROOT, file))) continue;
            fs.mkdirSync(path.dirname(path.join(clone, file)), { recursive: true });
            fs.copyFileSync(path.join(ROOT, file), path.join(clone, file));
        }
        fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(clone, "node_modules"));
        fs.writeFileSync(path.join(clone, "policy/settings.yaml"), "registries: [localhost, ghcr.io/your-team]\n");
        git(folder, "init", "--quiet", "--bare", "--initial-branch=master", origin);
        git(clone, "init", "--quiet", "--initial-branch=master");
        fs.appendFileSync(path.join(clone, ".git/info/exclude"), "node_modules\n");
        git(clone, "add", "--all");
        git(clone, "commit", "--quiet", "-m", "first");
        git(clone, "remote", "add", "origin", origin);
        git(
            clone,
            "push",
            "--quiet",
            "origin",
            ...["master", "dev", "develop", "release"].map((name) => `HEAD:refs/heads/${name}`),
        );
        fs.writeFileSync(path.join(origin, "hooks/post-receive"), `#!/bin/sh\ncat >> "${folder}/pushed"\n`, {
            mode: 0o755,
        });
    });
    after(() => {
        fs.rmSync(folder, { recursive: true, force: true });
    });

    function script(name: string, body: string): void {
        fs.writeFileSync(path.join(bin, name), `#!/usr/bin/env bash\nset -euo pipefail\n${body}\n`, { mode: 0o755 });
    }

    function run(block: string): Promise<string> {
        return new Promise((resolve, reject) => {
            const options = { cwd: clone, env };
            execFile("bash", ["-euo", "pipefail", "-c", block], options, (error, stdout, stderr) => {
                if (error === null) resolve(stdout + stderr);
                else reject(new Error(`${block}\nended with ${error.code ?? "a signal"}:\n${stdout}${stderr}`));
            });
        });
    }

    /** Does with every push since the last call what the hook of `ml-api receive` does, without a cluster. */
    async function deployed(): Promise<string[]> {
        const file = path.join(folder, "pushed");
        const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
        fs.rmSync(file, { force: true });
        const own = new Git(origin, env);
        const stacks = stacksByEnvironment(clone);
        const map = loadBranchMap(clone, stacks);
        const outcomes: string[] = [];
        for (const [, commit = "", ref = ""] of lines.map((line) => line.split(" "))) {
            const decision = resolve(map, stacks, { event: "push", ref, commit });
            const branch = ref.replace("refs/heads/", "");
            const [stack = ""] = decision.stacks;
            if (decision.action !== "deploy") {
                outcomes.push(`${branch}: ${decision.action} ${stack}`);
                continue;
            }
            const answer = await gate({ git: own, map, decision, commit, branch, stack });
            outcomes.push(`${branch}: ${answer.verdict} ${stack}${"emergency" in answer ? ", emergency" : ""}`);
            if (answer.verdict === "refused") outcomes.push(answer.why);
            if (answer.verdict !== "deploy") continue;
            await appendRecord(own, decision.environment ?? "", {
                at: new Date(Date.now() - 120 * 60_000).toISOString(),
                ...{ stack, commit, branch, source: answer.source, artifacts: answer.artifacts },
                ...{ image: answer.artifacts.image, actor: "ada", outcome: "deployed", verified: true },
                ...(answer.emergency === undefined ? {} : { emergency: answer.emergency }),
            });
        }
        return outcomes;
    }

    const blocks = [...fs.readFileSync(path.join(ROOT, PAGE), "utf8").matchAll(/^(?:## (.+)|```sh\n([^]*?)^```)$/gm)];
    const expected: Readonly<Record<string, readonly { does: readonly string[]; says?: RegExp }[]>> = {
        "Change a value": [
            { does: ["feature/two-pods: preview dev", "dev: deploy dev"] },
            { does: ["feature/three-pods: preview dev", "develop: deploy staging"] },
        ],
        "Ship a feature": [
            { does: ["feature/better-model: preview dev", "dev: deploy dev"], says: /values-dev\.yaml: localhost/ },
            {
                does: ["feature/promote…: preview dev", "develop: deploy staging"],
                says: /image\.digest: not set → sha256:1{64}/,
            },
        ],
        Release: [
            { does: ["feature/promote…: preview dev", "develop: deploy staging"], says: /then develop into release/ },
            { does: ["release: preview production", "master: deploy production"] },
        ],
        Hotfix: [
            { does: ["hotfix/42: preview production", "master: deploy production"] },
            { does: ["develop: deploy staging"], says: /missing from develop[^]*owed[^]*nothing is owed/ },
            { does: ["hotfix/43: preview production", "master: deploy production, emergency"] },
        ],
        "Roll back": [{ does: ["hotfix/44: preview production", "master: deploy production"] }],
    };

    let heading = "";
    const seen: Record<string, number> = {};
    for (const [, title, block] of blocks) {
        if (title !== undefined) heading = title;
        if (block === undefined) continue;
        const of = heading;
        const number = (seen[of] ?? 0) + 1;
        seen[of] = number;
        it(`${of}, block ${number}`, async () => {
            const wanted = expected[of]?.[number - 1];
            if (wanted === undefined) throw new Error(`${PAGE} has a block that this test does not know`);
            const text = await run(block);
            const did = (await deployed()).map((line) => line.replace(/promote-[\w-]+/, "promote…"));
            expect(did, text).to.deep.equal(wanted.does);
            if (wanted.says !== undefined) expect(text).to.match(wanted.says);
        });
    }

    it("is known to this test, one by one", () => {
        expect(seen).to.deep.equal(
            Object.fromEntries(Object.entries(expected).map(([name, all]) => [name, all.length])),
        );
    });
});

/** `gh pr create` remembers the base; `gh pr merge --merge` makes the merge commit that GitHub makes. */
const GH = `
[ "$1" = pr ] || exit 64
action=$2; shift 2
head=$(git branch --show-current)
base=
while [ $# -gt 0 ]; do
    case $1 in
        --base) base=$2; shift 2 ;;
        --head) head=$2; shift 2 ;;
        --fill | --merge) shift ;;
        *) head=$1; shift ;;
    esac
done
request="$REQUESTS/$(echo "$head" | tr / _)"
case $action in
    create)
        npx --no ml-api branch "$head" --base "$base" --strict > /dev/null
        echo "$base" > "$request"
        ;;
    merge)
        base=$(cat "$request")
        work=$(mktemp -d)
        git clone --quiet --branch "$base" "$ORIGIN" "$work"
        git -C "$work" merge --quiet --no-ff -m "Merge $head into $base" "origin/$head"
        git -C "$work" push --quiet origin "$base"
        rm -rf "$work"
        ;;
esac`;
