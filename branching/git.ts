import { spawn } from "node:child_process";

/** `git` ended with an exit code other than 0. */
export class GitError extends Error {
    constructor(
        command: string,
        readonly exitCode: number,
        stderr: string,
    ) {
        super(`git ${command} ended with exit code ${exitCode}: ${stderr.trim()}`);
    }
}

/** In a hook these point at the repository that was pushed to, whatever folder git is called in. */
const HOOK_VARIABLES = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY"];

/** A repository, bare or not, asked through the `git` command. */
export class Git {
    private readonly env: NodeJS.ProcessEnv;

    /** @param own variables that hold for this one, e.g. an index of its own */
    constructor(
        readonly folder: string,
        env: NodeJS.ProcessEnv = process.env,
        own: NodeJS.ProcessEnv = {},
    ) {
        this.env = { ...env };
        for (const name of HOOK_VARIABLES) this.env[name] = undefined;
        Object.assign(this.env, own);
    }

    /** What git prints. @throws GitError */
    run(args: readonly string[], input = ""): Promise<string> {
        return new Promise((resolve, reject) => {
            const child = spawn("git", args, { env: this.env, cwd: this.folder });
            let stdout = "";
            let stderr = "";
            child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
            child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
            child.on("error", reject);
            child.on("close", (code) => {
                if (code === 0) resolve(stdout);
                else reject(new GitError(args.join(" "), code ?? 130, stderr));
            });
            // git may end before it has read all of it.
            child.stdin.on("error", () => undefined);
            child.stdin.end(input);
        });
    }

    /** The commit that a name stands for; undefined when there is none. */
    async commit(name: string): Promise<string | undefined> {
        return (await this.maybe(["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`]))?.trim();
    }

    /** The text of a file in a commit; undefined when it is not there. */
    async file(commit: string, path: string): Promise<string | undefined> {
        return this.maybe(["show", "--end-of-options", `${commit}:${path}`]);
    }

    /** Texts by their names, such as `<commit>:<path>`, with one question for all; those that are not there are left out. */
    async texts(names: readonly string[]): Promise<Map<string, string>> {
        const found = new Map<string, string>();
        if (names.length === 0) return found;
        let rest = Buffer.from(
            await this.run(["cat-file", "--batch"], names.map((name) => `${name}\n`).join("")),
            "utf8",
        );
        for (const name of names) {
            // "<id> blob <bytes>", the text, and a line break; or "<what was asked> missing".
            const end = rest.indexOf("\n");
            const size = / blob (\d+)$/.exec(rest.subarray(0, end).toString("utf8"))?.[1];
            rest = rest.subarray(end + 1);
            if (size === undefined) continue;
            found.set(name, rest.subarray(0, Number(size)).toString("utf8"));
            rest = rest.subarray(Number(size) + 1);
        }
        return found;
    }

    /** The newest common ancestor; undefined when there is none. */
    async mergeBase(one: string, other: string): Promise<string | undefined> {
        return (await this.maybe(["merge-base", one, other]))?.trim();
    }

    /** @throws GitError when one of the commits is not in this repository */
    async isAncestor(ancestor: string, descendant: string): Promise<boolean> {
        try {
            await this.run(["merge-base", "--is-ancestor", ancestor, descendant]);
            return true;
        } catch (error) {
            if (error instanceof GitError && error.exitCode === 1) return false;
            throw error;
        }
    }

    private async maybe(args: readonly string[]): Promise<string | undefined> {
        try {
            return await this.run(args);
        } catch (error) {
            if (error instanceof GitError) return undefined;
            throw error;
        }
    }
}
