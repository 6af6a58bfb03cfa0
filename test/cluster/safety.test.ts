import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { expect } from "chai";
import { type ApiAccess, openAccess } from "../../components/config/kubeconfig";
import { request } from "../../components/guarded-release/live/api";
import { STABLE_KINDS } from "../../components/guarded-release/safety/api-versions";
import { patchFor } from "../../components/guarded-release/safety/dry-run";
import { type Shape, shapeOf } from "../../components/guarded-release/safety/merge-keys";
import { objectPaths } from "../../components/guarded-release/live/object-paths";
import { asMap, at, type Fields } from "../../components/guarded-release/safety/patch";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { askServer, type ServerAnswer } from "../../components/guarded-release/safety/safety";
import { Checkout } from "./checkout";

const RELEASE = "demo";
const IMAGE = "localhost/demo:1";

/**
 * What the API server says about an upgrade before anything is sent. The cluster is real up to its nodes; nothing here starts
 * Pulumi but the last part.
 */
describe("upgrade safety with a server", function () {
    const kubeconfig = process.env["ML_API_TEST_KUBECONFIG"] ?? "";
    const env = { ...process.env, KUBECONFIG: kubeconfig, ML_API_CONTEXT: "" };
    let access: ApiAccess;
    let namespace = "";
    let count = 0;
    const namespaces: string[] = [];

    before(async () => {
        if (kubeconfig === "") throw new Error("these tests need a cluster: run `make test`");
        access = await openAccess(undefined, env, 2000);
        kubectl(["apply", "-f", "-"], widgets);
    });
    after(() => {
        kubectl(["delete", "crd", "widgets.example.com"]);
        kubectl(["delete", "namespace", ...namespaces, "--wait=false"]);
    });
    beforeEach(() => {
        namespace = `safety-${process.pid}-${++count}`;
        namespaces.push(namespace);
        kubectl(["create", "namespace", namespace]);
    });

    function kubectl(args: readonly string[], input?: object | readonly object[]): string {
        const list = Array.isArray(input) ? { apiVersion: "v1", kind: "List", items: input as object[] } : input;
        const text = execFileSync("kubectl", args, {
            env,
            encoding: "utf8",
            stdio: "pipe",
            input: JSON.stringify(list ?? {}),
        });
        return text.trim();
    }

    const object = (apiVersion: string, kind: string, fields: object, name = "demo"): RenderedObject => ({
        apiVersion,
        kind,
        metadata: { name, namespace },
        ...fields,
    });
    const deployment = (spec: object = {}, pod: object = {}, container: object = {}, app = "demo"): RenderedObject =>
        object("apps/v1", "Deployment", {
            spec: {
                selector: { matchLabels: { app } },
                template: {
                    metadata: { labels: { app } },
                    spec: { containers: [{ name: "api", image: IMAGE, ...container }], ...pod },
                },
                ...spec,
            },
        });
    const service = (spec: object = {}) =>
        object("v1", "Service", { spec: { selector: { app: "demo" }, ports: [{ port: 80, name: "http" }], ...spec } });
    const settings = (data: Record<string, string>) => object("v1", "ConfigMap", { data });

    /** Makes objects as Helm does, with its marks. */
    function installed(...objects: RenderedObject[]): RenderedObject[] {
        kubectl(["create", "-f", "-"], objects.map(marked));
        return objects;
    }
    function marked(one: RenderedObject): RenderedObject {
        const annotations = { "meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": namespace };
        const labels = { "app.kubernetes.io/managed-by": "Helm" };
        return { ...one, metadata: { ...one.metadata, annotations, labels } };
    }

    const ask = (before: RenderedObject[] | undefined, after: RenderedObject[], how = access): Promise<ServerAnswer> =>
        askServer(how, { namespace, release: RELEASE, before, after });
    /** `Deployment/demo spec.selector: what`, with ? for a warning. */
    const shown = ({ problems }: ServerAnswer) =>
        problems.map(({ object: name, field, what, blocking }) => `${name} ${field}${blocking ? ":" : "?"} ${what}`);

    /** Everything in the namespace, to show that a question leaves nothing behind. */
    const state = () => kubectl(["get", "deployments,services,configmaps,secrets,pvc", "-n", namespace, "-o", "yaml"]);

    describe("sends what Helm sends", () => {
        it("so that the answer is what `helm upgrade` makes of the objects, drift and server's defaults included", async function () {
            this.timeout(60_000);
            const before = [
                deployment(
                    { replicas: 2, strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } },
                    { volumes: [{ name: "data", emptyDir: {} }], initContainers: [{ name: "old", image: IMAGE }] },
                    {
                        env: [
                            { name: "A", value: "1" },
                            { name: "B", value: "2" },
                        ],
                        ports: [{ containerPort: 80 }, { containerPort: 81 }],
                        args: ["a", "b"],
                    },
                ),
                service(),
                settings({ keep: "1", drop: "1" }),
                object("policy/v1", "PodDisruptionBudget", {
                    spec: { minAvailable: 1, selector: { matchLabels: { app: "demo", gone: "1" } } },
                }),
                object("autoscaling/v1", "HorizontalPodAutoscaler", {
                    spec: {
                        maxReplicas: 3,
                        scaleTargetRef: { kind: "Deployment", name: "demo", apiVersion: "apps/v1" },
                    },
                }),
                object("example.com/v1", "Widget", {
                    spec: { size: 1, parts: [{ name: "a" }, { name: "b" }], old: "x" },
                }),
            ];
            const after = [
                deployment(
                    { strategy: { type: "Recreate" } },
                    { volumes: [{ name: "data", configMap: { name: "demo" } }], priority: 0 },
                    {
                        image: "localhost/demo:2",
                        env: [
                            { name: "C", value: "3" },
                            { name: "B", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
                        ],
                        ports: [{ containerPort: 81, name: "metrics" }],
                        args: ["b"],
                    },
                ),
                service({
                    ports: [
                        { port: 81, name: "metrics" },
                        { port: 80, name: "web" },
                    ],
                }),
                settings({ keep: "2", more: "1" }),
                object("policy/v1", "PodDisruptionBudget", {
                    spec: { maxUnavailable: 1, selector: { matchLabels: { app: "demo" } } },
                }),
                object("autoscaling/v2", "HorizontalPodAutoscaler", {
                    spec: {
                        maxReplicas: 4,
                        scaleTargetRef: { kind: "Deployment", name: "demo", apiVersion: "apps/v1" },
                    },
                }),
                object("example.com/v1", "Widget", { spec: { size: 1, parts: [{ name: "b" }] } }),
            ];
            const chart = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-safety-"));
            try {
                const helm = (command: string, objects: readonly RenderedObject[]) => {
                    fs.mkdirSync(path.join(chart, "templates"), { recursive: true });
                    fs.writeFileSync(path.join(chart, "Chart.yaml"), "apiVersion: v2\nname: demo\nversion: 0.1.0\n");
                    const manifests = objects.map((one) => JSON.stringify(one)).join("\n---\n");
                    fs.writeFileSync(path.join(chart, "templates", "all.yaml"), manifests);
                    execFileSync(process.env["ML_API_HELM"] ?? "helm", [command, RELEASE, chart, "-n", namespace], {
                        env,
                        stdio: "pipe",
                    });
                };
                helm("install", before);
                // What others do to a release's objects meanwhile.
                const drift = {
                    metadata: { annotations: { note: "by hand" } },
                    spec: { replicas: 5, template: { spec: { containers: [{ name: "proxy", image: IMAGE }] } } },
                };
                const patch = ["patch", "deployment/demo", "-n", namespace, "-p", JSON.stringify(drift)];
                kubectl(patch);
                kubectl([
                    "patch",
                    "configmap/demo",
                    "-n",
                    namespace,
                    "-p",
                    JSON.stringify({ data: { hand: "1", keep: null } }),
                ]);
                kubectl(["patch", "widget/demo", "-n", namespace, "--type=merge", "-p", '{"spec":{"hand":"1"}}']);

                const pathOf = objectPaths(access, namespace, 2000);
                const read = async (one: RenderedObject) => {
                    const { body } = await request(access, { path: (await pathOf(one)) ?? "", timeoutMs: 2000 });
                    return JSON.parse(body) as Fields;
                };
                const answers = await Promise.all(
                    after.map(async (one, index) => {
                        const sent = patchFor(one, before[index], await read(one), { release: RELEASE, namespace });
                        const { body } = await request(access, {
                            method: "PATCH",
                            path: (await pathOf(one)) ?? "",
                            query: { dryRun: "All" },
                            contentType: sent.contentType,
                            body: JSON.stringify(sent.patch),
                            timeoutMs: 2000,
                        });
                        return JSON.parse(body) as Fields;
                    }),
                );
                const answer = await ask(before, after);
                expect(shown(answer)).to.deep.equal([]);
                expect(answer.checked, answer.why).to.equal(true);

                helm("upgrade", after);
                for (const [index, one] of after.entries())
                    expect(comparable(answers[index]), one.kind).to.deep.equal(comparable(await read(one)));
                // The drift was there to be kept or undone: else this would compare two clean objects.
                expect(at(answers[0], ["metadata", "annotations", "note"])).to.equal("by hand");
                expect(at(answers[0], ["spec", "template", "spec", "containers"])).to.have.length(2);
                expect(at(answers[2], ["data"])).to.deep.equal({ keep: "2", more: "1", hand: "1" });
            } finally {
                fs.rmSync(chart, { recursive: true, force: true });
            }
        });

        it("by the merge keys that the server itself publishes", async function () {
            this.timeout(60_000);
            const { body } = await request(access, { path: "/openapi/v2", timeoutMs: 20_000, limit: 64 << 20 });
            const { definitions } = JSON.parse(body) as { definitions: Record<string, Definition> };
            const kinds = Object.values(definitions).flatMap((definition) =>
                (definition["x-kubernetes-group-version-kind"] ?? [])
                    .map(({ group, version, kind }) => ({
                        apiVersion: group === "" ? version : `${group}/${version}`,
                        kind,
                    }))
                    .filter(({ apiVersion, kind }) => STABLE_KINDS[apiVersion]?.includes(kind) === true)
                    .map((id) => ({ ...id, definition })),
            );
            expect(kinds).to.have.length.above(50);
            for (const { apiVersion, kind, definition } of kinds) {
                const rules = shapeOf({ apiVersion, kind });
                // Helm sends an APIService as it sends a custom resource.
                if (kind === "APIService") expect(rules).to.equal(undefined);
                else expect(rulesOf(rules ?? {}), kind).to.deep.equal(publishedRules(definition, definitions));
            }
        });

        it("and knows the kinds that the server has", async () => {
            const groups = JSON.parse((await request(access, { path: "/apis", timeoutMs: 5000 })).body) as {
                groups: { versions: { groupVersion: string }[] }[];
            };
            const versions = ["v1", ...groups.groups.flatMap((group) => group.versions.map((one) => one.groupVersion))];
            const stable = versions.filter((one) => /(?:^|\/)v\d+$/.test(one) && !one.startsWith("example.com/"));
            const served = await Promise.all(
                stable.map(async (one) => {
                    const { body } = await request(access, {
                        path: one === "v1" ? "/api/v1" : `/apis/${one}`,
                        timeoutMs: 5000,
                    });
                    const { resources } = JSON.parse(body) as {
                        resources: { name: string; kind: string; verbs: string[]; group?: string }[];
                    };
                    // A Binding is a subresource as well; of all others, only what can be created by itself counts.
                    const names = resources.filter(
                        ({ name, verbs }) => verbs.includes("create") && !name.includes("/"),
                    );
                    return [one, [...new Set(names.map(({ kind }) => kind))].sort()] as const;
                }),
            );
            const known = Object.entries(STABLE_KINDS).map(([one, kinds]) => [one, [...kinds].sort()] as const);
            expect(Object.fromEntries(served)).to.deep.equal(Object.fromEntries(known));
        });
    });

    describe("finds", () => {
        it("nothing in a change that the server accepts, and writes nothing", async () => {
            const before = installed(deployment({ replicas: 1 }), settings({ a: "1" }));
            const was = state();
            const answer = await ask(before, [deployment({ replicas: 2 }), settings({ a: "2" }), service()]);
            expect(answer.problems).to.deep.equal([]);
            expect(answer).to.deep.include({ checked: true });
            expect([...answer.asked].sort()).to.deep.equal(["ConfigMap/demo", "Deployment/demo", "Service/demo"]);
            expect(state()).to.equal(was);
        });

        it("a selector that changes", async () => {
            const before = installed(deployment());
            const answer = await ask(before, [deployment({}, {}, {}, "other")]);
            expect(shown(answer)).to.deep.equal([
                "Deployment/demo spec.selector: matchLabels.app demo → other: the field is immutable",
            ]);
            expect(answer.problems[0]?.fix).to.contain("give the object another name");
        });

        it("an immutable field that differs only in the cluster", async () => {
            installed(deployment({}, {}, {}, "by-hand"));
            const before = [deployment()];
            expect(shown(await ask(before, [deployment({ replicas: 3 })]))).to.include(
                "Deployment/demo spec.selector: matchLabels.app by-hand → demo: the field is immutable",
            );
        });

        it("a claim that shrinks", async () => {
            const claim = (size: string) =>
                object("v1", "PersistentVolumeClaim", {
                    spec: {
                        accessModes: ["ReadWriteOnce"],
                        storageClassName: "",
                        volumeName: namespace,
                        resources: { requests: { storage: size } },
                    },
                });
            const volume = {
                apiVersion: "v1",
                kind: "PersistentVolume",
                metadata: { name: namespace },
                spec: { capacity: { storage: "2Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/none" } },
            };
            kubectl(["create", "-f", "-"], volume);
            try {
                const before = installed(claim("2Gi"));
                kubectl(["wait", "pvc/demo", "-n", namespace, "--for=jsonpath={.status.phase}=Bound", "--timeout=20s"]);
                expect(shown(await ask(before, [claim("1Gi")]))).to.deep.equal([
                    "PersistentVolumeClaim/demo spec.resources.requests.storage: 2Gi → 1Gi: a volume cannot shrink",
                ]);
                kubectl(["delete", "pvc/demo", "-n", namespace]);
            } finally {
                kubectl(["delete", "pv", namespace, "--wait=false"]);
            }
        });

        it("a quota that is used up", async () => {
            kubectl(["create", "quota", "small", "--hard=services=0", "-n", namespace]);
            kubectl([
                "wait",
                "quota/small",
                "-n",
                namespace,
                "--for=jsonpath={.status.hard.services}=0",
                "--timeout=20s",
            ]);
            expect(shown(await ask([], [service()]))).to.deep.equal([
                "Service/demo : exceeds the quota small: asks for services=1, used are services=0 of services=0",
            ]);
        });

        it("pods that the namespace has no room for", async () => {
            kubectl(["create", "quota", "few", "--hard=pods=2", "-n", namespace]);
            kubectl(["wait", "quota/few", "-n", namespace, "--for=jsonpath={.status.hard.pods}=2", "--timeout=20s"]);
            const before = installed(deployment({ replicas: 1 }));
            kubectl(["wait", "quota/few", "-n", namespace, "--for=jsonpath={.status.used.pods}=1", "--timeout=20s"]);
            expect(shown(await ask(before, [deployment({ replicas: 2 })]))).to.deep.equal([]);
            expect(shown(await ask(before, [deployment({ replicas: 3 })]))).to.deep.equal([
                "Deployment/demo spec.replicas? its pods do not fit: the quota few has 1 of 2 pods in use, and this needs 2 more",
            ]);
        });

        it("pods that a restricted namespace would never start", async () => {
            const label = (level: string) =>
                kubectl(["label", "--overwrite", "namespace", namespace, `pod-security.kubernetes.io/${level}`]);
            const before = installed(deployment());
            const change = [deployment({}, { hostNetwork: true })];
            expect(shown(await ask(before, change))).to.deep.equal([]);
            label("warn=restricted");
            const [warning] = shown(await ask(before, change));
            expect(warning).to.match(
                /^Deployment\/demo spec\.template\.spec\? its pods break Pod Security "restricted"/,
            );
            label("enforce=baseline");
            expect(shown(await ask(before, change))[0]).to.match(/spec\.template\.spec\? /);
            label("enforce=restricted");
            const [stopped] = shown(await ask(before, change));
            expect(stopped).to.match(
                /^Deployment\/demo spec\.template\.spec: its pods would never start: namespace \S+ enforces .*hostNetwork/,
            );
        });

        it("an API version that the server no longer has", async () => {
            const old = { ...object("extensions/v1beta1", "Ingress", {}), spec: {} };
            expect(shown(await ask([], [old]))).to.deep.equal([
                "Ingress/demo apiVersion: the cluster has no Ingress in extensions/v1beta1",
            ]);
        });

        it("a kind whose CustomResourceDefinition is missing, unless the release brings it", async () => {
            const monitor = object("monitoring.coreos.com/v1", "ServiceMonitor", { spec: {} });
            const answer = await ask([], [monitor]);
            expect(shown(answer)).to.deep.equal([
                "ServiceMonitor/demo apiVersion: the cluster has no ServiceMonitor in monitoring.coreos.com/v1",
            ]);
            expect(answer.problems[0]?.fix).to.contain("switch the object off in the values");
            const definition = {
                ...object("apiextensions.k8s.io/v1", "CustomResourceDefinition", {
                    spec: {
                        ...widgets.spec,
                        group: "monitoring.coreos.com",
                        names: { ...names("servicemonitor"), kind: "ServiceMonitor" },
                    },
                }),
                metadata: { name: "servicemonitors.monitoring.coreos.com" },
            };
            const brought = await ask([], [definition, monitor]);
            expect(shown(brought)).to.deep.equal([]);
            expect(brought.why).to.equal(
                "not checked: the release brings the CustomResourceDefinition of ServiceMonitor itself",
            );
        });

        it("an object of somebody else under the same name", async () => {
            kubectl(["create", "-f", "-"], settings({ a: "1" }));
            expect(shown(await ask(undefined, [settings({ a: "2" })]))).to.deep.equal([
                "ConfigMap/demo : is there already and was not made by Helm, so Helm refuses to make it part of demo",
            ]);
        });

        it("what the server refuses or ignores besides", async () => {
            const before = installed(deployment());
            const spoiled = deployment({ replcas: 2 }, {}, { imagePullPolicy: "Sometimes" });
            const answer = await ask(before, [spoiled]);
            expect(shown(answer)[0]).to.match(
                /^Deployment\/demo spec\.template\.spec\.containers\[0\]\.imagePullPolicy: Unsupported value: "Sometimes"/,
            );
            expect(shown(answer)).to.include(
                "Deployment/demo spec.replcas? the server does not know this field and ignores it",
            );
        });

        it("a hook whose object stays, and no fault in one that Helm replaces", async () => {
            const hook = (policy: string) => ({
                ...settings({ a: "1" }),
                metadata: {
                    name: "hook",
                    namespace,
                    annotations: { "helm.sh/hook": "pre-upgrade", "helm.sh/hook-delete-policy": policy },
                },
            });
            kubectl(["create", "-f", "-"], hook("hook-succeeded"));
            expect(shown(await ask([], [hook("hook-succeeded")]))[0]).to.contain("its delete policy lets it stay");
            expect(shown(await ask([], [hook("before-hook-creation")]))).to.deep.equal([]);
            expect(shown(await ask([], [hook("")]))).to.deep.equal([]);
        });
    });

    describe("says what it could not check", () => {
        it("when the namespace is still to be made", async () => {
            const elsewhere = { namespace: "not-yet", release: RELEASE, before: undefined, after: [service()] };
            expect(await askServer(access, elsewhere)).to.deep.include({
                checked: false,
                why: "not checked: namespace not-yet does not exist yet",
            });
        });

        /** Credentials of a service account with these rights in the namespace. */
        function reader(...verbs: string[]): ApiAccess {
            kubectl(["create", "serviceaccount", "reader", "-n", namespace]);
            const rights = [`--verb=${verbs.join(",")}`, "--resource=deployments.apps,configmaps"];
            kubectl(["create", "role", "reader", ...rights, "-n", namespace]);
            kubectl([
                "create",
                "rolebinding",
                "reader",
                "--role=reader",
                `--serviceaccount=${namespace}:reader`,
                "-n",
                namespace,
            ]);
            const token = kubectl(["create", "token", "reader", "-n", namespace]);
            const { server, ca } = access;
            return { server, ca, authorization: `Bearer ${token}` };
        }

        it("when the credentials may only read, and then sends nothing that writes", async () => {
            const before = installed(deployment(), settings({ a: "1" }));
            const was = state();
            const readOnly = reader("get");
            const answer = await ask(before, [deployment({}, {}, {}, "other"), settings({ a: "2" })], readOnly);
            expect(answer).to.deep.include({ checked: false, problems: [] });
            expect(answer.why).to.equal(
                `not checked: needs patch on configmaps in ${namespace}; needs patch on deployments in ${namespace}`,
            );
            expect(answer.asked.size).to.equal(0);
            expect(state()).to.equal(was);
            const fresh = await ask([], [object("v1", "ConfigMap", { data: {} }, "new")], readOnly);
            expect(fresh.why).to.equal(`not checked: needs create on configmaps in ${namespace}`);
        });

        it("when they may not even read", async () => {
            const answer = await ask(installed(settings({ a: "1" })), [settings({ a: "2" })], reader("list"));
            expect(answer.why).to.equal(`not checked: needs get on configmaps in ${namespace}`);
        });

        it("of a part, when the rights are enough for the rest", async () => {
            const before = installed(deployment(), service());
            const writer = reader("get", "patch");
            const answer = await ask(before, [deployment({}, {}, {}, "other"), service({ type: "NodePort" })], writer);
            expect(shown(answer)).to.have.length(1);
            expect([...answer.asked]).to.deep.equal(["Deployment/demo"]);
            expect(answer.why).to.equal(`not checked: needs get on services in ${namespace}`);
        });

        it("when nobody listens, at once", async () => {
            const free = await freePort();
            const began = Date.now();
            const answer = await ask([], [service()], { ...access, server: `https://127.0.0.1:${free}` });
            expect(answer.why).to.match(/^not checked: the API server \S+ refuses connections$/);
            expect(Date.now() - began).to.be.below(1000);
        });

        it("when the server is silent, after two seconds", async () => {
            const silent = net.createServer(() => undefined).listen(0, "127.0.0.1");
            await new Promise((resolve) => silent.once("listening", resolve));
            const { port } = silent.address() as net.AddressInfo;
            const began = Date.now();
            const answer = await ask([], [service()], { ...access, server: `https://127.0.0.1:${port}` });
            silent.close();
            expect(answer.why).to.match(/does not answer within 2 s$/);
            expect(Date.now() - began).to.be.within(1900, 3000);
        });

        it("for nothing, when nothing changes: the server is not asked at all", async () => {
            const nobody = { ...access, server: `https://127.0.0.1:${await freePort()}` };
            expect(await ask([service()], [service()], nobody)).to.deep.include({ checked: true, problems: [] });
        });
    });

    describe("in a preview and an update", () => {
        let checkout: Checkout;
        before(async () => {
            checkout = new Checkout();
            for (const step of [
                ["stack", "init"],
                ["up", "--yes", "--skip-preview"],
            ]) {
                const { code, text } = await checkout.pulumi(...step, "--stack", "dev");
                expect(code, text).to.equal(0);
            }
        });
        after(async () => {
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
            await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
            checkout.remove();
        });

        it("stops what the server refuses, in our words, and nothing changes", async () => {
            const fields = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.spec} {.data}{end}";
            const kinds = "deployments,services,networkpolicies,secrets";
            const objects = () => checkout.kubectl("-n", "mf-demo-dev", "get", kinds, "-o", `jsonpath=${fields}`);
            const was = await objects();
            checkout.edit(
                "chart/templates/_helpers.tpl",
                '"app.kubernetes.io/name" (index . 0).Chart.Name',
                '"app.kubernetes.io/name" "renamed"',
            );
            for (const command of [["preview"], ["up", "--yes", "--skip-preview"]]) {
                const { code, text } = await checkout.pulumi(...command, "--stack", "dev");
                expect(code, text).not.to.equal(0);
                const [, told = ""] = /\nDiagnostics:\n([\s\S]*?)\n\n/.exec(text) ?? [];
                expect(told.trim().split("\n"), text).to.deep.equal([
                    "pulumi:pulumi:Stack (ml-api-dev):",
                    "    error: upgrade safety: 1 problem",
                    '      Deployment/mf-demo spec.selector: matchLabels["app.kubernetes.io/name"] ml-api → renamed: the field is immutable',
                    "          → put it back, or give the object another name: Helm then makes a new one and removes the old one",
                ]);
                expect(text).not.to.match(/^\s+at .*[:(]\d+:\d+\)?$/m);
            }
            expect(await objects()).to.equal(was);
        });
    });
});

