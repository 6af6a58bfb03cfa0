import { expect } from "chai";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import { choose, runSteps } from "../../cli/check";
import { checkMarkdown } from "../../cli/check-markdown";
import { findCommit } from "../../cli/commit";
import { compareWithCommit } from "../../cli/diff-compare";
import type { StackDiff } from "../../cli/diff-report";
import { renderStack } from "../../cli/rendered-stack";
import { digestOf } from "../../components/guarded-release/render/digest";
import { KUBE_VERSION, type RenderedObject } from "../../components/guarded-release/render/render";
import { ProjectFolder } from "../unit/project-folder";

const ROOT = path.join(__dirname, "..", "..");
const quiet = { begin: () => undefined, end: () => undefined };
const helm = process.env["ML_API_HELM"] ?? "helm";

interface Ended {
    readonly code: number;
    readonly stdout: string;
    readonly stderr: string;
}

function mlApi(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    return new Promise((resolve) => {
        const options = { env: { ...process.env, ...env }, cwd: ROOT, maxBuffer: 64 << 20 };
        execFile(path.join(ROOT, "cli", "ml-api.js"), args, options, (error, stdout, stderr) => {
            resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
    });
}

describe("ml-api render", () => {
    let project: ProjectFolder;
    beforeEach(() => {
        project = new ProjectFolder();
    });
    afterEach(() => {
        project.remove();
    });

    it("prints the objects of a stack as YAML, and nothing else on stdout", async () => {
        const { code, stdout, stderr } = await mlApi(["render", "production"]);
        expect(code, stderr).to.equal(0);
        const documents = parseAllDocuments(stdout).map((document) => document.toJS() as RenderedObject);
        expect(documents.map(({ kind }) => kind)).to.include.members(["Deployment", "Service", "Job"]);
        const json = await mlApi(["render", "production", "--json"]);
        const told = JSON.parse(json.stdout) as { objects: RenderedObject[]; digest: string; release: string };
        expect(told.objects).to.have.length(documents.length);
        expect(told.release).to.equal("mf-demo");
        expect(told.digest).to.equal(digestOf(told.objects));
    });

    it("writes one file per object, that hold the same, and refuses to mix them with others", async () => {
        const folder = project.file("out");
        expect((await mlApi(["render", "dev", "--out", folder])).code).to.equal(0);
        const files = fs.readdirSync(folder);
        expect(files).to.include("deployment-mf-demo.yaml");
        const objects = files.map((file) => {
            const [document] = parseAllDocuments(fs.readFileSync(path.join(folder, file), "utf8"), { version: "1.1" });
            return (document as { toJS: () => unknown }).toJS() as RenderedObject;
        });
        expect(digestOf(objects)).to.equal((await renderStack(ROOT, "dev", helm)).digest);
        const again = await mlApi(["render", "dev", "--out", folder]);
        expect(again.code).to.equal(1);
        expect(again.stderr).to.contain("is not empty");
    });

    it("does not depend on the shell", async () => {
        const env = {
            KUBECONFIG: "/nowhere",
            HELM_NAMESPACE: "elsewhere",
            HELM_KUBECONTEXT: "elsewhere",
            HELM_DEBUG: "true",
        };
        const digest = async (variables: NodeJS.ProcessEnv) =>
            (JSON.parse((await mlApi(["render", "dev", "--json"], variables)).stdout) as { digest: string }).digest;
        expect(await digest(env)).to.equal(await digest({}));
    });

    it("says which stack is meant, when a name means none or several", async () => {
        const { code, stderr } = await mlApi(["render", "prodution"]);
        expect(code).to.equal(1);
        expect(stderr).to.contain('"prodution" is neither a stack nor an environment, did you mean "production"?');
    });

    it("renders for the declared Kubernetes version", async () => {
        project.addStack("dev");
        const { objects } = await renderStack(project.root, "dev", helm);
        expect(objects).to.have.nested.property("[0].data.kubernetes", `v${KUBE_VERSION}`);
        expect(objects).to.have.nested.property("[0].metadata.namespace", "mf-demo-dev");
    });

    it("hands over characters that JSON allows and YAML does not", async () => {
        project.addStack("dev", 'replicas: "a\\x7f\\u0080b"\n');
        const { objects } = await renderStack(project.root, "dev", helm);
        expect(objects).to.have.nested.property("[0].data.replicas", "a\u007f\u0080b");
    });

    it("fails with the chart's words and the line to look at", async () => {
        project.addStack("dev", "replicas: 1\n");
        project.write("chart/templates/validation.yaml", '{{ fail "replicas: too few" }}');
        const message = await renderStack(project.root, "dev", helm).then(
            () => "rendered",
            (error: unknown) => (error as Error).message,
        );
        expect(message).to.contain("chart/environment/dev/values-dev.yaml:2: replicas: too few");
    });
});

describe("ml-api diff without a cluster", () => {
    it("says why nothing is compared and what can be done, and ends with 1", async () => {
        const env = { KUBECONFIG: "/nowhere/kubeconfig", ML_API_CONTEXT: "" };
        const { code, stdout } = await mlApi(["diff", "dev"], env);
        expect(code).to.equal(1);
        expect(stdout).to.match(
            /dev \(mf-demo in mf-demo-dev\), .*\n {2}! .*kubeconfig.* → --base <commit> compares without/,
        );
        const json = JSON.parse((await mlApi(["diff", "dev", "--json"], env)).stdout) as {
            stacks: { state: string }[];
        };
        expect(json.stacks.map(({ state }) => state)).to.deep.equal(["failed"]);
    });

    it("compares with a commit of this checkout, in the form that is asked for", async () => {
        const env = { KUBECONFIG: "/nowhere/kubeconfig" };
        const markdown = await mlApi(["diff", "dev", "--base", "HEAD", "--markdown"], env);
        expect(markdown.code, markdown.stderr).to.equal(0);
        expect(markdown.stdout).to.match(/^<!-- ml-api diff dev -->\n/);
        const both = await mlApi(["diff", "--base", "HEAD", "--markdown", "--json"]);
        expect(both.code).to.equal(1);
        expect(both.stderr).to.contain("cannot be used with");
    });
});

describe("ml-api diff --base", () => {
    let project: ProjectFolder;
    beforeEach(() => {
        project = new ProjectFolder();
        project.addStack("dev", "replicas: 1\n");
        project.addStack("production", "replicas: 3\n");
        project.commit();
    });
    afterEach(() => {
        project.remove();
    });

    const compare = async (stacks?: readonly string[]): Promise<Readonly<Record<string, StackDiff>>> => {
        const commit = await findCommit(project.root, "main");
        const all = await compareWithCommit(project.root, stacks, commit, helm);
        return Object.fromEntries(all.map((one) => [one.stack, one]));
    };
    const told = (diff: StackDiff | undefined) => [
        diff?.state,
        ...(diff?.objects ?? []).map(({ action, name }) => `${action} ${name}`),
    ];

    it("names what changes in each stack, and only there", async () => {
        project.addStack("dev", "replicas: 2\n# a comment\n");
        const { dev, production } = await compare();
        expect(told(dev)).to.deep.equal(["compared", "update ConfigMap/mf-demo"]);
        expect(dev?.objects[0]?.fields).to.deep.equal([{ path: ["data", "replicas"], before: "1", after: "2" }]);
        expect(told(production)).to.deep.equal(["compared"]);
        expect(Object.keys(await compare(["production"]))).to.deep.equal(["production"]);
    });

    it("names the objects that the program makes around the release", async () => {
        project.write(
            "Pulumi.dev.yaml",
            "config:\n  ml-api:environment: dev\n  ml-api:keyGeneration: 2\n  ml-api:acceptPreviousKey: true\n",
        );
        const { dev } = await compare();
        expect(told(dev)).to.deep.equal([
            "compared",
            "delete Secret/mf-demo-key-1",
            "create Secret/mf-demo-key-2-with-1",
        ]);
    });

    it("shows a new stack as new, and says what becomes of one that is gone", async () => {
        project.addStack("staging");
        fs.rmSync(project.file("Pulumi.dev.yaml"));
        const { dev, staging } = await compare();
        expect(told(staging)).to.deep.equal([
            "new",
            "create ConfigMap/mf-demo",
            "create Namespace/mf-demo-staging",
            "create Secret/mf-demo-key-1",
        ]);
        expect(told(dev)).to.deep.equal(["gone"]);
        expect(dev?.notes.join()).to.contain("pulumi destroy --stack dev");
    });

    it("says when the release moves, because it is made anew", async () => {
        project.write("Pulumi.dev.yaml", "config:\n  ml-api:environment: dev\n  ml-api:namespace: other\n");
        const { dev } = await compare();
        expect(dev?.notes.join()).to.contain("moves from mf-demo in mf-demo-dev to mf-demo in other");
        expect(told(dev))
            .to.include("create v1/other/ConfigMap/mf-demo")
            .and.to.include("delete v1/mf-demo-dev/ConfigMap/mf-demo");
    });

    it("tells a state that cannot be rendered from a base that cannot", async () => {
        project.write("chart/templates/broken.yaml", "{{ .Values.nothing.at.all }}");
        const { dev } = await compare();
        expect(told(dev)).to.deep.equal(["failed"]);
        expect(dev?.notes.join()).to.contain("chart/templates/broken.yaml:1");
        project.commit();
        fs.rmSync(project.file("chart/templates/broken.yaml"));
        const repaired = (await compare())["dev"];
        expect(told(repaired)).to.deep.equal(["no-base"]);
        expect(repaired?.notes.join()).to.contain("cannot be rendered, this state can");
    });

    it("tells what the update cannot do, and the check then fails", async () => {
        const deployment = (app: string) =>
            project.write(
                "chart/templates/deployment.yaml",
                [
                    "apiVersion: apps/v1",
                    "kind: Deployment",
                    "metadata: {name: {{ .Release.Name }}}",
                    `spec: {selector: {matchLabels: {app: ${app}}}}`,
                    "",
                ].join("\n"),
            );
        deployment("a");
        project.commit();
        deployment("b");
        const { dev } = await compare();
        expect(dev?.problems.map(({ object, field, blocking }) => [object, field, blocking])).to.deep.equal([
            ["Deployment/mf-demo", "spec.selector", true],
        ]);
        const [step] = await runSteps(choose({ only: ["diff"] }), project.root, "main", quiet);
        expect(step?.status).to.equal("failed");
        expect(step?.details).to.contain("dev: the update cannot succeed: Deployment/mf-demo spec.selector");
        expect(checkMarkdown(step === undefined ? [] : [step]))
            .to.contain("| diff | **failed** |")
            .and.to.contain("### What this changes in the clusters")
            .and.to.contain("! Deployment/mf-demo");
        deployment("a");
        expect((await runSteps(choose({ only: ["diff"] }), project.root, "main", quiet))[0]?.status).to.equal("ok");
    });

    it("shows no secret of a message", async () => {
        project.addStack("dev", "env: {TOKEN: pV9xQ2rT7mK4wZ8sB3nH}\n");
        project.write("chart/templates/validation.yaml", '{{ fail (printf "env: %s is wrong" .Values.env.TOKEN) }}');
        expect((await compare())["dev"]?.notes.join()).to.contain("env: [secret] is wrong");
    });
});
