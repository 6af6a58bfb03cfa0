import { expect } from "chai";
import Ajv from "ajv";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
    at,
    chartFolder,
    defaultValues,
    isMap,
    merged,
    render,
    schemaErrorsOf,
    smallest,
    template,
    templateMany,
    type Value,
    type Values,
} from "./helm";

interface Schema {
    type?: string | string[];
    description?: string;
    properties?: Record<string, Schema>;
    required?: string[];
    additionalProperties?: boolean;
    patternProperties?: Record<string, Schema>;
}

const schema = JSON.parse(readFileSync(join(chartFolder, "values.schema.json"), "utf8")) as Schema;
const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(schema);
const base = merged(defaultValues(), smallest);

/** Keys whose object belongs to others as well: a parent chart shares `global` with all its charts. */
const shared = new Set(["global"]);

/** Every key that the chart owns, as a path. */
function ownedPaths(node: Schema = schema, above: string[] = []): string[][] {
    return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
        const path = [...above, key];
        return above.length === 0 && shared.has(key) ? [path] : [path, ...ownedPaths(child, path)];
    });
}

function objectSchemas(node: Schema = schema, path = "values"): [string, Schema][] {
    const below = Object.entries(node.properties ?? {}).flatMap(([key, child]) =>
        objectSchemas(child, `${path}.${key}`),
    );
    return node.type === "object" ? [[path, node], ...below] : below;
}

function paths(values: Values, above: string[] = []): string[][] {
    return Object.entries(values).flatMap(([key, value]) => {
        const path = [...above, key];
        return isMap(value) ? [path, ...paths(value, path)] : [path];
    });
}

function valueAt(values: Values, path: readonly string[]): Value {
    return path.reduce<Value>((value, key) => (isMap(value) ? (value[key] ?? null) : null), values);
}

function lastOf(path: readonly string[]): string {
    return path.at(-1) ?? "";
}

/** Everything that is one slip of the finger away: a letter missing, doubled, swapped, wrong, too many, of the other case. */
function misspellings(key: string): string[] {
    const letters = "abcdefghijklmnopqrstuvwxyz";
    const found = new Set<string>();
    for (let i = 0; i <= key.length; i++) {
        const [before, after] = [key.slice(0, i), key.slice(i)];
        const [first = "", second = ""] = after;
        found.add(before + after.slice(1));
        found.add(before + second + first + after.slice(2));
        found.add(before + first.toUpperCase() + after.slice(1));
        found.add(before + first.toLowerCase() + after.slice(1));
        for (const letter of letters) {
            found.add(before + letter + after);
            found.add(before + letter + after.slice(1));
        }
    }
    found.delete(key);
    found.delete("");
    return [...found];
}

/** The values with a second, misspelt key beside the right one, which Helm fills with its default. */
function withKey(path: readonly string[], name: string): Values {
    return merged(base, at([...path.slice(0, -1), name], valueAt(base, path)));
}

const isCrash = (stderr: string): boolean =>
    /nil pointer|error calling|wrong type|incompatible types|can't evaluate|panic/.test(stderr);

describe("chart: values.schema.json", function () {
    this.timeout(30_000);

    it("accepts the defaults, and the smallest values on top of them", () => {
        expect(validate(defaultValues()), JSON.stringify(validate.errors)).to.be.true;
        expect(validate(base), JSON.stringify(validate.errors)).to.be.true;
    });

    it("describes exactly the keys of values.yaml, and each of them in words", () => {
        const described = (node: Schema = schema, above: string[] = []): string[] =>
            Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
                const path = [...above, key];
                expect(child.description, `${path.join(".")} has no description`).to.be.a("string").that.is.not.empty;
                return [path.join("."), ...described(child, path)];
            });
        expect(described().sort()).to.deep.equal(
            paths(defaultValues())
                .map((path) => path.join("."))
                .sort(),
        );
    });

    it("is closed in every object that the chart owns, and requires every key that has a default", () => {
        for (const [path, object] of objectSchemas()) {
            if (path === "values.global" || path === "values.verify.sample") {
                continue;
            }
            expect(object.additionalProperties, `${path} is open`).to.be.false;
            const expected = Object.keys(object.properties ?? {}).filter((key) => !shared.has(key));
            expect(object.required ?? [], `${path}: required`).to.have.members(expected);
        }
    });

    it("rejects every misspelling by one letter of every key, and names it", () => {
        const siblings = (path: readonly string[]): string[] =>
            ownedPaths()
                .filter(
                    (other) => other.length === path.length && other.slice(0, -1).join() === path.slice(0, -1).join(),
                )
                .map(lastOf);
        let tried = 0;
        for (const path of ownedPaths()) {
            for (const name of misspellings(lastOf(path)).filter((name) => !siblings(path).includes(name))) {
                expect(validate(withKey(path, name)), `${path.join(".")} as ${name} was accepted`).to.be.false;
                const named = (validate.errors ?? []).map((error) => error.params.additionalProperty as unknown);
                expect(named, `${path.join(".")} as ${name}`).to.include(name);
                tried++;
            }
        }
        expect(tried).to.be.greaterThan(10_000);
    });

    it("has no two keys in one object that are one letter apart", () => {
        for (const path of ownedPaths()) {
            const object = path.slice(0, -1).join(".");
            const others = ownedPaths().filter((other) => other.slice(0, -1).join(".") === object);
            expect(misspellings(lastOf(path)), path.join(".")).not.to.include.members(others.map(lastOf));
        }
    });

    it("makes real Helm name a misspelling of every key, too", () => {
        const tried = ownedPaths().map((path) => ({ path, name: `${lastOf(path)}x` }));
        const { run } = templateMany(
            tried.map(({ path, name }) => merged(smallest, at([...path.slice(0, -1), name], "x"))),
        );
        expect(run.status).not.to.equal(0);
        tried.forEach(({ path, name }, index) => {
            expect(schemaErrorsOf(run, index).join("\n"), path.join(".")).to.contain(`'${name}'`);
        });
    });
});

