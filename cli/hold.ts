import { Git } from "../branching/git";
import { holdOf, holdRecord } from "../branching/holds";
import { appendRecord, readRecords } from "../branching/record";
import { visible, visibleLines } from "../components/config/visible";
import type { ApiAccess } from "../components/config/kubeconfig";
import { openAccess } from "../components/config/kubeconfig";
import { endHold, findHold, type Hold, holdText } from "../components/guarded-release/hold/hold";
import { actorOf } from "../components/guarded-release/record/origin";
import { checkoutRoot } from "../local/paths";
import { ownRecord } from "./own-record";
import { type StackPlace, stackPlace } from "./stack-cluster";
import { findStack } from "./stacks";

/** Milliseconds until a program of the kubeconfig has given its credential. */
const ACCESS_MS = 15_000;

/** Shows what a rollback holds, or ends it. */
export async function holdCommand(name: string, options: { release?: string; json?: boolean }): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    if (options.release !== undefined) {
        await releaseHold(await recordsHere(), stack, options.release, (text) => process.stderr.write(`${text}\n`));
        return;
    }
    const { hold } = await holdOfStack(stackPlace(checkoutRoot, stack));
    if (options.json === true) process.stdout.write(`${JSON.stringify({ stack, hold: hold ?? null }, undefined, 2)}\n`);
    else process.stdout.write(hold === undefined ? `${stack} is not held\n` : `${visibleLines(holdText(hold))}\n`);
}

/** This clone, with all that its origin has recorded. */
export async function recordsHere(): Promise<Git> {
    const git = new Git(checkoutRoot);
    await ownRecord(git);
    return git;
}

/**
 * Ends the hold of a stack, in the cluster and in the record of deploys. Without one it says so, and is no fault.
 *
 * @param git where the deploys are recorded
 */
export async function releaseHold(git: Git, stack: string, reason: string, say: (text: string) => void): Promise<void> {
    if (reason.trim() === "") throw new Error("say why the hold may end, for those who read the record");
    const place = stackPlace(checkoutRoot, stack);
    const { environment } = place.settings;
    const { access, hold } = await holdOfStack(place);
    const records = await readRecords(git, environment);
    const recorded = holdOf(records, stack);
    if (hold === undefined && recorded === undefined) {
        say(`${stack} is not held`);
        return;
    }
    if (recorded !== undefined) {
        const now = { ...recorded, at: new Date().toISOString(), actor: actorOf(process.env) };
        const ended = { id: recorded.hold?.id ?? "", reason };
        await appendRecord(git, environment, holdRecord(now, "released", ended));
    }
    await endHold(access, place);
    say(`${stack} is not held any more: ${visible(reason)}`);
}

async function holdOfStack(place: StackPlace): Promise<{ access: ApiAccess; hold: Hold | undefined }> {
    const access = await openAccess(place.context, place.env, ACCESS_MS);
    return { access, hold: await findHold(access, place) };
}
