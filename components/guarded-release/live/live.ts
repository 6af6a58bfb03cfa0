import { type ApiAccess, KubeconfigProblem, openAccess } from "../../config/kubeconfig";
import { connectionProblem, request } from "./api";
import { type Lease, readLease } from "../recover/lease";
import { decodeRecord, type HelmRecord, recordSelector, recordsIn, type StoredRecord } from "./record";

export type { HelmRecord } from "./record";

/** What the cluster says about a release, or why it says nothing. */
export type Live =
    | {
          readonly kind: "answered";
          /** Undefined when Helm has no record of the release. */
          readonly newest: HelmRecord | undefined;
          /** Every recorded revision, oldest first. */
          readonly history: readonly { readonly revision: number; readonly status: string }[];
      }
    | {
          readonly kind: "silent";
          /** The reason, as a part of a sentence: `there is no kubeconfig`, `the API server … refuses connections`. */
          readonly why: string;
      };

export interface LivePlace {
    /** Context of the kubeconfig; without it `ML_API_CONTEXT`, else the current one. */
    readonly context?: string | undefined;
    readonly namespace: string;
    readonly release: string;
    /** The stack's `kubernetes:kubeconfig`. The provider would use it, and it is not read here. */
    readonly kubeconfig?: string | undefined;
    /** Where Helm keeps its records: `secret` (its default), or something that is not looked at. */
    readonly driver?: string | undefined;
}

/** Everything the cluster has recorded about a release, with the way to it. */
export interface OpenedRecords {
    readonly access: ApiAccess;
    /** Oldest first. */
    readonly records: readonly StoredRecord[];
}

/** The cluster side of a release for one run of the program: asked once at the start, and opened again before an update. */
export interface LiveSide {
    readonly answer: Promise<Live>;
    /** The way to the cluster; undefined when it was silent. */
    readonly access: Promise<ApiAccess | undefined>;
    /** The Lease of the release, when the cluster shows one. Never rejects. */
    readonly lease: () => Promise<Lease | undefined>;
    /** Reads the records again. @throws NoAnswer */
    readonly open: () => Promise<OpenedRecords>;
}

/** Milliseconds until the cluster has answered or counts as silent; a program that gives the credential included. */
const PATIENCE_MS = 2000;
/** Milliseconds before an update, which cannot do without the cluster. */
const OPEN_MS = 15_000;

/**
 * Asks the cluster what Helm has recorded about a release: one list of Secrets, by HTTPS. Never rejects; an address where nobody
 * listens is known at once, one that swallows packets after two seconds.
 */
export async function askLive(place: LivePlace, env: NodeJS.ProcessEnv = process.env): Promise<Live> {
    return watchLive(place, env).answer;
}

/** {@link askLive} for a program that goes on meanwhile. */
export function watchLive(place: LivePlace, env: NodeJS.ProcessEnv = process.env): LiveSide {
    const asked = openRecords(place, env, PATIENCE_MS).then(
        ({ access, records }) => ({ access, live: answerOf(records) }),
        (error: unknown) => ({ access: undefined, live: silence(error) }),
    );
    return {
        answer: asked.then(({ live }) => live),
        access: asked.then(({ access }) => access),
        lease: async () => {
            const { access } = await asked;
            if (access === undefined) return undefined;
            return readLease(access, place, PATIENCE_MS).catch(() => undefined);
        },
        open: () => openRecords(place, env, OPEN_MS),
    };
}

function answerOf(records: readonly StoredRecord[]): Live {
    const newest = records.at(-1);
    try {
        return {
            kind: "answered",
            newest: newest === undefined ? undefined : readable(newest),
            history: records.map(({ revision, status }) => ({ revision, status })),
        };
    } catch (error) {
        return silence(error);
    }
}

function silence(error: unknown): Live {
    return { kind: "silent", why: error instanceof Error ? error.message : String(error) };
}

/** The cluster cannot be asked; the message says why, as a part of a sentence. */
export class NoAnswer extends Error {}

/** All records of a release. @throws NoAnswer */
export async function openRecords(
    { context, namespace, release, kubeconfig, driver }: LivePlace,
    env: NodeJS.ProcessEnv,
    timeoutMs: number,
): Promise<OpenedRecords> {
    if (kubeconfig !== undefined)
        throw new NoAnswer("the stack has a kubeconfig of its own (kubernetes:kubeconfig), which is not read here");
    const kept = driver ?? env["PULUMI_K8S_HELM_DRIVER"] ?? "";
    if (!["", "secret", "secrets"].includes(kept))
        throw new NoAnswer(`Helm keeps its records by the driver "${kept}", which is not looked at`);
    const deadline = Date.now() + timeoutMs;
    const left = () => Math.max(1, deadline - Date.now());
    let access: ApiAccess;
    try {
        access = await openAccess(context, env, timeoutMs);
    } catch (error) {
        if (error instanceof KubeconfigProblem) throw new NoAnswer(error.what);
        throw error;
    }
    const answer = await request(access, {
        path: `/api/v1/namespaces/${namespace}/secrets`,
        query: { labelSelector: recordSelector(release) },
        timeoutMs: left(),
    }).catch((error: unknown) => {
        throw new NoAnswer(`the API server ${access.server} ${connectionProblem(error, timeoutMs)}`);
    });
    const refusal: Readonly<Record<number, string>> = {
        401: `the API server ${access.server} does not accept the credential of the kubeconfig; it may have expired`,
        403: `this user may not list the Secrets of namespace ${namespace}, in which Helm keeps its records`,
    };
    if (answer.status !== 200)
        throw new NoAnswer(
            refusal[answer.status] ?? `the API server ${access.server} answers ${answer.status} to a list of Secrets`,
        );
    try {
        return { access, records: recordsIn(answer.body) };
    } catch {
        throw new NoAnswer(`the API server ${access.server} answers something that is not a list of Secrets`);
    }
}

/** @throws NoAnswer when the record is not what Helm writes */
function readable({ revision, secret }: StoredRecord): HelmRecord {
    try {
        return decodeRecord(secret);
    } catch (error) {
        const why = error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error);
        throw new NoAnswer(`Helm's record of revision ${revision} cannot be read (${why})`);
    }
}
