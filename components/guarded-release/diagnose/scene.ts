import type { RenderedObject } from "../render/render";
import type { Deployment, Job, Meta, Node, Pod, ReplicaSet } from "./shapes";

/** What a namespace holds at one moment. */
export interface Lists {
    readonly deployments: readonly Deployment[];
    readonly replicaSets: readonly ReplicaSet[];
    readonly jobs: readonly Job[];
    readonly pods: readonly Pod[];
    /** Those of the cluster, when it matters what they are like and they may be read. */
    readonly nodes?: readonly Node[];
}

/** The part of it that an operation has made: whoever is in here may be blamed for its failure. */
export interface Scene extends Lists {
    /** Pods of the namespace that are about to go, whose place may become free. */
    readonly leaving: number;
    /** What keeps pods off nodes, and off how many: `example.org/gpu (3)`. */
    readonly taints: readonly string[];
    /** Name of the workload that a ReplicaSet or pod belongs to, by its UID. */
    readonly workloads: ReadonlyMap<string, string>;
}

const REVISION = "deployment.kubernetes.io/revision";

/**
 * Picks what belongs to the new revision of a release: pods that were not there before, of the ReplicaSet that their Deployment
 * rolls out, and of Jobs, hooks included.
 *
 * @param objects what the release consists of
 * @param before UIDs of the pods and Jobs that were there before the operation
 * @param past UIDs of ReplicaSets that are rolled out no more, or only because Helm takes the operation back
 */
export function sceneOf(
    lists: Lists,
    objects: readonly RenderedObject[],
    before: ReadonlySet<string>,
    past: ReadonlySet<string>,
): Scene {
    const ours = new Set(objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
    const workloads = new Map<string, string>();
    const deployments = lists.deployments.filter(({ metadata }) => ours.has(`Deployment/${metadata.name}`));
    // While the controller has not seen the newest template, the ReplicaSet that it calls current is the one before.
    const settled = new Map(
        deployments
            .filter(({ metadata, status }) => metadata.generation === status?.observedGeneration)
            .map(({ metadata }) => [metadata.uid, metadata]),
    );
    const replicaSets = lists.replicaSets.filter(({ metadata }) => {
        const deployment = settled.get(controllerOf(metadata)?.uid ?? "");
        if (deployment === undefined || past.has(metadata.uid)) return false;
        return metadata.annotations?.[REVISION] === deployment.annotations?.[REVISION];
    });
    for (const { metadata } of replicaSets) workloads.set(metadata.uid, controllerOf(metadata)?.name ?? metadata.name);
    const jobs = lists.jobs.filter(({ metadata }) => ours.has(`Job/${metadata.name}`) && !before.has(metadata.uid));
    for (const { metadata } of jobs) workloads.set(metadata.uid, metadata.name);
    const pods = lists.pods.filter(({ metadata }) => {
        if (before.has(metadata.uid) || metadata.deletionTimestamp !== undefined) return false;
        const owner = controllerOf(metadata);
        const workload =
            owner === undefined
                ? ours.has(`Pod/${metadata.name}`)
                    ? metadata.name
                    : undefined
                : (workloads.get(owner.uid) ??
                  (ours.has(`${owner.kind}/${owner.name}`) && owner.kind !== "Job" ? owner.name : undefined));
        if (workload !== undefined) workloads.set(metadata.uid, workload);
        return workload !== undefined;
    });
    const leaving = lists.pods.filter(({ metadata }) => metadata.deletionTimestamp !== undefined).length;
    return { deployments, replicaSets, jobs, pods, leaving, taints: taintsOf(lists.nodes), workloads };
}

function taintsOf(nodes: readonly Node[] = []): string[] {
    const counts = new Map<string, number>();
    for (const { spec } of nodes)
        for (const key of new Set(
            spec.taints?.filter(({ effect }) => effect !== "PreferNoSchedule").map((one) => one.key),
        ))
            counts.set(key, (counts.get(key) ?? 0) + 1);
    return [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([key, count]) => `${key} (${count})`);
}

export function controllerOf({ ownerReferences = [] }: Meta): { kind: string; name: string; uid: string } | undefined {
    return ownerReferences.find(({ controller }) => controller === true);
}
