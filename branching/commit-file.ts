import type { Git } from "./git";

export interface FileCommit {
    /** The commit that it follows. */
    readonly base: string;
    /** Path of the one file that changes, from the repository's root. */
    readonly path: string;
    readonly text: string;
    readonly message: string;
}

/**
 * Makes a commit that changes one file, in the name of the repository's user. Neither the work tree nor the index nor any branch is
 * touched; nobody sees the commit until a branch names it.
 *
 * @returns its id
 */
export async function commitFile(git: Git, { base, path, text, message }: FileCommit): Promise<string> {
    const blob = (await git.run(["hash-object", "-w", "--stdin"], text)).trim();
    const folders = path.split("/");
    const name = folders.pop() ?? "";
    let entry = `100644 blob ${blob}\t${name}`;
    for (let depth = folders.length; depth >= 0; depth--) {
        const folder = folders.slice(0, depth).join("/");
        const listed = (await git.run(["ls-tree", "-z", `${base}:${folder}`])).split("\0");
        const own = entry.slice(entry.indexOf("\t") + 1);
        const others = listed.filter((line) => line !== "" && line.slice(line.indexOf("\t") + 1) !== own);
        const tree = (await git.run(["mktree", "-z"], [...others, entry].map((line) => `${line}\0`).join(""))).trim();
        entry = depth === 0 ? tree : `040000 tree ${tree}\t${folders[depth - 1] ?? ""}`;
    }
    return (await git.run(["commit-tree", entry, "-p", base, "-F", "-"], message)).trim();
}
