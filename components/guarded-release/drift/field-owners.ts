import { asMap, at, type Fields, isMap, sameValue } from "../safety/patch";

/** One entry of an object's `metadata.managedFields`: who has set which fields last. */
export interface FieldOwner {
    readonly manager: string;
    /** RFC 3339; undefined where the server does not say. */
    readonly time: string | undefined;
    readonly subresource: string | undefined;
    /** In the form `fieldsV1`. */
    readonly fields: Fields;
}

/**
 * A way into an object as `fieldsV1` writes it, step by step: `f:spec`, an item by its keys `k:{"name":"api"}`, a value of a set
 * `v:"x"`, a place in a list `i:0`.
 */
export type Steps = readonly string[];

export function ownersOf(live: Fields): readonly FieldOwner[] {
    const entries = at(live, ["metadata", "managedFields"]);
    return (Array.isArray(entries) ? entries : []).filter(isMap).map((entry) => ({
        manager: text(entry["manager"]) ?? "somebody",
        time: text(entry["time"]),
        subresource: text(entry["subresource"]),
        fields: asMap(entry["fieldsV1"]),
    }));
}

/** The name under which Helm has written the object: that of whoever has put its mark there. */
export function helmsName(owners: readonly FieldOwner[]): string | undefined {
    const mark = ["f:metadata", "f:annotations", "f:meta.helm.sh/release-name"];
    return owners.find(({ fields }) => at(fields, mark) !== undefined)?.manager;
}

/** Every field that an owner has set by itself, as the way to it. Of a list's item that is its own, the item comes too. */
export function stepsIn(fields: Fields, way: Steps = []): readonly Steps[] {
    return Object.entries(fields).flatMap(([step, inner]): readonly Steps[] => {
        if (step === ".") return /^[kvi]:/.test(way.at(-1) ?? "") ? [way] : [];
        const below = asMap(inner);
        const here = [...way, step];
        const children = Object.keys(below).filter((key) => key !== ".");
        return children.length === 0 ? [here] : stepsIn(below, here);
    });
}

/** Whether an owner has set the field itself. Who owns a list or a map does not own what others put into it. */
export function owns(fields: Fields, steps: Steps): boolean {
    return isMap(at(fields, steps));
}

/** The part of an object that a step leads to; undefined when there is none. */
export function follow(value: unknown, step: string): unknown {
    const argument = step.slice(2);
    if (step.startsWith("f:")) return isMap(value) ? value[argument] : undefined;
    if (!Array.isArray(value)) return undefined;
    if (step.startsWith("i:")) return value[Number(argument)] as unknown;
    const wanted: unknown = JSON.parse(argument);
    if (step.startsWith("v:")) return value.find((item) => sameValue(item, wanted)) as unknown;
    return value.find((item) => isMap(item) && hasKeys(item, asMap(wanted))) as unknown;
}

/** An item can leave out a key that has a default, as a port leaves out its protocol. */
function hasKeys(item: Fields, keys: Fields): boolean {
    const named = Object.entries(keys).filter(([key]) => key in item);
    return named.length > 0 && named.every(([key, value]) => sameValue(item[key], value));
}

/** The way as people read it, in the form of a change's path: `spec`, `[api]`, … */
export function pathOf(steps: Steps): readonly string[] {
    return steps.map((step) => {
        const argument = step.slice(2);
        if (step.startsWith("f:")) return argument;
        if (step.startsWith("i:")) return `[${argument}]`;
        const wanted: unknown = JSON.parse(argument);
        const name = isMap(wanted) ? (wanted["name"] ?? Object.values(wanted)[0]) : wanted;
        return `[${typeof name === "string" || typeof name === "number" ? name : JSON.stringify(name)}]`;
    });
}

/** Who has set what stands at a change's path in the live object, the latest of several. */
export function ownerAt(owners: readonly FieldOwner[], path: readonly string[], live: Fields): FieldOwner | undefined {
    return owners
        .filter(({ fields }) => hasPath(fields, path, live))
        .sort((a, b) => (a.time ?? "").localeCompare(b.time ?? ""))
        .at(-1);
}

function hasPath(fields: Fields, path: readonly string[], live: Fields): boolean {
    let here = fields;
    let value: unknown = live;
    for (const [index, key] of path.entries()) {
        const id = /^\[(.*)\]$/.exec(key)?.[1];
        const item = id === undefined ? undefined : itemOf(value, id);
        const step = id === undefined ? `f:${key}` : Object.keys(here).find((one) => leadsTo(one, item));
        const next = step === undefined ? undefined : here[step];
        // Somebody who owns a whole has no word about its parts.
        if (!isMap(next)) return index > 0 && Object.keys(here).length === 0;
        here = next;
        value = id === undefined ? at(value, [key]) : item;
    }
    return true;
}

/** The item that a path names by its identity; a list's owner may know it by other keys. */
function itemOf(list: unknown, id: string): unknown {
    const items: unknown[] = Array.isArray(list) ? list : [];
    const named = items.find((item) => String(at(item, ["name"])) === id);
    return (
        named ?? items.find((item) => (isMap(item) ? Object.values(item) : [item]).some((one) => String(one) === id))
    );
}

function leadsTo(step: string, item: unknown): boolean {
    if (item === undefined || !/^[kv]:/.test(step)) return false;
    const wanted: unknown = JSON.parse(step.slice(2));
    return isMap(wanted) ? isMap(item) && hasKeys(item, wanted) : sameValue(wanted, item);
}

function text(value: unknown): string | undefined {
    return typeof value === "string" && value !== "" ? value : undefined;
}