/** A kind of our own in the cluster. */
const names = (singular: string) => ({ singular, plural: `${singular}s`, kind: "Widget" });
const widgets = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.example.com" },
    spec: {
        group: "example.com",
        scope: "Namespaced",
        names: names("widget"),
        versions: [
            {
                name: "v1",
                served: true,
                storage: true,
                schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
            },
        ],
    },
};

/** Without what the server counts and what controllers write. */
function comparable(live: Fields | undefined): Fields {
    const metadata = without(asMap(live?.["metadata"]), "managedFields", "resourceVersion", "generation");
    const annotations = without(asMap(metadata["annotations"]), "deployment.kubernetes.io/revision");
    return { ...without(live ?? {}, "status"), metadata: { ...metadata, annotations } };
}

function without(fields: Fields, ...keys: string[]): Fields {
    return Object.fromEntries(Object.entries(fields).filter(([key]) => !keys.includes(key)));
}

interface Definition {
    readonly properties?: Readonly<Record<string, Property>>;
    readonly "x-kubernetes-group-version-kind"?: readonly { group: string; version: string; kind: string }[];
}
interface Property {
    readonly $ref?: string;
    readonly items?: { readonly $ref?: string };
    readonly "x-kubernetes-patch-strategy"?: string;
    readonly "x-kubernetes-patch-merge-key"?: string;
}

