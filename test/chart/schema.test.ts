import { expect } from "chai";
import { at, defaultValues, errorsOf, isMap, schemaErrors, type Value, type Values } from "./helm";
import {
    chartSchema,
    entry,
    examples,
    isOpen,
    keys,
    lastOf,
    nameOf,
    openObjects,
    placesOf,
    schemaKeywords,
    type Schema,
} from "./keys";

function pathsIn(values: Values, above: string[] = []): string[] {
    return Object.entries(values).flatMap(([key, value]) => {
        const path = [...above, key];
        return [path.join("."), ...(isMap(value) ? pathsIn(value, path) : [])];
    });
}

describe("chart: values.schema.json", () => {
    it("accepts every example", () => {
        expect(examples.length).to.be.at.least(4);
        for (const { name, values } of examples) {
            expect(errorsOf(values), name).to.deep.equal([]);
        }
    });

    it("accepts the defaults", () => {
        expect(errorsOf({})).to.deep.equal([]);
    });

    it("uses no word that the sweeps do not understand", () => {
        const unknown = (schema: Schema): string[] => [
            ...Object.keys(schema).filter((word) => !schemaKeywords.has(word)),
            ...[
                ...Object.values(schema.properties ?? {}),
                ...Object.values(schema.patternProperties ?? {}),
                ...(typeof schema.additionalProperties === "object" ? [schema.additionalProperties] : []),
            ].flatMap(unknown),
        ];
        expect(unknown(chartSchema)).to.deep.equal([]);
    });

    it("describes exactly the keys of values.yaml, and every key in words", () => {
        const named = keys.filter(({ path }) => lastOf(path) !== entry);
        for (const key of named) {
            expect(key.schema.description, `${nameOf(key)} has no description`).to.be.a("string").that.is.not.empty;
        }
        const fixed = named.filter(({ path }) => !path.includes(entry));
        expect(fixed.map(nameOf).sort()).to.deep.equal(pathsIn(defaultValues()).sort());
    });

    it("has an example for every key", () => {
        expect(keys.filter((key) => placesOf(key).length === 0).map(nameOf), "add them to chart/ci/").to.deep.equal([]);
    });

    it("is closed in every object that the chart owns", () => {
        expect(isOpen(chartSchema)).to.be.false;
        expect(keys.filter(({ schema }) => isOpen(schema)).map(nameOf)).to.have.members([...openObjects]);
    });

    it("requires every key that has a default, so that null is refused by its name", () => {
        for (const { path, holder } of keys.filter(({ path }) => !path.includes(entry))) {
            expect(holder.required?.includes(lastOf(path)) ?? false, path.join(".")).to.equal(path[0] !== "global");
        }
    });

    const refused: [string, Value][] = [
        ["image.repository", "churn:1.4.2"],
        ["image.repository", "Registry.example.org/Team/Churn"],
        ["image.tag", 20261122],
        ["image.tag", "a b"],
        ["image.digest", "sha256:abc"],
        ["replicas", 0],
        ["replicas", 1.5],
        ["replicas", "three"],
        ["replicas", 101],
        ["resources.requests.cpu", "0"],
        ["resources.requests.cpu", "half"],
        ["resources.requests.cpu", false],
        ["resources.requests.cpu", 0],
        ["resources.requests.memory", "512mb"],
        ["resources.requests.memory", "512m"],
        ["resources.requests.memory", 512],
        ["resources.limits.cpu", "1 core"],
        ["resources.limits.memory", "0Gi"],
        ["storage.tmp", ""],
        ["storage.sharedMemory", "0"],
        ["api.port", 80],
        ["api.requestTimeoutSeconds", "30s"],
        ["api.requestTimeoutSeconds", 3601],
        ["api.maxConcurrentRequests", 10001],
        ["api.maxRequestBytes", 1073741825],
        ["api.logLevel", "INFO"],
        ["api.workers", 0],
        ["api.paths.ready", "readyz"],
        ["api.paths.predict", "/predict?full=1"],
        ["model.loadBudgetSeconds", 0],
        ["model.loadBudgetSeconds", 7201],
        ["model.download.url", "s3://models/model.onnx"],
        ["model.download.sha256", "abc"],
        ["model.download.file", "../model.onnx"],
        ["model.volume.path", "../other"],
        ["model.image.reference", "registry.example.org/models/churn:1"],
        ["env.NUMBER", 8],
        ["env.WITH-DASH", "x"],
        ["secrets.with-dash", { secret: "db", key: "password" }],
        ["service.port", 65536],
        ["ingress.host", "churn.example.org/path"],
        ["apiKey.existingSecret", "Not_A_Name"],
        ["apiKey.generation", -1],
        ["gpu.rollout", "recreate"],
        ["gpu.type", "nvidia"],
        ["network.from.office", { cidr: "10.0.0.0" }],
        ["network.from.office", { cidr: "10.0.0.256/8" }],
        ["network.to.database", { cidr: "10.0.0.0/8", port: 0 }],
        ["environment", "prod"],
        ["verify.sample", "text"],
    ];
    it(`refuses what is outside of a key's range or form, by its name (${refused.length} values)`, () => {
        const found = schemaErrors(refused.map(([path, value]) => at(path.split("."), value)));
        refused.forEach(([path, value], index) => {
            const what = `${path}: ${JSON.stringify(value)}`;
            expect(found[index], what).to.have.lengthOf(1);
            expect(found[index]?.[0], what).to.contain(lastOf(path.split(".")));
        });
    });
});
