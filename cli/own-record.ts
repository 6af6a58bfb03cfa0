import { type Git, GitError } from "../branching/git";
import { RECORD_BRANCH } from "../branching/record";

/**
 * Brings this clone's own branch of deploy records up to that of its origin, as far as it was fetched, so that what is added follows
 * what everybody knows.
 *
 * @throws Error when both have records that the other lacks
 */
export async function ownRecord(git: Git): Promise<void> {
    const own = `refs/heads/${RECORD_BRANCH}`;
    const [mine, theirs] = await Promise.all([git.commit(own), git.commit(`refs/remotes/origin/${RECORD_BRANCH}`)]);
    if (theirs === undefined || mine === theirs) return;
    if (mine !== undefined && (await git.isAncestor(theirs, mine))) return;
    if (mine !== undefined && !(await git.isAncestor(mine, theirs)))
        throw new Error(
            `the branch ${RECORD_BRANCH} of this clone and that of its origin have records that the other lacks → ` +
                `git branch -m ${RECORD_BRANCH} ${RECORD_BRANCH}-mine, and look at what is in it`,
        );
    try {
        await git.run(["update-ref", own, theirs, mine ?? "0".repeat(theirs.length)]);
    } catch (error) {
        if (!(error instanceof GitError)) throw error;
        throw new Error(`the branch ${RECORD_BRANCH} of this clone moved meanwhile → try again`, { cause: error });
    }
}
