import { expect } from "chai";
import fc from "fast-check";
import {
    changesBetween,
    type FieldChange,
    fieldChanges,
    identityKey,
    pathText,
} from "../../components/guarded-release/changes/changes";
import { canonicalJson, digestOf } from "../../components/guarded-release/render/digest";
import type { RenderedObject } from "../../components/guarded-release/render/render";

const object = (kind: string, name: string, more: object = {}): RenderedObject => ({
    apiVersion: "v1",
    kind,
    metadata: { name },
    ...more,
});
const deployment = (spec: object, name = "mf-demo"): RenderedObject => ({
    ...object("Deployment", name, { spec }),
    apiVersion: "apps/v1",
});
const pods = (...containers: object[]) => ({ template: { spec: { containers } } });
const shown = (before: RenderedObject, after: RenderedObject) =>
    changesBetween([before], [after]).flatMap(({ fields }) =>
        fields.map(
            ({ path, before: was, after: is }) => `${pathText(path)}: ${JSON.stringify(was)} → ${JSON.stringify(is)}`,
        ),
    );

describe("what changes between two renders", () => {
    it("is named by object and field", () => {
        const before = [object("Service", "x"), deployment({ replicas: 2 })];
        const after = [deployment({ replicas: 3 }), object("ConfigMap", "y")];
        expect(changesBetween(before, after)).to.deep.equal([
            { name: "ConfigMap/y", action: "create", fields: [], restartsPods: false },
            {
                name: "Deployment/mf-demo",
                action: "update",
                fields: [{ path: ["spec", "replicas"], before: 2, after: 3 }],
                restartsPods: false,
            },
            { name: "Service/x", action: "delete", fields: [], restartsPods: false },
        ]);
    });

    it("says which pods restart: those whose template changes, and no Job's", () => {
        const with1 = { ...pods({ name: "api", image: "a:1" }), replicas: 1 };
        const with2 = { ...pods({ name: "api", image: "a:2" }), replicas: 1 };
        const restarted = (kind: string) =>
            changesBetween([object(kind, "a", { spec: with1 })], [object(kind, "a", { spec: with2 })])[0]?.restartsPods;
        expect(["Deployment", "StatefulSet", "DaemonSet"].map(restarted)).to.deep.equal([true, true, true]);
        expect(restarted("Job")).to.equal(false);
        expect(changesBetween([deployment(with1)], [deployment({ ...with1, replicas: 2 })])[0]?.restartsPods).to.equal(
            false,
        );
    });

    it("matches the items of a list by what names them, never by their place", () => {
        const api = { name: "api", image: "a:1", ports: [{ containerPort: 80 }], env: [{ name: "A", value: "1" }] };
        expect(
            shown(
                deployment(pods(api)),
                deployment(
                    pods(
                        { name: "proxy", image: "p:1" },
                        {
                            ...api,
                            image: "a:2",
                            ports: [{ containerPort: 81 }, { containerPort: 80 }],
                            env: [
                                { name: "0", value: "0" },
                                { name: "A", value: "2" },
                            ],
                        },
                    ),
                ),
            ),
        ).to.deep.equal([
            'spec.template.spec.containers[api].env[A].value: "1" → "2"',
            'spec.template.spec.containers[api].env[0]: undefined → {"name":"0","value":"0"}',
            'spec.template.spec.containers[api].image: "a:1" → "a:2"',
            'spec.template.spec.containers[api].ports[81]: undefined → {"containerPort":81}',
            'spec.template.spec.containers[proxy]: undefined → {"name":"proxy","image":"p:1"}',
        ]);
    });

    it("tells another order of the same items, because Kubernetes does", () => {
        const [a, b] = [
            { name: "a", image: "a" },
            { name: "b", image: "b" },
        ];
        expect(shown(deployment(pods(a, b)), deployment(pods(b, a)))).to.deep.equal([
            'spec.template.spec.containers[*]: ["a","b"] → ["b","a"]',
        ]);
    });

    it("shows one item more in the middle of a list without names as that item", () => {
        const rule = (cidr: string) => ({ to: [{ ipBlock: { cidr } }] });
        const policy = (...egress: object[]) => object("NetworkPolicy", "x", { spec: { egress } });
        expect(shown(policy(rule("a"), rule("c")), policy(rule("a"), rule("b"), rule("c")))).to.deep.equal([
            'spec.egress[1]: undefined → {"to":[{"ipBlock":{"cidr":"b"}}]}',
        ]);
        expect(shown(policy(rule("a"), rule("b")), policy(rule("a"), rule("c")))).to.deep.equal([
            'spec.egress[1].to[0].ipBlock.cidr: "b" → "c"',
        ]);
    });

    it("takes an object of another group, namespace or name for another object, of another version for the same", () => {
        const ingress = (apiVersion: string, namespace?: string): RenderedObject => ({
            apiVersion,
            kind: "Ingress",
            metadata: { name: "x", ...(namespace === undefined ? {} : { namespace }) },
        });
        const actions = (before: RenderedObject, after: RenderedObject) =>
            changesBetween([before], [after]).map(({ name, action }) => `${action} ${name}`);
        expect(actions(ingress("networking.k8s.io/v1beta1"), ingress("networking.k8s.io/v1"))).to.deep.equal([
            "update Ingress/x",
        ]);
        expect(actions(ingress("extensions/v1beta1"), ingress("networking.k8s.io/v1"))).to.deep.equal([
            "delete extensions/v1beta1/Ingress/x",
            "create networking.k8s.io/v1/Ingress/x",
        ]);
        expect(actions(ingress("v1", "a"), ingress("v1", "b"))).to.deep.equal([
            "delete v1/a/Ingress/x",
            "create v1/b/Ingress/x",
        ]);
    });

    it("does not lose an object that a chart renders twice", () => {
        const [one, two] = [object("A", "x", { spec: 1 }), object("A", "x", { spec: 2 })];
        expect(changesBetween([one, one], [one, two]).map(({ name, action }) => `${action} ${name}`)).to.deep.equal([
            "update v1/A/x#2",
        ]);
    });

    it("writes keys that are no plain words in quotes", () => {
        expect(pathText(["metadata", "annotations", "ml-api/key-generation"])).to.equal(
            'metadata.annotations["ml-api/key-generation"]',
        );
        expect(pathText(["data", "model.json"])).to.equal('data["model.json"]');
        expect(pathText(["spec", "ports", "[http]", "port"])).to.equal("spec.ports[http].port");
    });
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
                const objects = (specs: object[]) =>
                    specs.map((inner, index) => object("A", `o${index}`, { spec: inner }));
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
