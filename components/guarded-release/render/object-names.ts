import { groupOf } from "./kinds";
import type { RenderedObject } from "./render";

/** What a release consists of, `Kind/name` → object. */
export type ObjectsByName = Readonly<Record<string, RenderedObject>>;

/** Names objects as people do. Two of one kind and name (of different API groups or namespaces) are told apart by these. */
export function byName(objects: readonly RenderedObject[]): ObjectsByName {
    const short = ({ kind, metadata }: RenderedObject) => `${kind}/${metadata.name}`;
    const long = (object: RenderedObject) =>
        [object.apiVersion, object.metadata.namespace, short(object)].filter(Boolean).join("/");
    const count = new Map<string, number>();
    for (const object of objects) count.set(short(object), (count.get(short(object)) ?? 0) + 1);
    return Object.fromEntries(
        objects.map((object) => [count.get(short(object)) === 1 ? short(object) : long(object), object]),
    );
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
