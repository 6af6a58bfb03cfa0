import { expect } from "chai";
import { apiVersionFault } from "../../components/guarded-release/safety/api-versions";
import { quantityOf } from "../../components/guarded-release/safety/quantity";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import {
    refuseUnsafe,
    staticProblems,
    UnsafeUpgrade,
    warningText,
} from "../../components/guarded-release/safety/safety";

const API: Readonly<Record<string, string>> = {
    Deployment: "apps/v1",
    StatefulSet: "apps/v1",
    DaemonSet: "apps/v1",
    Job: "batch/v1",
    StorageClass: "storage.k8s.io/v1",
    RoleBinding: "rbac.authorization.k8s.io/v1",
    ClusterRoleBinding: "rbac.authorization.k8s.io/v1",
    PriorityClass: "scheduling.k8s.io/v1",
};

function object(kind: string, fields: object = {}, annotations?: Record<string, string>): RenderedObject {
    const metadata = { name: "demo", ...(annotations !== undefined && { annotations }) };
    return { apiVersion: API[kind] ?? "v1", kind, metadata, ...fields };
}
const withSpec = (kind: string, spec: object, annotations?: Record<string, string>) =>
    object(kind, { spec }, annotations);
const selector = (app: string) => ({ selector: { matchLabels: { app } } });
const claim = (storage: string, more: object = {}) =>
    withSpec("PersistentVolumeClaim", { resources: { requests: { storage } }, ...more });
const stateful = (spec: object) => withSpec("StatefulSet", { serviceName: "demo", ...spec });
const template = (storage: string, more: object = {}) => ({
    volumeClaimTemplates: [{ metadata: { name: "data" }, spec: { resources: { requests: { storage } }, ...more } }],
});

/** `field: what`, or `field? what` when it is only a warning. */
function found(
    before: RenderedObject | RenderedObject[] | undefined,
    after: RenderedObject | RenderedObject[],
): string[] {
    const list = (one: RenderedObject | RenderedObject[]) => (Array.isArray(one) ? one : [one]);
    return staticProblems(before === undefined ? undefined : list(before), list(after), "home").map(
        ({ field, what, blocking }) => `${field}${blocking ? ":" : "?"} ${what}`,
    );
}

