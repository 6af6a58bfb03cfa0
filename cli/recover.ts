import { NoAnswer, openRecords } from "../components/guarded-release/live/live";
import { recordRecovery } from "../components/guarded-release/recover/event";
import {
    Held,
    holderText,
    isBeating,
    orphansOf,
    type Lease,
    readLease,
    removeLease,
} from "../components/guarded-release/recover/lease";
import { recoverCreate, recoverUpdate, type Target } from "../components/guarded-release/recover/recover";
import { findAnnotation } from "../components/guarded-release/render/render";
import { readProject } from "../components/config/project-file";
import { checkoutRoot } from "../local/paths";
import { confirm } from "./confirm";
import { deployEnvironment } from "./deploy-checkout";
import { visible } from "./diff-lines";
import { unasked } from "./release-status";
import { ensureHelm, renderStack } from "./rendered-stack";
import { type StackPlace, stackPlace } from "./stack-cluster";
import { backendOf, lockText, releaseDeadLock, stackLocks } from "./stack-lock";
import { findStack } from "./stacks";

export interface RecoverOptions {
    /** Whoever is at work, by Lease or by time, counts as dead. */
    readonly force?: boolean;
    readonly yes?: boolean;
}

const OPEN_MS = 15_000;
const REQUEST_MS = 5000;

/** Puts right what a dead run has left, without a deploy: shows what it would do, asks, does it and says so. */
export async function recoverCommand(name: string, { force = false, yes = false }: RecoverOptions): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const place = stackPlace(checkoutRoot, stack);
    const planned = await recover(stack, place, { force, planOnly: true });
    if (planned.length === 0) {
        process.stdout.write(`${stack}: nothing to recover\n`);
        return;
    }
    process.stderr.write(`${stack}, plan:\n${list(planned)}`);
    if (!yes) await confirm("Do this?");
    process.stdout.write(`${stack}, done:\n${list(await recover(stack, place, { force, planOnly: false }))}`);
}

function list(sentences: readonly string[]): string {
    return sentences.map((one) => `  - ${visible(one)}\n`).join("");
}

/** @returns what was found and done, or with `planOnly` would be */
async function recover(
    stack: string,
    place: StackPlace,
    { force, planOnly }: { readonly force: boolean; readonly planOnly: boolean },
): Promise<readonly string[]> {
    const said: string[] = [];
    const say = (text: string) => void said.push(text);
    const opened = await openRecords(place, place.env, OPEN_MS).catch((error: unknown) => {
        if (error instanceof NoAnswer) throw unasked(stack, error.message);
        throw error;
    });
    const { access, records } = opened;
    const lease = await readLease(access, place, REQUEST_MS).catch(() => undefined);
    const beats = lease !== undefined && (await isBeating(access, place, lease));
    if (beats && !force) throw new Held(heldText(place, lease));
    if (lease !== undefined && force && (beats || orphansOf(lease).length > 0)) {
        if (!planOnly) await removeLease(access, place, lease, REQUEST_MS);
        say(`the Lease of ${holderText(lease)}, is taken away from it`);
    }
    const newest = records.at(-1);
    const target: Target = {
        ...{ release: place.release, namespace: place.namespace, stack, say, planOnly, force },
        objects: async () => (await renderStack(checkoutRoot, stack, await ensureHelm())).objects,
        timeoutSeconds: async () =>
            Number(findAnnotation(await target.objects(), "ml-api/release-timeout-seconds") ?? 0),
    };
    // Without any record it takes a deploy to know what there should be; a deployed one needs nothing.
    if (newest !== undefined && newest.status !== "deployed") {
        const before = said.length;
        const everGood = records.some(({ status }) => status === "deployed" || status === "superseded");
        const now = new Date();
        await (everGood ? recoverUpdate : recoverCreate)(opened, target, now);
        if (!planOnly && said.length > before)
            await recordRecovery(access, place, newest.revision, said.slice(before), now);
    }
    await recoverLock(stack, planOnly, say);
    return said;
}

async function recoverLock(stack: string, planOnly: boolean, say: (text: string) => void): Promise<void> {
    const locks = stackLocks(backendOf(checkoutRoot), readProject(checkoutRoot).name, stack);
    if (locks.length === 0 || !locks.every(({ holder }) => holder === "dead")) return;
    if (planOnly) say(`the lock of a dead run is released: ${locks.map(lockText).join("; ")}`);
    else await releaseDeadLock(stack, await deployEnvironment(), say);
}

function heldText({ release, namespace }: StackPlace, lease: Lease): string {
    return (
        `${release} in namespace ${namespace} is being worked on by ${holderText(lease)}; nothing was changed. ` +
        `Wait until it has ended; --force counts it as dead`
    );
}
