import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { at, chartFolder, merged, outcomes, refusal, render, smallest, type Outcome, type Values } from "./helm";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

interface Rule {
    rule: string;
    broken: Values;
    release?: string;
    /** Parts of the message: what was found, where, and what to do. */
    says: string[];
    /** The same values, put right the way the message advises. */
    mended: Values[];
}

const rules: Rule[] = [
    {
        rule: "a release name that can name a Service",
        broken: {},
        release: "mf.demo",
        says: ['release name "mf.demo"', "lower-case letters, digits and -"],
        mended: [],
    },
    {
        rule: "an environment",
        broken: { environment: "" },
        says: ["environment is empty", "dev, staging or production"],
        mended: [{ environment: "dev" }, { environment: "production" }],
    },
    {
        rule: "an image",
        broken: { image: { repository: "" } },
        says: ["image.repository is empty", "set it to the name of your image"],
        mended: [{ image: { repository: "churn" } }],
    },
    {
        rule: "an image with a tag in staging",
        broken: { environment: "staging", image: { tag: "" } },
        says: ["image.tag is empty", '"latest"', 'environment "staging"', "Set image.digest"],
        mended: [{ image: { tag: "1.4.2" } }, { image: { digest } }, { environment: "dev" }],
    },
    {
        rule: "an image with another tag than latest in production",
        broken: { environment: "production", image: { tag: "latest" } },
        says: ['image.tag is "latest"', 'environment "production"', "Set image.digest"],
        mended: [{ image: { tag: "1.4.2" } }, { image: { digest } }, { environment: "dev" }],
    },
    {
        rule: "no latest in production for an image that only the nodes have, either",
        broken: { environment: "production", image: { repository: "localhost/mf-demo", tag: "latest" } },
        says: ['image.tag is "latest"', "a tag that never moves"],
        mended: [{ image: { tag: "0123456789abcdef" } }],
    },
    {
        rule: "a CPU limit that is not below the request",
        broken: { resources: { requests: { cpu: "1500m" }, limits: { cpu: 1.2 } } },
        says: ['resources.limits.cpu "1.2"', 'resources.requests.cpu "1500m"', "raise the limit"],
        mended: [
            { resources: { limits: { cpu: "1.5" } } },
            { resources: { limits: { cpu: "" } } },
            { resources: { requests: { cpu: "1200m" } } },
        ],
    },
    {
        rule: "a memory limit that is not below the request",
        broken: { resources: { requests: { memory: "1Gi" }, limits: { memory: "1000Mi" } } },
        says: ['resources.limits.memory "1000Mi"', 'resources.requests.memory "1Gi"', "raise the limit"],
        mended: [
            { resources: { limits: { memory: "1024Mi" } } },
            { resources: { limits: { memory: "" } } },
            { resources: { requests: { memory: "1000Mi" } } },
        ],
    },
    {
        rule: "no variable that has a key of its own",
        broken: { env: { LOG_LEVEL: "debug" } },
        says: ["env.LOG_LEVEL", "from api.logLevel", "remove env.LOG_LEVEL"],
        mended: [{ env: { LOG_LEVEL: null } }],
    },
    {
        rule: "no thread variable that follows the CPU",
        broken: { env: { OMP_NUM_THREADS: "4" } },
        says: ["env.OMP_NUM_THREADS", "resources.limits.cpu", "api.workers", "remove env.OMP_NUM_THREADS"],
        mended: [{ env: { OMP_NUM_THREADS: null } }],
    },
    {
        rule: "no variable that the chart fixes",
        broken: { env: { UVICORN_TIMEOUT_KEEP_ALIVE: "5" } },
        says: ["env.UVICORN_TIMEOUT_KEEP_ALIVE", "more than a proxy keeps an idle connection", "remove"],
        mended: [{ env: { UVICORN_TIMEOUT_KEEP_ALIVE: null } }],
    },
    {
        rule: "no secret under the name of a variable that the chart sets",
        broken: { secrets: { PORT: { secret: "a", key: "b", as: "env" } } },
        says: ["secrets.PORT", "from api.port", "remove secrets.PORT"],
        mended: [{ secrets: { PORT: null } }, { secrets: { PORT: { as: "file" } } }],
    },
    {
        rule: "no secret's file under the name of a variable that the chart sets",
        broken: { secrets: { API_KEYS: { secret: "a", key: "b" } } },
        says: ["secrets.API_KEYS", "API_KEYS_FILE", "from apiKey.existingSecret"],
        mended: [{ secrets: { API_KEYS: { as: "env" } } }],
    },
    {
        rule: "one value for a variable: env and secrets",
        broken: { env: { TOKEN_FILE: "/x" }, secrets: { TOKEN: { secret: "a", key: "b" } } },
        says: ["env.TOKEN_FILE and secrets.TOKEN set the same variable, TOKEN_FILE", "remove one"],
        mended: [{ env: { TOKEN_FILE: null } }, { secrets: { TOKEN: null } }, { secrets: { TOKEN: { as: "env" } } }],
    },
    {
        rule: "one value for a variable: two secrets",
        broken: { secrets: { A: { secret: "a", key: "b" }, A_FILE: { secret: "a", key: "c", as: "env" } } },
        says: ["secrets.A and secrets.A_FILE set the same variable, A_FILE"],
        mended: [{ secrets: { A: null } }],
    },
    {
        rule: "no label under a name of the chart's own",
        broken: { labels: { "app.kubernetes.io/name": "churn" } },
        says: ["labels.app.kubernetes.io/name", "choose another name"],
        mended: [{ labels: { "app.kubernetes.io/name": null } }],
    },
    {
        rule: "no such label for Prometheus, either",
        broken: { observability: { podMonitor: { labels: { "helm.sh/chart": "x" } } } },
        says: ["observability.podMonitor.labels.helm.sh/chart", "choose another name"],
        mended: [{ observability: { podMonitor: { labels: { "helm.sh/chart": null } } } }],
    },
    {
        rule: "no such label on alerts",
        broken: { observability: { alerts: { labels: { "app.kubernetes.io/instance": "x" } } } },
        says: ["observability.alerts.labels.app.kubernetes.io/instance"],
        mended: [{ observability: { alerts: { labels: { "app.kubernetes.io/instance": null } } } }],
    },
    {
        rule: "fewer pods than the most",
        broken: { autoscaling: { enabled: true, minReplicas: 9, maxReplicas: 2 } },
        says: ["autoscaling.minReplicas 9", "autoscaling.maxReplicas 2", "raise the most"],
        mended: [
            { autoscaling: { maxReplicas: 9 } },
            { autoscaling: { minReplicas: 2 } },
            { autoscaling: { enabled: false } },
        ],
    },
    {
        rule: "something to watch",
        broken: { autoscaling: { enabled: true, cpuPercent: 0, metrics: { gone: null } } },
        says: ["nothing is watched", "autoscaling.cpuPercent", "autoscaling.metrics"],
        mended: [
            { autoscaling: { cpuPercent: 1 } },
            { autoscaling: { memoryPercent: 1 } },
            { autoscaling: { metrics: { queue: { averageValue: "1" } } } },
        ],
    },
    {
        rule: "something to watch for KEDA",
        broken: { autoscaling: { enabled: true, engine: "keda", cpuPercent: 0 } },
        says: ["nothing is watched", "autoscaling.triggers"],
        mended: [{ autoscaling: { triggers: { a: { type: "cron", metadata: {} } } } }],
    },
    {
        rule: "triggers only with KEDA",
        broken: { autoscaling: { enabled: true, triggers: { a: { type: "cron", metadata: {} } } } },
        says: ["autoscaling.triggers (a)", 'autoscaling.engine is "hpa"', "autoscaling.metrics"],
        mended: [{ autoscaling: { engine: "keda" } }, { autoscaling: { triggers: { a: null } } }],
    },
    {
        rule: "metrics only with the autoscaler of Kubernetes",
        broken: { autoscaling: { enabled: true, engine: "keda", metrics: { queue: { averageValue: "1" } } } },
        says: ["autoscaling.metrics (queue)", 'autoscaling.engine is "keda"', "autoscaling.triggers"],
        mended: [{ autoscaling: { engine: "hpa" } }, { autoscaling: { metrics: { queue: null } } }],
    },
    {
        rule: "CPU and memory under keys of their own",
        broken: { autoscaling: { enabled: true, engine: "keda", triggers: { a: { type: "memory", metadata: {} } } } },
        says: ["autoscaling.triggers.a", '"memory"', "autoscaling.memoryPercent"],
        mended: [{ autoscaling: { memoryPercent: 70, triggers: { a: null } } }],
    },
    {
        rule: "a decision what a rollout does with cards",
        broken: { gpu: { count: 2 } },
        says: ["gpu.count is 2", "gpu.rollout is empty", "replace", "surge"],
        mended: [{ gpu: { rollout: "replace" } }, { gpu: { rollout: "surge" } }, { gpu: { count: 0 } }],
    },
    {
        rule: "memory beside the shared memory",
        broken: { storage: { sharedMemory: "256Mi" } },
        says: ['storage.sharedMemory "256Mi"', '"256Mi"', "resources.limits.memory"],
        mended: [{ storage: { sharedMemory: "255Mi" } }, { resources: { limits: { memory: "257Mi" } } }],
    },
    {
        rule: "memory for every worker's model and all requests at once",
        broken: {
            api: { workers: 3, maxConcurrentRequests: 10, maxRequestBytes: 10485760 },
            model: { memory: "1Gi" },
            resources: { requests: { memory: "2Gi" } },
        },
        says: [
            'memory limit "2Gi"',
            "api.workers 3",
            "model.memory 1Gi",
            "storage.sharedMemory 64Mi",
            "api.maxConcurrentRequests 10",
            "api.maxRequestBytes 10485760",
            "= 3300Mi",
        ],
        mended: [
            { resources: { limits: { memory: "3300Mi" } } },
            { model: { memory: "" } },
            { model: { memory: "600Mi" } },
            { api: { workers: 1 } },
        ],
    },
    {
        rule: "the class of an Ingress",
        broken: { ingress: { enabled: true, host: "churn.example.org" } },
        says: ["ingress.className is empty", "ingress.enabled: false"],
        mended: [{ ingress: { className: "nginx" } }, { ingress: { enabled: false } }],
    },
    {
        rule: "the host of an Ingress",
        broken: { ingress: { enabled: true, className: "nginx" } },
        says: ["ingress.host is empty"],
        mended: [{ ingress: { host: "churn.example.org" } }],
    },
    {
        rule: "the Gateway of a route",
        broken: { gateway: { enabled: true, host: "churn.example.org" } },
        says: ["gateway.parent.name is empty", "gateway.enabled: false"],
        mended: [{ gateway: { parent: { name: "public" } } }, { gateway: { enabled: false } }],
    },
    {
        rule: "the host of a route",
        broken: { gateway: { enabled: true, parent: { name: "public" } } },
        says: ["gateway.host is empty"],
        mended: [{ gateway: { host: "churn.example.org" } }],
    },
    {
        rule: "somebody in each entry of who may ask",
        broken: { network: { from: { nobody: {} } } },
        says: ["network.from.nobody names nobody", "set namespace (and pods), or cidr"],
        mended: [{ network: { from: { nobody: { namespace: "shop" } } } }, { network: { from: { nobody: null } } }],
    },
    {
        rule: "a namespace for pods that may ask, since those of the own one may",
        broken: { network: { from: { own: { pods: { app: "a" } } } } },
        says: ["network.from.own names nobody", "namespace"],
        mended: [{ network: { from: { own: { namespace: "shop" } } } }],
    },
    {
        rule: "somebody in each entry of what may be reached",
        broken: { network: { to: { nobody: { port: 443 } } } },
        says: ["network.to.nobody names nobody"],
        mended: [{ network: { to: { nobody: { pods: { app: "a" } } } } }],
    },
    {
        rule: "somebody whose labels are not all taken back",
        broken: { network: { to: { nobody: { pods: { app: null } } } } },
        says: ["network.to.nobody names nobody"],
        mended: [{ network: { to: { nobody: { namespace: "shop" } } } }],
    },
    {
        rule: "addresses or pods, not both",
        broken: { network: { to: { both: { cidr: "10.0.0.0/8", namespace: "shop" } } } },
        says: ['network.to.both has cidr "10.0.0.0/8" and pods', "two entries"],
        mended: [{ network: { to: { both: { cidr: "" } } } }, { network: { to: { both: { namespace: "" } } } }],
    },
    {
        rule: "no way to the cloud's metadata service",
        broken: { network: { to: { metadata: { cidr: "169.254.169.254/32" } } } },
        says: ["network.to.metadata.cidr", "credentials", "remove the entry"],
        mended: [{ network: { to: { metadata: null } } }],
    },
    {
        rule: "no way to the cloud's metadata service by IPv6",
        broken: { network: { to: { metadata: { cidr: "fd00:ec2::254/128" } } } },
        says: ["network.to.metadata.cidr", "credentials", "remove the entry"],
        mended: [{ network: { to: { metadata: null } } }],
    },
    {
        rule: "pods that stay restricted",
        broken: { merge: { pod: { securityContext: { runAsUser: 0 } } } },
        says: ["merge.pod.securityContext", "restricted Pod Security", "remove it"],
        mended: [],
    },
    {
        rule: "pods without the cluster's credentials",
        broken: { merge: { pod: { automountServiceAccountToken: true } } },
        says: ["merge.pod.automountServiceAccountToken", "credentials"],
        mended: [],
    },
    {
        rule: "a drain that loses no request",
        broken: { merge: { container: { lifecycle: {} } } },
        says: ["merge.container.lifecycle", "without losing requests"],
        mended: [],
    },
    {
        rule: "added containers that are restricted, too",
        broken: {
            merge: {
                pod: {
                    initContainers: [
                        {
                            name: "a",
                            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
                        },
                        { name: "b", image: "b:1" },
                    ],
                },
            },
        },
        says: ["merge.pod.initContainers[1] is not restricted", "allowPrivilegeEscalation: false"],
        mended: [{ merge: { pod: { initContainers: [] } } }],
    },
    {
        rule: "nothing that takes away what the chart has: null",
        broken: { merge: { pod: { serviceAccountName: null } } },
        says: ["merge.pod.serviceAccountName is null", "takes nothing away"],
        mended: [{ merge: { pod: { serviceAccountName: "with-cloud-identity" } } }],
    },
    {
        rule: "nothing that takes away what the chart has: another type",
        broken: { merge: { container: { env: { A: "b" } } } },
        says: ['merge.container.env is {"A":"b"}', "give it a list"],
        mended: [{ merge: { container: { env: [{ name: "A", value: "b" }] } } }],
    },
    {
        rule: "lists where the chart appends",
        broken: { merge: { pod: { initContainers: "shipper" } } },
        says: ['merge.pod.initContainers is "shipper"', "give it a list"],
        mended: [{ merge: { pod: { initContainers: [] } } }],
    },
    {
        rule: "names that the chart does not use",
        broken: { merge: { container: { env: [{ name: "FREE" }, { name: "PORT", value: "1" }] } } },
        says: ['merge.container.env[1]: the chart has an entry "PORT" already'],
        mended: [{ merge: { container: { env: [{ name: "FREE" }] } } }],
    },
    {
        rule: "another name than the API's own container",
        broken: { merge: { pod: { containers: [{ name: "api", image: "a" }] } } },
        says: ['merge.pod.containers[0]: the chart has an entry "api" already'],
        mended: [{ merge: { pod: { containers: [] } } }],
    },
    {
        rule: "no folder of the node",
        broken: { merge: { pod: { volumes: [{ name: "run", hostPath: { path: "/run" } }] } } },
        says: ["merge.pod.volumes[0] is a folder of the node", "another kind of volume"],
        mended: [{ merge: { pod: { volumes: [{ name: "run", emptyDir: {} }] } } }],
    },
    {
        rule: "an API key, or the word that none is wanted",
        broken: { apiKey: { existingSecret: "" } },
        says: [
            "apiKey.existingSecret is empty",
            "create secret generic mf-demo-key --from-literal=keys=$KEY --from-literal=key=$KEY",
            "apiKey.existingSecret: mf-demo-key",
            "apiKey.enabled: false",
        ],
        mended: [{ apiKey: { existingSecret: "mf-demo-key" } }, { apiKey: { enabled: false } }],
    },
];

