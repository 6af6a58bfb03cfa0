import type { LiveSide, OpenedRecords } from "../live/live";
import { recordRecovery } from "./event";
import { keepLease, type KeptLease } from "./lease";
import { recoverCreate, recoverUpdate, type Target } from "./recover";

export interface Begun {
    readonly opened: OpenedRecords;
    /** Kept until Pulumi has noted how the operation ended. */
    readonly lease: KeptLease;
}

/**
 * What comes before every install and upgrade: the Lease is taken, so that nobody else begins, and what a dead run left is put right
 * and written down.
 *
 * @throws NoAnswer when the cluster cannot be asked. @throws Held, NotRecoverable when it must not go on
 */
export async function beginOperation(
    event: "create" | "update",
    open: LiveSide["open"],
    target: Target,
): Promise<Begun> {
    const first = await open();
    const lease = await keepLease(first.access, target, target);
    try {
        // While it waited for a Lease to end, the records may have changed.
        const opened = lease.before === undefined ? first : await open();
        const said: string[] = [];
        const say = (text: string) => {
            said.push(text);
            target.say(text);
        };
        const now = new Date();
        if (event === "create") await recoverCreate(opened, { ...target, say }, now, lease.before);
        else await recoverUpdate(opened, { ...target, say }, now);
        if (said.length > 0)
            await recordRecovery(opened.access, target, opened.records.at(-1)?.revision ?? 0, said, now);
        return { opened, lease };
    } catch (error) {
        await (lease.before === undefined ? lease.release() : lease.leave());
        throw error;
    }
}
