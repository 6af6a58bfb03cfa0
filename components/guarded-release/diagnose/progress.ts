import type { Scene } from "./scene";
import type { Pod } from "./shapes";

/** How far a rollout is: `2/3 pods ready, 1 loading the model`; undefined when there is nothing to wait for. */
export function progressOf({ deployments, pods, jobs }: Scene): string | undefined {
    const parts: string[] = [];
    const wanted = deployments.reduce((sum, { spec }) => sum + (spec?.replicas ?? 1), 0);
    const names = new Set(jobs.map(({ metadata }) => metadata.name));
    const servers = pods.filter(
        ({ metadata }) => !(metadata.ownerReferences ?? []).some(({ name }) => names.has(name)),
    );
    const ready = servers.filter(isReady).length;
    if (wanted > 0) parts.push(`${ready}/${wanted} pods ready`);
    const counts = new Map<string, number>();
    for (const pod of servers.filter((one) => !isReady(one))) {
        const words = stateOf(pod);
        counts.set(words, (counts.get(words) ?? 0) + 1);
    }
    for (const [words, count] of counts) parts.push(`${count} ${words}`);
    const running = jobs.filter(
        ({ status }) => !(status?.conditions ?? []).some(({ status: holds }) => holds === "True"),
    );
    for (const { metadata } of running) parts.push(`Job ${metadata.name} runs`);
    return parts.length === 0 ? undefined : parts.join(", ");
}

export function isReady({ status }: Pod): boolean {
    return (status?.conditions ?? []).some(({ type, status: holds }) => type === "Ready" && holds === "True");
}

function stateOf({ status }: Pod): string {
    const { conditions = [], initContainerStatuses = [], containerStatuses = [] } = status ?? {};
    if (conditions.some(({ type, status: holds }) => type === "PodScheduled" && holds === "False"))
        return "waiting for a node";
    const statuses = [...initContainerStatuses, ...containerStatuses];
    const waiting = statuses.map(({ state }) => state?.waiting?.reason ?? "");
    if (waiting.some((reason) => /Image/.test(reason))) return "without its image";
    if (waiting.includes("CrashLoopBackOff") || statuses.some(({ restartCount }) => restartCount > 0))
        return "crashing";
    const init = initContainerStatuses.find(({ state }) => state?.running !== undefined);
    if (init !== undefined) return init.name === "fetch-model" ? "fetching the model" : `running ${init.name}`;
    if (containerStatuses.some(({ state, started }) => state?.running !== undefined && started !== true))
        return "loading the model";
    if (containerStatuses.some(({ started }) => started === true)) return "started and not ready";
    return "being created";
}
