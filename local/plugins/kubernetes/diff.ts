import type { DetailedDiff, PathPart } from "../rpc/detailed-diff";
import { detailedDiff } from "../rpc/detailed-diff";
import type { Properties, Value } from "../rpc/properties";
import { isObject, textOf } from "../rpc/properties";
import { groupOf } from "./object";

export interface Mutability {
    /** Data of a Secret that is not immutable may change in place. */
    secrets: boolean;
    configMaps: boolean;
}

const identity = ["metadata.name", "metadata.namespace"];

/** Fields that the API server does not let change, by "group/Kind". A path stands for everything below it too. */
const fixed: Record<string, string[]> = {
    "apps/Deployment": ["spec.selector"],
    "apps/DaemonSet": ["spec.selector"],
    "apps/StatefulSet": [
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ],
    "batch/Job": ["spec.completions", "spec.parallelism", "spec.selector", "spec.template"],
    "rbac.authorization.k8s.io/RoleBinding": ["roleRef"],
    "rbac.authorization.k8s.io/ClusterRoleBinding": ["roleRef"],
    "storage.k8s.io/StorageClass": ["parameters", "provisioner"],
    "/PersistentVolumeClaim": ["spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"],
    "/Pod": ["spec"],
    "/ResourceQuota": ["spec.scopes"],
    "/Service": ["spec.clusterIP"],
    "/Secret": ["type"],
};

function fixedFields(object: Properties, mutability: Mutability): string[] {
    const kind = textOf(object.kind);
    const group = groupOf(textOf(object.apiVersion));
    const immutable = object.immutable === true;
    const fields = [...identity, ...(fixed[`${group}/${kind}`] ?? [])];
    if (group === "" && kind === "Secret" && (immutable || !mutability.secrets)) fields.push("data", "stringData");
    if (group === "" && kind === "ConfigMap" && (immutable || !mutability.configMaps))
        fields.push("data", "binaryData");
    return fields;
}

/** The part of `source` that has a counterpart in `shape`: what somebody else filled in is left out. */
export function prune(source: Properties, shape: Properties): Properties {
    const pruned: Properties = {};
    for (const [key, value] of Object.entries(source)) {
        const model = shape[key];
        if (model !== undefined) pruned[key] = pruneValue(value, model);
    }
    return pruned;
}

function pruneValue(value: Value, model: Value): Value {
    if (isObject(value) && isObject(model)) return prune(value, model);
    if (Array.isArray(value) && Array.isArray(model)) {
        return value.slice(0, model.length).map((item, index) => pruneValue(item, model[index] ?? null));
    }
    return value;
}

/**
 * Changes between an object as it was found last and the inputs it should be made of. Both are plain values, without
 * secrets' marks.
 */
export function objectDiff(
    wanted: Properties,
    live: Properties,
    oldInputs: Properties,
    mutability: Mutability,
): DetailedDiff {
    const base = prune(live, oldInputs);
    const fields = fixedFields(wanted, mutability);
    const isFixed = (path: readonly PathPart[]): boolean => {
        const text = path.filter((part) => typeof part === "string").join(".");
        return fields.some((field) => text === field || text.startsWith(`${field}.`));
    };
    return detailedDiff(wanted, base, base, isFixed);
}
