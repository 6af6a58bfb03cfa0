import * as fs from "node:fs";
import * as path from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { assumedRecord } from "../../components/guarded-release/safety/assumed";
import { type Shape, shapeOf } from "../../components/guarded-release/safety/merge-keys";
import {
    asMap,
    type Fields,
    isMap,
    mergePatch,
    NoPatch,
    strategicPatch,
} from "../../components/guarded-release/safety/patch";

interface Case {
    readonly kind: string;
    readonly old: Fields;
    readonly live: Fields;
    readonly next: Fields;
    readonly patch: Fields;
}

const GROUPS: Readonly<Record<string, string>> = { Deployment: "apps/v1", PodDisruptionBudget: "policy/v1" };
const shape = (kind: string): Shape => shapeOf({ apiVersion: GROUPS[kind] ?? "v1", kind }) ?? {};

/** An item of a map or list that a person wrote, in the forms that merge differently. */
const word = fc.constantFrom("a", "b", "c");
const items = (more: Record<string, fc.Arbitrary<unknown>>) =>
    fc.uniqueArray(fc.record({ name: word, ...more }, { requiredKeys: ["name"] }), {
        maxLength: 3,
        selector: ({ name }) => name,
    });
const deployment = fc.record(
    {
        replicas: fc.nat(2),
        strategy: fc.record({ type: word, rollingUpdate: fc.dictionary(word, word) }, { requiredKeys: [] }),
        template: fc.record({
            metadata: fc.record({ labels: fc.dictionary(word, word) }),
            spec: fc.record(
                {
                    containers: items({ image: word, args: fc.array(word), env: items({ value: word }) }),
                    volumes: items({ emptyDir: fc.constant({}) }),
                    nodeSelector: fc.dictionary(word, word),
                },
                { requiredKeys: ["containers"] },
            ),
        }),
    },
    { requiredKeys: ["template"] },
);
const object = deployment.map((spec): Fields => ({ spec }));

