import type { Fault } from "./finding";
import type { Happening, Pod } from "./shapes";

/**
 * What keeps a pod from getting a place on a node, or its volumes there. Undefined when it has both.
 *
 * @param events of the pod and of the claims of its namespace, oldest first
 * @param leaving pods that are about to go, and may make room
 * @param taints of the cluster's nodes, as far as they are known
 */
export function placementFault(
    pod: Pod,
    events: readonly Happening[],
    leaving: number,
    taints: readonly string[],
): Fault | undefined {
    const { phase, reason, message = "", conditions = [] } = pod.status ?? {};
    if (reason === "Evicted") {
        const sentence = `the node has thrown it out: ${message}`;
        const fix = "raise storage or resources.requests, by what it used too much of";
        return { problem: "evicted", certain: true, healable: true, sentence, fix };
    }
    if (phase !== "Pending") return undefined;
    const unplaced = conditions.find(({ type, status }) => type === "PodScheduled" && status === "False");
    if (unplaced?.reason === "Unschedulable") return unscheduled(unplaced.message ?? "", events, leaving, taints);
    const volume = events.filter((event) => /^Failed(?:Mount|AttachVolume|MapVolume)$/.test(event.reason ?? "")).at(-1);
    // Volumes come before the first container; what failed before it has come right.
    const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
    const waits = [...initContainerStatuses, ...containerStatuses].every(
        ({ state, lastState }) =>
            /^(?:ContainerCreating|PodInitializing)$/.test(state?.waiting?.reason ?? "") &&
            lastState?.terminated === undefined,
    );
    if (!waits) return undefined;
    if (volume !== undefined) return mountFault(volume.message ?? "");
    const sandbox = events.filter(({ reason: why }) => why === "FailedCreatePodSandBox").at(-1);
    if (sandbox === undefined) return undefined;
    const sentence = `the node cannot prepare it (network or runtime): ${sandbox.message ?? ""}`;
    return { problem: "sandbox", certain: true, healable: true, sentence, fix: "ask who runs the cluster" };
}

/** What the scheduler says of nodes whose taints a pod does not tolerate; it does not say which. */
export const TAINTED = "untolerated taint(s)";

function unscheduled(message: string, events: readonly Happening[], leaving: number, taints: readonly string[]): Fault {
    const absent = /persistentvolumeclaim "([^"]*)" not found/.exec(message);
    if (absent !== null) {
        const sentence = `its volume is missing: there is no PersistentVolumeClaim ${absent[1] ?? ""} in the namespace`;
        const fix = "create it, or correct the name (model.volume.claim, model.download.cacheClaim)";
        return { problem: "volume", certain: true, healable: false, sentence, fix };
    }
    if (message.includes("unbound immediate PersistentVolumeClaims")) {
        const claim = events.filter(({ involvedObject }) => involvedObject.kind === "PersistentVolumeClaim").at(-1);
        const why = claim === undefined ? "" : `: ${claim.involvedObject.name}, ${claim.message ?? ""}`;
        const sentence = `its PersistentVolumeClaim is pending, so no disk is there yet${why}`;
        const fix = "correct the claim's storageClassName, or ask who runs the cluster for storage";
        return { problem: "volume", certain: true, healable: true, sentence, fix };
    }
    const which = taints.length === 0 ? "" : `: ${taints.join(", ")}`;
    const reasons = message
        .replace(/ (?:no new claims to deallocate, )?preemption: .*$/s, "")
        .replace(TAINTED, `${TAINTED}${which}`);
    const sentence = `no node takes it: ${reasons}`;
    const fix = placementFix(reasons);
    // A node can be added by an autoscaler, and a pod that goes makes room.
    return { problem: "unschedulable", certain: leaving === 0, healable: true, sentence, fix };
}

/** By what the scheduler says of the nodes; a taint of the node's own tells that it is in trouble itself. */
function placementFix(reasons: string): string {
    const trouble = /node\.kubernetes\.io\/(disk|memory|pid)-pressure/.exec(reasons)?.[1];
    if (trouble === "disk") return "make room on the node's disk (old images, logs, evicted pods), or add a node";
    if (trouble !== undefined) return "ask who runs the cluster: its nodes have no room for more";
    if (/node\.kubernetes\.io\/(?:not-ready|unreachable|network-unavailable)/.test(reasons))
        return "ask who runs the cluster: its nodes do not answer";
    if (/Insufficient/.test(reasons)) return "lower resources.requests or replicas, or add a node that large";
    return "correct what it asks of a node (gpu.nodeLabels, merge.pod), or add such a node";
}

function mountFault(message: string): Fault {
    const fault = { problem: "volume", certain: true, healable: false };
    const volume = /for volume "([^"]*)"/.exec(message)?.[1] ?? "?";
    const missing = /(secret|configmap) "([^"]*)" not found/.exec(message);
    if (missing !== null) {
        const kind = missing[1] === "secret" ? "Secret" : "ConfigMap";
        const sentence = `its volume ${volume} cannot be mounted: the ${kind} ${missing[2] ?? ""} is not in the namespace`;
        return { ...fault, sentence, fix: "create it, or correct the name (secrets, apiKey.existingSecret)" };
    }
    const key = /references non-existent (secret|config) key: (\S+)/.exec(message);
    if (key !== null) {
        const kind = key[1] === "secret" ? "Secret" : "ConfigMap";
        const sentence = `its volume ${volume} cannot be mounted: the ${kind} has no entry ${key[2] ?? ""}`;
        return { ...fault, sentence, fix: "add the entry, or correct its name (secrets.NAME.key)" };
    }
    // The kubelet says this of a Secret that it has not read yet.
    const passing = /not registered|failed to sync/.test(message);
    const sentence = `its volume ${volume} cannot be mounted: ${message}`;
    return {
        ...fault,
        certain: !passing,
        healable: true,
        sentence,
        fix: "correct what it says, or ask who runs the storage",
    };
}
