import { setTimeout as sleep } from "node:timers/promises";
import type { ApiAccess } from "../../config/kubeconfig";
import { type ApiAnswer, type ApiRequest, request, statusMessage } from "../live/api";
import { assumedRecord } from "../safety/assumed";
import { patchFor } from "../safety/dry-run";
import type { OpenedRecords } from "../live/live";
import { objectPaths } from "../live/object-paths";
import type { Fields } from "../safety/patch";
import { decodeRecord, newRecord, type HelmRecord, type StoredRecord, withStatus } from "../live/record";
import type { RenderedObject } from "../render/render";
import { holderText, type Lease } from "./lease";
import { isOurs, isPending, isUnnoted } from "./repair";
import { belongsTo, type Owner } from "../live/owner";
import { identityOf, isHook } from "../render/object-names";

/** A release that is about to be created or updated. */
export interface Target extends Owner {
    /** Name of the stack, for the commands that a person is told. */
    readonly stack: string;
    /** What it consists of. */
    readonly objects: () => Promise<readonly RenderedObject[]>;
    /** Seconds that one of this program's own installs or upgrades may take. */
    readonly timeoutSeconds: () => Promise<number>;
    /** Told what was found and what was done, one sentence each. */
    readonly say: (text: string) => void;
    /** Finds and says everything, and changes nothing. */
    readonly planOnly?: boolean;
    /** A person knows that nobody is at work any more. */
    readonly force?: boolean;
}

/** Helm's records forbid the update, and no rule puts them right; the message says what a person can do. */
export class NotRecoverable extends Error {}

/** Milliseconds for one request, and until a deleted object is gone. */
const REQUEST_MS = 10_000;
const GONE_MS = 120_000;
/** Seconds; Helm's default time-out, for operations that are not ours. */
const HELM_TIMEOUT = 300;

/**
 * Brings Helm's records into a state that an upgrade starts from, before the update of a release that the stack knows.
 *
 * An unfinished revision is marked as failed, and what it has done is taken back to the last deployed one, as Helm's own rollback
 * would have done it; a lost record is replaced by one of what is there. Records that Helm can go on from stay as they are.
 *
 * @throws NotRecoverable
 */
export async function recoverUpdate({ access, records }: OpenedRecords, target: Target, now: Date): Promise<void> {
    const newest = records.at(-1);
    if (newest === undefined) return replaceLost(access, target, now);
    if (isUnfinished(newest.status)) await markFailed(access, newest, target, now);
    const good = records.filter(({ status }) => status === "deployed").at(-1);
    const dead =
        good === undefined
            ? []
            : records.filter(({ revision, status }) => revision > good.revision && status !== "superseded");
    if (good !== undefined && dead.length > 0) await takeBack(access, dead, good, target);
}

/**
 * Clears away what an install left behind that never came to an end, before the creation of a release that the stack does not know.
 *
 * One that did come to its end, in a run of this stack that was killed before Pulumi had noted it, goes on to serve: only Helm's
 * record is taken away, and the install that follows takes over the objects, because they carry its name.
 *
 * @param before the Lease that was found, of a run that did not come to its end
 * @throws NotRecoverable when the release is somebody's
 */
export async function recoverCreate(
    { access, records }: OpenedRecords,
    target: Target,
    now: Date,
    before?: Lease,
): Promise<void> {
    const newest = records.at(-1);
    if (newest === undefined) return;
    const { release, namespace, say } = target;
    const record = decodeRecord(newest.secret);
    const place = `${release} in namespace ${namespace}`;
    if (before?.stack === target.stack && newest.revision === 1 && isUnnoted(record, before)) {
        const wanted = new Set((await target.objects()).map(identityOf));
        const left = ownedObjects(record).filter((object) => !wanted.has(identityOf(object)));
        const deleted = await deleteOwned(access, left, target);
        await deleteRecord(access, newest, target);
        say(
            `${place} was installed by ${holderText(before)}, which was killed before Pulumi had noted it; ` +
                `its objects stay and are taken over${deleted.length === 0 ? "" : `, except ${deleted.join(", ")}`}`,
        );
        return;
    }
    const wasGood = records.some(({ status }) => status === "deployed" || status === "superseded");
    if (newest.status !== "uninstalled" && (wasGood || !isOurs(record))) {
        await refuseRunning(newest, record, target, now);
        throw new NotRecoverable(
            `there is a Helm release ${place} already (revision ${newest.revision}, ${newest.status}), and this stack does not know it. ` +
                `To take it over: npx --no ml-api adopt ${release} --namespace ${namespace}. ` +
                `To be rid of it: helm uninstall ${release} --namespace ${namespace}`,
        );
    }
    say(`an earlier install of ${place} never came to an end (revision ${newest.revision}, ${newest.status})`);
    const left = records.flatMap(({ secret }) => ownedObjects(decodeRecord(secret)));
    const deleted = await deleteOwned(access, left, target);
    for (const stored of records) await deleteRecord(access, stored, target);
    say(`what it left behind is deleted: ${[...deleted, "Helm's record"].join(", ")}`);
}

