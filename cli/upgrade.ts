import * as path from "node:path";
import { Git } from "../branching/git";
import { InputError } from "../components/config/problem";
import { checkoutRoot } from "../local/paths";
import { confirm } from "./confirm";
import { paint } from "./diff-terminal";
import { ExitCode } from "./exit-code";
import { ensureHelm } from "./rendered-stack";
import { isOwn, reportUpgrade, type UpgradeReport } from "./upgrade-report";
import { findBase, getVersion } from "./upgrade-source";
import { upgradeText } from "./upgrade-text";
import { merge, type Merge, type Merged, tryMerge } from "./upgrade-trial";

export interface UpgradeOptions {
    readonly ref?: string;
    readonly base?: string;
    readonly plan?: boolean;
    readonly commit?: boolean;
    readonly yes?: boolean;
    readonly json?: boolean;
}

/** Brings a fork or a copy of this project to a newer version: shows what it means, asks, and lets git merge. */
export async function upgradeCommand(from: string, options: UpgradeOptions): Promise<void> {
    const git = new Git(checkoutRoot);
    const planned = await planUpgrade(git, checkoutRoot, from, options, await ensureHelm());
    if (planned === undefined) {
        process.stdout.write("this project has all of it already\n");
        return;
    }
    const { report, wanted, theirs, base } = planned;
    if (options.json === true) {
        process.stdout.write(`${JSON.stringify({ version: 1, from: theirs, base, ...report }, undefined, 2)}\n`);
        return;
    }
    process.stderr.write(upgradeText(planned, paint));
    if (options.plan === true) return;
    await refuseUnclean(git);
    if (options.yes !== true) await confirm("Merge it into this branch?");
    process.stdout.write(await apply(git, wanted, options.commit === true));
}

export interface PlannedUpgrade {
    readonly report: UpgradeReport;
    readonly wanted: Merge;
    /** For people: what is merged, and where the histories part. */
    readonly theirs: string;
    readonly base: string;
}

/**
 * Finds out what an upgrade means, and changes nothing but git's store of objects.
 *
 * @param root the project's folder, which is the root of its repository
 * @returns undefined when there is nothing new
 */
export async function planUpgrade(
    git: Git,
    root: string,
    from: string,
    { ref, base: named }: Pick<UpgradeOptions, "ref" | "base">,
    helm: string,
): Promise<PlannedUpgrade | undefined> {
    await refuseOther(git, root);
    const theirs = await getVersion(git, { from, ref });
    const found = named === undefined ? await findBase(git, theirs) : await namedBase(git, named);
    if (found === undefined)
        throw new InputError("upgrade", [
            {
                where: from,
                what: "it has no history in common with this project, and nothing in it resembles the project's first commit",
                fix: "say which version this project was made from: --base COMMIT, or --base FOLDER",
            },
        ]);
    if (!theirs.isBare && (await git.isAncestor(theirs.commit, "HEAD"))) return undefined;
    // Files without history follow the version that they are compared with.
    const tip = theirs.isBare ? await childOf(git, theirs.commit, found.commit) : theirs.commit;
    const joins = (await git.isAncestor(found.commit, "HEAD")) ? undefined : found.commit;
    const wanted: Merge = { theirs: tip, joins, message: `Upgrade to ${theirs.text}` };
    const report = await tryMerge(git, wanted, async (folder, { conflicts }) => {
        await keepOwn(folder, conflicts);
        return reportUpgrade(git, root, { base: found.commit, theirs: tip, folder, conflicts }, helm);
    });
    return { report, wanted, theirs: theirs.text, base: found.text };
}

/** Where both have edited values or stacks, the project's own are what it will want: with them the rest can be rendered. */
async function keepOwn(folder: string, conflicts: readonly string[]): Promise<void> {
    for (const file of conflicts.filter(isOwn))
        await new Git(folder).run(["checkout", "--quiet", "--ours", "--", file]).catch(() => undefined);
}

async function namedBase(git: Git, named: string): Promise<{ commit: string; text: string }> {
    return getVersion(git, { from: named });
}

async function childOf(git: Git, commit: string, parent: string): Promise<string> {
    const args = ["commit-tree", `${commit}^{tree}`, "-p", parent, "-m", "Files of a folder without history"];
    return (await git.run(["-c", "user.name=ml-api", "-c", "user.email=ml-api@localhost", ...args])).trim();
}

/** Merges in this work tree. @returns what to tell. @throws ExitCode when something does not fit together; it is as git leaves it */
export async function apply(git: Git, wanted: Merge, commits: boolean): Promise<string> {
    const { conflicts }: Merged = await merge(git, wanted);
    if (conflicts.length > 0)
        throw new ExitCode(
            1,
            `git has merged all but ${conflicts.join(", ")}: resolve them, git add, git commit. Or take everything back: git merge --abort`,
        );
    if (commits) await git.run(["commit", "--quiet", "--no-edit"]);
    const done = commits
        ? "committed"
        : "merged, and not committed: git diff --staged shows it, git merge --abort takes it back";
    return `${done}\nnext\n  npm ci && npx --no ml-api check\n  pulumi preview\n`;
}

async function refuseUnclean(git: Git): Promise<void> {
    const changed = (await git.run(["status", "--porcelain", "--untracked-files=no"])).trim();
    if (changed === "") return;
    const files = changed.split("\n").map((line) => line.trim().replace(/^\S+\s+/, ""));
    throw new InputError("upgrade", [
        {
            where: files.join(", "),
            what: "there are changes that are not committed",
            fix: "git commit or git stash them first",
        },
    ]);
}

async function refuseOther(git: Git, root: string): Promise<void> {
    const top = await git.run(["rev-parse", "--show-toplevel"]).catch(() => undefined);
    if (top === undefined)
        throw new InputError("upgrade", [
            {
                where: root,
                what: "it is no git repository, and git does the merging",
                fix: "git init && git add --all && git commit -m 'As it is'",
            },
        ]);
    if (path.resolve(top.trim()) === path.resolve(root)) return;
    throw new InputError("upgrade", [
        {
            where: root,
            what: `it is a folder of the repository ${top.trim()}, whose other files no version of this project has`,
            fix: "merge it there by hand: git merge -X subtree=FOLDER",
        },
    ]);
}
