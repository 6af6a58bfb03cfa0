import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { ApiAccess } from "../../config/kubeconfig";
import { type ApiAnswer, type ApiRequest, request } from "../live/api";
import { isGone, ownProcesses, type RunProcesses, survivors } from "./machine";
import type { Owner } from "../live/owner";

/** Who is at work on a release, as its Lease (`coordination.k8s.io/v1`) in the release's namespace tells. */
export interface Lease {
    /** Name of the stack whose update it is. */
    readonly stack: string;
    /** The machine and the process that beat. */
    readonly host: string;
    readonly process: string;
    /** When its operation began, RFC 3339. */
    readonly since: string;
    /** When the first of several runs of the stack began that died one after the other; RFC 3339. Undefined: it is `since`. */
    readonly unnotedSince?: string;
    /** When it was renewed last, RFC 3339, by the clock of its holder. */
    readonly renewed: string;
    /** Seconds after which a Lease that is not renewed counts as dead. */
    readonly seconds: number;
    /** As the API server has it. */
    readonly stored: StoredLease;
}

interface StoredLease {
    readonly metadata: {
        readonly name: string;
        readonly uid?: string;
        readonly resourceVersion?: string;
        readonly annotations?: Readonly<Record<string, string>>;
    };
    readonly spec?: {
        readonly holderIdentity?: string;
        readonly acquireTime?: string;
        readonly renewTime?: string;
        readonly leaseDurationSeconds?: number;
    };
}

const MACHINE = "ml-api/machine";
const PROCESSES = "ml-api/processes";
const UNNOTED_SINCE = "ml-api/unnoted-since";

/** Somebody else is at work on the release; the message says who, since when, and what a person can do. */
export class Held extends Error {}

/** How often a Lease is renewed, when it counts as dead, and how long one request may take. */
export interface Pulse {
    readonly beatMs: number;
    readonly durationSeconds: number;
    readonly requestMs: number;
    /** How long it waits for what a dead run has left running on this machine. */
    readonly orphanMs: number;
}

export const PULSE: Pulse = { beatMs: 4000, durationSeconds: 15, requestMs: 3000, orphanMs: 30_000 };

/** The Lease of one's own, while it is kept. */
export interface KeptLease {
    /** The one that was found in its place, of a run that did not come to its end. */
    readonly before: Lease | undefined;
    /** Stops the heart and takes the Lease away. Never rejects. */
    readonly release: () => Promise<void>;
    /** Stops the heart only: what was found with {@link before} is still to be put right. Never rejects. */
    readonly leave: () => Promise<void>;
}

export interface Keeping {
    readonly stack: string;
    /** Told when the Lease cannot be kept, and when it waits for another one to show whether it still beats. */
    readonly say: (text: string) => void;
    readonly pulse?: Pulse;
}

export function leaseName(release: string): string {
    return `ml-api-${release}`;
}

/**
 * Takes the Lease of a release and renews it until it is released. Two runs that have different Pulumi back ends do not see each
 * other's lock; this they see. Where it cannot be kept (no permission, no answer), that is said and the run goes on without.
 *
 * @throws Held when somebody else's still beats
 */
export async function keepLease(access: ApiAccess, owner: Owner, keeping: Keeping): Promise<KeptLease> {
    const { stack, say, pulse = PULSE } = keeping;
    const unkept = (why: string, before?: Lease): KeptLease => {
        say(
            `no Lease is kept in namespace ${owner.namespace} (${why}): runs with another Pulumi back end are not seen`,
        );
        return { before, release: () => Promise.resolve(), leave: () => Promise.resolve() };
    };
    try {
        const before = await readLease(access, owner, pulse.requestMs);
        if (before !== undefined) await refuseBeating(access, owner, before, keeping);
        const spec = freshSpec(stack, pulse);
        const first = before?.stack === stack ? (before.unnotedSince ?? before.since) : (spec.acquireTime ?? "");
        const taken = await write(access, owner, marked(before?.stored, owner, first), spec, pulse);
        const end = beat(access, owner, taken, pulse, say);
        return { before, release: () => end(true), leave: () => end(false) };
    } catch (error) {
        if (error instanceof Held) throw error;
        if (error instanceof Changed)
            throw new Held(`another run has just begun on ${owner.release} → try again later`);
        return unkept(error instanceof Error ? error.message : String(error));
    }
}

/** @returns undefined when there is none. @throws when the server does not show it; the message is a part of a sentence */
export async function readLease(access: ApiAccess, owner: Owner, timeoutMs: number): Promise<Lease | undefined> {
    const { status, body } = await ask(access, { path: pathOf(owner), timeoutMs }, [404]);
    return status === 404 ? undefined : decode(JSON.parse(body) as StoredLease);
}

