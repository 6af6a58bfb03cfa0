import { execFile } from "node:child_process";
import * as os from "node:os";
import { deploySources } from "../../config/sources";

/** What is deployed, and who does it. */
export interface Origin {
    /** 40 or 64 hexadecimal digits; undefined when nothing tells. */
    readonly commit: string | undefined;
    /** The files that decide are not those of the commit. */
    readonly dirty: boolean;
    readonly actor: string;
    /** Asks the repository that has the commit; undefined without one. */
    readonly git: ((args: readonly string[]) => Promise<GitAnswer>) | undefined;
}

export interface GitAnswer {
    readonly ok: boolean;
    readonly stdout: string;
}

/**
 * Set by whoever deploys a commit from a folder that is no clone: the commit, the repository that has it, and who asked for it.
 * They win over what can be found out here.
 */
export const COMMIT_VARIABLE = "ML_API_COMMIT";
export const GIT_DIR_VARIABLE = "ML_API_GIT_DIR";
export const ACTOR_VARIABLE = "ML_API_ACTOR";

/** Milliseconds for one question to git. */
const GIT_MS = 10_000;

/**
 * Finds out which commit a folder is at. The clone itself is asked first, then the variables of a CI system.
 *
 * @param root the project's folder
 */
export async function findOrigin(root: string, stack: string, env: NodeJS.ProcessEnv = process.env): Promise<Origin> {
    const actor = actorOf(env);
    const named = commitIn(env[COMMIT_VARIABLE]);
    if (named !== undefined) {
        const folder = env[GIT_DIR_VARIABLE] ?? "";
        const git = folder === "" ? undefined : (args: readonly string[]) => ask(root, ["--git-dir", folder, ...args]);
        return { commit: named, dirty: false, actor, git };
    }
    const git = (args: readonly string[]): Promise<GitAnswer> => ask(root, args);
    // A repository further up may hold something else, and this folder not at all.
    const [head, isOurs] = await Promise.all([
        git(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]),
        git(["cat-file", "-e", "HEAD:./Pulumi.yaml"]),
    ]);
    if (head.ok && isOurs.ok) {
        const status = await git(["status", "--porcelain", "--", ...deploySources(stack), ":(exclude)*.md"]);
        return { commit: head.stdout, dirty: !status.ok || status.stdout !== "", actor, git };
    }
    const commit =
        commitIn(env["GITHUB_SHA"]) ?? commitIn(env["CI_COMMIT_SHA"]) ?? commitIn(env["PULUMI_CI_PULL_REQUEST_SHA"]);
    return { commit, dirty: false, actor, git: undefined };
}

/** Who deploys: the person whom a CI system names, else the user of this machine. */
export function actorOf(env: NodeJS.ProcessEnv): string {
    for (const name of [ACTOR_VARIABLE, "GITHUB_ACTOR", "GITLAB_USER_LOGIN"]) {
        const value = (env[name] ?? "").trim();
        if (value !== "") return value;
    }
    try {
        return os.userInfo().username;
    } catch {
        // A container may run under a number that nobody gave a name.
        return `uid ${process.getuid?.() ?? "unknown"}`;
    }
}

function commitIn(text: string | undefined): string | undefined {
    return text !== undefined && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : undefined;
}

/** Never rejects: git that is missing or does not answer is a no. */
function ask(cwd: string, args: readonly string[]): Promise<GitAnswer> {
    // A hook or an alias may have set these for another repository.
    const others = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_OBJECT_DIRECTORY",
        "GIT_QUARANTINE_PATH",
    ];
    const unset = Object.fromEntries(others.map((name) => [name, undefined]));
    const env = { ...process.env, ...unset, LC_ALL: "C", GIT_OPTIONAL_LOCKS: "0" };
    return new Promise((resolve) => {
        execFile("git", args, { cwd, env, timeout: GIT_MS, maxBuffer: 16 << 20 }, (error, stdout) => {
            resolve({ ok: error === null, stdout: stdout.trim() });
        });
    });
}
