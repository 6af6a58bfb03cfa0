import { Git } from "../branching/git";
import { holdOf, holdRecord } from "../branching/holds";
import { appendRecord, readRecords, recordRef } from "../branching/record";
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
    const place = stackPlace(checkoutRoot, stack);
    const { hold } = await holdOfStack(place);
    const git = new Git(checkoutRoot);
    const recorded = holdOf(await readRecords(git, place.settings.environment, await recordRef(git)), stack);
    if (options.json === true) {
        const shown = { stack, hold: hold ?? null, recorded: recorded ?? null };
        process.stdout.write(`${JSON.stringify(shown, undefined, 2)}\n`);
        return;
    }
    const text =
        hold !== undefined
            ? holdText(hold)
            : recorded === undefined
              ? `${stack} is not held`
              : `${stack} is not held in the cluster, but in the record of deploys, by ${recorded.actor} since ${recorded.at}: ` +
                `a push needs ${recorded.commit.slice(0, 12)} (branch ${recorded.branch}) in its history\n` +
                `→ push what was merged, or: npx --no ml-api hold ${stack} --release "WHY"`;
    process.stdout.write(`${visibleLines(text)}\n`);
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
