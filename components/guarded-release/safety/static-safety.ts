import { apiVersionFault } from "./api-versions";
import { immutableFaults } from "./immutable";
import { at } from "./patch";
import { KUBE_VERSION, type RenderedObject } from "../render/render";
import { identityOf, isHook, namesOf } from "../render/object-names";
import { type Fault, type SafetyProblem, warning } from "./problem";

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
