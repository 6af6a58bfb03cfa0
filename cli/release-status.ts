import { findCluster } from "../components/config/cluster";
import { readProject } from "../components/config/project-file";
import type { ApiAccess } from "../components/config/kubeconfig";
import { diagnose } from "../components/guarded-release/diagnose/diagnose";
import { textOf } from "../components/guarded-release/diagnose/finding";
import { isReady } from "../components/guarded-release/diagnose/progress";
import { type Lists, sceneOf } from "../components/guarded-release/diagnose/scene";
import type { Happening } from "../components/guarded-release/diagnose/shapes";
import { findHold, type Hold } from "../components/guarded-release/hold/hold";
import { request } from "../components/guarded-release/live/api";
import { NoAnswer, openRecords } from "../components/guarded-release/live/live";
import { decodeRecord, type HelmRecord } from "../components/guarded-release/live/record";
import { type Maker, makerOf } from "../components/guarded-release/record/labels";
import { imageIn } from "../components/guarded-release/render/image";
import { type Lease, readLease } from "../components/guarded-release/recover/lease";
import { urlOf } from "../components/ml-api/outputs";
import { type StackPlace, stackPlace } from "./stack-cluster";
import { backendOf, type StackLock, stackLocks } from "./stack-lock";

/** How a stack is, as its cluster and the state of Pulumi show it. */
export interface StackStatus {
    readonly stack: string;
    readonly environment: string;
    readonly release: string;
    readonly namespace: string;
    /** Context of the kubeconfig; empty when there is none. */
    readonly cluster: string;
    /** `unknown`: the cluster does not say; `why` tells the reason. `absent`: Helm knows no such release. */
    readonly state: "deployed" | "absent" | "unknown" | (string & {});
    readonly why?: string;
    readonly live?: LiveRelease;
    readonly locks: readonly StackLock[];
}

export interface LiveRelease {
    readonly revision: number;
    /** What Helm says of it, when it is not well. */
    readonly description: string;
    readonly image: string;
    readonly url: string;
    /** RFC 3339. */
    readonly since: string;
    readonly maker: Maker | undefined;
    readonly pods: { readonly ready: number; readonly total: number };
    /** Why pods are not ready, each with what to do. */
    readonly findings: readonly string[];
    /** Who is at work on it, or has died over it. */
    readonly lease: Lease | undefined;
    readonly hold: Hold | undefined;
}

export interface DeployedStack {
    /** Context of the kubeconfig. */
    readonly cluster: string;
    readonly namespace: string;
    readonly release: string;
    /** The variables by which it is found. */
    readonly env: NodeJS.ProcessEnv;
    readonly place: StackPlace;
}

const OPEN_MS = 5000;

/** Asks the cluster of a stack how its release is. Never rejects because of the cluster. */
export async function statusOf(root: string, stack: string): Promise<StackStatus> {
    const place = stackPlace(root, stack);
    const found = {
        ...{ stack, environment: place.settings.environment, release: place.release, namespace: place.namespace },
        cluster: findCluster(place.context, place.env)?.context ?? "",
        locks: stackLocks(backendOf(root), readProject(root).name, stack),
    };
    try {
        const { access, records } = await openRecords(place, place.env, OPEN_MS);
        const newest = records.at(-1);
        if (newest === undefined || newest.status === "uninstalled") return { ...found, state: "absent" };
        const record = decodeRecord(newest.secret);
        const maker = makerOf(newest.revision, newest.secret.metadata.labels, record.description);
        return { ...found, state: newest.status, live: await liveRelease(access, place, record, maker) };
    } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        return { ...found, state: "unknown", why: error.message };
    }
}

/**
 * Where a deployed release is found.
 *
 * @throws Error when it is not deployed, or the cluster does not say
 */
export async function deployedStack(root: string, stack: string): Promise<DeployedStack> {
    const { state, why, cluster } = await statusOf(root, stack);
    if (state === "unknown") throw unasked(stack, why ?? "");
    if (state === "absent") throw new Error(`${stack} is not deployed → npx --no ml-api up ${stack}`);
    const place = stackPlace(root, stack);
    return { cluster, namespace: place.namespace, release: place.release, env: place.env, place };
}

export function unasked(stack: string, why: string): Error {
    return new Error(`the cluster cannot be asked about ${stack}: ${withFix(why)}`);
}

/** Why a cluster says nothing, with what a newcomer has to do. */
export function withFix(why: string): string {
    return why === "there is no kubeconfig" ? `${why} → make up, or point KUBECONFIG at a cluster` : why;
}

async function liveRelease(
    access: ApiAccess,
    place: StackPlace,
    record: HelmRecord,
    maker: Maker | undefined,
): Promise<LiveRelease> {
    const { namespace } = place;
    const listed = async <T>(root: string, plural: string): Promise<readonly T[]> => {
        const path = `${root}/namespaces/${namespace}/${plural}`;
        const { status, body } = await request(access, { path, timeoutMs: OPEN_MS });
        if (status !== 200) throw new NoAnswer(`the API server answers ${status} to a list of ${plural}`);
        return (JSON.parse(body) as { items?: T[] }).items ?? [];
    };
    const [deployments, replicaSets, jobs, pods, events, lease, hold] = await Promise.all([
        listed<Lists["deployments"][number]>("/apis/apps/v1", "deployments"),
        listed<Lists["replicaSets"][number]>("/apis/apps/v1", "replicasets"),
        listed<Lists["jobs"][number]>("/apis/batch/v1", "jobs"),
        listed<Lists["pods"][number]>("/api/v1", "pods"),
        listed<Happening>("/api/v1", "events"),
        readLease(access, place, OPEN_MS).catch(() => undefined),
        findHold(access, place).catch(() => undefined),
    ]).catch((error: unknown) => {
        throw error instanceof NoAnswer ? error : new NoAnswer(error instanceof Error ? error.message : String(error));
    });
    const scene = sceneOf({ deployments, replicaSets, jobs, pods }, record.objects, new Set(), new Set());
    const ofJobs = new Set(scene.jobs.map(({ metadata }) => metadata.name));
    const servers = scene.pods.filter(
        ({ metadata }) => !(metadata.ownerReferences ?? []).some(({ name }) => ofJobs.has(name)),
    );
    const wanted = scene.deployments.reduce((sum, { spec }) => sum + (spec?.replicas ?? 1), 0);
    return {
        ...{ revision: record.revision, description: record.description, since: record.deployedAt, maker, lease, hold },
        image: imageIn(record.objects),
        url: urlOf(record.objects, namespace),
        pods: { ready: servers.filter(isReady).length, total: wanted },
        findings: diagnose(scene, events, new Map(), new Set())
            .filter(({ certain }) => certain)
            .map(textOf),
    };
}