/** Statuses that Helm leaves behind only in the middle of something, and those that it does not upgrade from. */
function isUnfinished(status: string): boolean {
    return !["deployed", "failed", "superseded"].includes(status);
}

async function markFailed(access: ApiAccess, newest: StoredRecord, target: Target, now: Date): Promise<void> {
    const { revision, status, secret } = newest;
    await refuseRunning(newest, decodeRecord(secret), target, now);
    const failed = withStatus(secret, "failed", `${status} until it was given up: its run has ended without a result`);
    const path = `${recordsPath(target)}/${secret.metadata.name}`;
    const body = JSON.stringify({ apiVersion: "v1", kind: "Secret", ...failed });
    await change(access, target, { method: "PUT", path, body });
    target.say(`revision ${revision} was "${status}"; it is marked as failed`);
}

/**
 * Whether the maker of an unfinished record may still be at work. One of this program's is not: whoever comes here holds the lock
 * of the stack and the Lease of the release. Any other is given twice its time-out.
 */
async function refuseRunning(
    newest: StoredRecord,
    record: HelmRecord,
    { timeoutSeconds, release, stack, force }: Target,
    now: Date,
): Promise<void> {
    if (force === true) return;
    if (!isPending(newest.status) && newest.status !== "uninstalling") return;
    if (isOurs(record)) return;
    const { createdAt = 0, modifiedAt = 0 } = newest.secret.metadata.labels;
    const since = Math.max(Date.parse(record.deployedAt) || 0, Number(createdAt) * 1000, Number(modifiedAt) * 1000);
    const until = since + 2 * Math.max(await timeoutSeconds(), HELM_TIMEOUT) * 1000;
    if (now.getTime() >= until) return;
    throw new NotRecoverable(
        `revision ${newest.revision} of ${release} is "${newest.status}" since ${new Date(since).toISOString()}: ` +
            `a helm that is not this program's may be at work, so nothing was changed. Wait until it has ended; ` +
            `from ${new Date(until).toISOString()} on it counts as dead. If you know that it is: npx --no ml-api recover ${stack} --force`,
    );
}

/** What dead revisions have done is undone: Helm's next upgrade starts from the good one and knows nothing of theirs. */
async function takeBack(
    access: ApiAccess,
    dead: readonly StoredRecord[],
    { revision, secret }: StoredRecord,
    target: Target,
): Promise<void> {
    const good = new Map(ownedObjects(decodeRecord(secret)).map((object) => [identityOf(object), object]));
    const pathOf = objectPaths(access, target.namespace, REQUEST_MS);
    const restored: string[] = [];
    const added: RenderedObject[] = [];
    for (const stored of dead) {
        for (const object of ownedObjects(decodeRecord(stored.secret))) {
            const wanted = good.get(identityOf(object));
            if (wanted === undefined) {
                added.push(object);
                continue;
            }
            const path = await pathOf(object);
            const live = path === undefined ? undefined : await find(access, path);
            if (path === undefined || live === undefined || !belongsTo(live, target)) continue;
            const { contentType, patch } = patchFor(wanted, object, live, target);
            if (Object.keys(patch).length === 0) continue;
            await change(access, target, { method: "PATCH", path, body: JSON.stringify(patch), contentType });
            restored.push(nameOf(object));
        }
    }
    const deleted = await deleteOwned(access, added, target);
    if (restored.length > 0) target.say(`taken back to revision ${revision}: ${restored.join(", ")}`);
    if (deleted.length > 0) target.say(`deleted, because revision ${revision} does not have it: ${deleted.join(", ")}`);
}

