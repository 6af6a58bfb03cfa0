import { expect } from "chai";
import fc from "fast-check";
import { canonicalJson, digestOf } from "../../components/guarded-release/render/digest";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { byName } from "../../components/guarded-release/render/object-names";

const object = (kind: string, name: string, more: object = {}): RenderedObject => ({
    apiVersion: "v1",
    kind,
    metadata: { name },
    ...more,
});

describe("the digest of what a chart renders to", () => {
    it("does not depend on the order of objects or keys", () => {
        fc.assert(
            fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue())), (trees) => {
                const objects = trees.map((tree, index) => object("ConfigMap", `c${index}`, { data: tree }));
                const shuffled = [...objects]
                    .reverse()
                    .map((entry) => Object.fromEntries(Object.entries(entry).reverse()) as unknown as RenderedObject);
                expect(digestOf(shuffled)).to.equal(digestOf(objects));
            }),
        );
    });

    it("changes with any value", () => {
        fc.assert(
            fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
                fc.pre(canonicalJson(a) !== canonicalJson(b));
                expect(digestOf([object("A", "a", { spec: a })])).not.to.equal(
                    digestOf([object("A", "a", { spec: b })]),
                );
            }),
        );
    });

    it("is the JSON that everybody reads, in one order of keys", () => {
        fc.assert(
            fc.property(fc.jsonValue(), (value) => {
                expect(JSON.parse(canonicalJson(value))).to.deep.equal(JSON.parse(JSON.stringify(value)));
            }),
        );
    });
});

describe("the names of rendered objects", () => {
    it("are kind and name, and longer only where two share them", () => {
        const a = object("Service", "x");
        const b = { ...object("Service", "y"), apiVersion: "serving/v1" };
        const c = object("Service", "y");
        expect(byName([a, b, c])).to.deep.equal({ "Service/x": a, "serving/v1/Service/y": b, "v1/Service/y": c });
    });
});
