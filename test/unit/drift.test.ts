import { expect } from "chai";
import { extraObjects, type FoundObject } from "../../components/guarded-release/drift/extra-objects";
import { listable } from "../../components/guarded-release/drift/namespace-objects";
import { addedFields, fieldDrift, withAdded } from "../../components/guarded-release/drift/object-drift";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { driftExitCode } from "../../cli/drift-report";

const HELM = {
    manager: "helm",
    operation: "Update",
    time: "2026-11-22T10:00:00Z",
    fieldsV1: {
        "f:metadata": { "f:annotations": { ".": {}, "f:meta.helm.sh/release-name": {} } },
        "f:spec": { "f:strategy": { "f:type": {} }, "f:template": { "f:spec": { "f:schedulerName": {} } } },
    },
};
const managed = (manager: string, fieldsV1: object, more: object = {}): object => ({
    manager,
    operation: "Update",
    time: "2026-11-22T11:00:00Z",
    fieldsV1,
    ...more,
});
const OBJECT: RenderedObject = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "api" },
    spec: { template: { spec: { containers: [{ name: "api", args: ["--a"], ports: [{ containerPort: 80 }] }] } } },
};
const containers = (fields: object, name = "api"): object => ({
    "f:spec": { "f:template": { "f:spec": { "f:containers": { [`k:{"name":"${name}"}`]: fields } } } },
});
const live = (managers: readonly object[], spec: object = {}, metadata: object = {}): Record<string, unknown> => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "api", managedFields: [HELM, ...managers], ...metadata },
    spec: {
        replicas: 3,
        template: {
            spec: {
                schedulerName: "x",
                containers: [
                    {
                        name: "api",
                        args: ["--a"],
                        env: [{ name: "A", value: "1" }],
                        ports: [{ containerPort: 80, protocol: "TCP" }],
                    },
                    { name: "spy", image: "spy:1" },
                ],
            },
        },
        ...spec,
    },
});
const texts = (object: Record<string, unknown>): string[] =>
    addedFields(OBJECT, object).map(
        ({ path, live: value, by }) => `${path.join(".")}=${JSON.stringify(value)} ${by?.manager ?? ""}`,
    );

