import { canonicalJson } from "../render/digest";
import type { Shape } from "./merge-keys";

/** A map of an object, or an object without regard to its kind. */
export type Fields = Readonly<Record<string, unknown>>;

/** Two versions that no patch leads between, so that Helm fails before it sends anything. */
export class NoPatch extends Error {}

/**
 * The strategic merge patch that Helm sends for an object of a built-in kind: it makes `live` into `next` where they differ,
 * removes what `old` had and `next` no longer has, and leaves alone what neither of both names. Empty when nothing is to do.
 *
 * @param old the object as the last release rendered it
 * @param live the object as the server has it
 * @param next the object as it should be
 */
export function strategicPatch(old: Fields, live: Fields, next: Fields, shape: Shape): Fields {
    return mapPatch(old, live, next, shape);
}

/** The JSON merge patch that Helm sends for a custom resource; it does not look at the live object. */
export function mergePatch(old: Fields, next: Fields): Fields {
    const patch: Record<string, unknown> = {};
    for (const key of Object.keys(old)) if (!(key in next)) patch[key] = null;
    for (const [key, value] of Object.entries(next)) {
        const was = old[key];
        if (!(key in old) || !isMap(was) || !isMap(value)) {
            if (!sameValue(was, value)) patch[key] = value;
        } else {
            const inner = mergePatch(was, value);
            if (Object.keys(inner).length > 0) patch[key] = inner;
        }
    }
    return patch;
}

function mapPatch(old: Fields, live: Fields, next: Fields, shape: Shape): Record<string, unknown> {
    const patch: Record<string, unknown> = {};
    for (const key of Object.keys(old)) if (!(key in next)) patch[key] = null;
    for (const [key, value] of Object.entries(next)) {
        Object.assign(patch, fieldPatch(key, old[key], live[key], value, shape.fields?.[key] ?? {}));
    }
    const dropped = [old, live].some((side) =>
        Object.entries(side).some(([key, value]) => value !== null && !(key in next)),
    );
    if (shape.retainKeys === true && (dropped || Object.keys(patch).length > 0)) {
        const kept = Object.keys(next).filter((key) => next[key] !== null);
        if (kept.length > 0) patch["$retainKeys"] = kept.sort();
    }
    return patch;
}

/** What stands in a patch for one field that the new version has: nothing, one entry, or a list with its directives. */
function fieldPatch(key: string, old: unknown, live: unknown, next: unknown, shape: Shape): Fields {
    const mergeKey = Array.isArray(next) ? shape.mergeKey : undefined;
    const nothingThere = live === undefined || (mergeKey !== undefined && Array.isArray(live) && live.length === 0);
    if (nothingThere && !(Array.isArray(live) && sameValue(live, next))) {
        const removed = old === undefined ? {} : fieldPatch(key, old, next, next, shape);
        return overlay(removed, { [key]: next }, { fields: { [key]: shape } });
    }
    if (isMap(live) && isMap(next)) {
        if (shape.replace === true) return { [key]: next };
        const inner = mapPatch(isMap(old) ? old : {}, live, next, shape);
        return Object.keys(inner).length === 0 ? {} : { [key]: inner };
    }
    if (mergeKey !== undefined && Array.isArray(live) && Array.isArray(next)) {
        const before: unknown[] = Array.isArray(old) ? old : [];
        return mergeKey === ""
            ? setPatch(key, before, live, next)
            : listPatch(key, mergeKey, before, live, next, shape);
    }
    return sameValue(live, next) ? {} : { [key]: next };
}

/**
 * A whole new value on top of what a patch removes. Helm removes even from what is not there, and the server then takes some of
 * the directives for content; so a patch without them would be answered differently.
 */
