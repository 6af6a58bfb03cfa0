import { existsSync } from "node:fs";
import { expect } from "chai";
import { chart } from "./charts";
import { deadKubeconfig, isStandIn, Project, removeProjects, type State, type Step } from "./engine";

const program = `
import * as fs from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import * as k8s from "@pulumi/kubernetes";
import * as random from "@pulumi/random";

const config = new pulumi.Config();
const password = new random.RandomPassword("password", { length: 30 });
const namespace = new k8s.core.v1.Namespace("namespace", { metadata: { name: "contract" } });
const key = new k8s.core.v1.Secret("key", {
    metadata: { namespace: namespace.metadata.name, annotations: { note: pulumi.secret("nobody reads this") } },
    immutable: true,
    stringData: { key: password.result },
});
const release = new k8s.helm.v3.Release("release", {
    name: "sample",
    namespace: "contract",
    chart: config.get("chart") ?? "./chart",
    atomic: true,
    maxHistory: 10,
    valueYamlFiles: [new pulumi.asset.FileAsset("first.yaml"), new pulumi.asset.StringAsset("{nested: {replaced: second}, list: []}")],
    values: {
        replicas: config.getNumber("replicas") ?? 5,
        removed: null,
        empty: {},
        own: { plain: "text", secret: pulumi.secret("do not show") },
        ...(config.getBoolean("unknown") ? { unknown: password.result } : {}),
    },
}, { dependsOn: [namespace, key] });

interface Rendering { name: string; options: Record<string, unknown> }
const renderings: Rendering[] = JSON.parse(fs.readFileSync("renderings.json", "utf8"));
for (const { name, options } of renderings) {
    const asked = pulumi.runtime.invoke("kubernetes:helm:template", { jsonOpts: JSON.stringify(options) });
    asked.then(
        (answer: unknown) => fs.writeFileSync(name + ".json", JSON.stringify(answer)),
        (error: Error) => fs.writeFileSync(name + ".error", error.message),
    );
}

const options = { path: "./chart", release_name: "sample" };
const rendered = (values: pulumi.Input<object>): pulumi.Output<unknown> =>
    pulumi.runtime.invokeOutput("kubernetes:helm:template", { jsonOpts: pulumi.jsonStringify({ ...options, values }) });

export const status = release.status;
export const resourceNames = release.resourceNames;
export const plainRendering = rendered({ replicas: 2 });
export const secretRendering = rendered({ image: pulumi.secret("image:1") });
export const unknownRendering = rendered({ image: password.result });
`;

type Obj = {
    apiVersion: string;
    kind: string;
    metadata: { name: string; namespace?: string; annotations?: Record<string, string> };
    spec?: Record<string, unknown> & { template?: { metadata?: { annotations?: Record<string, string> } } };
    data?: Record<string, string>;
};

