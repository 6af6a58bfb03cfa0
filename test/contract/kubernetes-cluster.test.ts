import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { chart } from "./charts";
import { deadKubeconfig, isStoredSecret, Project, removeProjects, testKubeconfig } from "./engine";
import { execKubeconfig, TestCluster } from "./test-cluster";

/**
 * One program, taken from its first deployment to its removal. The order of the tests is the order of its life: each
 * one says what it changes and leaves the stack deployed.
 */
const program = `
import * as pulumi from "@pulumi/pulumi";
import * as k8s from "@pulumi/kubernetes";
import * as random from "@pulumi/random";

const config = new pulumi.Config();
const place = config.require("namespace");
const label = config.get("label") ?? "one";
const generation = config.get("generation") ?? "1";

const namespace = new k8s.core.v1.Namespace("namespace", { metadata: { name: place, labels: { label } } });
const metadata = { namespace: namespace.metadata.name, labels: { label } };
const inNamespace = { parent: namespace };

const password = new random.RandomPassword("password", { length: 30, keepers: { generation } });
const key = new k8s.core.v1.Secret("key", {
    metadata: { ...metadata, name: "key" },
    immutable: true,
    type: "Opaque",
    stringData: { key: password.result, plain: "generation " + generation },
});
new k8s.core.v1.ConfigMap("settings", { metadata, data: { generation } });
new k8s.core.v1.ServiceAccount("account", { metadata: { ...metadata, name: "account" }, automountServiceAccountToken: false });
new k8s.core.v1.Service("service", {
    metadata: { ...metadata, name: "service", annotations: { "pulumi.com/skipAwait": "true" } },
    spec: { selector: { app: "sample" }, ports: [{ port: 80, targetPort: "http" }] },
});
new k8s.coordination.v1.Lease("lease", { metadata: { ...metadata, name: "lease" }, spec: { holderIdentity: "contract" } });
new k8s.core.v1.ResourceQuota("quota", { metadata: { ...metadata, name: "quota" }, spec: { hard: { pods: "20" } } });
new k8s.rbac.v1.Role("role", {
    metadata: { ...metadata, name: "role" },
    rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }],
});
new k8s.rbac.v1.RoleBinding("binding", {
    metadata: { ...metadata, name: "binding" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "role" },
    subjects: [{ kind: "ServiceAccount", name: "account", namespace: place }],
});
new k8s.networking.v1.NetworkPolicy("policy", {
    metadata: { ...metadata, name: "policy" },
    spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ ports: [{ port: 8080 }] }] },
});
const deployment = new k8s.apps.v1.Deployment("deployment", {
    metadata: { ...metadata, name: "plain" },
    spec: {
        replicas: 2,
        selector: { matchLabels: { app: "plain" } },
        template: {
            metadata: { labels: { app: "plain" } },
            spec: { containers: [{ name: "main", image: "registry.invalid/plain:1", resources: { requests: { cpu: "10m" } } }] },
        },
    },
});
new k8s.apiextensions.CustomResource("cluster-role-like", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { ...metadata, name: "custom" },
    rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }],
});

const note = (name: string) => new pulumi.ResourceHook(name, (args) => console.log("hook", name, args.name));
const onError = new pulumi.ErrorHook("on-error", (args) => {
    console.log("hook on-error", args.name, args.failedOperation, Object.keys(args).sort().join(","), JSON.stringify(args.errors));
    return false;
});
const hooks = {
    beforeCreate: [note("before-create")],
    afterCreate: [note("after-create")],
    beforeUpdate: [note("before-update")],
    afterUpdate: [note("after-update")],
    onError: [onError],
};

const values = {
    replicas: config.getNumber("replicas") ?? 5,
    removed: null,
    empty: {},
    emptyList: [],
    big: 9007199254740991,
    fraction: 0.1,
    text: "é😀\\u007f",
    hook: config.get("hook") ?? "",
    nodeSelector: config.getObject("nodeSelector") ?? {},
    nested: { secret: pulumi.secret("never in clear") },
};
const release = new k8s.helm.v3.Release("release", {
    name: config.get("release") ?? "sample",
    namespace: config.get("releaseNamespace") ?? place,
    chart: "./chart",
    skipCrds: true,
    atomic: true,
    cleanupOnFail: true,
    waitForJobs: true,
    maxHistory: 10,
    resetValues: true,
    timeout: config.getNumber("timeout") ?? 3,
    values,
}, { dependsOn: [namespace, key, deployment], hooks });

for (const other of config.getObject<string[]>("others") ?? []) {
    new k8s.helm.v3.Release(other, {
        name: other,
        namespace: place,
        chart: "./chart",
        skipCrds: true,
        atomic: other === "atomic",
        timeout: 3,
        values: { nodeSelector: config.getBoolean("othersWork") ? {} : { nowhere: "here" } },
    }, { dependsOn: [release], hooks: { onError: [onError] } });
}

class Rendered extends pulumi.ComponentResource {
    constructor(name: string, args: { manifest: pulumi.Input<unknown> }) {
        super("contract:index:Rendered", name, args);
    }
}
const { nested, ...plain } = values;
type Objects = { kind: string; metadata: { annotations: Record<string, string> } }[];
const render = (options: object): pulumi.Output<Objects> =>
    pulumi.runtime
        .invokeOutput("kubernetes:helm:template", {
            jsonOpts: JSON.stringify({ path: "./chart", release_name: "sample", namespace: place, values: plain, ...options }),
        })
        .apply(({ result }) => result);
const objects = render({ kube_version: "v1.33.0" });
new Rendered("rendered", { manifest: pulumi.all([release.urn, objects]).apply(([, known]) => known) });

const asked = config.getBoolean("askCluster") ? render({}) : pulumi.output([]);
export const kubeVersion = asked.apply((known) => known.find(({ kind }) => kind === "ConfigMap")?.metadata.annotations["kube-version"] ?? "");
pulumi.all([release.status, release.resourceNames]).apply(([known]) => console.log("known:", known.status));
export const status = release.status;
export const resourceNames = release.resourceNames;
export const keyName = key.metadata.name;
`;

