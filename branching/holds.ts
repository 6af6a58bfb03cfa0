import { hasRevert } from "../components/guarded-release/hold/passes";
import { type Git, GitError } from "./git";
import { appendRecord, type DeployRecord, readRecords } from "./record";

/** The record of a stack's hold that has not ended. */
export function holdOf(records: readonly DeployRecord[], stack: string): DeployRecord | undefined {
    const last = records.findLast(
        (record) => record.stack === stack && (record.outcome === "held" || record.outcome === "released"),
    );
    return last?.outcome === "held" ? last : undefined;
}

/** Why a commit may not be deployed after a rollback; undefined when it may. */
export async function whyHeld(
    git: Git,
    records: readonly DeployRecord[],
    stack: string,
    commit: string,
): Promise<string | undefined> {
    const held = holdOf(records, stack);
    if (held === undefined || (await hasRevertOf(git, held, commit))) return undefined;
    return (
        `${stack} was rolled back by ${held.actor} at ${held.at}, because: ${held.hold?.reason ?? "nobody said why"}; ` +
        `${commit.slice(0, 12)} does not have the reverting commit ${held.commit.slice(0, 12)} in its history ` +
        `→ merge ${held.branch} first, or end the hold: git push -o release-hold=WHY`
    );
}

/**
 * Whether one commit descends from another. Of the commit that reverts, its rebase or squash is a descendant, too; and once a person
 * has ended its hold, whatever descends from the commit that it reverts.
 *
 * @returns rejects when one of the commits is not known
 */
export function ancestry(
    git: Git,
    records: readonly DeployRecord[],
    stack: string,
): (ancestor: string, descendant: string) => Promise<boolean> {
    return async (ancestor, descendant) => {
        const revert = records.find(
            (record) => record.stack === stack && record.outcome === "held" && record.commit === ancestor,
        );
        if (revert === undefined) return git.isAncestor(ancestor, descendant);
        if (await hasRevertOf(git, revert, descendant)) return true;
        return git.isAncestor(holdOf(records, stack) === undefined ? `${ancestor}^` : ancestor, descendant);
    };
}

function hasRevertOf(git: Git, held: DeployRecord, commit: string): Promise<boolean> {
    return hasRevert({ id: held.hold?.id ?? "", commit: held.commit }, commit, async (args) => {
        try {
            return { ok: true, stdout: await git.run(args) };
        } catch (error) {
            if (!(error instanceof GitError)) throw error;
            return { ok: false, stdout: "" };
        }
    });
}

/** Remembers that a hold has begun or ended, with everything else as in the record of the deploy that it belongs to. */
export function holdRecord(
    deploy: DeployRecord,
    outcome: "held" | "released",
    hold: NonNullable<DeployRecord["hold"]>,
): DeployRecord {
    const { at, stack, commit, branch, source, image, actor } = deploy;
    return { at, stack, commit, branch, source, image, actor, outcome, verified: false, hold };
}

/** After a deploy that a hold has let pass, and that is not the reverting commit itself: the hold has ended. */
export async function endRecordedHold(git: Git, environment: string, deploy: DeployRecord): Promise<void> {
    const held = holdOf(await readRecords(git, environment), deploy.stack);
    if (held === undefined || held.commit === deploy.commit) return;
    const hold = { id: held.hold?.id ?? "", reason: "what was deployed has the reverting commit in its history" };
    await appendRecord(git, environment, holdRecord(deploy, "released", hold));
}