describe("chart: rules between values", function () {
    this.timeout(30_000);

    // One batch for all of them; what a batch cannot set is the release's name.
    const inBatch = rules.filter(({ release }) => release === undefined);
    const valuesOf = ({ broken }: Rule): Values => merged(smallest, broken);
    let broken: readonly Outcome[] = [];
    let mended: readonly Outcome[][] = [];

    before(async () => {
        broken = await outcomes(inBatch.map(valuesOf));
        const mends = inBatch.map((rule) => rule.mended.map((mend) => merged(valuesOf(rule), mend)));
        const all = await outcomes(mends.flat());
        let taken = 0;
        mended = mends.map(({ length }) => all.slice(taken, (taken += length)));
    });

    function check({ says }: Rule, message: string): void {
        for (const part of says) {
            expect(message).to.contain(part);
        }
        expect(message.match(/^- /gm), "one problem").to.have.lengthOf(1);
    }

    inBatch.forEach((rule, index) => {
        it(`ask for ${rule.rule}`, () => {
            const outcome = broken[index];
            expect(outcome?.kind).to.equal("refused");
            check(rule, outcome?.kind === "refused" ? outcome.message : "");
            for (const mend of mended[index] ?? []) {
                expect(mend.kind, mend.kind === "rendered" ? "" : mend.message).to.equal("rendered");
            }
        });
    });

    for (const rule of rules.filter(({ release }) => release !== undefined)) {
        it(`ask for ${rule.rule}`, () => {
            check(rule, refusal(valuesOf(rule), { release: rule.release ?? "" }));
        });
    }

    it("cover every field that `merge` must not change", async () => {
        const { merge } = parse(readFileSync(join(chartFolder, "files/owned.yaml"), "utf8")) as {
            merge: Record<"pod" | "container", Record<string, string>>;
        };
        const fields = Object.entries(merge).flatMap(([part, named]) =>
            Object.keys(named).map((field) => [part, field]),
        );
        expect(fields.length).to.be.at.least(16);
        const results = await outcomes(
            fields
                .map(([part = "", field = ""]) => at(["merge", part, field], {}))
                .map((values) => merged(smallest, values)),
        );
        results.forEach((result, index) => {
            const key = ["merge", ...(fields[index] ?? [])].join(".");
            expect(result.kind, key).to.equal("refused");
            expect(result.kind === "refused" ? result.message : "").to.contain(
                `- ${key}: the chart sets this field itself, `,
            );
        });
    });

    it("name the Secret to make, in the release's namespace", () => {
        const message = refusal(merged(smallest, { apiKey: { existingSecret: "" } }), { namespace: "shop" });
        expect(message).to.contain("create secret generic mf-demo-key");
    });

    it("are told all at once", () => {
        const message = refusal({ env: { PORT: "1", LOG_LEVEL: "debug" } });
        expect(message.match(/^- /gm)).to.have.lengthOf(5);
        expect(message).to.contain('The values of release "mf-demo" are refused:');
    });

    it("accept latest in dev, written or not, and then the image is asked for at each start", () => {
        for (const tag of ["latest", ""]) {
            const pulled = render(merged(smallest, { image: { tag } }));
            expect(pulled).to.contain('image: "registry.example.org/team/churn:latest"');
            expect(pulled).to.contain("imagePullPolicy: Always");
            expect(render(merged(smallest, { image: { repository: "localhost/churn", tag } }))).not.to.contain(
                "Always",
            );
        }
    });

    it("pin by the digest whatever the tag says", () => {
        const pinned = merged(smallest, { environment: "production", image: { tag: "latest", digest } });
        expect(render(pinned)).to.contain(`image: "registry.example.org/team/churn:latest@${digest}"`);
        expect(render(merged(pinned, { image: { tag: "" } }))).to.contain(
            `image: "registry.example.org/team/churn@${digest}"`,
        );
        expect(render(pinned)).not.to.contain("Always");
    });
});
