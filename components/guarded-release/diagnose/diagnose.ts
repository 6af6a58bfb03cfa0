import { containerFault, lastEnd, withWords } from "./containers";
import type { Fault, Finding } from "./finding";
import { placementFault } from "./placement";
import { refusalFault } from "./refusals";
import { controllerOf, type Scene } from "./scene";
import { type Condition, type ContainerStatus, type Happening, type Job, type Pod, timeOf } from "./shapes";

/** A container's log that says more than its state. */
export interface LogName {
    readonly pod: string;
    readonly container: string;
    /** Of the run before the present one. */
    readonly previous: boolean;
    /** Its name in {@link Logs}; another run has another one. */
    readonly key: string;
    /** Nothing is added to it any more. */
    readonly final: boolean;
}

/** Logs by {@link LogName.key}, the end of each. */
export type Logs = ReadonlyMap<string, string>;

/** UIDs of pods that have been ready. */
export type Ready = ReadonlySet<string>;

/** The logs without which a diagnosis is not complete. */
export function logsWanted({ pods }: Scene): LogName[] {
    return pods.flatMap((pod) =>
        statusesOf(pod).flatMap((status): LogName[] => {
            if (status.ready) return [];
            const name = { pod: pod.metadata.name, container: status.name };
            const { state } = status;
            const ended = {
                ...name,
                previous: state?.terminated === undefined,
                key: endedLog(pod, status),
                final: true,
            };
            const running = { ...name, previous: false, key: runningLog(pod, status), final: false };
            return [
                ...(lastEnd(status) === undefined ? [] : [ended]),
                ...(state?.running === undefined ? [] : [running]),
            ];
        }),
    );
}

/** By the number of the run, so that the log of a run keeps its name after its end. */
function runningLog({ metadata }: Pod, { name, restartCount }: ContainerStatus): string {
    return `${metadata.uid}/${name}/${restartCount}`;
}

function endedLog({ metadata }: Pod, { name, restartCount, state }: ContainerStatus): string {
    return `${metadata.uid}/${name}/${state?.running === undefined ? restartCount : restartCount - 1}`;
}

/**
 * What keeps a release from becoming ready, in words, as far as it shows.
 *
 * @param events of the namespace
 * @param logs those of {@link logsWanted} that could be had
 */
export function diagnose(scene: Scene, events: readonly Happening[], logs: Logs, ready: Ready): Finding[] {
    const byObject = new Map<string, Happening[]>();
    for (const event of [...events].sort((a, b) => timeOf(a) - timeOf(b))) {
        const { uid = "" } = event.involvedObject;
        const known = byObject.get(uid);
        if (known === undefined) byObject.set(uid, [event]);
        else known.push(event);
    }
    const claims = events.filter(
        ({ involvedObject, type }) => involvedObject.kind === "PersistentVolumeClaim" && type === "Warning",
    );
    const eventsOf = (uid: string): readonly Happening[] => byObject.get(uid) ?? [];
    const workloadOf = (uid: string): string => scene.workloads.get(uid) ?? "";
    const found = [
        ...scene.replicaSets.flatMap(({ metadata, status }) =>
            named(`ReplicaSet/${metadata.name}`, workloadOf(metadata.uid), refusal(status?.conditions, scene.leaving)),
        ),
        ...scene.jobs.flatMap((job) => jobFindings(job, scene, eventsOf(job.metadata.uid), logs)),
        ...scene.pods.flatMap((pod) =>
            podFindings(
                pod,
                workloadOf(pod.metadata.uid),
                scene,
                [...claims, ...eventsOf(pod.metadata.uid)],
                logs,
                ready,
            ),
        ),
    ];
    const blamed = new Set(found.map(({ workload }) => workload));
    const late = scene.deployments.flatMap(({ metadata, status }) => {
        const over = status?.conditions?.find(({ reason }) => reason === "ProgressDeadlineExceeded");
        if (over === undefined || blamed.has(metadata.name)) return [];
        const sentence = `the cluster has given up on its rollout: ${over.message ?? ""}`;
        return named(`Deployment/${metadata.name}`, metadata.name, {
            problem: "deadline",
            certain: status?.observedGeneration === metadata.generation,
            healable: true,
            sentence,
            fix: "see its pods and events",
        });
    });
    return [...found, ...late];
}