describe("The Kubernetes provider without a cluster", function () {
    let project: Project;
    let env: NodeJS.ProcessEnv;

    before(async () => {
        project = await Project.create("offline", {
            ...chart,
            "index.ts": program,
            "first.yaml":
                "replicas: 2\nnested: {replaced: first, kept: no}\nlist: [one, two]\noctal: 0123\nbig: 1048576\n",
            "kubeconfig.json": deadKubeconfig(),
            "renderings.json": "[]",
        });
        env = { KUBECONFIG: `${project.directory}/kubeconfig.json` };
    });
    after(removeProjects);

    function rendered(name: string): Obj[] {
        return (JSON.parse(project.read(`${name}.json`)) as { result: Obj[] }).result;
    }

    function find(objects: Obj[], kind: string): Obj {
        const found = objects.find((object) => object.kind === kind);
        if (found === undefined) throw new Error(`no ${kind}`);
        return found;
    }

    function inputs(state: State | undefined): Record<string, unknown> & { values?: Record<string, unknown> } {
        return state?.inputs ?? {};
    }

    let output: string;

    it("previews Namespace, Secret and Release", async () => {
        const preview = await project.preview({ env });
        output = preview.output;
        expect(preview.code, output).to.equal(0);
        expect(output).to.match(/status\s*: (\[unknown\]|output)/);
        expect(output).to.match(/resourceNames\s*: (\[unknown\]|output)/);
        expect(output).not.to.include("do not show");
        expect(output).to.match(/secret: \[secret\]/);
        expect(output).to.match(/plain\s*: "text"/);
    });

    it("makes a rendering secret or unknown as a whole, when one value of it is", () => {
        expect(output).to.match(/secretRendering\s*: \[secret\]/);
        expect(output).to.match(/unknownRendering\s*: (\[unknown\]|output)/);
        expect(output).to.match(/plainRendering\s*: \{/);
    });

    let steps: Step[];
    const checkedAs = (name: string): State | undefined => steps.find(({ urn }) => urn.endsWith(`::${name}`))?.newState;

    it("merges the values files and the values into one map", async () => {
        steps = await project.steps({ env });
        const checked = inputs(checkedAs("release"));
        expect(checked).not.to.have.property("valueYamlFiles");
        expect(checked.values).to.deep.include({
            replicas: 5,
            nested: { replaced: "second", kept: false },
            list: [],
            removed: null,
            empty: {},
            octal: 83,
            big: 1048576,
        });
        expect(checked).to.include({ version: "0.3.1", chart: "./chart", timeout: 300, atomic: true, maxHistory: 10 });
    });

    it("names an object after its resource, with a part of its own", () => {
        const { name, annotations } = (checkedAs("key")?.inputs?.metadata ?? {}) as Obj["metadata"];
        expect(name).to.match(/^key-[0-9a-f]{8}$/);
        expect(annotations).to.include({ "pulumi.com/autonamed": "true" });
        expect(annotations?.note).not.to.include("nobody reads this");
    });

    it("refuses a chart that is missing or broken, as a failure on `chart`", async () => {
        project.configure({ "offline:chart": "./nowhere" });
        const missing = await project.preview({ env });
        expect(missing.code).not.to.equal(0);
        expect(missing.output).to.match(/chart/).and.to.include("nowhere");

        project.write(
            "depends/Chart.yaml",
            `${project.read("chart/Chart.yaml")}dependencies: [{name: absent, version: 1.0.0}]\n`,
        );
        project.configure({ "offline:chart": "./depends" });
        const depends = await project.preview({ env });
        expect(depends.code).not.to.equal(0);
        expect(depends.output).to.match(/missing in charts\/ directory: absent/);
        project.configure({});
    });

    it("loads no chart while an input is unknown", async () => {
        project.configure({ "offline:chart": "./nowhere", "offline:unknown": true });
        const { newState } = await project.step("release", { env });
        expect(inputs(newState).version ?? "").to.equal("");
        expect(inputs(newState).values).to.have.property("unknown");
        project.configure({});
    });

    describe("rendering a chart", () => {
        const options = { path: "./chart", release_name: "sample", namespace: "contract" };
        const values = {
            replicas: 3,
            list: [],
            nested: { replaced: null },
            removed: null,
            big: 9007199254740991,
            text: "\u007f\u2028é😀",
        };

        before(async () => {
            project.write(
                "renderings.json",
                JSON.stringify([
                    { name: "plain", options: { ...options, values } },
                    {
                        name: "full",
                        options: {
                            ...options,
                            values: { odd: true },
                            kube_version: "v1.33.1",
                            api_versions: ["extra.example/v1"],
                            include_test_hook_resources: true,
                            skip_crd_rendering: true,
                        },
                    },
                    { name: "fail", options: { ...options, values: { breakWith: "fail" } } },
                    { name: "required", options: { ...options, values: { breakWith: "required" } } },
                    { name: "schema", options: { ...options, values: { replicas: "many" } } },
                    { name: "nowhere", options: { ...options, path: "./nowhere" } },
                ]),
            );
            const { output } = await project.preview({ env });
            // What a chart refused is looked at below.
            expect(existsSync(`${project.directory}/plain.json`), output).to.equal(true);
        });
        after(() => {
            project.write("renderings.json", "[]");
        });

        it("returns the objects that Helm would install, in the release's namespace", () => {
            const objects = rendered("plain");
            expect(objects.map(({ kind }) => kind).sort()).to.deep.equal([
                "ConfigMap",
                "CustomResourceDefinition",
                "Deployment",
                "Job",
            ]);
            expect(find(objects, "Deployment").metadata.namespace).to.equal("contract");
            expect(find(objects, "CustomResourceDefinition").metadata).not.to.have.property("namespace");
            expect(find(objects, "Job").metadata.name).to.equal("sample-before");
        });

        it("passes values on exactly", () => {
            const { data } = find(rendered("plain"), "ConfigMap");
            expect(JSON.parse(data?.["values.json"] ?? "")).to.deep.equal({
                ...{ replicas: 3, list: [], big: 9007199254740991, text: "\u007f\u2028é😀" },
                ...{ image: "registry.invalid/sample:1", breakWith: "", hook: "", nodeSelector: {} },
                nested: { kept: true },
            });
            // Helm itself reads numbers as floating point.
            expect(data?.big).to.equal("9.007199254740991e+15");
        });

        it("assumes Kubernetes 1.20.0, a first revision and an installation", () => {
            const { annotations } = find(rendered("plain"), "ConfigMap").metadata;
            expect(annotations).to.deep.equal({
                "kube-version": "v1.20.0",
                "knows-extra": "false",
                revision: "1",
                "is-install": "true",
            });
        });

        it("takes a Kubernetes version and API versions, test hooks with and definitions without", () => {
            const objects = rendered("full");
            expect(find(objects, "ConfigMap").metadata.annotations).to.include({
                "kube-version": "v1.33.1",
                "knows-extra": "true",
            });
            expect(objects.map(({ kind }) => kind)).not.to.include("CustomResourceDefinition");
            expect(objects.map(({ metadata }) => metadata.name)).to.include.members(["sample-check", "sample-before"]);
        });

        it("reads what templates print as Kubernetes reads it", () => {
            const { spec } = find(rendered("full"), "Deployment");
            expect(spec).to.include({ paused: false, minReadySeconds: 1 });
            expect(spec?.template?.metadata?.annotations).to.deep.equal({
                octal: "0123",
                date: "2026-01-01",
                sexagesimal: "12:30",
            });
        });

        it("fails with Helm's message on fail, required, the schema, and a chart that is not there", () => {
            expect(project.read("fail.error")).to.include("the template refuses");
            expect(project.read("required.error")).to.include("a value is required");
            expect(project.read("schema.error"))
                .to.match(/replicas/)
                .and.to.match(/integer/);
            expect(project.read("nowhere.error")).to.include("nowhere");
        });
    });

    it("fails clearly and soon when something has to be created, and records nothing", async () => {
        const { code, output, seconds } = await project.up({ env });
        expect(code).not.to.equal(0);
        expect(output).to.match(/cluster is unreachable|unreachable cluster/);
        expect(seconds).to.be.lessThan(20);
        expect(await project.resource("namespace")).to.equal(undefined);
        expect(await project.resource("release")).to.equal(undefined);
    });

    it("previews without any kubeconfig", async () => {
        const { code, output } = await project.preview();
        expect(code, output).to.equal(0);
    });

    it("refuses a kubeconfig whose user has no credential", async function () {
        // The published provider asks for a user name here and waits for ever.
        if (!isStandIn()) this.skip();
        project.write("anonymous.json", deadKubeconfig({}));
        const { code, output } = await project.preview({ env: { KUBECONFIG: `${project.directory}/anonymous.json` } });
        expect(code).not.to.equal(0);
        expect(output).to.include(`the user "nobody" of the context "dead"`).and.to.include("has no credential");
    });

    it("names a context that does not exist when something has to be created", async () => {
        project.configure({ "kubernetes:context": "elsewhere" });
        const { code, output } = await project.up({ env });
        expect(code).not.to.equal(0);
        expect(output).to.include("elsewhere");
        project.configure({});
    });
});
