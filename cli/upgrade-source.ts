import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../branching/git";
import { InputError } from "../components/config/problem";

/** Where a version comes from, as a person names it. */
export interface Wanted {
    /** A folder, a URL, a remote of this clone, or a branch, tag or commit. */
    readonly from: string;
    /** Branch, tag or commit there; its current branch when undefined. */
    readonly ref?: string | undefined;
}

/** A version that this clone has. */
export interface Version {
    readonly commit: string;
    /** For people. */
    readonly text: string;
    /** A folder without git: its files are here, and no history. */
    readonly isBare: boolean;
}

/** Gets a version into this clone's objects; no branch, tag or remote is made. @throws InputError when there is none */
export async function getVersion(git: Git, wanted: Wanted): Promise<Version> {
    const { from, ref } = wanted;
    if (isUrl(from)) return fetched(git, from, ref, from);
    if (fs.existsSync(from) && fs.statSync(from).isDirectory()) {
        const folder = fs.realpathSync(from);
        if (fs.existsSync(path.join(folder, ".git"))) return fetched(git, folder, ref, from);
        if (fs.existsSync(path.join(folder, "HEAD")) && fs.existsSync(path.join(folder, "objects")))
            return fetched(git, folder, ref, from);
        if (ref !== undefined)
            throw wrong(from, "the folder has no git history, so it has no --ref", "leave --ref away");
        return { commit: await snapshot(git, folder), text: from, isBare: true };
    }
    const remotes = (await git.run(["remote"])).split("\n");
    if (remotes.includes(from)) return fetched(git, from, ref, from);
    const commit = await git.commit(ref ?? from);
    if (commit === undefined || ref !== undefined)
        throw wrong(
            from,
            "it is no folder, no URL, no remote of this clone, and no branch, tag or commit in it",
            `the remotes are ${remotes.filter(Boolean).join(", ") || "none"}; name a URL, or git fetch it first`,
        );
    return { commit, text: `${from} (${commit.slice(0, 7)})`, isBare: false };
}

/**
 * Where the two histories part. Where they have nothing in common, this project is a copy: then the version whose files are most like
 * those of the copy's first commit.
 *
 * @returns undefined when nothing there resembles it
 */
export async function findBase(
    git: Git,
    theirs: Version,
): Promise<(Version & { readonly isCopy: boolean }) | undefined> {
    const common = await git.mergeBase("HEAD", theirs.commit);
    if (common !== undefined && common !== "")
        return { commit: common, text: common.slice(0, 7), isBare: false, isCopy: false };
    if (theirs.isBare) return undefined;
    const [first = "HEAD"] = (await git.run(["rev-list", "--max-parents=0", "HEAD"])).trim().split("\n").reverse();
    const own = await filesOf(git, first);
    // Oldest first: of two that are equally like it, the newer one asks for less.
    const commits = (await git.run(["rev-list", "--reverse", "--first-parent", theirs.commit])).trim().split("\n");
    let best: { commit: string; same: number; of: number } | undefined;
    for (const commit of commits) {
        const files = await filesOf(git, commit);
        const same = [...files].filter(([file, blob]) => own.get(file) === blob).length;
        if (best === undefined || same - files.size / 1000 >= best.same - best.of / 1000)
            best = { commit, same, of: files.size };
    }
    if (best === undefined || best.same < best.of / 2) return undefined;
    const text = `${best.commit.slice(0, 7)}, of whose ${best.of} files ${best.same} are as in your first commit`;
    return { commit: best.commit, text, isBare: false, isCopy: true };
}

/** Path → id of its content. */
async function filesOf(git: Git, commit: string): Promise<ReadonlyMap<string, string>> {
    const listed = await git.run(["ls-tree", "-r", "-z", commit]);
    return new Map(
        listed
            .split("\0")
            .filter(Boolean)
            .map((line): [string, string] => {
                const [about = "", file = ""] = line.split("\t");
                return [file, about.split(" ")[2] ?? ""];
            }),
    );
}

async function fetched(git: Git, from: string, ref: string | undefined, text: string): Promise<Version> {
    // A ref of our own: FETCH_HEAD belongs to the person's own fetches.
    const own = `refs/ml-api/upgrade-${process.pid}`;
    try {
        const what = `+${ref ?? "HEAD"}:${own}`;
        await git.run(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", from, what]);
        const commit = await git.commit(own);
        if (commit === undefined) throw new Error("it names no commit");
        return {
            commit,
            text: `${text}${ref === undefined ? "" : ` ${ref}`} (${commit.slice(0, 7)})`,
            isBare: false,
        };
    } catch (error) {
        const said =
            error instanceof Error
                ? (error.message.split("\n").find((line) => /fatal|names/.test(line)) ?? error.message)
                : "";
        throw wrong(
            text,
            `git cannot get ${ref ?? "its current branch"} from it (${said.replace(/^.*fatal: /, "")})`,
            "is the name right, and may you read it?",
        );
    } finally {
        await git.run(["update-ref", "-d", own]).catch(() => undefined);
    }
}

/** A folder's files as a commit without history, made without touching this clone's index or files. */
async function snapshot(git: Git, folder: string): Promise<string> {
    const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-upgrade-"));
    try {
        const gitDir = (await git.run(["rev-parse", "--absolute-git-dir"])).trim();
        const index = { GIT_INDEX_FILE: path.join(temporary, "index"), GIT_DIR: gitDir, GIT_WORK_TREE: folder };
        const other = new Git(folder, process.env, index);
        await other.run(["add", "--all", "--", "."]);
        const tree = (await other.run(["write-tree"])).trim();
        return (
            await git.run([
                "-c",
                "user.name=ml-api",
                "-c",
                "user.email=ml-api@localhost",
                "commit-tree",
                tree,
                "-m",
                `The files of ${folder}`,
            ])
        ).trim();
    } finally {
        fs.rmSync(temporary, { recursive: true, force: true });
    }
}

function isUrl(text: string): boolean {
    return /^[a-z][a-z0-9+.-]*:\/\//i.test(text) || /^[\w.-]+@[\w.-]+:/.test(text);
}

function wrong(where: string, what: string, fix: string): InputError {
    return new InputError("upgrade", [{ where, what, fix }]);
}
