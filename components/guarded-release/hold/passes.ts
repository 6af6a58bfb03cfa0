import type { GitAnswer } from "../record/origin";

/** A line of the reverting commit's message, with the hold's id. */
export const HOLD_TRAILER = "Rollback-Hold";

/**
 * Whether a commit is the one that reverts, or has it in its history. After a rebase or a squash it is another commit, whose message
 * says the same.
 */
export async function hasRevert(
    hold: { readonly id: string; readonly commit: string },
    commit: string,
    git: (args: readonly string[]) => Promise<GitAnswer>,
): Promise<boolean> {
    if (commit === hold.commit) return true;
    if ((await git(["merge-base", "--is-ancestor", hold.commit, commit])).ok) return true;
    const grep = ["--fixed-strings", `--grep=${HOLD_TRAILER}: ${hold.id}`];
    const { ok, stdout } = await git(["log", "--max-count=1", "--format=%H", ...grep, commit, "--"]);
    return ok && stdout.trim() !== "";
}
