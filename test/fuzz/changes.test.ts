import { expect } from "chai";
import fc from "fast-check";
import {
    changesBetween,
    type FieldChange,
    fieldChanges,
    identityKey,
} from "../../components/guarded-release/changes/changes";
import { canonicalJson, digestOf } from "../../components/guarded-release/render/digest";
import type { RenderedObject } from "../../components/guarded-release/render/render";

const object = (name: string, spec: object): RenderedObject => ({
    apiVersion: "v1",
    kind: "A",
    metadata: { name },
    ...{ spec },
});

/** Objects as a chart may render them: maps, lists with and without names, and few different words, so that they meet. */
const word = fc.constantFrom("a", "b", "name", "key", "port", "value", "[a]", "a.b");
const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        fc.oneof(fc.constantFrom("x", "y", ""), fc.integer({ min: 0, max: 2 }), fc.boolean(), fc.constant(null)),
        fc.dictionary(word, tie("tree"), { maxKeys: 4 }),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.array(
            fc.record({ name: fc.constantFrom("a", "b", "c", "d"), value: tie("tree") }, { requiredKeys: ["name"] }),
            { maxLength: 4 },
        ),
        fc.array(fc.record({ to: tie("tree") }), { maxLength: 4 }),
    ),
}));
const spec = fc.dictionary(word, tree as fc.Arbitrary<unknown>, { maxKeys: 4 });
/** Two renders that have nothing to do with each other, or the same things in another order. */
const pair = fc.oneof(
    fc.tuple(spec, spec),
    fc
        .tuple(spec, fc.array(fc.nat(), { minLength: 40, maxLength: 40 }))
        .map(([one, seed]) => [one, shuffled(one, seed)]),
) as fc.Arbitrary<[object, object]>;

describe("changes, for any two renders,", () => {
    it("are none exactly when the digests are equal", () => {
        fc.assert(
            fc.property(fc.array(pair, { maxLength: 3 }), (pairs) => {
                const objects = (specs: object[]) => specs.map((inner, index) => object(`o${index}`, inner));
                const before = objects(pairs.map(([one]) => one));
                const after = objects(pairs.map(([, other]) => other));
                expect(changesBetween(before, after).length === 0).to.equal(digestOf(before) === digestOf(after));
                expect(changesBetween(before, [...before].reverse())).to.deep.equal([]);
            }),
            { numRuns: 1000 },
        );
    });

    it("make the later one of the earlier one", () => {
        fc.assert(
            fc.property(pair, ([before, after]) => {
                expect(sorted(applied(before, after, fieldChanges([], before, after)))).to.deep.equal(sorted(after));
            }),
            { numRuns: 2000 },
        );
    });

    it("do not depend on the order of keys", () => {
        fc.assert(
            fc.property(pair, ([before, after]) => {
                expect(fieldChanges([], reversed(before), after)).to.deep.equal(fieldChanges([], before, after));
            }),
        );
    });
});

type Fields = Record<string, unknown>;

/** Does what the changes say, one after the other. */
function applied(before: unknown, after: unknown, changes: readonly FieldChange[]): unknown {
    const root = { root: structuredClone(before) };
    const isRemoval = (change: FieldChange) => change.after === undefined;
    // Removals come last and from the end, so that none moves an item that another change names by its index.
    for (const change of [...changes.filter((one) => !isRemoval(one)), ...changes.filter(isRemoval).reverse()]) {
        apply(root, { root: before }, { root: after }, ["root", ...change.path], change);
    }
    return root.root;
}

function apply(
    holder: unknown,
    was: unknown,
    is: unknown,
    [key = "", ...rest]: readonly string[],
    change: FieldChange,
): void {
    const value = structuredClone(change.after);
    if (!Array.isArray(holder)) {
        const [fields, old, now] = [holder, was, is] as Fields[] as [Fields, Fields, Fields];
        if (rest.length > 0) apply(fields[key], old[key], now[key], rest, change);
        else if (change.after === undefined) Reflect.deleteProperty(fields, key);
        else fields[key] = value;
        return;
    }
    const [items, old, now] = [holder, was, is] as [Fields[], Fields[], Fields[]];
    const name = identityKey(old, now);
    const id = key.slice(1, -1);
    if (key === "[*]" && name !== undefined) {
        const order = value as string[];
        const place = (item: Fields) => order.indexOf(String(item[name]));
        items.sort((a, b) => place(a) - place(b));
        return;
    }
    const find = (list: Fields[]) =>
        name === undefined ? Number(id) : list.findIndex((item) => String(item[name]) === id);
    const index = find(items);
    if (rest.length > 0) apply(items[index], old[find(old)], now[find(now)], rest, change);
    else if (change.after === undefined) items.splice(index, 1);
    else if (change.before !== undefined) items[index] = value as Fields;
    else items.splice(name === undefined ? index : items.length, 0, value as Fields);
}

/** Lists whose items have names, in one order: where an added item goes is not told. */
function sorted(value: unknown): unknown {
    if (Array.isArray(value)) {
        const items = value.map(sorted) as Fields[];
        const isNamed = items.every((item: unknown) => typeof item === "object" && item !== null);
        return isNamed && identityKey(items, items) !== undefined
            ? items.sort((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1))
            : items;
    }
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sorted(inner)]));
}

/** Every list in another order. */
function shuffled(value: unknown, seed: number[]): unknown {
    if (Array.isArray(value)) {
        return value
            .map((item: unknown) => ({ item: shuffled(item, seed), place: seed.pop() ?? 0 }))
            .sort((a, b) => a.place - b.place)
            .map(({ item }) => item);
    }
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shuffled(inner, seed)]));
}

function reversed(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
        Object.entries(value)
            .reverse()
            .map(([key, inner]) => [key, reversed(inner)]),
    );
}
