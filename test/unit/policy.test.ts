import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { evaluate, type Finding, readSettings, type Settings, staleExemptions } from "../../policy/evaluate";
import { type ReleaseInputs, RULES } from "../../policy/rules";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const LABELS = {
    "app.kubernetes.io/name": "ml-api",
    "app.kubernetes.io/instance": "churn",
    "app.kubernetes.io/managed-by": "Helm",
    owner: "team-churn",
};
const probe = { httpGet: { path: "/readyz", port: "http" } };
const container = {
    name: "api",
    image: `registry.example.org/churn:1.4.2@${DIGEST}`,
    ports: [{ containerPort: 8080 }],
    env: [{ name: "OMP_NUM_THREADS", value: "2" }],
    resources: { requests: { cpu: "100m", memory: "256Mi" }, limits: { memory: "256Mi" } },
    securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
    },
    startupProbe: probe,
    readinessProbe: probe,
    livenessProbe: probe,
};
const podSpec = {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers: [container],
    volumes: [{ name: "tmp", emptyDir: {} }],
};

type Json = Record<string, unknown>;
function object(kind: string, spec: Json, labels: Record<string, string> = LABELS): RenderedObject {
    return { apiVersion: "v1", kind, metadata: { name: "churn", labels }, spec };
}
const deployment = (pod: Json = podSpec, spec: Json = {}): RenderedObject =>
    object("Deployment", { replicas: 2, template: { metadata: { labels: LABELS }, spec: pod }, ...spec });
const withContainer = (change: Json): RenderedObject =>
    deployment({ ...podSpec, containers: [{ ...container, ...change }] });
const withSecurity = (change: Json): RenderedObject =>
    withContainer({ securityContext: { ...container.securityContext, ...change } });
const budget = object("PodDisruptionBudget", { maxUnavailable: 1, selector: { matchLabels: { owner: "team-churn" } } });
const network = object("NetworkPolicy", {
    podSelector: { matchLabels: { "app.kubernetes.io/instance": "churn" } },
    policyTypes: ["Ingress", "Egress"],
});
const service = object("Service", { type: "ClusterIP" });
const ingress = object("Ingress", { tls: [{ hosts: ["churn.example.org"], secretName: "churn-tls" }] });
const good = [deployment(), budget, network, service, ingress];
const release: ReleaseInputs = {
    name: "churn",
    values: { replicas: 2, apiKey: { existingSecret: "churn-key", generation: 1 } },
    atomic: true,
    timeout: 600,
    maxHistory: 10,
    protect: true,
};
const settings: Settings = { registries: ["registry.example.org", "localhost"], exemptions: [] };

const found = (
    objects: readonly RenderedObject[],
    { environment = "production", inputs = release }: { environment?: string; inputs?: ReleaseInputs } = {},
): Finding[] => evaluate({ environment, objects, release: inputs }, settings);
const texts = (findings: readonly Finding[]): string[] =>
    findings.map(({ rule, where, what }) => `${rule} ${where}: ${what}`);

/** Per rule: what breaks it. `good` breaks none. */
const BROKEN: Readonly<
    Record<string, readonly (readonly [string, readonly RenderedObject[], Partial<ReleaseInputs>?])[]>