/** Waits as long as it takes to know whether a Lease is still renewed. It trusts no clock but its own. */
export async function isBeating(
    access: ApiAccess,
    owner: Owner,
    lease: Lease,
    { beatMs, requestMs }: Pulse = PULSE,
    patientMs = patienceWith(lease, Date.now(), beatMs),
): Promise<boolean> {
    if (isGone(processesOf(lease))) return false;
    const until = Date.now() + patientMs;
    while (Date.now() < until) {
        await sleep(Math.min(beatMs / 8, until - Date.now()));
        const now = await readLease(access, owner, requestMs);
        if (now === undefined) return false;
        if (now.renewed !== lease.renewed || now.since !== lease.since) return true;
    }
    return false;
}

/** A Lease that is old by our clock may be of a clock that goes wrong by minutes, and is watched for one beat and a half. */
function patienceWith({ renewed, seconds }: Lease, now: number, beatMs: number): number {
    const age = now - Date.parse(renewed);
    if (Number.isNaN(age) || age > 3_600_000) return 0;
    return Math.max(beatMs * 1.5, seconds * 1000 - Math.max(0, age));
}

/** Takes a Lease away, whoever has it. */
export async function removeLease(access: ApiAccess, owner: Owner, lease: Lease, timeoutMs: number): Promise<void> {
    const { uid, resourceVersion } = lease.stored.metadata;
    await ask(access, deletion(pathOf(owner), { uid, resourceVersion }, timeoutMs), [404]);
}

/**
 * Takes away the Lease that a dead run of this stack has left, when this one had nothing to do and so did not take it over. Only when it
 * is known at once that nobody keeps it. Never rejects.
 */
export async function sweepLease(access: ApiAccess, owner: Owner, lease: Lease, stack: string): Promise<void> {
    if (lease.stack !== stack) return;
    try {
        const known = patienceWith(lease, Date.now(), PULSE.beatMs) === 0 || isGone(processesOf(lease));
        if (known) await removeLease(access, owner, lease, PULSE.requestMs);
    } catch {
        // It is in nobody's way.
    }
}

function processesOf({ stored }: Lease): RunProcesses {
    const { [MACHINE]: machine = "", [PROCESSES]: processes = "" } = stored.metadata.annotations ?? {};
    return { machine, processes: processes.split(" ") };
}

/** `pulumi up of stack dev on host build-7 (process 4711), since 2026-11-22T10:00:00Z` */
export function holderText({ stack, host, process, since }: Lease): string {
    return `a run of stack ${stack} on ${host} (process ${process}), since ${since}`;
}

async function refuseBeating(access: ApiAccess, owner: Owner, lease: Lease, keeping: Keeping): Promise<void> {
    const { pulse = PULSE, say } = keeping;
    const patience = patienceWith(lease, Date.now(), pulse.beatMs);
    // Most of the time it is known at once.
    const told = setTimeout(() => {
        say(
            `${holderText(lease)}, has not said that it ended: waiting up to ${Math.ceil(patience / 1000)} s for a sign of life`,
        );
    }, pulse.beatMs / 4);
    const beating = await isBeating(access, owner, lease, pulse, patience).finally(() => {
        clearTimeout(told);
    });
    if (!beating) return refuseOrphans(owner, lease, keeping);
    throw new Held(
        `${owner.release} in namespace ${owner.namespace} is being worked on by ${holderText(lease)}; nothing was changed. ` +
            `Wait until it has ended. If you know that it is dead: npx --no ml-api recover ${keeping.stack} --force`,
    );
}

/** Numbers of the processes of a run that live on this machine. */
export function orphansOf(lease: Lease): readonly number[] {
    return survivors(processesOf(lease)) ?? [];
}

/** Where only the command was killed, the provider that it had started may live on for a while, and Helm in it. */
async function refuseOrphans(owner: Owner, lease: Lease, { stack, pulse = PULSE }: Keeping): Promise<void> {
    const until = Date.now() + pulse.orphanMs;
    let left = orphansOf(lease);
    while (left.length > 0 && Date.now() < until) {
        await sleep(pulse.beatMs / 8);
        left = orphansOf(lease);
    }
    if (left.length === 0) return;
    throw new Held(
        `${holderText(lease)}, is dead, but on this machine live processes that it had started (${left.join(", ")}), and Helm in them may ` +
            `still be at work on ${owner.release}; nothing was changed. Wait until they have ended, or end them: kill ${left.join(" ")}. ` +
            `If you know better: npx --no ml-api recover ${stack} --force`,
    );
}