function named(object: string, workload: string, fault: Fault | undefined, container?: string): Finding[] {
    if (fault === undefined) return [];
    const whose = container === undefined ? {} : { container };
    return [{ object, workload, ...whose, certain: true, healable: true, ...fault }];
}

function refusal(conditions: readonly Condition[] = [], leaving: number): Fault | undefined {
    const failure = conditions.find(({ type, status }) => type === "ReplicaFailure" && status === "True");
    const fault = refusalFault(failure?.message ?? "");
    // A pod that goes gives back what it has of a quota.
    return fault?.problem === "quota" && leaving > 0 ? { ...fault, certain: false, healable: true } : fault;
}

function podFindings(
    pod: Pod,
    workload: string,
    { leaving, taints }: Scene,
    events: readonly Happening[],
    logs: Logs,
    ready: Ready,
): Finding[] {
    const object = `Pod/${pod.metadata.name}`;
    const placed = placementFault(pod, events, leaving, taints);
    if (placed !== undefined) return named(object, workload, placed);
    const isTry = controllerOf(pod.metadata)?.kind === "Job";
    const { containers, initContainers = [] } = pod.spec;
    return statusesOf(pod).flatMap((status) => {
        const container = [...initContainers, ...containers].find(({ name }) => name === status.name);
        if (container === undefined) return [];
        const isInit = initContainers.includes(container);
        // An init container that is done is not ready, in some versions.
        if (isInit && status.state?.terminated?.exitCode === 0) return [];
        const fault = containerFault({
            container,
            status,
            events: events.filter(
                ({ involvedObject }) => involvedObject.fieldPath?.endsWith(`{${status.name}}`) === true,
            ),
            wasReady: ready.has(pod.metadata.uid),
            log: logs.get(runningLog(pod, status)),
            endLog: logs.get(endedLog(pod, status)),
        });
        // How a Job's pod has ended is told of the Job.
        return named(object, workload, isTry && fault?.problem === "crash" ? undefined : fault, status.name);
    });
}

function statusesOf({ status }: Pod): readonly ContainerStatus[] {
    return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

/** Of a Job: that its pods may not be made, that it has failed, or that one of its tries has. */
function jobFindings(job: Job, { pods }: Scene, events: readonly Happening[], logs: Logs): Finding[] {
    const { metadata, status } = job;
    const object = `Job/${metadata.name}`;
    const refused = events.filter(({ reason }) => reason === "FailedCreate").at(-1);
    if (refused !== undefined) return named(object, metadata.name, refusalFault(refused.message ?? ""));
    const over = status?.conditions?.find(
        ({ type, status: holds }) => (type === "Failed" || type === "FailureTarget") && holds === "True",
    );
    const tries = pods.filter((pod) => controllerOf(pod.metadata)?.uid === metadata.uid);
    const last = tries
        .filter(({ status: pod }) => over !== undefined || pod?.phase === "Failed")
        .sort((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""))
        .at(-1);
    if (over === undefined && last === undefined) return [];
    const what = metadata.annotations?.["helm.sh/hook"] === undefined ? "the Job" : "the hook Job";
    const state = over === undefined ? "one of its tries failed" : `it failed (${over.reason ?? "Failed"})`;
    const ended = last === undefined ? undefined : statusesOf(last).find((one) => lastEnd(one) !== undefined);
    const end = ended === undefined ? undefined : lastEnd(ended);
    const exit = end === undefined ? "" : ` with exit code ${end.exitCode}`;
    const shown = ended ?? (last === undefined ? undefined : statusesOf(last).at(-1));
    const log = last === undefined || shown === undefined ? undefined : logs.get(endedLog(last, shown));
    return named(
        object,
        metadata.name,
        {
            problem: "job",
            certain: over !== undefined,
            healable: over === undefined,
            ...withWords(`${what} did not succeed: ${state}${exit}`, end?.message, log),
            fix: "correct what its last words say",
        },
        shown?.name,
    );
}
