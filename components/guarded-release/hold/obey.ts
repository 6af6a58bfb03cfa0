import * as pulumi from "@pulumi/pulumi";
import type { ApiAccess } from "../../config/kubeconfig";
import { findOrigin, type Origin } from "../record/origin";
import { endHold, findHold, type Hold, HoldUnknown, holdText } from "./hold";
import { hasRevert } from "./passes";
import type { Accompanied, Operation } from "../operation";
import type { Owner } from "../live/owner";

/** A deploy that a hold does not let pass; nothing was touched. */
export class OnHold extends Error {}

/**
 * Refuses an operation on a release that is held, unless what is deployed is the reverting commit or has it in its history. A commit
 * that came after it ends the hold.
 *
 * @throws OnHold
 */
export async function obeyHold({ access, target, inform, warn }: Operation): Promise<Accompanied> {
    const origin = findOrigin(process.cwd(), pulumi.getStack());
    let hold: Hold | undefined;
    try {
        hold = await findHold(access, target);
    } catch (error) {
        if (!(error instanceof HoldUnknown)) throw error;
        warn(`whether ${target.release} is held after a rollback is not known: ${error.message}`);
    }
    const held = hold;
    if (held === undefined) return { ended: () => Promise.resolve() };
    const why = await whyHeld(held, await origin);
    if (why !== undefined) throw new OnHold(`${holdText(held)}\n${why}`);
    return {
        ended: async ({ kind }) => {
            const { commit = "" } = await origin;
            if (kind !== "succeeded" || commit === held.commit) return;
            await endHold(access, target);
            inform(
                `the hold after the rollback has ended: ${commit.slice(0, 12)} has ${held.commit.slice(0, 12)} in it`,
            );
        },
    };
}

/** For a preview: what an update would be refused with. Never rejects. */
export async function holdWarning(access: ApiAccess, owner: Owner): Promise<string | undefined> {
    try {
        const hold = await findHold(access, owner);
        if (hold === undefined) return undefined;
        const why = await whyHeld(hold, await findOrigin(process.cwd(), pulumi.getStack()));
        return why === undefined ? undefined : `an update would be refused: ${holdText(hold)}\n${why}`;
    } catch {
        // The update will say so.
        return undefined;
    }
}

/** Why a hold does not let this pass; undefined when it does. */
export async function whyHeld(hold: Hold, { commit, dirty, git }: Origin): Promise<string | undefined> {
    if (commit === undefined) return "nothing tells which commit this is, so it cannot be the reverting one";
    const short = commit.slice(0, 12);
    if (dirty) return `the files here are those of ${short} with changes that are in no commit`;
    if (commit === hold.commit || (git !== undefined && (await hasRevert(hold, commit, git)))) return undefined;
    return `${short} does not have the reverting commit in its history`;
}