describe("The Kubernetes provider on a cluster", function () {
    const place = `contract-${process.pid.toString(36)}`;
    let project: Project;
    let cluster: TestCluster;
    let env: NodeJS.ProcessEnv;
    let settings: Record<string, unknown> = {};

    before(async function () {
        const kubeconfig = testKubeconfig();
        if (kubeconfig === undefined) {
            this.skip();
        }
        cluster = new TestCluster(kubeconfig);
        project = await Project.create("cluster", { ...chart, "index.ts": program, "dead.json": deadKubeconfig() });
        env = { KUBECONFIG: kubeconfig };
        set({ askCluster: true });
    });
    after(async () => {
        if (settings.namespace === undefined) return;
        removeProjects();
        await cluster.deleteNamespace(place);
    });

    /** Sets what is given, on top of what was set before; undefined takes back. */
    function set(changes: Record<string, unknown>): void {
        settings = { namespace: place, ...settings, ...changes };
        const config = Object.entries(settings).filter(([, value]) => value !== undefined);
        project.configure(Object.fromEntries(config.map(([name, value]) => [`cluster:${name}`, value])));
    }

    async function deploys(): Promise<string> {
        const { code, output } = await project.up({ env });
        expect(code, output).to.equal(0);
        return output;
    }

    async function fails(): Promise<string> {
        const { code, output } = await project.up({ env });
        expect(code, output).not.to.equal(0);
        return output;
    }

    async function unchanged(): Promise<void> {
        const { code, output } = await project.preview({ env, args: ["--expect-no-changes"] });
        expect(code, output).to.equal(0);
    }

    const never = { nowhere: "here" };

    // What follows a failure is looked at from a place where the program never was.
    let broken = false;
    beforeEach(function () {
        if (broken) this.skip();
    });
    afterEach(function () {
        broken ||= this.currentTest?.state === "failed";
    });

    it("deploys, and runs the program's hooks around the Release", async () => {
        const output = await deploys();
        const hooks = [...output.matchAll(/hook (\S+) release/g)].map(([, name]) => name);
        expect([...new Set(hooks)]).to.deep.equal(["before-create", "after-create"]);
        expect(output).to.include("known: deployed");
    });

    it("returns the release's status and the names of its objects", async () => {
        const { status, resourceNames, kubeVersion } = await project.outputs();
        expect(status).to.deep.equal({
            appVersion: "7",
            chart: "sample",
            name: "sample",
            namespace: place,
            revision: 1,
            status: "deployed",
            version: "0.3.1",
        });
        expect(resourceNames).to.deep.equal({
            "ConfigMap/v1": ["sample-values"],
            "Deployment.apps/apps/v1": ["sample"],
        });
        expect(kubeVersion, "the cluster's version, without kube_version").to.match(/^v1\.(?!20\.0)/);
    });

    it("passes values to Helm exactly", async () => {
        const { "values.json": values = "" } = await cluster.configMap(place, "sample-values");
        expect(JSON.parse(values)).to.deep.equal({
            replicas: 5,
            empty: {},
            emptyList: [],
            big: 9007199254740991,
            fraction: 0.1,
            text: "é😀\u007f",
            list: ["from", "the", "chart"],
            nested: { kept: true, replaced: "chart", secret: "never in clear" },
            image: "registry.invalid/sample:1",
            breakWith: "",
            hook: "",
            nodeSelector: {},
        });
    });

    it("keeps secrets secret, each in its place", async () => {
        const { text, resources } = await project.exported();
        expect(text).not.to.include("never in clear");
        const data = await cluster.secretData(place, "key");
        expect(text).not.to.include(Buffer.from(data.key ?? "", "base64").toString());
        expect(text).not.to.include(data.key);
        const release = resources.find(({ urn }) => urn.endsWith("::release"));
        for (const side of [release?.inputs, release?.outputs]) {
            const { nested, replicas } = (side?.values ?? {}) as { nested: { secret: unknown }; replicas: unknown };
            expect(isStoredSecret(nested.secret)).to.equal(true);
            expect(replicas).to.equal(5);
        }
    });

    it("records objects under their namespace and name", async () => {
        const { resources } = await project.exported();
        const id = (name: string): string | undefined => resources.find(({ urn }) => urn.endsWith(`::${name}`))?.id;
        expect(id("namespace")).to.equal(place);
        expect(id("key")).to.equal(`${place}/key`);
        expect(id("release")).to.equal(`${place}/sample`);
        expect(id("settings")).to.match(new RegExp(`^${place}/settings-[0-9a-f]{8}$`));
    });

    it("sees neither that somebody deleted Helm's records, nor that the chart's files changed", async () => {
        project.write("chart/templates/NOTES.txt", "Another chart than before.\n");
        const putBack = await cluster.hideRecords(place, "sample");
        await unchanged();
        await putBack();
    });

    it("changes nothing after a refresh, with a credential that a program provides", async () => {
        project.write("exec.json", execKubeconfig(env.KUBECONFIG ?? ""));
        const { code, output } = await project.preview({
            env: { KUBECONFIG: `${project.directory}/exec.json` },
            args: ["--expect-no-changes", "--refresh"],
        });
        expect(code, output).to.equal(0);
        set({ askCluster: undefined });
    });

    it("shows every field that will change, and leaves the outputs open", async () => {
        set({ replicas: 6 });
        const { output } = await project.preview({ env });
        // In the Release's values and in the rendered Deployment.
        expect(output.match(/~ replicas\s*: 5 => 6/g)?.length, output).to.be.at.least(2);
        expect(output).not.to.include("known:");
        expect(output).not.to.include("hook before");
        expect(output).to.match(/~ 2 to update\n\s+\d+ unchanged/);
    });

    it("replaces a Release of another name or in another namespace, and sees the chart's version", async () => {
        set({ release: "renamed", releaseNamespace: "default" });
        const chartYaml = project.read("chart/Chart.yaml");
        project.write("chart/Chart.yaml", chartYaml.replace("0.3.1", "0.3.2"));
        const step = await project.step("release", { env });
        expect(step.op).to.match(/replace/);
        expect(step.replaceReasons).to.have.members(["name", "namespace"]);
        expect(Object.keys(step.detailedDiff ?? {})).to.have.members([
            "name",
            "namespace",
            "version",
            "values.replicas",
        ]);
        set({ release: undefined, releaseNamespace: undefined });
        project.write("chart/Chart.yaml", chartYaml);
    });

    it("updates a Release and tells its hooks", async () => {
        const output = await deploys();
        const hooks = [...output.matchAll(/hook (\S+) release/g)].map(([, name]) => name);
        expect([...new Set(hooks)]).to.deep.equal(["before-update", "after-update"]);
        expect(output).to.match(/Rendered rendered .*\[diff: ~manifest\]/);
        expect((await cluster.records(place, "sample")).map(({ status }) => status)).to.deep.equal([
            "superseded",
            "deployed",
        ]);
    });

    it("updates objects in place, and replaces what the API server keeps as it is", async () => {
        set({ label: "two", generation: "2" });
        const steps = await project.steps({ env });
        const step = (name: string): (typeof steps)[number] | undefined =>
            steps.find(({ urn }) => urn.endsWith(`::${name}`));
        const updated = [
            "namespace",
            "account",
            "service",
            "lease",
            "quota",
            "role",
            "binding",
            "policy",
            "deployment",
        ];
        for (const name of updated) {
            expect(step(name)?.op, name).to.equal("update");
            expect(Object.keys(step(name)?.detailedDiff ?? {}), name).to.deep.equal(["metadata.labels.label"]);
        }
        expect(step("key")?.op).to.match(/replace/);
        expect(step("settings")?.op).to.match(/replace/);

        const before = (await project.resource("settings"))?.id;
        const output = await deploys();
        // An object that has its name from the program is gone before its successor comes, another is not.
        const order = (name: string): number[] =>
            [/delet|replac/, /creat/].map((word) => output.search(new RegExp(` ${name} ${word.source}`)));
        const [deleted = 0, created = 0] = order("key");
        expect(deleted).to.be.greaterThan(-1);
        expect(deleted).to.be.lessThan(created);
        expect((await project.resource("settings"))?.id).not.to.equal(before);
        const { plain = "" } = await cluster.secretData(place, "key");
        expect(Buffer.from(plain, "base64").toString()).to.equal("generation 2");
        await unchanged();
    });

    let failure = "";

    it("rolls an update back whose pods do not become ready, and says so", async () => {
        set({ nodeSelector: never, replicas: 7 });
        failure = await fails();
        expect(failure).to.include(
            "release sample failed, and has been rolled back due to atomic being set: context deadline exceeded",
        );
        const records = await cluster.records(place, "sample");
        expect(records.slice(-2).map(({ status }) => status)).to.deep.equal(["failed", "deployed"]);
        expect(records.at(-1)?.description).to.match(/^Rollback to \d+$/);
    });

    it("tells the error hook what failed, after the rollback", () => {
        const line = /hook on-error release (\S+) (\S+) (.*)/.exec(failure);
        expect(line?.[1]).to.equal("update");
        expect(line?.[2]?.split(",")).to.include.members([
            "errors",
            "failedOperation",
            "newInputs",
            "oldInputs",
            "oldOutputs",
        ]);
        expect(line?.[3]).to.include("context deadline exceeded");
        expect(failure).to.include("hook before-update release");
    });

    it("records such an update as failed, and tries it again next time", async () => {
        const release = await project.resource("release");
        expect(release?.initErrors?.join()).to.include("context deadline exceeded");
        expect((release?.outputs?.values as { replicas: number }).replicas).to.equal(7);
        expect((await project.step("release", { env })).op).to.equal("update");
    });

    it("does not forget it in a refresh", async () => {
        const step = await project.step("release", { env, args: ["--refresh"] });
        expect(step.op).to.equal("update");
        expect(Object.keys(step.detailedDiff ?? {})).to.include("values.replicas");
    });

    it("deploys once its cause is gone", async () => {
        set({ nodeSelector: undefined });
        await deploys();
        expect((await project.resource("release"))?.initErrors ?? []).to.deep.equal([]);
    });

    it("fails when a hook of the chart fails", async () => {
        set({ hook: "fail" });
        const output = await fails();
        expect(output).to.match(/pre-upgrade hooks failed/);
        set({ hook: undefined });
    });

    it("rolls back within seconds when it is interrupted, leaves no process, and calls no error hook", async () => {
        set({ nodeSelector: never, timeout: 120 });
        let asked = 0;
        const { code, output, seconds } = await project.up({
            env,
            watch: (child, text) => {
                if (asked === 0 && text.includes("release updating")) {
                    asked = Date.now();
                    void waitForPending().then(() => {
                        asked = Date.now();
                        child.kill("SIGINT");
                    });
                }
            },
        });
        expect(code, output).not.to.equal(0);
        expect(Date.now() - asked, `${String(seconds)} s in all`).to.be.lessThan(15_000);
        const records = await cluster.records(place, "sample");
        expect(records.at(-2)?.status).to.equal("failed");
        expect(records.at(-2)?.description).to.include("context canceled");
        expect(records.at(-1)?.status).to.equal("deployed");
        expect(output).not.to.include("hook on-error");
        expect(helmProcesses()).to.deep.equal([]);
        set({ nodeSelector: undefined, timeout: undefined });
    });

    async function waitForPending(): Promise<void> {
        for (let tries = 0; tries < 100; tries++) {
            if ((await cluster.records(place, "sample")).at(-1)?.status === "pending-upgrade") break;
            await sleep(100);
        }
        // Long enough for Helm to be waiting for the pods.
        await sleep(1500);
    }

    function helmProcesses(): string[] {
        const lines = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" }).split("\n");
        return lines.filter((line) => line.includes(`--namespace ${place}`));
    }

    it("refuses to touch a release that a killed process left pending, and goes on once the record is gone", async () => {
        const pending = await cluster.leavePending(place, "sample");
        set({ replicas: 8 });
        const output = await fails();
        expect(output).to.include("another operation (install/upgrade/rollback) is in progress");
        expect(output).to.include("hook before-update release");
        expect(output).to.include("hook on-error release update");
        await cluster.deleteSecret(place, pending);
        await deploys();
        expect((await project.outputs()).status).to.include({ status: "deployed" });
    });

    it("removes a release that cannot be installed, when it is atomic, and keeps it otherwise", async () => {
        set({ others: ["atomic", "kept"] });
        const output = await fails();
        expect(output).to.include(
            "release atomic failed, and has been uninstalled due to atomic being set: context deadline exceeded",
        );
        expect(output).to.include("hook on-error atomic create");
        expect(await project.resource("atomic")).to.equal(undefined);
        expect(await cluster.records(place, "atomic")).to.deep.equal([]);

        expect(output).to.match(/was created, but failed to initialize completely/);
        expect((await project.resource("kept"))?.initErrors).to.have.length(1);
        expect((await cluster.records(place, "kept")).map(({ status }) => status)).to.deep.equal(["failed"]);
    });

    it("updates a release next time that could not be installed", async () => {
        set({ others: ["kept"], othersWork: true });
        await deploys();
        expect((await cluster.records(place, "kept")).map(({ status }) => status)).to.deep.equal([
            "superseded",
            "deployed",
        ]);
    });

    it("imports a release into a component that no program has made yet, and changes nothing in the cluster", async () => {
        const before = await cluster.records(place, "kept");
        const resources = [
            { type: "test:index:Around", name: "around", component: true },
            { type: "kubernetes:helm.sh/v3:Release", name: "taken", id: `${place}/kept`, parent: "around" },
        ];
        project.write("import.json", JSON.stringify({ resources }));
        const options = ["--yes", "--skip-preview", "--generate-code=false", "--protect=false"];
        const { code, output } = await project.run(["import", "--stack", "dev", "--file", "import.json", ...options], {
            env,
        });
        expect(code, output).to.equal(0);
        const taken = await project.resource("taken");
        expect(taken?.urn).to.contain("test:index:Around$kubernetes:helm.sh/v3:Release");
        expect(taken?.inputs).to.include({ name: "kept", namespace: place });
        expect(await cluster.records(place, "kept")).to.deep.equal(before);
        const around = await project.resource("around");
        for (const urn of [taken?.urn ?? "", around?.urn ?? ""])
            expect((await project.run(["state", "delete", urn, "--stack", "dev", "--yes"])).code).to.equal(0);
    });

    it("fails clearly and soon when the cluster is out of reach, and forgets nothing", async () => {
        const dead = { env: { KUBECONFIG: `${project.directory}/dead.json` } };
        const before = (await project.exported()).resources.length;
        set({ replicas: 9 });
        for (const args of [
            ["up", "--yes", "--skip-preview"],
            ["refresh", "--yes", "--skip-preview"],
            ["destroy", "--yes", "--skip-preview"],
        ]) {
            const { code, output, seconds } = await project.run([...args, "--stack", "dev"], dead);
            expect(code, output).not.to.equal(0);
            expect(output, args[0]).to.match(/cluster is unreachable|unreachable cluster/);
            expect(seconds).to.be.lessThan(20);
        }
        set({ replicas: 8 });
        expect((await project.exported()).resources.length).to.be.at.least(before - 2);
    });

    it("removes everything, and waits until the namespace is gone", async () => {
        const { code, output } = await project.run(["destroy", "--stack", "dev", "--yes", "--skip-preview"], { env });
        expect(code, output).to.equal(0);
        expect(await cluster.find("v1", "Namespace", place)).to.equal(undefined);
        const { resources } = await project.exported();
        expect(resources).to.deep.equal([]);
    });
});