describe("drift", () => {
    it("sees what somebody has put into maps and lists of the release, each item once", () => {
        const edit = managed(
            "kubectl-edit",
            containers({ "f:env": { 'k:{"name":"A"}': { ".": {}, "f:name": {}, "f:value": {} } } }),
        );
        expect(texts(live([edit]))).to.deep.equal([
            'spec.template.spec.containers.[api].env.[A]={"name":"A","value":"1"} kubectl-edit',
        ]);
        const sidecar = managed("kubectl-patch", containers({ ".": {}, "f:image": {}, "f:name": {} }, "spy"));
        expect(texts(live([sidecar]))).to.deep.equal([
            'spec.template.spec.containers.[spy]={"name":"spy","image":"spy:1"} kubectl-patch',
        ]);
        // Helm's list has lost its only item to the one with another port; that it owns the list says nothing about items.
        const port = { "f:spec": { "f:ports": { 'k:{"port":81}': { ".": {}, "f:port": {} } } } };
        const service = { ...HELM, fieldsV1: { ...HELM.fieldsV1, "f:spec": { "f:ports": {} } } };
        const release = { ...OBJECT, kind: "Service", spec: { ports: [{ port: 80 }] } };
        const moved = {
            metadata: { managedFields: [service, managed("kubectl-patch", port)] },
            spec: { ports: [{ port: 81 }] },
        };
        expect(addedFields(release, moved).map(({ path }) => path.join("."))).to.deep.equal(["spec.ports.[81]"]);
        const label = managed("kubectl-label", { "f:metadata": { "f:labels": { ".": {}, "f:team": {} } } });
        expect(texts(live([label], {}, { labels: { team: "x", other: "y" } }))).to.deep.equal([
            'metadata.labels.team="x" kubectl-label',
        ]);
    });

    it("leaves out what the release names, what Helm has set, and what is gone", () => {
        const named = managed(
            "kubectl-edit",
            containers({ "f:args": {}, "f:ports": { 'k:{"containerPort":80,"protocol":"TCP"}': { ".": {} } } }),
        );
        const defaulted = managed("kubectl-apply", {
            "f:spec": { "f:template": { "f:spec": { "f:schedulerName": {} } } },
        });
        const gone = managed("kubectl-edit", { "f:spec": { "f:paused": {} } });
        expect(texts(live([named, defaulted, gone]))).to.deep.equal([]);
        expect(
            texts(live([managed("kubectl-edit", { "f:spec": { "f:paused": {} } })], { paused: true })),
        ).to.have.lengthOf(1);
    });

    it("leaves out what belongs to others: status, controllers, an autoscaler's replicas, restarts", () => {
        const annotations = {
            "f:metadata": {
                "f:annotations": { "f:deployment.kubernetes.io/revision": {} },
                "f:finalizers": { 'v:"a/b"': {} },
            },
            "f:spec": { "f:replicas": {} },
        };
        const restart = {
            "f:spec": {
                "f:template": { "f:metadata": { "f:annotations": { "f:kubectl.kubernetes.io/restartedAt": {} } } },
            },
        };
        const object = live(
            [
                managed("kube-controller-manager", { "f:metadata": { "f:labels": { "f:x": {} } } }),
                managed("kubectl", annotations),
                managed("kubectl-rollout", restart),
                managed("someone", { "f:status": { "f:x": {} } }, { subresource: "status" }),
            ],
            { template: { metadata: { annotations: { "kubectl.kubernetes.io/restartedAt": "now" } }, spec: {} } },
            { labels: { x: "y" }, annotations: { "deployment.kubernetes.io/revision": "2" }, finalizers: ["a/b"] },
        );
        expect(texts(object)).to.deep.equal([]);
    });

    it("names who has changed a field of the release, and when; not what the server keeps", () => {
        const edit = managed("kubectl-edit", containers({ "f:image": {}, "f:args": {} }));
        const now: Record<string, unknown> = { ...live([edit]), status: { replicas: 1 } };
        const accepted = structuredClone(now) as typeof now & {
            spec: { template: { spec: { containers: object[] } } };
        };
        accepted.spec.template.spec.containers[0] = { ...accepted.spec.template.spec.containers[0], args: ["--b"] };
        accepted.metadata = { ...(accepted.metadata as object), resourceVersion: "9", managedFields: [] };
        accepted.status = { replicas: 2 };
        expect(fieldDrift(now, accepted)).to.deep.equal([
            {
                path: ["spec", "template", "spec", "containers", "[api]", "args"],
                release: ["--b"],
                live: ["--a"],
                by: { manager: "kubectl-edit", time: "2026-11-22T11:00:00Z" },
            },
        ]);
    });

    it("names who has changed an item that its list's owner knows by other keys", () => {
        const port = (number: number): object => ({ name: "http", port: number, protocol: "TCP", targetPort: "http" });
        const patched = { ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} };
        const fields = { "f:spec": { "f:ports": { 'k:{"port":8081,"protocol":"TCP"}': patched } } };
        const service = (...ports: object[]): Record<string, unknown> => ({
            metadata: { managedFields: [HELM, managed("kubectl-patch", fields)] },
            spec: { ports },
        });
        const [found] = fieldDrift(service(port(8081)), service(port(80)));
        expect(found).to.deep.include({ path: ["spec", "ports", "[http]", "port"], release: 80, live: 8081 });
        expect(found?.by?.manager).to.equal("kubectl-patch");
    });

    it("lets Helm's patch start from what was added, so that it takes it away", () => {
        const steps = [
            ["f:metadata", "f:labels", "f:team"],
            ["f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"api"}', "f:env", 'k:{"name":"A"}'],
            ["f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"spy"}'],
        ];
        const with_ = withAdded(OBJECT, live([], {}, { labels: { team: "x", kept: "y" } }), steps);
        expect(with_).to.deep.equal({
            ...OBJECT,
            metadata: { name: "api", labels: { team: "x" } },
            spec: {
                template: {
                    spec: {
                        containers: [
                            {
                                name: "api",
                                args: ["--a"],
                                ports: [{ containerPort: 80 }],
                                env: [{ name: "A", value: "1" }],
                            },
                            { name: "spy", image: "spy:1" },
                        ],
                    },
                },
            },
        });
        expect(OBJECT.metadata).to.deep.equal({ name: "api" });
    });

    it("tells objects that claim to be the release's from those of nobody, and both from those of others", () => {
        const owner = { release: "api", namespace: "demo" };
        const found = (kind: string, name: string, metadata: object = {}): FoundObject => ({
            apiVersion: kind === "Deployment" ? "apps/v1" : "v1",
            kind,
            metadata: { name, namespace: "demo", ...metadata },
        });
        const instance = (name: string): object => ({ labels: { "app.kubernetes.io/instance": name } });
        const objects = [
            found("Deployment", "api"),
            found("Pod", "api-1", { ...instance("api"), ownerReferences: [{ kind: "ReplicaSet" }] }),
            found("Secret", "api-key-1", instance("api")),
            found("Secret", "sh.helm.release.v1.api.v1", { labels: { owner: "helm" } }),
            found("ConfigMap", "kube-root-ca.crt"),
            found("Service", "neighbour", instance("neighbour")),
            found("ConfigMap", "stray"),
            found("ConfigMap", "left", instance("api")),
        ];
        const release = [{ ...OBJECT, metadata: { name: "api", namespace: "demo" } }];
        expect(extraObjects(objects, release, owner, ["api-key-1"])).to.deep.equal([
            { name: "ConfigMap/left", claims: true },
            { name: "ConfigMap/stray", claims: false },
        ]);
    });

    it("lists each resource of a namespace once, by the version that the server prefers", () => {
        const resource = (name: string, kind: string, more: object = {}): object => ({
            resource: name,
            responseKind: { kind },
            scope: "Namespaced",
            verbs: ["get", "list"],
            ...more,
        });
        const group = (name: string | undefined, ...versions: object[]): object => ({ metadata: { name }, versions });
        const items = [
            group(undefined, {
                version: "v1",
                resources: [resource("pods", "Pod"), resource("nodes", "Node", { scope: "Cluster" })],
            }),
            group(
                "apps",
                { version: "v1", resources: [resource("deployments", "Deployment")] },
                { version: "v1beta1", resources: [resource("deployments", "Deployment")] },
            ),
            group("x", { version: "v1", resources: [resource("reviews", "Review", { verbs: ["create"] })] }),
        ];
        expect(listable({ items })).to.deep.equal([
            { apiVersion: "v1", kind: "Pod", name: "pods" },
            { apiVersion: "apps/v1", kind: "Deployment", name: "deployments" },
        ]);
    });

    it("has an exit code for cron: drift before doubt before none", () => {
        const none = { objects: [], extras: [], unknown: [], unlisted: [], steps: [] };
        const doubt = { ...none, unknown: [{ name: "x", why: "y" }] };
        expect(driftExitCode(none)).to.equal(0);
        expect(driftExitCode(doubt)).to.equal(1);
        expect(driftExitCode({ ...doubt, objects: [{ name: "x", state: "missing", fields: [] }] })).to.equal(2);
        expect(driftExitCode({ ...none, extras: [{ name: "x", claims: false }] })).to.equal(0);
        expect(driftExitCode({ ...none, extras: [{ name: "x", claims: true }] })).to.equal(2);
    });
});
