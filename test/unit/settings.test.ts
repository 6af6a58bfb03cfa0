import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import fc from "fast-check";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { InputError } from "../../components/config/problem";
import { CONFIG_KEYS } from "../../components/config/config-keys";
import { readSettings, type Settings } from "../../components/config/settings";

const ROOT = path.join(__dirname, "..", "..");

describe("the settings of a stack", () => {
    let root: string;
    before(() => {
        root = fs.mkdtempSync(path.join(os.tmpdir(), "settings-"));
        write("chart/environment/dev/values-dev.yaml", "environment: dev\nimage:\n  tag: a\nreplicas: 1\n");
        write("chart/environment/staging/values-staging.yaml", "environment: staging\n");
        write("apis/other/values-dev.yaml", "environment: dev\n");
        write("apis/broken/values-dev.yaml", "environment: dev\nreplicas: 0777\ndebug: NO\n");
        write("apis/unsaid/values-dev.yaml", "replicas: 1\n");
    });
    after(() => {
        fs.rmSync(root, { recursive: true });
    });

    function write(file: string, text: string): void {
        fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        fs.writeFileSync(path.join(root, file), text);
    }

    function read(config: Record<string, string>, secrets: string[] = [], stack = "dev"): Settings {
        const full = Object.fromEntries(Object.entries(config).map(([key, value]) => [`ml-api:${key}`, value]));
        return readSettings({
            project: "ml-api",
            stack,
            root,
            config: full,
            isSecret: (key) => secrets.includes(key.replace("ml-api:", "")),
        });
    }

    function refusal(config: Record<string, string>, secrets: string[] = []): string {
        try {
            read(config, secrets);
        } catch (error) {
            if (error instanceof InputError) return error.message;
            throw error;
        }
        return "accepted";
    }

    it("have defaults for everything but the environment", () => {
        const settings = read({ environment: "dev" });
        expect(settings).to.deep.include({
            environment: "dev",
            name: "mf-demo",
            namespace: "mf-demo-dev",
            createNamespace: true,
            keyGeneration: 1,
            acceptPreviousKey: false,
            apiKey: undefined,
            protect: false,
            valuesFile: "chart/environment/dev/values-dev.yaml",
            values: { environment: "dev", image: { tag: "a" }, replicas: 1 },
            overrides: [],
        });
    });

    it("derive every name from the API's name, so that a second API is data only", () => {
        const settings = read({ environment: "dev", name: "other", valuesDir: "apis/other" }, [], "other-dev");
        expect(settings).to.deep.include({ namespace: "other-other-dev", valuesFile: "apis/other/values-dev.yaml" });
    });

    it("are all the keys that Pulumi.yaml declares, each with a type and a description, and no others", () => {
        const project = parse(fs.readFileSync(path.join(ROOT, "Pulumi.yaml"), "utf8")) as {
            config: Record<string, { type?: string; description?: string; default?: unknown }>;
        };
        expect(Object.keys(project.config)).to.deep.equal([...CONFIG_KEYS]);
        for (const [key, declaration] of Object.entries(project.config)) {
            expect(declaration.type, key).to.be.a("string");
            expect(declaration.description, key).to.be.a("string");
            expect(declaration.default !== undefined, `${key} has a default`).to.equal(key !== "environment");
        }
    });

    it("take Pulumi.yaml's defaults for unset", () => {
        const settings = read({
            environment: "dev",
            namespace: "",
            apiKey: "",
            previousApiKey: "",
            values: "{}",
            keyGeneration: "1",
        });
        expect(settings).to.deep.include({ namespace: "mf-demo-dev", apiKey: undefined, previousApiKey: undefined });
    });

    it("lay the stack's own values over the file's, and tell both places of a value that is set twice", () => {
        write(
            "Pulumi.dev.yaml",
            "config:\n  ml-api:environment: dev\n  ml-api:values:\n    image:\n      tag: b\n    extra: 1\n",
        );
        const settings = read({ environment: "dev", values: '{"image":{"tag":"b"},"extra":1}' });
        fs.rmSync(path.join(root, "Pulumi.dev.yaml"));
        expect(settings.values).to.deep.equal({ environment: "dev", image: { tag: "b" }, replicas: 1, extra: 1 });
        expect(settings.overrides).to.deep.equal([
            {
                path: "image.tag",
                valuesFilePlace: "chart/environment/dev/values-dev.yaml:3",
                stackFilePlace: "Pulumi.dev.yaml:5",
            },
        ]);
    });

    describe("that are wrong", () => {
        it("are told all together, with the stack file's line", () => {
            write("Pulumi.dev.yaml", "config:\n  ml-api:environment: stagin\n  ml-api:protect: maybe\n");
            const message = refusal({
                environment: "stagin",
                protect: "maybe",
                name: "My_API",
                keyGeneration: "0",
                replica: "3",
            });
            fs.rmSync(path.join(root, "Pulumi.dev.yaml"));
            expect(message).to.contain('stack "dev": 5 problems');
            expect(message).to.contain(
                'Pulumi.dev.yaml:2 (environment): "stagin" has no values file in chart/environment, did you mean "staging"?',
            );
            expect(message).to.contain('Pulumi.dev.yaml:3 (protect): "maybe" is neither true nor false');
            expect(message).to.contain("config key name: ").and.to.contain('"My_API" cannot be a Kubernetes name');
            expect(message).to.contain("keyGeneration");
            expect(message).to.contain("config key replica: there is no such key");
        });

        for (const [what, config, words] of [
            ["a missing environment", {}, "environment: is missing in Pulumi.dev.yaml"],
            ["an unknown environment", { environment: "moon" }, "the environments are dev, staging"],
            ["a misspelt key", { environment: "dev", keyGenration: "2" }, 'did you mean "keyGeneration"?'],
            [
                "a values folder without values files",
                { environment: "dev", valuesDir: "apis" },
                "apis holds no values-<environment>.yaml",
            ],
            ["a values folder outside the project", { environment: "dev", valuesDir: "../x" }, "outside the project"],
            ["an absolute values folder", { environment: "dev", valuesDir: "/etc" }, "outside the project"],
            [
                "a values file with ambiguous words",
                { environment: "dev", valuesDir: "apis/broken" },
                "apis/broken/values-dev.yaml:2:11",
            ],
            [
                "a values file that does not say its environment",
                { environment: "dev", valuesDir: "apis/unsaid" },
                "does not say which environment it is",
            ],
            [
                "a values file of another environment",
                { environment: "dev", values: '{"environment":"production"}' },
                'says environment: "production"',
            ],
            ["a namespace of the cluster", { environment: "dev", namespace: "kube-system" }, "belongs to the cluster"],
            [
                "a previous key that never was",
                { environment: "dev", acceptPreviousKey: "true" },
                "has no key before it",
            ],
            ["a key in clear", { environment: "dev", apiKey: "0123456789abcdef" }, "in clear"],
            ["a release name that is too long", { environment: "dev", name: "a".repeat(54) }, "at most"],
            ["values that are no map", { environment: "dev", values: "[1]" }, "a map"],
        ] as [string, Record<string, string>, string][]) {
            it(`are refused: ${what}`, () => {
                expect(refusal(config)).to.contain(words);
            });
        }

        it("are refused: secrets where they do not belong, or too weak, or without their pair", () => {
            expect(refusal({ environment: "dev", apiKey: "short" }, ["apiKey"])).to.contain("too weak");
            expect(refusal({ environment: "dev", values: '{"password":"x"}' }, ["values"])).to.contain(
                "a secret stands among",
            );
            const key = "0123456789abcdef";
            expect(refusal({ environment: "dev", previousApiKey: key }, ["previousApiKey"])).to.contain(
                "only counts together",
            );
            expect(
                refusal({ environment: "dev", apiKey: key, keyGeneration: "2", acceptPreviousKey: "true" }, ["apiKey"]),
            ).to.contain("give the key before, too");
        });

        it("never show the key", () => {
            const message = refusal({ environment: "dev", apiKey: "hunter2" }, ["apiKey"]);
            expect(message).not.to.contain("hunter2");
            expect(refusal({ environment: "dev", apiKey: "hunter2" })).not.to.contain("hunter2");
        });
    });

    it("are read or refused with an InputError, whatever the configuration", () => {
        fc.assert(
            fc.property(
                fc.dictionary(fc.oneof(fc.constantFrom(...CONFIG_KEYS), fc.string()), fc.string()),
                (config) => {
                    expect(refusal(config)).to.be.a("string");
                },
            ),
        );
    });

    it("keep a given key secret", async () => {
        const settings = read({ environment: "dev", apiKey: "0123456789abcdef" }, ["apiKey"]);
        expect(await pulumi.isSecret(settings.apiKey as pulumi.Output<string>)).to.equal(true);
    });
});
