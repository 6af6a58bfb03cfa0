import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git, GitError } from "../branching/git";

/** What is merged: a version, and, for a copy, the version that it was made from. */
export interface Merge {
    readonly theirs: string;
    /** Made a parent of this branch first, so that git knows from then on where the histories part. */
    readonly joins: string | undefined;
    readonly message: string;
}

/** How a merge went. */
export interface Merged {
    /** Files that git leaves with conflicts, relative to the repository's root. */
    readonly conflicts: readonly string[];
}

/** For a merge that nobody is to see: nobody's name, and nobody's hooks. */
const UNSEEN = [
    "-c",
    "user.name=ml-api",
    "-c",
    "user.email=ml-api@localhost",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "commit.gpgSign=false",
];

/** Merges as {@link merge} will, in a work tree of its own, and shows the result for as long as `use` runs. */
export async function tryMerge<T>(
    git: Git,
    wanted: Merge,
    use: (folder: string, merged: Merged) => Promise<T>,
): Promise<T> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-upgrade-"));
    const tree = path.join(fs.realpathSync(folder), "tree");
    try {
        await git.run(["worktree", "add", "--quiet", "--detach", tree, "HEAD"]);
        const inside = new Git(tree);
        return await use(tree, await merge(inside, wanted, UNSEEN));
    } finally {
        await git.run(["worktree", "remove", "--force", tree]).catch(() => undefined);
        fs.rmSync(folder, { recursive: true, force: true });
        await git.run(["worktree", "prune"]).catch(() => undefined);
    }
}

/** Merges a version into the branch and files of a work tree, without a commit; git leaves conflicts as it always does. */
export async function merge(
    git: Git,
    { theirs, joins, message }: Merge,
    settings: readonly string[] = [],
): Promise<Merged> {
    if (joins !== undefined) {
        const told = `Note the version that this project was copied from\n\nNo file changes: from here on git knows what is ours.`;
        const args = ["--quiet", "--strategy=ours", "--allow-unrelated-histories", "--no-edit", "-m", told];
        await git.run([...settings, "merge", ...args, joins]);
    }
    try {
        await git.run([...settings, "merge", "--quiet", "--no-commit", "--no-ff", "-m", message, theirs]);
        return { conflicts: [] };
    } catch (error) {
        if (!(error instanceof GitError)) throw error;
        const listed = await git.run(["diff", "--name-only", "--diff-filter=U", "-z"]);
        const conflicts = listed.split("\0").filter(Boolean);
        if (conflicts.length === 0) throw error;
        return { conflicts };
    }
}
