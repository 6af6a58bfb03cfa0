import { at, type Fields } from "../safety/patch";
import type { RenderedObject } from "../render/render";

/** The release that objects are marked with. */
export interface Owner {
    readonly release: string;
    readonly namespace: string;
}

const MANAGED_BY = "app.kubernetes.io/managed-by";
export const RELEASE_NAME = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE = "meta.helm.sh/release-namespace";

/** The object with the marks by which Helm knows its own. */
export function owned(object: RenderedObject, { release, namespace }: Owner): RenderedObject {
    const { metadata } = object;
    const labels = { ...metadata.labels, [MANAGED_BY]: "Helm" };
    const annotations = { ...metadata.annotations, [RELEASE_NAME]: release, [RELEASE_NAMESPACE]: namespace };
    return { ...object, metadata: { ...metadata, labels, annotations } };
}

/** By Helm's own rule: the object is marked as one of the release. */
export function belongsTo(live: Fields, { release, namespace }: Owner): boolean {
    const of = (...path: string[]) => at(live, ["metadata", ...path]);
    return (
        of("labels", MANAGED_BY) === "Helm" &&
        of("annotations", RELEASE_NAME) === release &&
        of("annotations", RELEASE_NAMESPACE) === namespace
    );
}