> = {
    "image-pinned": [
        ["a tag", [withContainer({ image: "registry.example.org/churn:1.4.2" })]],
        ["no tag", [withContainer({ image: "registry.example.org/churn" })]],
        ["a port that looks like a tag", [withContainer({ image: "localhost/churn" })]],
        ["latest of an image that only the nodes have", [withContainer({ image: "localhost/churn:latest" })]],
        [
            "an init container",
            [deployment({ ...podSpec, initContainers: [{ ...container, image: "registry.example.org/x:1" }] })],
        ],
    ],
    "image-registry": [
        ["another registry", [withContainer({ image: `docker.io/library/python@${DIGEST}` })]],
        [
            "a registry whose name only begins alike",
            [withContainer({ image: `registry.example.org.evil.test/x@${DIGEST}` })],
        ],
        ["none", [withContainer({ image: `python@${DIGEST}` })]],
    ],
    resources: [
        ["no limit of memory", [withContainer({ resources: { requests: { cpu: "1", memory: "1Gi" } } })]],
        ["nothing", [withContainer({ resources: undefined })]],
        [
            "an empty request",
            [withContainer({ resources: { requests: { cpu: "", memory: "1Gi" }, limits: { memory: "1Gi" } } })],
        ],
    ],
    "survives-a-node": [
        ["one pod", [deployment(podSpec, { replicas: 1 }), budget]],
        ["no budget", [deployment()]],
        [
            "a budget of other pods",
            [deployment(), object("PodDisruptionBudget", { selector: { matchLabels: { a: "b" } } })],
        ],
        [
            "an autoscaler that goes down to one",
            [
                deployment(podSpec, { replicas: undefined }),
                budget,
                object("HorizontalPodAutoscaler", {
                    minReplicas: 1,
                    scaleTargetRef: { kind: "Deployment", name: "churn" },
                }),
            ],
        ],
    ],
    probes: [
        ["no readiness probe", [withContainer({ readinessProbe: undefined })]],
        ["no liveness probe", [withContainer({ livenessProbe: undefined })]],
        ["no start-up probe", [withContainer({ startupProbe: undefined })]],
    ],
    "restricted-pods": [
        ["root", [deployment({ ...podSpec, securityContext: { seccompProfile: { type: "RuntimeDefault" } } })]],
        ["user 0", [withSecurity({ runAsUser: 0 })]],
        ["privileged", [withSecurity({ privileged: true })]],
        ["escalation", [withSecurity({ allowPrivilegeEscalation: undefined })]],
        ["a writable root", [withSecurity({ readOnlyRootFilesystem: false })]],
        ["capabilities", [withSecurity({ capabilities: { drop: ["NET_RAW"] } })]],
        ["an added capability", [withSecurity({ capabilities: { drop: ["ALL"], add: ["SYS_ADMIN"] } })]],
        ["no seccomp profile", [deployment({ ...podSpec, securityContext: { runAsNonRoot: true } })]],
        ["the node's network", [deployment({ ...podSpec, hostNetwork: true })]],
        ["a port of the node", [withContainer({ ports: [{ containerPort: 1, hostPort: 1 }] })]],
        ["the node's /proc", [withSecurity({ procMount: "Unmasked" })]],
        [
            "the node's kernel",
            [deployment({ ...podSpec, securityContext: { ...podSpec.securityContext, sysctls: [] } })],
        ],
        ["a folder of the node", [deployment({ ...podSpec, volumes: [{ name: "x", hostPath: { path: "/" } }] })]],
        [
            "a hook's pod",
            [object("Job", { template: { metadata: { labels: LABELS }, spec: { ...podSpec, hostPID: true } } })],
        ],
        [
            "a cron job's pod",
            [
                object("CronJob", {
                    jobTemplate: {
                        spec: { template: { metadata: { labels: LABELS }, spec: { ...podSpec, hostIPC: true } } },
                    },
                }),
            ],
        ],
        ["a bare pod", [object("Pod", { ...podSpec, hostNetwork: true })]],
    ],
    "no-token": [["the default", [deployment({ ...podSpec, automountServiceAccountToken: undefined })]]],
    "network-policy": [
        ["none", [deployment()]],
        ["only inwards", [deployment(), object("NetworkPolicy", { podSelector: {}, policyTypes: ["Ingress"] })]],
        [
            "of other pods",
            [
                deployment(),
                object("NetworkPolicy", {
                    podSelector: { matchLabels: { a: "b" } },
                    policyTypes: ["Ingress", "Egress"],
                }),
            ],
        ],
    ],
    "no-secret-value": [
        ["a password", [withContainer({ env: [{ name: "DB_PASSWORD", value: "hunter2" }] })]],
        ["an address with a password", [withContainer({ env: [{ name: "DB", value: "postgres://me:hunter2@db/x" }] })]],
        ["a Secret of the chart", [object("Secret", {})]],
        ["a value", [], { values: { env: { API_TOKEN: "abcdef0123" } } }],
    ],
    "no-open-door": [
        ["a load balancer", [object("Service", { type: "LoadBalancer" })]],
        ["a node port", [object("Service", { type: "NodePort" })]],
        ["an address of the nodes", [object("Service", { externalIPs: ["192.0.2.1"] })]],
        ["an Ingress without TLS", [object("Ingress", { rules: [] })]],
    ],
    labels: [
        ["none", [object("Service", {}, {})]],
        ["no owner", [object("Service", {}, { ...LABELS, owner: "" })]],
    ],
    "release-bounded": [
        ["not atomic", [], { atomic: false }],
        ["Helm's own time-out", [], { timeout: undefined }],
        ["endless history", [], { maxHistory: 0 }],
    ],
    protected: [["not", [], { protect: false }]],
};

