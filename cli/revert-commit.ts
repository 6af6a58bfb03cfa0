import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseDocument } from "yaml";
import { stackAt } from "../branching/artifacts";
import { Git } from "../branching/git";
import { isValues, type Values } from "../components/config/values";
import { stackFileName } from "../components/config/stack-file";
import { HOLD_TRAILER } from "../components/guarded-release/hold/passes";

export interface Revert {
    readonly stack: string;
    /** Name of the Pulumi project, with which its configuration keys begin. */
    readonly project: string;
    /** The commit that runs, and that is reverted. */
    readonly from: string;
    /** The commit whose chart and values of the stack are to run again. */
    readonly to: string;
    /** Id of the hold that comes with it. */
    readonly hold: string;
    readonly reason: string;
    readonly by: string;
    /** The values of the live release: its API key stays. */
    readonly live: Values;
}

/** A commit that is on no branch yet. */
export interface WrittenRevert {
    readonly commit: string;
    /** Files that differ from those of the commit that runs. */
    readonly files: readonly string[];
}

const CHART = "chart";
const VALUES_FILES = "chart/environment";

/**
 * Writes the commit that goes back: on top of the commit that runs, with the chart and this stack's values as they were. Everything
 * else stays as it is, above all the program, the values of other stacks, and the API key. Neither the work tree nor the index nor a
 * branch is touched.
 *
 * @throws Error when nothing would change
 */
export async function writeRevert(git: Git, revert: Revert): Promise<WrittenRevert> {
    const { stack, from, to } = revert;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-revert-"));
    try {
        const own = new Git(git.folder, process.env, { GIT_INDEX_FILE: path.join(folder, "index") });
        await own.run(["read-tree", from]);
        const [now, then] = [await stackAt(git, from, stack), await stackAt(git, to, stack)];
        const [here, there] = [await chartFiles(git, from), await chartFiles(git, to)];
        const values = (await git.run(["ls-tree", to, "--", then.valuesFile])).replace(/\t.*\n?$/s, "");
        const stackFile = await stackFileBlob(git, revert);
        const lines = [
            ...[...here.keys()].filter((file) => !there.has(file)).map((file) => removed(from, file)),
            ...[...there].map(([file, entry]) => `${entry}\t${file}`),
            `${values}\t${now.valuesFile}`,
            ...(stackFile === undefined ? [] : [`100644 blob ${stackFile}\t${stackFileName(stack)}`]),
        ];
        await own.run(["update-index", "--add", "--index-info"], `${lines.join("\n")}\n`);
        const tree = (await own.run(["write-tree"])).trim();
        const files = (await git.run(["diff-tree", "-r", "--name-only", from, tree])).split("\n").filter(Boolean);
        if (files.length === 0)
            throw new Error(
                `${to.slice(0, 12)} has the same chart and the same values of ${stack} as ${from.slice(0, 12)}, which runs: there is nothing to roll back`,
            );
        const identity = (await identified(git))
            ? []
            : ["-c", `user.name=${revert.by}`, "-c", "user.email=ml-api@localhost"];
        const commit = (await own.run([...identity, "commit-tree", tree, "-p", from], message(revert, files))).trim();
        return { commit, files };
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** Points a new branch at a commit; one that is there already is left alone. @returns its name */
export async function newBranch(git: Git, name: string, commit: string): Promise<string> {
    for (let number = 1; ; number++) {
        const branch = number === 1 ? name : `${name}-${number}`;
        if ((await git.commit(`refs/heads/${branch}`)) !== undefined) continue;
        await git.run(["update-ref", `refs/heads/${branch}`, commit, "0".repeat(commit.length)]);
        return branch;
    }
}

/** The files of the chart without those of the environments, by path: `100644 blob <id>`. */
async function chartFiles(git: Git, commit: string): Promise<Map<string, string>> {
    const listing = await git.run(["ls-tree", "-r", "-z", "--full-tree", commit, "--", CHART]);
    const entries = listing.split("\0").filter((entry) => entry !== "");
    return new Map(
        entries
            .map((entry): [string, string] => {
                const [what = "", file = ""] = entry.split("\t");
                return [file, what];
            })
            .filter(([file]) => !file.startsWith(`${VALUES_FILES}/`)),
    );
}

function removed(commit: string, file: string): string {
    return `0 ${"0".repeat(commit.length)}\t${file}`;
}

/** The stack file of today with the `values` of then, and with the API key that is in use. @returns undefined when nothing changes */
async function stackFileBlob(git: Git, { stack, project, from, to, live }: Revert): Promise<string | undefined> {
    const name = stackFileName(stack);
    const before = (await git.file(from, name)) ?? "";
    const document = parseDocument(before);
    const values = parseDocument((await git.file(to, name)) ?? "").getIn(["config", `${project}:values`], true);
    if (values === undefined) document.deleteIn(["config", `${project}:values`]);
    else document.setIn(["config", `${project}:values`], values);
    const key = keyInUse(live);
    if (key !== undefined) {
        const { generation, withPrevious } = key;
        const of = (setting: string) => document.getIn(["config", `${project}:${setting}`]);
        if (Number(of("keyGeneration") ?? 1) !== generation)
            document.setIn(["config", `${project}:keyGeneration`], generation);
        if ((of("acceptPreviousKey") ?? false) !== withPrevious)
            document.setIn(["config", `${project}:acceptPreviousKey`], withPrevious);
    }
    const after = document.toString({ lineWidth: 0 });
    const isSame = JSON.stringify(document.toJS()) === JSON.stringify(parseDocument(before).toJS());
    if (isSame) return undefined;
    return (await git.run(["hash-object", "-w", "--stdin"], after)).trim();
}

/** The generation of our own API key that the live release uses; undefined when it uses none of ours. */
function keyInUse(values: Values): { readonly generation: number; readonly withPrevious: boolean } | undefined {
    const apiKey = values["apiKey"];
    const secret = isValues(apiKey) ? apiKey["existingSecret"] : undefined;
    const [, generation, previous] = /-key-(\d+)(-with-\d+)?$/.exec(typeof secret === "string" ? secret : "") ?? [];
    if (generation === undefined) return undefined;
    return { generation: Number(generation), withPrevious: previous !== undefined };
}

async function identified(git: Git): Promise<boolean> {
    return git.run(["var", "GIT_COMMITTER_IDENT"]).then(
        () => true,
        () => false,
    );
}

function message({ stack, from, to, hold, reason, by }: Revert, files: readonly string[]): string {
    return [
        `Roll back ${stack} to ${to.slice(0, 12)}`,
        "",
        reason,
        "",
        `Chart and values of ${stack} are again those of ${to}:`,
        ...files.map((file) => `- ${file}`),
        "",
        `Rollback-From: ${from}`,
        `Rollback-To: ${to}`,
        `${HOLD_TRAILER}: ${hold}`,
        `Rolled-Back-By: ${by}`,
        "",
    ].join("\n");
}
