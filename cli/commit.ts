import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/** A commit of this clone, and the words by which a person named it. */
export interface Commit {
    readonly ref: string;
    /** 40 hex digits. */
    readonly id: string;
}

/** `1a2b3c4 (origin/main)` */
export function commitText({ ref, id }: Commit): string {
    const short = id.slice(0, 7);
    return id.startsWith(ref) ? short : `${short} (${ref})`;
}

/** Finds a commit by branch, tag or id. @throws an error that says how this clone can get it */
export async function findCommit(root: string, ref: string): Promise<Commit> {
    const found = await git(root, ["rev-parse", "--verify", "--quiet", `${ref}^{commit}`]);
    if (found.ok) return { ref, id: found.stdout };
    throw new Error(await whyMissing(root, ref));
}

async function whyMissing(root: string, ref: string): Promise<string> {
    const inside = await git(root, ["rev-parse", "--is-shallow-repository"]);
    if (!inside.ok) return `there is no "${ref}" to compare with: ${root} is no git clone (${inside.stderr})`;
    const fix =
        inside.stdout === "true"
            ? "this clone is shallow → git fetch --unshallow, or in a workflow check out with fetch-depth: 0"
            : `→ git fetch origin ${ref.replace(/^origin\//, "")}`;
    return `there is no commit "${ref}" in this clone; ${fix}`;
}

/**
 * Where the work of this checkout began: the merge base with the default branch. The first of `origin/HEAD`, `origin/master`,
 * `origin/main`, `master` and `main` that exists is taken.
 *
 * @returns undefined with the reason when there is no such branch, as in a clone of one branch
 */
export async function findBase(root: string): Promise<{ commit: Commit; note?: string } | { why: string }> {
    for (const ref of ["origin/HEAD", "origin/master", "origin/main", "master", "main"]) {
        const tip = await git(root, ["rev-parse", "--verify", "--quiet", `refs/${refPath(ref)}^{commit}`]);
        if (!tip.ok) continue;
        const base = await git(root, ["merge-base", "HEAD", tip.stdout]);
        if (base.ok) return { commit: { ref: `merge base with ${ref}`, id: base.stdout } };
        return {
            commit: { ref, id: tip.stdout },
            note: `no common commit with ${ref} is in this clone (is it shallow?); compared with the tip of the branch`,
        };
    }
    const inside = await git(root, ["rev-parse", "--git-dir"]);
    return {
        why: inside.ok
            ? "this clone has neither origin/HEAD nor a branch master or main → name one with --base"
            : "this is no git clone",
    };
}

function refPath(ref: string): string {
    return ref.startsWith("origin/") ? `remotes/${ref}` : `heads/${ref}`;
}

/**
 * Puts the project as it was at a commit into a temporary folder for as long as `use` runs. The checkout, its index and its
 * other worktrees are not touched.
 */
export async function withCommit<T>(root: string, commit: Commit, use: (folder: string) => Promise<T>): Promise<T> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-base-"));
    try {
        const prefix = await must(root, ["rev-parse", "--show-prefix"]);
        const tree = prefix === "" ? commit.id : `${commit.id}:${prefix.replace(/\/$/, "")}`;
        const index = { GIT_INDEX_FILE: path.join(folder, "index") };
        const project = path.join(folder, "project");
        fs.mkdirSync(project);
        // From a folder below, git would write only what stands below it.
        const top = await must(root, ["rev-parse", "--show-toplevel"]);
        await must(top, ["read-tree", tree], index);
        await must(top, ["checkout-index", "--all", `--prefix=${project}/`], index);
        return await use(project);
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

async function must(root: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
    const { ok, stdout, stderr } = await git(root, args, env);
    if (!ok) throw new Error(`git ${args.join(" ")}: ${stderr}`);
    return stdout;
}

interface Answer {
    readonly ok: boolean;
    readonly stdout: string;
    readonly stderr: string;
}

export function git(root: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Answer> {
    return new Promise((resolve) => {
        const options = { cwd: root, env: { ...gitVariables(), ...env }, maxBuffer: 64 << 20 };
        execFile("git", args, options, (error, stdout, stderr) => {
            const missing = error !== null && error.code === "ENOENT" ? "git is not on PATH" : "";
            resolve({ ok: error === null, stdout: stdout.trim(), stderr: stderr.trim() || missing });
        });
    });
}

/** A hook or an alias may have set these for another repository. */
function gitVariables(): NodeJS.ProcessEnv {
    const named = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"];
    return { ...process.env, LC_ALL: "C", ...Object.fromEntries(named.map((name) => [name, undefined])) };
}