describe("chart: values that are wrong", function () {
    this.timeout(30_000);
    const owned = paths(defaultValues()).filter(([first]) => first !== "global");
    const leaves = owned.filter((path) => !isMap(valueAt(defaultValues(), path)));

    for (const path of owned) {
        it(`refuses ${path.join(".")}: null by its name`, () => {
            const { status, stderr } = template(merged(smallest, at(path, null)));
            expect(status, "it was accepted").not.to.equal(0);
            expect(stderr).to.contain(`missing property '${lastOf(path)}'`);
            expect(isCrash(stderr), stderr).to.be.false;
        });
    }

    it("renders the same with global: null", () => {
        expect(render(merged(smallest, { global: null }))).to.equal(render(smallest));
    });

    it("refuses text, a number and a list in place of every section, by its name", () => {
        const sections = owned.filter((path) => isMap(valueAt(defaultValues(), path)));
        const tried = sections.flatMap((path) => ["text", 0, []].map((value) => ({ path, value })));
        const { run } = templateMany(tried.map(({ path, value }) => merged(smallest, at(path, value))));
        tried.forEach(({ path }, index) => {
            expect(schemaErrorsOf(run, index).join("\n"), path.join(".")).to.contain(`at '/${path.join("/")}': got`);
        });
    });

    it("refuses a list or a map in place of every leaf, by its name", () => {
        const tried = leaves.flatMap((path) => [[], [1], { a: 1 }].map((value) => ({ path, value })));
        const { run } = templateMany(tried.map(({ path, value }) => merged(smallest, at(path, value))));
        tried.forEach(({ path, value }, index) => {
            expect(schemaErrorsOf(run, index).join("\n"), `${path.join(".")} = ${JSON.stringify(value)}`).to.contain(
                `at '/${path.join("/")}'`,
            );
        });
    });

    const oddValues = leaves.flatMap((path) => [0, 1_000_000, false, "", "on"].map((value) => ({ path, value })));
    const passesSchema = ({ path, value }: { path: string[]; value: Value }): boolean =>
        validate(merged(base, at(path, value)));

    it('refuses 0, 1e6, false, "" and "on" by the key\'s name where the schema has no place for them', () => {
        const tried = oddValues.filter((one) => !passesSchema(one));
        const { run } = templateMany(tried.map(({ path, value }) => merged(smallest, at(path, value))));
        tried.forEach(({ path, value }, index) => {
            const errors = schemaErrorsOf(run, index).join("\n");
            expect(errors, `${path.join(".")} = ${JSON.stringify(value)}`).to.contain(`at '/${path.join("/")}'`);
        });
    });

    for (const { path, value } of oddValues.filter(passesSchema)) {
        const key = path.join(".");
        it(`renders ${key}: ${JSON.stringify(value)} as it is, or refuses it by its name`, () => {
            const { status, stdout, stderr } = template(merged(smallest, at(path, value)));
            if (status === 0) {
                expect(stdout).not.to.match(/<no value>|<nil>|e\+0[0-9]/);
            } else {
                expect(isCrash(stderr), stderr).to.be.false;
                expect(stderr).to.contain(key);
            }
        });
    }

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
        ["tmp.size", ""],
        ["api.port", 80],
        ["api.requestTimeoutSeconds", "30s"],
        ["api.requestTimeoutSeconds", 3601],
        ["api.maxConcurrentRequests", 10001],
        ["api.maxRequestBytes", 1073741825],
        ["api.logLevel", "INFO"],
        ["model.loadBudgetSeconds", 0],
        ["model.loadBudgetSeconds", 7201],
        ["env.NUMBER", 8],
        ["env.WITH-DASH", "x"],
        ["service.port", 65536],
        ["apiKey.existingSecret", "Not_A_Name"],
        ["apiKey.generation", -1],
        ["environment", "prod"],
        ["verify.sample", "text"],
    ];
    it("refuses by its name what is outside of a key's range or form", () => {
        const { run } = templateMany(refused.map(([path, value]) => merged(smallest, at(path.split("."), value))));
        refused.forEach(([path, value], index) => {
            const errors = schemaErrorsOf(run, index);
            expect(errors, `${path}: ${JSON.stringify(value)}\n${run.stderr.slice(0, 300)}`).to.have.lengthOf(1);
            expect(errors[0]).to.contain(lastOf(path.split(".")));
        });
    });
});
