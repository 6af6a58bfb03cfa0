import { rmSync } from "node:fs";
import { closest, distance } from "fastest-levenshtein";
import {
    type Cluster,
    type ClusterContext,
    type ClusterInfo,
    type ClusterKind,
    clusterKinds,
    type ClusterStatus,
} from "./cluster";
import { currentCluster } from "./current";
import { nodeCluster } from "./node";
import { rememberCluster, rememberedCluster, type Remembered } from "./remembered";
import { simulatedCluster } from "./simulated";

/** The three clusters; tests give others. */
export interface Clusters {
    readonly current: Cluster;
    readonly node: Cluster & { canRun(): Promise<CanRun> };
    readonly simulated: Cluster;
}

export interface CanRun {
    readonly ok: boolean;
    /** What is missing, each as a short sentence part: "not root". */
    readonly reasons: readonly string[];
}

export interface Choice {
    readonly kind: ClusterKind;
    /** Why this one, for people. */
    readonly reason: string;
}

export const realClusters: Clusters = { current: currentCluster, node: nodeCluster, simulated: simulatedCluster };

/**
 * Which cluster `make up` uses: the one this checkout has, else the one CLUSTER asks for, else real pods where this
 * machine can run them, else simulated ones. Refuses what cannot be, with the way out.
 */
export async function chooseCluster(
    asked: string | undefined,
    remembered: ClusterKind | undefined,
    canRunNode: () => Promise<CanRun>,
): Promise<Choice> {
    const wish = readWish(asked);
    if (remembered !== undefined) {
        if (wish === undefined || wish === remembered) return { kind: remembered, reason: "the one this checkout has" };
        throw new Error(otherKindText(remembered, wish));
    }
    if (wish === "simulated" || wish === "current") return { kind: wish, reason: `asked for by CLUSTER=${wish}` };
    const { ok, reasons } = await canRunNode();
    if (ok)
        return {
            kind: "node",
            reason: wish === undefined ? "real pods, which this machine can run" : "asked for by CLUSTER=node",
        };
    if (wish === undefined) return { kind: "simulated", reason: `real pods cannot run here: ${reasons.join("; ")}` };
    throw new Error(
        `CLUSTER=node cannot run here: ${reasons.join("; ")}.\nUse CLUSTER=simulated (anywhere; pods only pretend to run) or CLUSTER=current (a cluster you have).`,
    );
}

/** Brings this checkout's cluster up, whichever it is, and remembers it. */
export async function clusterUp(context: ClusterContext, clusters: Clusters = realClusters): Promise<ClusterInfo> {
    const remembered = rememberedCluster(context.stateDir);
    const asked = context.variables["CLUSTER"];
    const held =
        remembered === undefined || !(await isThere(remembered, context, clusters)) ? undefined : remembered.kind;
    const { kind, reason } = await chooseCluster(asked, held, () => clusters.node.canRun());
    context.log(`cluster  ${kind}: ${reason}`);
    // Before it starts: `down` must find what a start that was cut short left.
    if (remembered?.kind !== kind) rememberCluster(context.stateDir, { kind });
    const info = await clusters[kind].up(context);
    if (kind === "current" && remembered?.kind === "current") refuseOtherServer(remembered.info, info);
    rememberCluster(context.stateDir, { kind, info });
    return info;
}

/** Removes this checkout's cluster and all of the checkout's state. A user's own cluster is refused. */
export async function clusterDown(
    context: ClusterContext,
    clusters: Clusters = realClusters,
): Promise<ClusterKind | undefined> {
    const remembered = rememberedCluster(context.stateDir);
    if (remembered !== undefined) await clusters[remembered.kind].down(context);
    else await removeUnrecorded(context, clusters);
    rmSync(context.stateDir, { recursive: true, force: true, maxRetries: 5 });
    return remembered?.kind;
}

/** The record is lost, say by a hand that cleaned up: parts of a cluster may still be there. */
async function removeUnrecorded(context: ClusterContext, clusters: Clusters): Promise<void> {
    await clusters.simulated.down(context);
    if (process.platform === "linux") await clusters.node.down(context);
}

/** The cluster this checkout has and how it is; undefined when it has none. */
export async function clusterStatus(
    context: ClusterContext,
    clusters: Clusters = realClusters,
): Promise<{ readonly kind: ClusterKind; readonly status: ClusterStatus } | undefined> {
    const remembered = rememberedCluster(context.stateDir);
    if (remembered === undefined) return undefined;
    return { kind: remembered.kind, status: await clusters[remembered.kind].status(context) };
}

/** A cluster that is gone binds nobody; the state of the user's own one does, even while it does not answer. */
async function isThere(remembered: Remembered, context: ClusterContext, clusters: Clusters): Promise<boolean> {
    if (remembered.kind === "current") return remembered.info !== undefined;
    return (await clusters[remembered.kind].status(context)).state !== "absent";
}

function readWish(asked: string | undefined): ClusterKind | undefined {
    if (asked === undefined || asked === "") return undefined;
    const kind = clusterKinds.find((candidate) => candidate === asked);
    if (kind !== undefined) return kind;
    const near = closest(asked, [...clusterKinds]);
    const hint = distance(asked, near) <= 3 ? ` Did you mean "${near}"?` : "";
    throw new Error(`CLUSTER is "${asked}"; it can be ${clusterKinds.join(", ")}, or unset.${hint}`);
}

function otherKindText(has: ClusterKind, wish: ClusterKind): string {
    const way =
        has === "current"
            ? "what was deployed to your own cluster is recorded here. Take it away first: `make down` (it asks, and runs `pulumi destroy -s dev`)"
            : "`make down` removes it with all that was deployed to it";
    return `CLUSTER=${wish}, but this checkout has a cluster already (${has}): ${way}. Or go on with it: run the same without CLUSTER=${wish}.`;
}

function refuseOtherServer(before: ClusterInfo | undefined, now: ClusterInfo): void {
    if (before === undefined || before.server === now.server) return;
    throw new Error(
        `Your kubeconfig now points at ${now.server} (context "${now.context}"); this checkout was deployed to ${before.server} (context "${before.context}").\n` +
            `Go back with \`kubectl config use-context ${before.context}\`, or take away what is there first: \`make down\`.`,
    );
}