function overlay(removed: Fields, next: Fields, shape: Shape): Record<string, unknown> {
    const onto = (below: unknown, value: unknown, inner: Shape): unknown => {
        if (isMap(below) && isMap(value)) return overlay(below, value, inner);
        const { mergeKey } = inner;
        if (mergeKey === undefined || mergeKey === "" || !Array.isArray(below) || !Array.isArray(value)) return value;
        const items = below.filter(isMap);
        const find = (item: Fields) => items.find((one) => one[mergeKey] === item[mergeKey]) ?? {};
        return [
            ...value.map((item: unknown) => (isMap(item) ? overlay(find(item), item, inner) : item)),
            ...items.filter((item) => "$patch" in item),
        ];
    };
    const fields = Object.entries(next).map(([key, value]) => [
        key,
        onto(removed[key], value, shape.fields?.[key] ?? {}),
    ]);
    return { ...removed, ...(Object.fromEntries(fields) as Fields) };
}

function listPatch(
    key: string,
    mergeKey: string,
    old: readonly unknown[],
    live: readonly unknown[],
    next: readonly unknown[],
    shape: Shape,
): Fields {
    const [was, is, wanted] = [old, live, next].map((items) => byMergeKey(key, mergeKey, items)) as [
        Items,
        Items,
        Items,
    ];
    const changed = [...wanted].flatMap(([id, item]) => {
        const there = is.get(id);
        if (there === undefined) return [overlay(mapPatch(was.get(id) ?? {}, item, item, shape), item, shape)];
        const inner = mapPatch(was.get(id) ?? {}, there, item, shape);
        return Object.keys(inner).length === 0 ? [] : [{ ...inner, [mergeKey]: item[mergeKey] }];
    });
    const gone = [...was].filter(([id]) => !wanted.has(id)).sort(([a], [b]) => (a < b ? -1 : 1));
    const deleted = gone.map(([, item]) => ({ [mergeKey]: item[mergeKey], $patch: "delete" }));
    const sameOrder = sameValue([...is.keys()], [...wanted.keys()]);
    const items = [...changed, ...deleted];
    if (items.length === 0 && sameOrder) return {};
    return {
        ...(items.length > 0 && { [key]: items }),
        ...elementOrder(
            key,
            [...wanted.values()].map((item) => ({ [mergeKey]: item[mergeKey] })),
        ),
    };
}

type Items = ReadonlyMap<string, Fields>;

/** Items by their key, in order. Of several with one key (a port for TCP and for UDP) the first meets the first. */
function byMergeKey(list: string, mergeKey: string, items: readonly unknown[]): Items {
    const found = new Map<string, Fields>();
    for (const item of items) {
        if (!isMap(item) || !(mergeKey in item))
            throw new NoPatch(`an item of ${list} has no ${mergeKey}: ${canonicalJson(item)}`);
        const id = String(item[mergeKey]);
        let unique = id;
        for (let copy = 2; found.has(unique); copy++) unique = `${id}#${copy}`;
        found.set(unique, item);
    }
    return found;
}

function setPatch(key: string, old: readonly unknown[], live: readonly unknown[], next: readonly unknown[]): Fields {
    const added = next.filter((item) => !live.includes(item));
    const gone = [...new Set(old.filter((item) => !next.includes(item)))].sort();
    // Helm orders the live values before it compares.
    if (gone.length === 0 && (live === next || sameValue([...live].sort(), next))) return {};
    return {
        ...(added.length > 0 && { [key]: added }),
        ...(gone.length > 0 && { [`$deleteFromPrimitiveList/${key}`]: gone }),
        ...elementOrder(key, next),
    };
}

function elementOrder(key: string, items: readonly unknown[]): Fields {
    return items.length > 0 ? { [`$setElementOrder/${key}`]: items } : {};
}

export function isMap(value: unknown): value is Fields {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The same JSON, whatever the order of keys; a value that is absent is the same as none. */
export function sameValue(a: unknown, b: unknown): boolean {
    return canonicalJson(a) === canonicalJson(b);
}

export function asMap(value: unknown): Fields {
    return isMap(value) ? value : {};
}

/** The value at a path; undefined where something on the way is absent. */
export function at(value: unknown, path: readonly string[]): unknown {
    return path.reduce<unknown>((inner, key) => (isMap(inner) ? inner[key] : undefined), value);
}