describe("upgrade safety without a server", () => {
    describe("an immutable field", () => {
        const cases: readonly (readonly [string, RenderedObject, RenderedObject, string])[] = [
            [
                "a Deployment's selector",
                withSpec("Deployment", selector("a")),
                withSpec("Deployment", selector("b")),
                "spec.selector: matchLabels.app a → b: the field is immutable",
            ],
            [
                "a DaemonSet's selector that gains a label",
                withSpec("DaemonSet", selector("a")),
                withSpec("DaemonSet", { selector: { matchLabels: { app: "a", part: "api" } } }),
                "spec.selector: matchLabels.part (none) → api: the field is immutable",
            ],
            [
                "a StatefulSet's name of its Service",
                stateful({}),
                stateful({ serviceName: "other" }),
                "spec.serviceName: demo → other: the field is immutable",
            ],
            [
                "the claims of a StatefulSet",
                stateful(template("1Gi")),
                stateful(template("2Gi")),
                "spec.volumeClaimTemplates: [0].spec.resources.requests.storage 1Gi → 2Gi: the field is immutable",
            ],
            [
                "a StatefulSet's order of pods, when it falls back to the default",
                stateful({ podManagementPolicy: "Parallel" }),
                stateful({}),
                "spec.podManagementPolicy: Parallel → OrderedReady: the field is immutable",
            ],
            [
                "a Service that loses its address",
                withSpec("Service", {}),
                withSpec("Service", { clusterIP: "None" }),
                "spec.clusterIP: (none) → None: the field is immutable",
            ],
            [
                "a Service's address",
                withSpec("Service", { clusterIP: "10.0.0.1" }),
                withSpec("Service", { clusterIP: "10.0.0.2" }),
                "spec.clusterIP: 10.0.0.1 → 10.0.0.2: the field is immutable",
            ],
            [
                "a claim's class",
                claim("1Gi", { storageClassName: "a" }),
                claim("1Gi", { storageClassName: "b" }),
                "spec.storageClassName: a → b: the field is immutable",
            ],
            [
                "a claim's class that is taken out",
                claim("1Gi", { storageClassName: "a" }),
                claim("1Gi"),
                "spec.storageClassName: a → (none): the field is immutable",
            ],
            [
                "a claim's access modes",
                claim("1Gi", { accessModes: ["ReadWriteOnce"] }),
                claim("1Gi", { accessModes: ["ReadWriteMany"] }),
                'spec.accessModes: ["ReadWriteOnce"] → ["ReadWriteMany"]: the field is immutable',
            ],
            [
                "a claim that shrinks",
                claim("2Gi"),
                claim("1500Mi"),
                "spec.resources.requests.storage: 2Gi → 1500Mi: a volume cannot shrink",
            ],
            [
                "the template of a Job",
                withSpec("Job", { template: { spec: { containers: [{ name: "a", image: "x:1" }] } } }),
                withSpec("Job", { template: { spec: { containers: [{ name: "a", image: "x:2" }] } } }),
                "spec.template: spec.containers[a].image x:1 → x:2: the field is immutable",
            ],
            [
                "the data of a ConfigMap that is sealed",
                object("ConfigMap", { immutable: true, data: { a: "1" } }),
                object("ConfigMap", { immutable: true, data: { a: "2" } }),
                "data: a 1 → 2: the field is immutable",
            ],
            [
                "a Secret that is opened again",
                object("Secret", { immutable: true, data: { a: "MQ==" } }),
                object("Secret", { immutable: false, data: { a: "MQ==" } }),
                "immutable: true → false: the field is immutable",
            ],
            [
                "the data of a sealed Secret, without showing it",
                object("Secret", { immutable: true, stringData: { a: "hunter2" } }),
                object("Secret", { immutable: true, stringData: { a: "hunter3" } }),
                "data: a [secret] → [secret]: the field is immutable",
            ],
            [
                "a Secret's type",
                object("Secret", { data: {} }),
                object("Secret", { type: "kubernetes.io/tls", data: {} }),
                "type: Opaque → kubernetes.io/tls: the field is immutable",
            ],
            [
                "the role of a binding",
                object("RoleBinding", { roleRef: { kind: "Role", name: "a" } }),
                object("RoleBinding", { roleRef: { kind: "ClusterRole", name: "a" } }),
                "roleRef: kind Role → ClusterRole: the field is immutable",
            ],
            [
                "a StorageClass's parameters",
                object("StorageClass", { provisioner: "x", parameters: { type: "gp2" } }),
                object("StorageClass", { provisioner: "x", parameters: { type: "gp3" } }),
                "parameters: type gp2 → gp3: the field is immutable",
            ],
            [
                "a PriorityClass's value",
                object("PriorityClass", { value: 1 }),
                object("PriorityClass", { value: 2 }),
                "value: 1 → 2: the field is immutable",
            ],
        ];
        for (const [name, before, after, problem] of cases) {
            it(`is found: ${name}`, () => {
                expect(found(before, after)).to.deep.equal([problem]);
            });
        }

        const harmless: readonly (readonly [string, RenderedObject, RenderedObject])[] = [
            [
                "replicas",
                withSpec("Deployment", { ...selector("a"), replicas: 1 }),
                withSpec("Deployment", { ...selector("a"), replicas: 2 }),
            ],
            [
                "a selector in another order of keys",
                withSpec("Deployment", { selector: { matchLabels: { a: "1", b: "2" } } }),
                withSpec("Deployment", { selector: { matchLabels: { b: "2", a: "1" } } }),
            ],
            [
                "what a StatefulSet may change",
                stateful({ replicas: 1, minReadySeconds: 1 }),
                stateful({ replicas: 2, template: { x: 1 }, updateStrategy: { type: "OnDelete" } }),
            ],
            [
                "a default that is written down",
                stateful(template("1Gi")),
                stateful({ podManagementPolicy: "OrderedReady", ...template("1024Mi", { volumeMode: "Filesystem" }) }),
            ],
            ["a claim that grows", claim("1Gi"), claim("1.5Gi")],
            ["the same size in other words", claim("1Gi"), claim("1024Mi")],
            [
                "a Service's ports",
                withSpec("Service", { ports: [{ port: 80 }] }),
                withSpec("Service", { ports: [{ port: 81 }] }),
            ],
            [
                "a Service that becomes a name for another",
                withSpec("Service", { clusterIP: "10.0.0.1" }),
                withSpec("Service", { type: "ExternalName", externalName: "x" }),
            ],
            [
                "an address that is no longer written down",
                withSpec("Service", { clusterIP: "10.0.0.1" }),
                withSpec("Service", {}),
            ],
            [
                "a ConfigMap that is not sealed",
                object("ConfigMap", { data: { a: "1" } }),
                object("ConfigMap", { data: { a: "2" }, immutable: true }),
            ],
            [
                "a sealed Secret written in the other form",
                object("Secret", { immutable: true, data: { a: "MQ==" } }),
                object("Secret", { immutable: true, stringData: { a: "1" } }),
            ],
            [
                "the people of a binding",
                object("RoleBinding", { roleRef: { name: "a" }, subjects: [] }),
                object("RoleBinding", { roleRef: { name: "a" }, subjects: [{ name: "x" }] }),
            ],
            [
                "a StorageClass that may grow",
                object("StorageClass", { provisioner: "x" }),
                object("StorageClass", { provisioner: "x", reclaimPolicy: "Delete", allowVolumeExpansion: true }),
            ],
            [
                "the template of a Job that is a hook",
                withSpec("Job", { template: { a: 1 } }, { "helm.sh/hook": "pre-upgrade" }),
                withSpec("Job", { template: { a: 2 } }, { "helm.sh/hook": "pre-upgrade" }),
            ],
        ];
        for (const [name, before, after] of harmless) {
            it(`is not: ${name}`, () => {
                expect(found(before, after)).to.deep.equal([]);
            });
        }

        it("is only a warning where the server may see it otherwise", () => {
            expect(found(claim("1Gi"), claim("1Gi", { storageClassName: "a" }))).to.deep.equal([
                "spec.storageClassName? (none) → a: the field is immutable",
            ]);
            expect(found(withSpec("Service", {}), withSpec("Service", { clusterIP: "10.0.0.1" }))).to.deep.equal([
                "spec.clusterIP? (none) → 10.0.0.1: the field is immutable",
            ]);
            expect(found(withSpec("Service", { clusterIP: "None" }), withSpec("Service", {}))).to.deep.equal([
                "spec.clusterIP? None → none: the server keeps the Service without an address",
            ]);
            const job = (image: string) => withSpec("Job", { ttlSecondsAfterFinished: 60, template: { image } });
            expect(found(job("a"), job("b"))).to.deep.equal(["spec.template? image a → b: the field is immutable"]);
        });

        it("does not matter for an object that is new or has another name", () => {
            const renamed = { ...withSpec("Deployment", selector("b")), metadata: { name: "other" } };
            expect(found(undefined, withSpec("Deployment", selector("b")))).to.deep.equal([]);
            expect(found(withSpec("Deployment", selector("a")), renamed)).to.deep.equal([]);
        });

        it("is compared across versions of an API", () => {
            const old = { ...withSpec("Deployment", selector("a")), apiVersion: "apps/v1beta2" };
            expect(found(old, withSpec("Deployment", selector("b")))).to.have.length(1);
        });

        it("shows the first changes and counts the rest", () => {
            const labels = (value: string) => ({
                selector: { matchLabels: { a: value, b: value, c: value, d: value, e: value } },
            });
            const [problem] = found(withSpec("Deployment", labels("1")), withSpec("Deployment", labels("2")));
            expect(problem).to.contain("matchLabels.c 1 → 2 and 2 more");
        });
    });

    describe("an API version", () => {
        const fault = (apiVersion: string, kind: string, version = "1.34.0") =>
            apiVersionFault({ apiVersion, kind }, version);

        it("that Kubernetes has removed is named with what replaces it", () => {
            const gone = { ...withSpec("Deployment", {}), apiVersion: "extensions/v1beta1" };
            const [problem] = staticProblems(undefined, [gone]);
            expect(problem).to.deep.include({
                object: "Deployment/demo",
                field: "apiVersion",
                what: "extensions/v1beta1 Deployment is gone since Kubernetes 1.16",
                fix: "write apiVersion: apps/v1, and look whether its fields have other names there",
                blocking: true,
            });
        });

        const removed: readonly (readonly [string, string, number, string])[] = [
            ["extensions/v1beta1", "Ingress", 22, "networking.k8s.io/v1"],
            ["apps/v1beta1", "StatefulSet", 16, "apps/v1"],
            ["policy/v1beta1", "PodDisruptionBudget", 25, "policy/v1"],
            ["autoscaling/v2beta1", "HorizontalPodAutoscaler", 25, "autoscaling/v2"],
            ["autoscaling/v2beta2", "HorizontalPodAutoscaler", 26, "autoscaling/v2"],
            ["batch/v1beta1", "CronJob", 25, "batch/v1"],
            ["networking.k8s.io/v1beta1", "Ingress", 22, "networking.k8s.io/v1"],
            ["rbac.authorization.k8s.io/v1beta1", "RoleBinding", 22, "rbac.authorization.k8s.io/v1"],
            ["flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema", 32, "flowcontrol.apiserver.k8s.io/v1"],
            ["policy/v1beta1", "PodSecurityPolicy", 25, "pod-security.kubernetes.io"],
        ];
        for (const [apiVersion, kind, minor, replacement] of removed) {
            it(`${apiVersion} ${kind} ends with 1.${minor}`, () => {
                expect(fault(apiVersion, kind, `1.${minor}.0`)?.what).to.contain(`1.${minor}`);
                expect(fault(apiVersion, kind)?.fix).to.contain(replacement);
                expect(fault(apiVersion, kind, `1.${minor - 1}.3`)).to.equal(undefined);
            });
        }

        it("that never was is named too", () => {
            expect(fault("apps/v2", "Deployment")?.what).to.equal("Kubernetes has no Deployment in apps/v2");
            expect(fault("app/v1", "Deployment")?.fix).to.contain("apps/v1");
            expect(fault("v1", "Deployment")?.fix).to.contain("apps/v1");
            expect(fault("apps/v1", "Deploymint")).to.deep.include({ certain: true });
        });

        it("that a cluster may have switched on is only a warning", () => {
            expect(fault("networking.k8s.io/v1beta1", "ServiceCIDR")?.certain).to.equal(false);
        });

        it("of a custom resource is not judged", () => {
            expect(fault("monitoring.coreos.com/v1", "ServiceMonitor")).to.equal(undefined);
            expect(fault("gateway.networking.k8s.io/v1", "HTTPRoute")).to.equal(undefined);
        });

        it("of today passes", () => {
            expect(fault("autoscaling/v2", "HorizontalPodAutoscaler")).to.equal(undefined);
            expect(fault("v1", "Service")).to.equal(undefined);
        });
    });

    describe("storage that would go", () => {
        it("is warned about, with the way to keep it", () => {
            const [problem] = staticProblems([claim("1Gi")], []);
            expect(problem).to.deep.include({ object: "PersistentVolumeClaim/demo", blocking: false });
            expect(problem?.what).to.contain("its data go too");
            expect(problem?.fix).to.contain("kubectl annotate persistentvolumeclaim demo helm.sh/resource-policy=keep");
        });

        it("is safe when Helm keeps it", () => {
            const kept = object("PersistentVolumeClaim", {}, { "helm.sh/resource-policy": "keep" });
            expect(found(kept, [])).to.deep.equal([]);
        });

        it("of a StatefulSet depends on what becomes of its claims", () => {
            const deleting = { persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" } };
            expect(found(stateful({ ...template("1Gi"), ...deleting }), [])[0]).to.contain("their data go too");
            expect(found(stateful(template("1Gi")), [])[0]).to.contain("its claims stay behind");
            expect(found(stateful({}), [])).to.deep.equal([]);
        });

        it("includes a namespace and a kind of its own", () => {
            expect(found(object("Namespace"), [])).to.have.length(1);
            const crd = { ...object("CustomResourceDefinition"), apiVersion: "apiextensions.k8s.io/v1" };
            expect(found(crd, [])).to.have.length(1);
        });

        it("is not meant by a Deployment or a ConfigMap that goes", () => {
            expect(found([withSpec("Deployment", selector("a")), object("ConfigMap")], [])).to.deep.equal([]);
        });
    });

    it("finds an object that is rendered twice, and not two hooks of one name", () => {
        const hook = object("ConfigMap", {}, { "helm.sh/hook": "pre-install" });
        expect(found(undefined, [object("ConfigMap"), object("ConfigMap")])[0]).to.contain("renders it 2 times");
        expect(found(undefined, [object("ConfigMap"), object("Secret")])).to.deep.equal([]);
        expect(found(undefined, [hook, hook])).to.deep.equal([]);
    });

    it("warns about an object outside the release's namespace", () => {
        const there = (namespace: string): RenderedObject => ({
            ...object("ConfigMap"),
            metadata: { name: "demo", namespace },
        });
        expect(found(undefined, there("elsewhere"))[0]).to.match(
            /^metadata\.namespace\? elsewhere: the release is in home/,
        );
        expect(found(undefined, there("home"))).to.deep.equal([]);
    });

    it("reads quantities as Kubernetes does", () => {
        const all = ["1Gi", "1024Mi", "1.5k", "500m", "1e3", "2", 3, ".5", "5Q", "", null];
        expect(all.map(quantityOf)).to.deep.equal([
            2 ** 30,
            2 ** 30,
            1500,
            0.5,
            1000,
            2,
            3,
            0.5,
            undefined,
            undefined,
            undefined,
        ]);
    });

    describe("its report", () => {
        const problems = staticProblems(
            [withSpec("Deployment", selector("a")), claim("1Gi")],
            [withSpec("Deployment", selector("b"))],
        );

        it("tells every problem at once, with object, field, change and way out", () => {
            expect(() => {
                refuseUnsafe({ problems, notChecked: undefined });
            })
                .to.throw(UnsafeUpgrade)
                .with.property(
                    "message",
                    [
                        "upgrade safety: 2 problems",
                        "  Deployment/demo spec.selector: matchLabels.app a → b: the field is immutable",
                        "      → put it back, or give the object another name: Helm then makes a new one and removes the old one",
                        "  PersistentVolumeClaim/demo: no longer rendered, so Helm deletes it: its data go too, unless the volume's reclaim policy is Retain",
                        "      → to keep it: kubectl annotate persistentvolumeclaim demo helm.sh/resource-policy=keep",
                    ].join("\n"),
                );
        });

        it("lets warnings pass", () => {
            const warnings = problems.filter(({ blocking }) => !blocking);
            refuseUnsafe({ problems: warnings, notChecked: undefined });
            expect(warningText(warnings)).to.match(/^upgrade safety: 1 problem\n {2}PersistentVolumeClaim\/demo: /);
            expect(warningText([])).to.equal(undefined);
            // These are told by the refusal.
            expect(warningText(problems)).to.equal(undefined);
        });
    });
});