async function replaceLost(access: ApiAccess, target: Target, now: Date): Promise<void> {
    const { release, namespace, say } = target;
    const { status } = await request(access, { path: `/api/v1/namespaces/${namespace}`, timeoutMs: REQUEST_MS });
    if (status === 404)
        throw new NotRecoverable(
            `the namespace ${namespace} is gone, with everything in it: \`pulumi refresh\` tells the stack, then \`pulumi up\` makes all of it again`,
        );
    const pathOf = objectPaths(access, namespace, REQUEST_MS);
    const there = await Promise.all(
        (await target.objects()).map(async (object): Promise<RenderedObject[]> => {
            const path = isHook(object) ? undefined : await pathOf(object);
            const live = path === undefined ? undefined : await find(access, path);
            return live !== undefined && belongsTo(live, target) ? [assumedRecord(object, live)] : [];
        }),
    );
    const record = newRecord(
        target,
        there.flat(),
        "The record of this release was lost; this one takes its place",
        now,
    );
    await change(access, target, { method: "POST", path: recordsPath(target), body: JSON.stringify(record) });
    say(
        `Helm has no record of ${release} in namespace ${namespace} any more; ` +
            `it gets one of what is there: ${there.flat().map(nameOf).join(", ") || "nothing"}`,
    );
}

/** @returns the names of what was there and was deleted */
async function deleteOwned(access: ApiAccess, objects: readonly RenderedObject[], target: Target): Promise<string[]> {
    const pathOf = objectPaths(access, target.namespace, REQUEST_MS);
    const deleted: { name: string; path: string }[] = [];
    for (const object of objects) {
        const path = await pathOf(object);
        const live = path === undefined ? undefined : await find(access, path);
        if (path === undefined || live === undefined || !belongsTo(live, target)) continue;
        const body = JSON.stringify({ kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background" });
        await change(access, target, { method: "DELETE", path, body });
        deleted.push({ name: nameOf(object), path });
    }
    if (target.planOnly === true) return deleted.map(({ name }) => name);
    const until = Date.now() + GONE_MS;
    for (const { name, path } of deleted) {
        // An object that is about to go away must not be taken over by the install.
        while ((await find(access, path)) !== undefined) {
            if (Date.now() > until)
                throw new NotRecoverable(`${name} was deleted, but is still there: something holds it back`);
            await sleep(250);
        }
    }
    return deleted.map(({ name }) => name);
}

async function deleteRecord(access: ApiAccess, { secret }: StoredRecord, target: Target): Promise<void> {
    await change(access, target, { method: "DELETE", path: `${recordsPath(target)}/${secret.metadata.name}` });
}

/** The objects of a record that Helm marks as the release's; hooks are nobody's, and kept ones outlive it. */
function ownedObjects({ objects }: HelmRecord): RenderedObject[] {
    return objects.filter(
        (object) => !isHook(object) && object.metadata.annotations?.["helm.sh/resource-policy"] !== "keep",
    );
}

function nameOf({ kind, metadata }: RenderedObject): string {
    return `${kind}/${metadata.name}`;
}

function recordsPath({ namespace }: Target): string {
    return `/api/v1/namespaces/${namespace}/secrets`;
}

async function find(access: ApiAccess, path: string): Promise<Fields | undefined> {
    const { status, body } = await ask(access, { path }, [404]);
    return status === 404 ? undefined : (JSON.parse(body) as Fields);
}

/** Everything that is written goes through here. What is to be deleted may be gone already. */
async function change(access: ApiAccess, target: Target, asked: Omit<ApiRequest, "timeoutMs">): Promise<void> {
    if (target.planOnly !== true) await ask(access, asked, asked.method === "DELETE" ? [404] : []);
}

/** Asks and takes nothing but success, or one of the statuses that are fine, too. */
async function ask(
    access: ApiAccess,
    asked: Omit<ApiRequest, "timeoutMs">,
    fine: readonly number[] = [],
): Promise<ApiAnswer> {
    const answer = await request(access, { ...asked, timeoutMs: REQUEST_MS });
    if ((answer.status >= 200 && answer.status < 300) || fine.includes(answer.status)) return answer;
    throw new NotRecoverable(
        `${asked.method ?? "GET"} ${asked.path}: the API server answers ${answer.status}: ${statusMessage(answer.body)}`,
    );
}