describe("policy: rules", () => {
    it("find nothing in what keeps them", () => {
        expect(texts(found(good))).to.deep.equal([]);
    });

    it("each have a case that breaks them", () => {
        expect(Object.keys(BROKEN).sort()).to.deep.equal(RULES.map(({ name }) => name).sort());
    });

    for (const [name, cases] of Object.entries(BROKEN)) {
        for (const [what, objects, change] of cases) {
            it(`${name}: ${what}`, () => {
                const findings = found(objects, { inputs: { ...release, ...change } }).filter(
                    ({ rule }) => rule === name,
                );
                expect(findings).not.to.be.empty;
                for (const { where, what: said, fix, level } of findings) {
                    expect(where).to.match(/^\w+\/churn/);
                    expect(said).not.to.equal("");
                    expect(fix).not.to.equal("");
                    expect(level).to.equal("mandatory");
                }
            });
        }
    }

    it("an image that only the nodes have may go by its tag", () => {
        const objects = [withContainer({ image: "localhost/mf-demo:fc180745d75facf6" })];
        expect(found(objects).filter(({ rule }) => rule === "image-pinned")).to.deep.equal([]);
    });

    it("an autoscaler's minimum counts instead of the replicas", () => {
        const scaler = object("ScaledObject", { minReplicaCount: 2, scaleTargetRef: { name: "churn" } });
        const objects = [deployment(podSpec, { replicas: undefined }), budget, scaler];
        expect(found(objects).filter(({ rule }) => rule === "survives-a-node")).to.deep.equal([]);
    });

    it("do not take names of Secrets, digests and references for secrets", () => {
        const env = [
            { name: "API_KEYS_FILE", value: "/var/run/ml-api/keys/keys" },
            { name: "HF_TOKEN", valueFrom: { secretKeyRef: { name: "hf", key: "token" } } },
            { name: "MODEL_SHA256", value: DIGEST.slice(7) },
        ];
        expect(texts(found([withContainer({ env })]).filter(({ rule }) => rule === "no-secret-value"))).to.deep.equal(
            [],
        );
    });

    it("are milder in dev, and as strict as in production where nobody knows the environment", () => {
        const objects = [withContainer({ image: "registry.example.org/churn:1.4.2" })];
        const level = (environment: string) =>
            found(objects, { environment }).find(({ rule }) => rule === "image-pinned")?.level;
        expect(level("dev")).to.equal("advisory");
        expect(level("staging")).to.equal("mandatory");
        expect(level("prodution")).to.equal("mandatory");
        expect(found(objects, { environment: "dev" }).some(({ rule }) => rule === "survives-a-node")).to.equal(false);
    });

    it("never throw, whatever an object looks like", () => {
        for (const spec of [
            undefined,
            null,
            {},
            { template: null },
            { template: { spec: null } },
            { template: { spec: { containers: [{}] } } },
        ]) {
            for (const kind of ["Deployment", "Job", "CronJob", "Pod", "Service", "Ingress", "NetworkPolicy", "X"])
                found([{ apiVersion: "v1", kind, metadata: { name: "churn" }, spec }]);
        }
    });
});

describe("policy: exemptions", () => {
    const exemption = {
        rule: "no-open-door",
        environment: "production",
        where: "Ingress/*",
        reason: "r",
        place: "policy/exemptions.yaml:3",
    };

    it("keep a finding, with its reason", () => {
        const [finding] = evaluate(
            { environment: "production", objects: [object("Ingress", {})], release },
            { ...settings, exemptions: [exemption] },
        ).filter(({ rule }) => rule === "no-open-door");
        expect(finding?.exemption?.reason).to.equal("r");
    });

    it("hold for one environment and one rule", () => {
        const kept = (objects: RenderedObject[], environment: string): Finding[] =>
            evaluate({ environment, objects, release }, { ...settings, exemptions: [exemption] }).filter(
                (one) => one.exemption !== undefined,
            );
        expect(kept([object("Ingress", {})], "staging")).to.deep.equal([]);
        expect(kept([object("Service", { type: "NodePort" })], "production")).to.deep.equal([]);
    });

    it("that nothing needs are stale", () => {
        const [stale, ...more] = staleExemptions({ ...settings, exemptions: [exemption] }, []);
        expect(more).to.deep.equal([]);
        expect(stale?.where).to.equal(exemption.place);
        expect(stale?.fix).to.equal("remove this exemption");
    });

    it("and settings that are wrong are told with their lines, all at once", () => {
        const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-policy-"));
        try {
            fs.writeFileSync(path.join(folder, "settings.yaml"), "registries:\n  - 12\nregistrys: []\n");
            fs.writeFileSync(
                path.join(folder, "exemptions.yaml"),
                "exemptions:\n  - rule: no-opendoor\n    environment: dev\n    where: x\n    reason: ''\n    util: 1\n",
            );
            expect(() => readSettings(folder))
                .to.throw()
                .with.property("message")
                .that.matches(/policy: 5 problems/)
                .and.matches(/settings\.yaml:2: 12 is not/)
                .and.matches(/"registrys", did you mean "registries"/)
                .and.matches(/exemptions\.yaml:2: this exemption has no reason/)
                .and.matches(/no key "util"/)
                .and.matches(/no rule "no-opendoor", did you mean "no-open-door"/);
        } finally {
            fs.rmSync(folder, { recursive: true, force: true });
        }
    });

    it("of this repository can be read", () => {
        expect(readSettings(path.join(__dirname, "../../policy")).registries).to.include("localhost");
    });
});