/** `spec.template.spec.volumes merge,retainKeys name`, as the server publishes it; nobody renders a status. */
function publishedRules(root: Definition, definitions: Readonly<Record<string, Definition>>): string[] {
    const walk = (definition: Definition, where: readonly string[], above: readonly Definition[]): string[] =>
        Object.entries(definition.properties ?? {})
            .filter(([key]) => where.length > 0 || key !== "status")
            .flatMap(([key, property]) => {
                const here = [...where, key];
                const strategy = property["x-kubernetes-patch-strategy"];
                const rule = [here.join("."), strategy, property["x-kubernetes-patch-merge-key"] ?? ""].join(" ");
                // Below a list that is replaced as a whole, nothing merges.
                const inner = property.$ref ?? (strategy === undefined ? undefined : property.items?.$ref);
                const next = definitions[inner?.split("/").at(-1) ?? ""];
                return [
                    ...(strategy === undefined ? [] : [rule]),
                    ...(next === undefined || above.includes(next) ? [] : walk(next, here, [...above, next])),
                ];
            });
    return walk(root, [], [root]).sort();
}

/** The same of our table. */
function rulesOf(shape: Shape, where: readonly string[] = []): string[] {
    return Object.entries(shape.fields ?? {})
        .flatMap(([key, rule]) => {
            const here = [...where, key];
            const strategies = [
                ...(rule.mergeKey === undefined ? [] : ["merge"]),
                ...(rule.retainKeys === true ? ["retainKeys"] : []),
                ...(rule.replace === true ? ["replace"] : []),
            ];
            const own = [here.join("."), strategies.join(","), rule.mergeKey ?? ""].join(" ");
            return [...(strategies.length === 0 ? [] : [own]), ...rulesOf(rule, here)];
        })
        .sort();
}

async function freePort(): Promise<number> {
    const server = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as net.AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
}
