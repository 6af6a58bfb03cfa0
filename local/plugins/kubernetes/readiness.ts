import type { Properties, Value } from "../rpc/properties";
import { isObject, objectsIn, textOf } from "../rpc/properties";
import { metadataOf, statusOf } from "./object";

/** Undefined: ready. Otherwise what is waited for, or why waiting is of no use. */
export type Readiness = undefined | { waitingFor: string } | { failed: string };

function count(value: Value | undefined): number {
    return typeof value === "number" ? value : 0;
}

function condition(status: Properties, type: string): Properties | undefined {
    return objectsIn(status.conditions).find((entry) => entry.type === type);
}

function deployment(spec: Properties, status: Properties): Readiness {
    const progressing = condition(status, "Progressing");
    if (progressing?.reason === "ProgressDeadlineExceeded") return { failed: textOf(progressing.message) };
    const replicas = typeof spec.replicas === "number" ? spec.replicas : 1;
    const done =
        count(status.updatedReplicas) >= replicas &&
        count(status.replicas) <= replicas &&
        count(status.availableReplicas) >= replicas;
    return done
        ? undefined
        : { waitingFor: `${String(count(status.availableReplicas))} of ${String(replicas)} available` };
}

function statefulSet(spec: Properties, status: Properties): Readiness {
    const replicas = typeof spec.replicas === "number" ? spec.replicas : 1;
    const done = count(status.updatedReplicas) >= replicas && count(status.readyReplicas) >= replicas;
    return done ? undefined : { waitingFor: `${String(count(status.readyReplicas))} of ${String(replicas)} ready` };
}

function daemonSet(_spec: Properties, status: Properties): Readiness {
    const wanted = count(status.desiredNumberScheduled);
    const done = count(status.updatedNumberScheduled) >= wanted && count(status.numberAvailable) >= wanted;
    return done ? undefined : { waitingFor: `${String(count(status.numberAvailable))} of ${String(wanted)} available` };
}

function job(_spec: Properties, status: Properties): Readiness {
    const failed = condition(status, "Failed");
    if (failed?.status === "True") return { failed: textOf(failed.message) };
    return condition(status, "Complete")?.status === "True" ? undefined : { waitingFor: "the Job to complete" };
}

function pod(_spec: Properties, status: Properties): Readiness {
    if (status.phase === "Failed") return { failed: `the Pod failed: ${textOf(status.message ?? status.reason)}` };
    if (status.phase === "Succeeded") return undefined;
    return condition(status, "Ready")?.status === "True" ? undefined : { waitingFor: "the Pod to be ready" };
}

const waited: Record<string, (spec: Properties, status: Properties) => Readiness> = {
    "apps/v1/Deployment": deployment,
    "apps/v1/StatefulSet": statefulSet,
    "apps/v1/DaemonSet": daemonSet,
    "batch/v1/Job": job,
    "v1/Pod": pod,
};

/** Whether an object has become what it was created for. Kinds without such a state are ready at once. */
export function readiness(object: Properties): Readiness {
    const check = waited[`${textOf(object.apiVersion)}/${textOf(object.kind)}`];
    if (check === undefined) return undefined;
    const status = statusOf(object);
    const generation = count(metadataOf(object).generation);
    const observed = status.observedGeneration;
    if (typeof observed === "number" && observed < generation)
        return { waitingFor: "the controller to see the change" };
    if (observed === undefined && object.apiVersion === "apps/v1") return { waitingFor: "the controller" };
    return check(isObject(object.spec) ? object.spec : {}, status);
}