/** @returns the function that ends it, and takes the Lease away when told so */
function beat(
    access: ApiAccess,
    owner: Owner,
    taken: StoredLease,
    pulse: Pulse,
    say: (text: string) => void,
): (remove: boolean) => Promise<void> {
    let mine: StoredLease | undefined = taken;
    let underWay: Promise<void> | undefined;
    const renew = async () => {
        if (mine === undefined) return;
        try {
            mine = await write(access, owner, mine.metadata, { ...mine.spec, renewTime: microTime(new Date()) }, pulse);
        } catch (error) {
            // No answer is no reason to give up: the next beat may have one.
            if (!(error instanceof Changed)) return;
            const found = await readLease(access, owner, pulse.requestMs).catch(() => undefined);
            if (found?.stored.spec?.holderIdentity === taken.spec?.holderIdentity) mine = found?.stored;
            else {
                mine = undefined;
                say(
                    found === undefined
                        ? `the Lease of this run was taken away`
                        : `the Lease of this run was taken over by ${holderText(found)}`,
                );
            }
        }
    };
    const timer = setInterval(() => {
        underWay ??= renew().finally(() => (underWay = undefined));
    }, pulse.beatMs);
    timer.unref();
    return async (remove) => {
        clearInterval(timer);
        await underWay;
        if (mine === undefined || !remove) return;
        const { uid, resourceVersion } = mine.metadata;
        mine = undefined;
        await request(access, deletion(pathOf(owner), { uid, resourceVersion }, pulse.requestMs)).catch(
            () => undefined,
        );
    };
}

/** Somebody wrote the Lease in between. */
class Changed extends Error {}

async function write(
    access: ApiAccess,
    owner: Owner,
    metadata: StoredLease["metadata"],
    spec: NonNullable<StoredLease["spec"]>,
    { requestMs: timeoutMs }: Pulse,
): Promise<StoredLease> {
    const body = JSON.stringify({ apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec });
    const answer = await ask(
        access,
        metadata.resourceVersion === undefined
            ? { method: "POST", path: listPath(owner), body, timeoutMs }
            : { method: "PUT", path: pathOf(owner), body, timeoutMs },
        [409],
    );
    if (answer.status === 409) throw new Changed();
    return JSON.parse(answer.body) as StoredLease;
}

function marked(before: StoredLease | undefined, { release }: Owner, unnotedSince: string): StoredLease["metadata"] {
    const { machine, processes } = ownProcesses() ?? {};
    const annotations = {
        ...{ [MACHINE]: machine ?? "", [PROCESSES]: processes?.join(" ") ?? "" },
        [UNNOTED_SINCE]: unnotedSince,
    };
    return { name: leaseName(release), ...before?.metadata, annotations };
}

function freshSpec(stack: string, { durationSeconds }: Pulse): NonNullable<StoredLease["spec"]> {
    const now = microTime(new Date());
    // None of the parts can hold a slash.
    const holderIdentity = [stack, hostname(), String(process.pid), randomBytes(4).toString("hex")].join("/");
    return { holderIdentity, acquireTime: now, renewTime: now, leaseDurationSeconds: durationSeconds };
}

/** Kubernetes' MicroTime has exactly six digits after the point. */
function microTime(time: Date): string {
    return time.toISOString().replace("Z", "000Z");
}

function decode(stored: StoredLease): Lease {
    const { holderIdentity = "", acquireTime = "", renewTime = "", leaseDurationSeconds = 15 } = stored.spec ?? {};
    const [stack = "", host = "?", process = "?"] = holderIdentity.split("/");
    const unnotedSince = stored.metadata.annotations?.[UNNOTED_SINCE] ?? acquireTime;
    const times = { since: acquireTime, unnotedSince, renewed: renewTime, seconds: leaseDurationSeconds };
    return { stack, host, process, ...times, stored };
}

function deletion(path: string, preconditions: object, timeoutMs: number): ApiRequest {
    return { method: "DELETE", path, body: JSON.stringify({ kind: "DeleteOptions", preconditions }), timeoutMs };
}

function listPath({ namespace }: Owner): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
}

function pathOf(owner: Owner): string {
    return `${listPath(owner)}/${leaseName(owner.release)}`;
}

async function ask(access: ApiAccess, asked: ApiRequest, fine: readonly number[]): Promise<ApiAnswer> {
    const answer = await request(access, asked);
    if ((answer.status >= 200 && answer.status < 300) || fine.includes(answer.status)) return answer;
    if (answer.status === 403) throw new Error("the credentials may not read and write Leases there");
    throw new Error(`the API server answers ${answer.status} to ${asked.method ?? "GET"} of the Lease`);
}
