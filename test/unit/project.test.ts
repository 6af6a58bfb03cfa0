import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { CONFIG_KEYS, FOREIGN_KEYS } from "../../components/config/config-keys";
import { InputError } from "../../components/config/problem";
import { checkProject } from "../../components/config/project";
import { readStack } from "../../components/config/stack";
import { ENCRYPTED, readStackFile } from "../../components/config/stack-file";

const ROOT = path.join(__dirname, "..", "..");
const PULUMI_YAML = fs.readFileSync(path.join(ROOT, "Pulumi.yaml"), "utf8");
const SCHEMA = {
    additionalProperties: false,
    properties: {
        environment: {},
        replicas: {},
        image: { additionalProperties: false, properties: { tag: {}, digest: {} } },
        env: { additionalProperties: false, patternProperties: { "^[A-Z_]+$": {} } },
    },
};

describe("the files of a project, read without Pulumi", () => {
    let root: string;
    beforeEach(() => {
        root = fs.mkdtempSync(path.join(os.tmpdir(), "project-"));
        write("Pulumi.yaml", PULUMI_YAML);
        write("Pulumi.dev.yaml", "config:\n  ml-api:environment: dev\n");
        write("chart/values.schema.json", JSON.stringify(SCHEMA));
        write("chart/environment/dev/values-dev.yaml", "environment: dev\nimage:\n  tag: a\n");
    });
    afterEach(() => {
        fs.rmSync(root, { recursive: true });
    });

    function write(file: string, text: string): void {
        fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        fs.writeFileSync(path.join(root, file), text);
    }

    const told = () =>
        checkProject(root).map(({ where, what, fix }) => `${where}: ${what}` + (fix === undefined ? "" : ` → ${fix}`));

    describe("a stack", () => {
        it("has what its file sets and what Pulumi.yaml gives as defaults", () => {
            write(
                "Pulumi.dev.yaml",
                "config:\n  environment: dev\n  ml-api:protect: true\n  ml-api:values:\n    image: {tag: b}\n",
            );
            expect(readStack(root, "dev")).to.deep.include({
                name: "mf-demo",
                namespace: "mf-demo-dev",
                keyGeneration: 1,
                protect: true,
                values: { environment: "dev", image: { tag: "b" } },
                places: new Map([
                    ["environment", "chart/environment/dev/values-dev.yaml:1"],
                    ["image", "Pulumi.dev.yaml:5"],
                    ["image.tag", "Pulumi.dev.yaml:5"],
                ]),
            });
        });

        it("follows Pulumi.yaml, not our memory of it", () => {
            write("Pulumi.yaml", PULUMI_YAML.replace("default: mf-demo", "default: churn"));
            expect(readStack(root, "dev")).to.deep.include({ name: "churn", namespace: "churn-dev" });
        });

        it("has an encrypted key as a secret that nobody knows", async () => {
            write("Pulumi.dev.yaml", "config:\n  ml-api:environment: dev\n  ml-api:apiKey:\n    secure: v1:abc\n");
            const { apiKey } = readStack(root, "dev");
            expect(await pulumi.isSecret(apiKey as pulumi.Output<string>)).to.equal(true);
            const { isKnown } = apiKey as unknown as { isKnown: Promise<boolean> };
            expect(await isKnown).to.equal(false);
        });

        it("that has no file is refused with the nearest one that has", () => {
            expect(() => readStack(root, "dve")).to.throw(InputError, 'did you mean "dev"?');
        });

        it("may be the repository's own", () => {
            for (const stack of ["dev", "staging", "production"]) {
                expect(readStack(ROOT, stack)).to.deep.include({ environment: stack, namespace: `mf-demo-${stack}` });
            }
        });
    });

    it("give the text that Pulumi makes of every kind of value", () => {
        write(
            "Pulumi.dev.yaml",
            [
                "config:",
                "  environment: dev",
                "  ml-api:protect: True",
                "  ml-api:keyGeneration: 2",
                "  ml-api:name: ~",
                "  ml-api:hex: 0x1F",
                "  ml-api:float: 1.0",
                "  ml-api:words: yes",
                "  ml-api:list: [1, NO]",
                "  ml-api:map: {z: &x {a: 1}, w: {<<: *x, b: 2}, nul: ~}",
                "  ml-api:apiKey: {secure: abc}",
                "  ml-api:deep: {a: [{secure: abc}]}",
                "  pulumi:tags: {a: b}",
            ].join("\n"),
        );
        expect(readStackFile(root, "dev", "ml-api").config).to.deep.equal({
            "ml-api:environment": "dev",
            "ml-api:protect": "true",
            "ml-api:keyGeneration": "2",
            "ml-api:name": "",
            "ml-api:hex": "31",
            "ml-api:float": "1",
            "ml-api:words": "yes",
            "ml-api:list": '[1,"NO"]',
            "ml-api:map": '{"z":{"a":1},"w":{"a":1,"b":2},"nul":null}',
            "ml-api:apiKey": ENCRYPTED,
            "ml-api:deep": ENCRYPTED,
            "pulumi:tags": '{"a":"b"}',
        });
    });

    it("are right when nothing is wrong with them, as are the repository's own", () => {
        expect(told()).to.deep.equal([]);
        expect(checkProject(ROOT)).to.deep.equal([]);
    });

    describe("are wrong, by file and line and with the nearest right name", () => {
        for (const [what, line, sentence] of [
            [
                "a misspelt key",
                "ml-api:replica: 2",
                `(replica): there is no such key → the keys are ${CONFIG_KEYS.join(", ")}`,
            ],
            ["a misspelt bare key", "protct: true", '(protct): there is no such key, did you mean "protect"?'],
            [
                "a misspelt project",
                "mlapi:protect: true",
                '(mlapi:protect): nothing reads the namespace "mlapi", did you mean "ml-api:protect"?',
            ],
            [
                "a misspelt provider",
                "kubernets:context: x",
                '(kubernets:context): nothing reads the namespace "kubernets", did you mean "kubernetes:context"?',
            ],
            [
                "a misspelt key of a provider",
                "kubernetes:contxt: x",
                '(kubernetes:contxt): there is no such key, did you mean "context"?',
            ],
            [
                "a misspelt key of Pulumi",
                "pulumi:tag: {a: b}",
                '(pulumi:tag): there is no such key, did you mean "tags"?',
            ],
            [
                "a key set twice",
                "environment: dev",
                ": ml-api:environment is set a second time → the first is Pulumi.dev.yaml:2",
            ],
            [
                "a secret that is none",
                "protect: {secure: abc}",
                "(protect): it is encrypted, and only apiKey and previousApiKey are secrets",
            ],
            [
                "a secret among the values",
                "values: {env: {A: {secure: abc}}}",
                "(values): a secret stands among the chart's values",
            ],
            ["an ambiguous value", "values: {replicas: 0x1}", ": `0x1` is a number to Helm"],
            [
                "a date among the values",
                "values: {env: {A: 2026-01-01}}",
                ": `2026-01-01` is a point in time to Pulumi and a text to Helm → quote it",
            ],
            [
                "a value that the chart does not have",
                "values: {image: {tga: b}}",
                ': the chart has no key image.tga, did you mean "tag"?',
            ],
            [
                "a value at the wrong place",
                "values: {digest: b}",
                ': the chart has no key digest, did you mean "image.digest"?',
            ],
        ] as const) {
            it(`in a stack file: ${what}`, () => {
                write("Pulumi.dev.yaml", `config:\n  ml-api:environment: dev\n  ${line}\n`);
                expect(told()).to.have.length(1);
                expect(told()[0])
                    .to.match(/^Pulumi\.dev\.yaml:3/)
                    .and.to.contain(sentence);
            });
        }

        it("in a stack file: a key outside `config`, which Pulumi drops without a word", () => {
            write(
                "Pulumi.dev.yaml",
                "encryptionsalt: v1\nconfig:\n  ml-api:environment: dev\nconfg:\n  ml-api:protect: true\n",
            );
            expect(told()).to.deep.equal([
                'Pulumi.dev.yaml:4: Pulumi drops the key "confg", did you mean "config"? → what the stack sets stands below `config:`',
            ]);
        });

        it("in a stack file: no YAML", () => {
            write("Pulumi.dev.yaml", "config:\n  ml-api:environment: [dev\n");
            expect(told().join("\n")).to.match(/^Pulumi\.dev\.yaml:\d+: /m);
        });

        it("in a values file: keys that the chart does not have, in maps of free names too", () => {
            write(
                "chart/environment/dev/values-dev.yaml",
                "environment: dev\nreplica: 2\nimage:\n  tga: a\nenv:\n  lower: x\n",
            );
            expect(told()).to.deep.equal([
                'chart/environment/dev/values-dev.yaml:2: the chart has no key replica, did you mean "replicas"?',
                'chart/environment/dev/values-dev.yaml:4: the chart has no key image.tga, did you mean "tag"?',
                "chart/environment/dev/values-dev.yaml:6: the chart has no key env.lower",
            ]);
        });

        it("once, when several stacks use the same values file", () => {
            write("Pulumi.dev2.yaml", "config:\n  ml-api:environment: dev\n");
            write("chart/environment/dev/values-dev.yaml", "environment: dev\nreplica: 2\n");
            expect(told()).to.have.length(1);
        });
    });

    describe("hold a values file that no stack uses", () => {
        for (const [what, file, sentence] of [
            [
                "of an environment without a stack",
                "chart/environment/qa/values-qa.yaml",
                "no stack uses this values file → write a stack file with `environment: qa`, or remove the values file",
            ],
            [
                "of an API without a stack",
                "apis/churn/values-dev.yaml",
                "no stack uses this values file → write a stack file with `environment: dev` and `valuesDir: apis/churn`, or remove the values file",
            ],
            [
                "with another ending",
                "chart/environment/dev/values-dev.yml",
                'no stack finds a values file of this name, did you mean "values-dev.yaml"? → call it values-dev.yaml, or remove it',
            ],
            [
                "with another name than its folder",
                "chart/environment/dev/values-dve.yaml",
                'no stack finds a values file of this name, did you mean "values-dev.yaml"?',
            ],
            [
                "without an environment in its name",
                "chart/environment/values.yaml",
                'no stack finds a values file of this name, did you mean "values-dev.yaml"? → call it values-dev.yaml, or remove it',
            ],
            [
                "beside the one that is used",
                "chart/environment/values-dev.yaml",
                "chart/environment/dev/values-dev.yaml wins over this values file → remove one of the two",
            ],
        ] as const) {
            it(what, () => {
                write(file, "environment: dev\n");
                expect(told()).to.have.length(1);
                expect(told()[0]).to.contain(`${file}:1: `).and.to.contain(sentence);
            });
        }

        it("because a stack misspells its environment", () => {
            write("Pulumi.staging.yaml", "config:\n  ml-api:environment: stagin\n");
            write("chart/environment/staging/values-staging.yaml", "environment: staging\n");
            expect(told()).to.deep.equal([
                'Pulumi.staging.yaml:2 (environment): "stagin" has no values file in chart/environment, did you mean "staging"? → the environments are dev, staging',
                'chart/environment/staging/values-staging.yaml:1: no stack uses this values file, but Pulumi.staging.yaml:2 asks for the environment "stagin" → did you mean "staging" there?',
            ]);
        });
    });

    it("know the settings of the provider by the names that it has itself", () => {
        const types = fs.readFileSync(path.join(ROOT, "node_modules/@pulumi/kubernetes/provider.d.ts"), "utf8");
        const args = types.slice(types.indexOf("interface ProviderArgs"));
        expect(FOREIGN_KEYS["kubernetes"]).to.deep.equal([...args.matchAll(/^ {4}(\w+)\?:/gm)].map(([, name]) => name));
    });
});
