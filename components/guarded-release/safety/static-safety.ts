import { apiVersionFault } from "./api-versions";
import { immutableFaults } from "./immutable";
import { groupOf } from "../render/kinds";
import { at } from "./patch";
import { KUBE_VERSION, type RenderedObject } from "../render/render";
import { byName } from "../render/rendered-objects";

/** One reason why an upgrade fails, or does more than one would think. */
export interface SafetyProblem {
    /** As {@link byName} names it: `Deployment/mf-demo`. */
    readonly object: string;
    /** `spec.selector`; empty when the whole object is meant. */
    readonly field: string;
    /** What was found: old → new. */
    readonly what: string;
    readonly fix: string;
    /** The upgrade cannot succeed. */
    readonly blocking: boolean;
    /** An API server that is asked about the object says the same, and knows better. */
    readonly serverKnows: boolean;
}

/** A problem of an object that has its name still to come. */
export type Fault = Omit<SafetyProblem, "object">;

/**
 * What no server is needed for: immutable fields, API versions that Kubernetes no longer has, storage that would be deleted, the
 * same object twice, objects in another namespace than the release.
 *
 * @param before undefined when nothing is known to be installed
 * @param namespace of the release; without it, objects elsewhere are not noticed
 */
export function staticProblems(
    before: readonly RenderedObject[] | undefined,
    after: readonly RenderedObject[],
    namespace?: string,
    kubeVersion = KUBE_VERSION,
): SafetyProblem[] {
    const names = namesOf([...(before ?? []), ...after]);
    const old = new Map(before?.map((object) => [identityOf(object), object]));
    const now = new Set(after.map(identityOf));
    const named = (object: RenderedObject, faults: readonly Fault[]): SafetyProblem[] =>
        faults.map((fault) => ({ object: names.get(identityOf(object)) ?? object.kind, ...fault }));
    return [
        ...after.flatMap((object) => {
            const was = old.get(identityOf(object));
            return named(object, [
                ...apiVersionFaults(object, kubeVersion),
                ...(was === undefined || isHook(object) || isHook(was) ? [] : immutableFaults(was, object)),
                ...namespaceFaults(object, namespace),
            ]);
        }),
        ...duplicates(after).flatMap(([object, count]) => named(object, [duplicateFault(count)])),
        ...(before ?? [])
            .filter((object) => !now.has(identityOf(object)) && !isHook(object))
            .flatMap((object) => named(object, lossFaults(object))),
    ];
}

/** What Helm takes for the same object, whatever the version of its API. */
export function identityOf({ apiVersion, kind, metadata }: RenderedObject): string {
    return [groupOf(apiVersion), kind, metadata.namespace ?? "", metadata.name].join("/");
}

/** The names that people read, by identity. */
export function namesOf(objects: readonly RenderedObject[]): ReadonlyMap<string, string> {
    const unique = new Map(objects.map((object) => [identityOf(object), object]));
    return new Map(Object.entries(byName([...unique.values()])).map(([name, object]) => [identityOf(object), name]));
}

/** Hooks are no part of what Helm compares: it deletes and creates them by their own policy. */
export function isHook({ metadata }: RenderedObject): boolean {
    return metadata.annotations?.["helm.sh/hook"] !== undefined;
}

function apiVersionFaults(object: RenderedObject, kubeVersion: string): Fault[] {
    const fault = apiVersionFault(object, kubeVersion);
    if (fault === undefined) return [];
    const { what, fix, certain } = fault;
    return [{ field: "apiVersion", what, fix, blocking: certain, serverKnows: true }];
}

function namespaceFaults({ metadata: { namespace: own } }: RenderedObject, namespace: string | undefined): Fault[] {
    if (own === undefined || namespace === undefined || own === namespace) return [];
    return warning(
        "metadata.namespace",
        `${own}: the release is in ${namespace}, so two releases can fight over the object, and a deployer of one namespace may not write it`,
        `take metadata.namespace out of the template, or make the object part of a release in ${own}`,
    );
}

function duplicates(after: readonly RenderedObject[]): [RenderedObject, number][] {
    const found = new Map<string, [RenderedObject, number]>();
    for (const object of after.filter((one) => !isHook(one))) {
        const identity = identityOf(object);
        found.set(identity, [object, (found.get(identity)?.[1] ?? 0) + 1]);
    }
    return [...found.values()].filter(([, count]) => count > 1);
}

function duplicateFault(count: number): Fault {
    const what = `the chart renders it ${count} times: Helm cannot install that, and on an upgrade the last one wins`;
    return { field: "", what, fix: "give each its own name", blocking: true, serverKnows: false };
}

/** Why the end of an object is the end of data. */
function lossFaults(object: RenderedObject): Fault[] {
    if (object.metadata.annotations?.["helm.sh/resource-policy"] === "keep") return [];
    const loss = LOSSES[object.kind]?.(object);
    if (loss === undefined) return [];
    const { name, namespace } = object.metadata;
    const where = namespace === undefined ? "" : ` -n ${namespace}`;
    const keep = `kubectl${where} annotate ${object.kind.toLowerCase()} ${name} helm.sh/resource-policy=keep`;
    return warning("", `no longer rendered, so Helm deletes it: ${loss}`, `to keep it: ${keep}`);
}

const LOSSES: Readonly<Record<string, (object: RenderedObject) => string | undefined>> = {
    PersistentVolumeClaim: () => "its data go too, unless the volume's reclaim policy is Retain",
    PersistentVolume: () => "nothing leads to its data any more",
    Namespace: () => "everything in it goes too",
    CustomResourceDefinition: () => "every object of its kind, in all namespaces, goes too",
    StatefulSet: (object) => {
        const deletes = at(object, ["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"]) === "Delete";
        const claims = at(object, ["spec", "volumeClaimTemplates"]);
        if (!Array.isArray(claims) || claims.length === 0) return undefined;
        return deletes
            ? "its claims and their data go too (whenDeleted: Delete)"
            : "its claims stay behind, and nothing uses or deletes them";
    },
};

/** What a person should know, and no server says. */
export function warning(field: string, what: string, fix: string): Fault[] {
    return [{ field, what, fix, blocking: false, serverKnows: false }];
}
