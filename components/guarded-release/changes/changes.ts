import { canonicalJson } from "../render/digest";
import type { RenderedObject } from "../render/render";
import { byName } from "../render/object-names";

/** One field of an object that becomes another. `undefined` = the field is absent on that side. */
export interface FieldChange {
    /**
     * Keys from the object's root. An item of a list stands in brackets: by its identity, `[api]`, else by its index, `[0]`;
     * `[*]` is the order of a list's items, with their identities as `before` and `after`.
     */
    readonly path: readonly string[];
    readonly before: unknown;
    readonly after: unknown;
}

export interface ObjectChange {
    /** As {@link byName} names it: `Deployment/mf-demo`. */
    readonly name: string;
    readonly action: "create" | "update" | "delete";
    /** Empty for create and delete. */
    readonly fields: readonly FieldChange[];
    /** The pod template of a workload changes, so its pods are replaced. */
    readonly restartsPods: boolean;
}

/**
 * What becomes of each object when one render follows another, in alphabetical order. None exactly when both have the same
 * digest. Objects are matched as Helm matches them: by group, kind, namespace and name.
 */
export function changesBetween(before: readonly RenderedObject[], after: readonly RenderedObject[]): ObjectChange[] {
    const old = byIdentity(before);
    const now = byIdentity(after);
    const all = new Map([...old, ...now]);
    // One naming for both sides: a name that is short in one render can be ambiguous in the other.
    const names = new Map(Object.entries(byName([...all.values()])).map(([name, object]) => [object, name]));
    const changes = [...all].flatMap(([identity, object]): ObjectChange[] => {
        const name = (names.get(object) ?? identity) + (/#\d+$/.exec(identity)?.[0] ?? "");
        const was = old.get(identity);
        const is = now.get(identity);
        if (was === undefined) return [{ name, action: "create", fields: [], restartsPods: false }];
        if (is === undefined) return [{ name, action: "delete", fields: [], restartsPods: false }];
        const fields = fieldChanges([], was, is);
        return fields.length === 0 ? [] : [{ name, action: "update", fields, restartsPods: restartsPods(is, fields) }];
    });
    return changes.sort((a, b) => compareText(a.name, b.name));
}

/** `spec.replicas`, `spec.template.spec.containers[api].image`, `metadata.annotations["ml-api/key-generation"]` */
export function pathText(path: readonly string[]): string {
    return path
        .map((key, index) => {
            if (index > 0 && isItem(key)) return key;
            if (!/^[A-Za-z_][\w-]*$/.test(key)) return `[${JSON.stringify(key)}]`;
            return index === 0 ? key : `.${key}`;
        })
        .join("");
}

/** Kinds whose controller replaces the pods when the template changes. */
const WORKLOADS = ["DaemonSet", "Deployment", "ReplicationController", "StatefulSet"];

/** Whether a change of these fields replaces the pods of an object. */
export function restartsPods(
    { kind }: Pick<RenderedObject, "kind">,
    fields: readonly Pick<FieldChange, "path">[],
): boolean {
    return WORKLOADS.includes(kind) && fields.some(({ path: [a, b] }) => a === "spec" && b === "template");
}

function byIdentity(objects: readonly RenderedObject[]): Map<string, RenderedObject> {
    const found = new Map<string, RenderedObject>();
    for (const object of objects) {
        const group = object.apiVersion.includes("/") ? object.apiVersion.split("/")[0] : "";
        const identity = [group, object.kind, object.metadata.namespace ?? "", object.metadata.name].join("/");
        // The same object twice in one render is a fault of the chart; it must not hide a change.
        let unique = identity;
        for (let copy = 2; found.has(unique); copy++) unique = `${identity}#${copy}`;
        found.set(unique, object);
    }
    return found;
}

/** The fields in which two values differ; whole subtrees that one side lacks are one change. */
export function fieldChanges(path: readonly string[], before: unknown, after: unknown): FieldChange[] {
    if (isMap(before) && isMap(after)) {
        const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort(compareText);
        return keys.flatMap((key) => fieldChanges([...path, key], own(before, key), own(after, key)));
    }
    if (isListOfMaps(before) && isListOfMaps(after)) return listChanges(path, before, after);
    return sameValue(before, after) ? [] : [{ path, before, after }];
}

function listChanges(path: readonly string[], before: readonly Fields[], after: readonly Fields[]): FieldChange[] {
    // A list that comes or goes is one change, and `[]` is not the same as no list.
    if (before.length === 0 || after.length === 0)
        return before.length === after.length ? [] : [{ path, before, after }];
    const key = identityKey(before, after);
    if (key === undefined) return changesByIndex(path, before, after);
    const old = new Map(before.map((item) => [String(item[key]), item]));
    const now = new Map(after.map((item) => [String(item[key]), item]));
    const changes = [...new Set([...old.keys(), ...now.keys()])].flatMap((id) =>
        fieldChanges([...path, `[${id}]`], old.get(id), now.get(id)),
    );
    const orderBefore = [...old.keys()].filter((id) => now.has(id));
    const orderAfter = [...now.keys()].filter((id) => old.has(id));
    if (!sameValue(orderBefore, orderAfter)) {
        changes.push({ path: [...path, "[*]"], before: orderBefore, after: orderAfter });
    }
    return changes;
}

/** What names an item of a Kubernetes list, the most telling first. */
const IDENTITY_KEYS = [
    "name",
    "containerPort",
    "port",
    "mountPath",
    "devicePath",
    "topologyKey",
    "key",
    "alert",
    "host",
    "ip",
];

/** The key by which two versions of a list are matched: every item of both has it, and no two of one side share a value. */
export function identityKey(before: readonly Fields[], after: readonly Fields[]): string | undefined {
    return IDENTITY_KEYS.find((key) =>
        [before, after].every((items) => {
            const ids = items.map((item) => item[key]);
            return (
                ids.every((id) => (typeof id === "string" && id !== "*") || typeof id === "number") &&
                new Set(ids.map(String)).size === items.length
            );
        }),
    );
}

/** Without identities: what both ends share stays out, so that one item more in the middle is one change. */
function changesByIndex(path: readonly string[], before: readonly Fields[], after: readonly Fields[]): FieldChange[] {
    const shorter = Math.min(before.length, after.length);
    let start = 0;
    while (start < shorter && sameValue(before[start], after[start])) start++;
    let end = 0;
    while (end < shorter - start && sameValue(before.at(-1 - end), after.at(-1 - end))) end++;
    const count = Math.max(before.length, after.length) - start - end;
    return Array.from({ length: count }, (_, offset) => start + offset).flatMap((index) => {
        const was = index < before.length - end ? before[index] : undefined;
        const is = index < after.length - end ? after[index] : undefined;
        const here = [...path, `[${index}]`];
        // An item with a name is shown with it: an index alone would not say whose value changes.
        if (was === undefined || is === undefined || "name" in was || "name" in is)
            return sameValue(was, is) ? [] : [{ path: here, before: was, after: is }];
        return fieldChanges(here, was, is);
    });
}

type Fields = Readonly<Record<string, unknown>>;

function isMap(value: unknown): value is Fields {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isListOfMaps(value: unknown): value is readonly Fields[] {
    return Array.isArray(value) && value.every(isMap);
}

function own(fields: Fields, key: string): unknown {
    return Object.hasOwn(fields, key) ? fields[key] : undefined;
}

function isItem(key: string): boolean {
    return key.startsWith("[") && key.endsWith("]");
}

function sameValue(a: unknown, b: unknown): boolean {
    return a === undefined || b === undefined ? a === b : canonicalJson(a) === canonicalJson(b);
}

function compareText(a: string, b: string): number {
    return a < b ? -1 : a > b ? 1 : 0;
}

export { redacted, redactedObject } from "./redaction";