describe("the patch that Helm sends", () => {
    // Made by CreateThreeWayMergePatch of k8s.io/apimachinery 0.35.1, which Helm 3.20.2 calls.
    const cases = fs
        .readFileSync(path.join(__dirname, "patch-cases.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Case);

    it(`equals that of Kubernetes' own library in ${cases.length} recorded cases`, () => {
        for (const { kind, old, live, next, patch } of cases)
            expect(strategicPatch(old, live, next, shape(kind)), JSON.stringify({ old, live, next })).to.deep.equal(
                patch,
            );
    });

    it("is empty when the live object has what is wanted, whatever else it has", () => {
        fc.assert(
            fc.property(object, (wanted) => {
                const live = { ...wanted, status: { replicas: 1 }, metadata: { uid: "1" } };
                expect(strategicPatch(wanted, live, wanted, shape("Deployment"))).to.deep.equal({});
            }),
        );
    });

    it("brings everything that is wanted, whatever was there", () => {
        fc.assert(
            fc.property(object, object, object, (old, live, next) => {
                const after = applied(live, strategicPatch(old, live, next, shape("Deployment")), shape("Deployment"));
                expect(missing(next, after, shape("Deployment")), JSON.stringify(after)).to.deep.equal([]);
            }),
        );
    });

    it("applied a second time changes nothing", () => {
        fc.assert(
            fc.property(object, object, object, (old, live, next) => {
                const once = applied(live, strategicPatch(old, live, next, shape("Deployment")), shape("Deployment"));
                expect(
                    applied(once, strategicPatch(next, once, next, shape("Deployment")), shape("Deployment")),
                ).to.deep.equal(once);
            }),
        );
    });

    it("leaves alone what neither the old nor the new version has", () => {
        fc.assert(
            fc.property(object, object, (old, next) => {
                const sidecar = { name: "injected", image: "proxy" };
                const live = { spec: { template: { spec: { containers: [sidecar] } }, paused: true } };
                const after = applied(live, strategicPatch(old, live, next, shape("Deployment")), shape("Deployment"));
                expect(at(after, "spec", "paused")).to.equal(true);
                expect(at(after, "spec", "template", "spec", "containers")).to.deep.include(sidecar);
            }),
        );
    });

    it("removes what the old version had and the new one has not", () => {
        fc.assert(
            fc.property(object, (next) => {
                const extra = { name: "old", image: "x" };
                const before = structuredClone(next) as { spec: { template: { spec: { containers: unknown[] } } } };
                before.spec.template.spec.containers.unshift(extra);
                const old = { ...before, metadata: { labels: { gone: "1" } } };
                const after = applied(old, strategicPatch(old, old, next, shape("Deployment")), shape("Deployment"));
                expect(at(after, "metadata") ?? {}).not.to.have.nested.property("labels.gone");
                expect(at(after, "spec", "template", "spec", "containers")).not.to.deep.include(extra);
            }),
        );
    });

    it("cannot be made for an item without the key that items are matched by", () => {
        const spec = (ports: object[]) => ({ spec: { ports } });
        const make = () => strategicPatch(spec([]), spec([{ port: 80 }]), spec([{ targetPort: 80 }]), shape("Service"));
        expect(make).to.throw(NoPatch, "an item of ports has no port");
    });

    describe("for a custom resource", () => {
        it("is a merge patch from the old to the new version", () => {
            const old = { spec: { a: 1, list: [1, 2], inner: { x: 1, y: 2 } }, gone: true };
            const next = { spec: { a: 1, list: [2], inner: { x: 1, z: 3 } } };
            expect(mergePatch(old, next)).to.deep.equal({
                gone: null,
                spec: { list: [2], inner: { y: null, z: 3 } },
            });
        });

        it("turns the old version into the new one", () => {
            fc.assert(
                fc.property(object, object, (old, next) => {
                    expect(applied(old, mergePatch(old, next), {})).to.deep.equal(next);
                }),
            );
        });
    });
});

function at(value: unknown, ...keys: string[]): unknown {
    return keys.reduce<unknown>((inner, key) => asMap(inner)[key], value);
}

/** What the server makes of an object and a patch. */
function applied(live: Fields, patch: Fields, rules: Shape): Fields {
    const kept = patch["$retainKeys"] as string[] | undefined;
    const result: Record<string, unknown> = Object.fromEntries(
        Object.entries(live).filter(([key]) => kept?.includes(key) ?? true),
    );
    for (const [key, value] of Object.entries(patch).filter(([name]) => !name.startsWith("$"))) {
        const rule = rules.fields?.[key] ?? {};
        const now = result[key];
        if (value === null) Reflect.deleteProperty(result, key);
        else if (isMap(value)) result[key] = applied(isMap(now) ? now : {}, value, rule);
        else if (Array.isArray(value) && rule.mergeKey === "name")
            result[key] = merged(asList(now), asList(value), rule);
        else result[key] = value;
    }
    for (const [name, order] of Object.entries(patch)) {
        const key = /^\$setElementOrder\/(.*)$/.exec(name)?.[1];
        if (key === undefined || result[key] === undefined) continue;
        const names = (order as { name: string }[]).map((item) => item.name);
        const place = (item: Fields) => names.indexOf(String(item["name"]));
        const list = asList(result[key]);
        result[key] = [
            ...list.filter((item) => place(item) < 0),
            ...list.filter((item) => place(item) >= 0).sort((a, b) => place(a) - place(b)),
        ];
    }
    return result;
}

function merged(live: readonly Fields[], patch: readonly Fields[], rule: Shape): Fields[] {
    const deleted = patch.filter((item) => item["$patch"] === "delete").map((item) => item["name"]);
    const rest = live.filter((item) => !deleted.includes(item["name"]));
    const changed = patch.filter((item) => !("$patch" in item));
    return [
        ...rest.map((item) => {
            const change = changed.find((one) => one["name"] === item["name"]);
            return change === undefined ? item : applied(item, change, rule);
        }),
        ...changed
            .filter((item) => !rest.some((one) => one["name"] === item["name"]))
            .map((item) => applied({}, item, rule)),
    ];
}

function asList(value: unknown): Fields[] {
    return Array.isArray(value) ? value.filter(isMap) : [];
}

/** Paths of the wanted object that the real one has not. */
function missing(wanted: unknown, real: unknown, rule: Shape, where = ""): string[] {
    if (isMap(wanted)) {
        return Object.entries(wanted).flatMap(([key, value]) =>
            missing(value, asMap(real)[key], rule.fields?.[key] ?? {}, `${where}.${key}`),
        );
    }
    if (Array.isArray(wanted) && rule.mergeKey === "name") {
        return asList(wanted).flatMap((item) => {
            const found = asList(real).find((one) => one["name"] === item["name"]);
            return missing(item, found, { fields: rule.fields ?? {} }, `${where}[${String(item["name"])}]`);
        });
    }
    return JSON.stringify(wanted) === JSON.stringify(real) ? [] : [where];
}

describe("what Helm may have recorded of an object before its record was lost", () => {
    const service = (...ports: object[]): RenderedObject => ({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "s" },
        spec: { ports },
    });

    it("has the live items of lists that merge by a key, so that what the new version lacks goes", () => {
        const next = service({ name: "http", port: 90 });
        const live = { ...service({ name: "http", port: 80, protocol: "TCP" }), status: {} };
        const assumed = assumedRecord(next, live);
        expect(assumed).to.deep.equal(service({ name: "http", port: 80, protocol: "TCP" }));
        const patch = strategicPatch(asMap(assumed), live, asMap(next), shapeOf(next) ?? {});
        expect(patch).to.have.nested.property("spec.ports[1].$patch", "delete");
    });

    it("has nothing else of the live object: what else is there may be somebody else's", () => {
        const next: RenderedObject = {
            apiVersion: "v1",
            kind: "Service",
            metadata: { name: "s", labels: { a: "1" } },
            spec: {},
        };
        const live = {
            metadata: { name: "s", labels: { a: "0", b: "1" }, finalizers: ["x"] },
            spec: { clusterIP: "10.0.0.1" },
        };
        expect(assumedRecord(next, live)).to.deep.equal(next);
    });
});
