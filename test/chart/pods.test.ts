import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import {
    chartFolder,
    containerIn,
    deploymentIn,
    environmentOf,
    merged,
    objectsIn,
    only,
    outcomes,
    podTemplatesIn,
    renderObjects,
    smallest,
    type Container,
    type PodTemplate,
    type Values,
} from "./helm";
import { examples } from "./keys";

/** Parts of a pod that only this file looks at. */
interface Added {
    readonly imagePullSecrets?: readonly { name: string }[];
    readonly restartPolicy?: string;
}
type Volume = NonNullable<PodTemplate["spec"]["volumes"]>[number] & Readonly<Record<string, unknown>>;

const podTemplate = (values: Values = {}): PodTemplate =>
    deploymentIn(renderObjects(merged(smallest, values))).spec.template;
const apiContainer = (values: Values = {}): Container => containerIn(podTemplate(values));
const apiEnvironment = (values: Values = {}): Record<string, string> => environmentOf(apiContainer(values));
const volumesOf = (template: PodTemplate): Volume[] => template.spec.volumes ?? [];

/** What the "restricted" Pod Security Standard asks for, and what this chart adds to it. */
function checkHardened({ spec }: PodTemplate): void {
    expect(spec.serviceAccountName, "own ServiceAccount").to.equal("mf-demo");
    expect(spec.automountServiceAccountToken, "token").to.be.false;
    expect(spec.enableServiceLinks, "service links").to.be.false;
    expect(spec, "host name spaces").not.to.have.any.keys("hostNetwork", "hostPID", "hostIPC");
    expect(spec.securityContext).to.deep.equal({
        runAsNonRoot: true,
        runAsUser: 10001,
        runAsGroup: 10001,
        fsGroup: 10001,
        fsGroupChangePolicy: "OnRootMismatch",
        seccompProfile: { type: "RuntimeDefault" },
    });
    for (const volume of spec.volumes ?? []) {
        const kind = Object.keys(volume).filter((key) => key !== "name");
        expect(["emptyDir", "secret", "projected", "persistentVolumeClaim", "image"], volume.name).to.include.members(
            kind,
        );
        if (volume.emptyDir !== undefined) {
            expect(volume.emptyDir.sizeLimit, `${volume.name} has no size limit`).to.be.a("string");
        }
    }
    for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
        expect(container.securityContext, container.name).to.deep.equal({
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
        });
        expect(container.resources?.requests, container.name).to.include.keys("cpu", "memory", "ephemeral-storage");
        expect(container.resources?.limits, container.name).to.include.keys("memory", "ephemeral-storage");
    }
}

describe("chart: pods", function () {
    this.timeout(30_000);

    it(`are hardened in every environment and with every feature, the Jobs' included (${examples.length} renders)`, async () => {
        const results = await outcomes(examples.map(({ values }) => values));
        results.forEach((result, index) => {
            const name = examples[index]?.name ?? "";
            expect(result.kind, name).to.equal("rendered");
            const templates = podTemplatesIn(objectsIn(result.kind === "rendered" ? result.manifests : ""));
            expect(templates.length, name).to.be.at.least(2);
            templates.forEach((template) => {
                try {
                    checkHardened(template);
                } catch (error) {
                    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
                }
            });
        });
    });

    it("have a ServiceAccount without a token", () => {
        expect(only(renderObjects(smallest), "ServiceAccount")).to.include({ automountServiceAccountToken: false });
    });

    it("are told what the image contract promises, text exactly as it was written", () => {
        const words = {
            A: "",
            B: "0",
            C: "NO",
            D: "1e3",
            E: "on",
            F: "it's",
            G: 'a "b" \\n\n',
            H: "0777",
            I: "null",
            J: "é ☃",
            K: "{{ .Values }}, }",
            // A cache folder of the image's own.
            HF_HOME: "",
        };
        const env = apiEnvironment({
            api: {
                port: 9000,
                requestTimeoutSeconds: 7,
                maxConcurrentRequests: 3,
                maxRequestBytes: 12345678,
                logLevel: "error",
            },
            resources: { requests: { cpu: "2900m" } },
            env: { ...words, LEFT_OUT: null },
        });
        const variables = (names: string, value: string): Record<string, string> =>
            Object.fromEntries(names.split(" ").map((name) => [name, value]));
        expect(env).to.deep.equal({
            PORT: "9000",
            LOG_LEVEL: "error",
            REQUEST_TIMEOUT_SECONDS: "7",
            MAX_CONCURRENT_REQUESTS: "3",
            MAX_REQUEST_BYTES: "12345678",
            API_KEYS_FILE: "/var/run/ml-api/keys/keys",
            WEB_CONCURRENCY: "1",
            UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: "12",
            UVICORN_TIMEOUT_KEEP_ALIVE: "75",
            GUNICORN_CMD_ARGS: "--graceful-timeout 12 --timeout 125 --keep-alive 75 --worker-tmp-dir /dev/shm",
            ...variables("OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS", "2"),
            ...variables("RAYON_NUM_THREADS VECLIB_MAXIMUM_THREADS", "2"),
            ...variables("TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS", "2"),
            TOKENIZERS_PARALLELISM: "false",
            ...variables("HF_HUB_OFFLINE TRANSFORMERS_OFFLINE HF_DATASETS_OFFLINE", "1"),
            ...variables("HF_HUB_DISABLE_TELEMETRY ORT_DISABLE_TELEMETRY DO_NOT_TRACK", "1"),
            HOME: "/tmp",
            XDG_CACHE_HOME: "/var/cache/ml-api",
            TORCH_HOME: "/var/cache/ml-api/torch",
            TORCHINDUCTOR_CACHE_DIR: "/var/cache/ml-api/torchinductor",
            TRITON_CACHE_DIR: "/var/cache/ml-api/triton",
            CUDA_CACHE_PATH: "/var/cache/ml-api/cuda",
            KERAS_HOME: "/var/cache/ml-api/keras",
            MPLCONFIGDIR: "/var/cache/ml-api/matplotlib",
            NUMBA_CACHE_DIR: "/var/cache/ml-api/numba",
            ...words,
        });
    });

    it("have no variable of the chart's whose owner files/owned.yaml does not tell, and it tells of no other", async () => {
        const { variables } = parse(readFileSync(join(chartFolder, "files/owned.yaml"), "utf8")) as {
            variables: Record<string, string>;
        };
        const sets = ["workers", "model-volume"].map(
            (name) => examples.find((example) => example.name === `ci/${name}.yaml`)?.values ?? {},
        );
        const seen = (await outcomes(sets)).flatMap((result) => {
            const objects = objectsIn(result.kind === "rendered" ? result.manifests : "");
            return Object.keys(environmentOf(containerIn(deploymentIn(objects).spec.template)));
        });
        const mayBeSet =
            /^(HOME|TOKENIZERS_PARALLELISM|XDG_CACHE_HOME|HF_HOME|TORCH\w+|TRITON_\w+|CUDA_\w+|KERAS_HOME|MPL\w+|NUMBA_\w+)$/;
        expect([...new Set(seen)].filter((name) => !mayBeSet.test(name))).to.have.members(Object.keys(variables));
    });

    it("get text with $ in a form that Kubernetes does not expand", () => {
        expect(apiEnvironment({ env: { PASSWORD: "pa$$w$(PORT)" } }).PASSWORD).to.equal("pa$$$$w$$(PORT)");
    });

    it("compute with one thread per whole core and worker: of the limit, else of the request, and at least one", () => {
        const threads = (requests: string | number, limits: string | number, workers = 1): string | undefined =>
            apiEnvironment({ api: { workers }, resources: { requests: { cpu: requests }, limits: { cpu: limits } } })
                .OMP_NUM_THREADS;
        expect(threads("50m", "")).to.equal("1");
        expect(threads("3", "")).to.equal("3");
        expect(threads("500m", "3999m")).to.equal("3");
        expect(threads(0.5, 2.5)).to.equal("2");
        expect(threads("0.999", "")).to.equal("1");
        expect(threads(8, "", 3)).to.equal("2");
        expect(threads(2, "", 4)).to.equal("1");
    });

    it("count together in memory what several workers measure, and only then", () => {
        expect(apiEnvironment({ api: { workers: 3 } })).to.include({
            WEB_CONCURRENCY: "3",
            PROMETHEUS_MULTIPROC_DIR: "/dev/shm",
        });
        expect(apiEnvironment()).not.to.have.property("PROMETHEUS_MULTIPROC_DIR");
    });

    it("may go online when the model's libraries are to download themselves", () => {
        const env = apiEnvironment({ model: { offline: false }, env: { HF_HUB_OFFLINE: "0" } });
        expect(env).to.include({ HF_HUB_OFFLINE: "0" });
        expect(env).not.to.have.any.keys("TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK");
    });

    it("may use as much memory as they asked for, or more if told so", () => {
        const memory = (values: Values): unknown => apiContainer(values).resources?.limits?.memory;
        expect(memory({ resources: { requests: { memory: "1.5Gi" } } })).to.equal("1.5Gi");
        expect(memory({ resources: { limits: { memory: "2Gi" } } })).to.equal("2Gi");
    });

    it("have writable folders of a size, shared memory among them, and room on the node's disk for all of them and logs", () => {
        const template = podTemplate({ storage: { tmp: "1.5Gi", cache: "1G", sharedMemory: "100Mi" } });
        expect(volumesOf(template).slice(0, 3)).to.deep.equal([
            { name: "tmp", emptyDir: { sizeLimit: "1.5Gi" } },
            { name: "cache", emptyDir: { sizeLimit: "1G" } },
            { name: "shared-memory", emptyDir: { medium: "Memory", sizeLimit: "100Mi" } },
        ]);
        const container = containerIn(template) as Container & { volumeMounts: { name: string; mountPath: string }[] };
        const mounts = container.volumeMounts.map(({ name, mountPath }) => [name, mountPath]);
        expect(mounts.slice(0, 3)).to.deep.equal([
            ["tmp", "/tmp"],
            ["cache", "/var/cache/ml-api"],
            ["shared-memory", "/dev/shm"],
        ]);
        // 1536 Mi + 953.7 Mi, rounded up, + 128 Mi for logs; shared memory is no disk.
        expect(container.resources?.requests?.["ephemeral-storage"]).to.equal("2618Mi");
        expect(container.resources?.limits?.["ephemeral-storage"]).to.equal("2618Mi");
    });

    it("see the accepted keys only, and no Secret at all without API keys", () => {
        expect(volumesOf(podTemplate()).find(({ name }) => name === "keys")?.secret).to.deep.equal({
            secretName: "churn-key",
            defaultMode: 0o440,
            items: [{ key: "keys", path: "keys" }],
        });
        const open = renderObjects(merged(smallest, { apiKey: { enabled: false, existingSecret: "" } }));
        for (const template of podTemplatesIn(open)) {
            expect(volumesOf(template).filter(({ secret }) => secret !== undefined)).to.deep.equal([]);
        }
        expect(environmentOf(containerIn(deploymentIn(open).spec.template)).API_KEYS_FILE).to.equal("");
        expect(deploymentIn(open).spec.template.metadata).not.to.have.property("annotations");
    });

    it("look where they are told to for life and readiness; without a path for life nobody restarts them", () => {
        const container = apiContainer({ api: { paths: { live: "", ready: "/health?full=1" } } });
        expect(container.startupProbe?.httpGet).to.deep.equal({ path: "/health?full=1", port: "http" });
        expect(container.readinessProbe?.httpGet).to.deep.equal({ path: "/health?full=1", port: "http" });
        expect(container).not.to.have.property("livenessProbe");
    });

    it("are reached by the Service, the pods of Jobs are not", () => {
        const objects = renderObjects(merged(smallest, { verify: { candidate: true } }));
        const { selector } = only(objects, "Service", "mf-demo").spec as unknown as {
            selector: Record<string, string>;
        };
        const { spec } = deploymentIn(objects);
        expect(selector).to.deep.equal(spec.selector.matchLabels);
        expect(spec.template.metadata.labels).to.include(selector);
        for (const job of ["candidate", "test", "verify"]) {
            const labels = only(objects, "Job", `mf-demo-${job}`).spec?.template?.metadata.labels ?? {};
            expect(Object.entries(selector).every(([name, value]) => labels[name] === value)).to.be.false;
        }
    });

    it("keep names that look like something else: release on, namespace 1e3", () => {
        const values = merged(smallest, { apiKey: { existingSecret: "1e3" }, labels: { on: "1e3", y: "" } });
        const objects = renderObjects(values, { release: "on", namespace: "1e3" });
        for (const { kind, metadata } of objects) {
            expect(metadata.name, kind).to.match(kind === "Job" ? /^on-(test|verify)$/ : /^on(-test|-verify)?$/);
            expect(metadata.namespace, kind).to.equal("1e3");
            expect(metadata.labels, kind).to.include({ "app.kubernetes.io/instance": "on", on: "1e3", y: "" });
        }
        const { spec } = deploymentIn(objects);
        expect(spec.selector.matchLabels).to.include({ "app.kubernetes.io/instance": "on" });
        expect(volumesOf(spec.template).find(({ name }) => name === "keys")?.secret?.secretName).to.equal("1e3");
    });

    it("carry everybody's labels, and no selector does", () => {
        const objects = renderObjects(merged(smallest, { labels: { team: "churn", gone: null } }));
        const expected = { team: "churn" };
        for (const { kind, metadata } of objects) {
            expect(metadata.labels, kind).to.include(expected).and.not.to.have.property("gone");
        }
        for (const { metadata } of podTemplatesIn(objects)) {
            expect(metadata.labels).to.include(expected);
        }
        expect(deploymentIn(objects).spec.selector.matchLabels).not.to.have.property("team");
    });

    it("are pulled with the Secrets that are wanted, the test's pod too", () => {
        const values = merged(smallest, { image: { pullSecrets: { b: true, a: true, not: false, nor: null } } });
        for (const { spec } of podTemplatesIn(renderObjects(values))) {
            expect((spec as Added).imagePullSecrets).to.deep.equal([{ name: "a" }, { name: "b" }]);
        }
        expect(podTemplate().spec).not.to.have.property("imagePullSecrets");
    });
});

describe("chart: secrets of the API's own", function () {
    this.timeout(20_000);

    const secrets: Values = {
        PASSWORD: { secret: "store", key: "password", version: "7" },
        DSN: { secret: "sentry", key: "dsn", as: "env" },
        CACHE: { secret: "on", key: "1e3", as: "file" },
        HF_HOME: { secret: "folders", key: "hf", as: "env" },
        LEFT_OUT: null,
    };

    it("are files that a variable points to, or variables; never in the values or the manifests", () => {
        const template = podTemplate({ secrets });
        expect(volumesOf(template).find(({ name }) => name === "secrets")?.projected).to.deep.equal({
            defaultMode: 0o440,
            sources: [
                { secret: { name: "on", items: [{ key: "1e3", path: "CACHE" }] } },
                { secret: { name: "store", items: [{ key: "password", path: "PASSWORD" }] } },
            ],
        });
        const { env = [] } = containerIn(template);
        const named = (name: string): unknown => env.filter((variable) => variable.name === name);
        expect(named("PASSWORD_FILE")).to.deep.equal([
            { name: "PASSWORD_FILE", value: "/var/run/ml-api/secrets/PASSWORD" },
        ]);
        expect(named("CACHE_FILE")).to.deep.equal([{ name: "CACHE_FILE", value: "/var/run/ml-api/secrets/CACHE" }]);
        expect(named("DSN")).to.deep.equal([
            { name: "DSN", valueFrom: { secretKeyRef: { name: "sentry", key: "dsn" } } },
        ]);
        expect(named("HF_HOME"), "in place of the chart's own").to.have.lengthOf(1);
        expect(named("PASSWORD")).to.deep.equal([]);
        expect(JSON.stringify(env)).not.to.contain("LEFT_OUT");
    });

    it("restart the API's pods by another version, and only them", () => {
        const [before, after] = ["7", "8"].map((version) =>
            renderObjects(merged(smallest, { secrets: merged(secrets, { PASSWORD: { version } }) })),
        );
        const annotations = (objects: typeof before): unknown =>
            deploymentIn(objects ?? []).spec.template.metadata.annotations;
        expect(annotations(before)).to.deep.include({ "ml-api/secret-versions": '{"PASSWORD":"7"}' });
        expect(annotations(after)).to.deep.include({ "ml-api/secret-versions": '{"PASSWORD":"8"}' });
        const jobs = (objects: typeof before) => (objects ?? []).filter(({ kind }) => kind === "Job");
        expect(jobs(before)).to.deep.equal(jobs(after));
    });

    it("leave no trace where there are none", () => {
        const template = podTemplate({ secrets: { ONLY_ENV: { secret: "a", key: "b", as: "env" }, NONE: null } });
        expect(volumesOf(template).map(({ name }) => name)).not.to.include("secrets");
        expect(template.metadata.annotations).not.to.have.property("ml-api/secret-versions");
    });
});

describe("chart: the last resort", function () {
    this.timeout(20_000);

    it("merges maps, appends to lists and keeps every value as it was written", () => {
        const values: Values = {
            gpu: { count: 1, rollout: "surge" },
            merge: {
                pod: {
                    hostUsers: false,
                    activeDeadlineSeconds: 3000000,
                    priorityClassName: "on",
                    tolerations: [{ key: "dedicated", operator: "Exists" }],
                    nodeSelector: { disk: "ssd", zero: "0" },
                },
                container: { args: ["--level", "1e3"], stdin: false, env: [{ name: "EXTRA", value: "NO" }] },
            },
        };
        const plain = podTemplate({ gpu: values["gpu"] ?? null });
        const template = podTemplate(values);
        const spec = template.spec as unknown as Record<string, unknown>;
        expect(spec).to.deep.include({
            hostUsers: false,
            activeDeadlineSeconds: 3000000,
            priorityClassName: "on",
            nodeSelector: { disk: "ssd", zero: "0" },
            tolerations: [
                { key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" },
                { key: "dedicated", operator: "Exists" },
            ],
        });
        const container = containerIn(template) as unknown as Record<string, unknown>;
        expect(container).to.deep.include({ args: ["--level", "1e3"], stdin: false });
        expect(container["env"]).to.deep.equal([...(containerIn(plain).env ?? []), { name: "EXTRA", value: "NO" }]);
        // Everything else is what it is without.
        expect(template.spec.volumes).to.deep.equal(plain.spec.volumes);
        expect(container["resources"]).to.deep.equal(containerIn(plain).resources);
        expect(container["startupProbe"]).to.deep.equal(containerIn(plain).startupProbe);
    });

    it("adds containers beside the API's own", () => {
        const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
        const { spec } = podTemplate({
            merge: {
                pod: {
                    containers: [{ name: "proxy", image: "proxy:1", securityContext }],
                    initContainers: [{ name: "shipper", image: "shipper:1", securityContext }],
                },
            },
        });
        expect(spec.containers.map(({ name }) => name)).to.deep.equal(["api", "proxy"]);
        expect(spec.initContainers?.map(({ name }) => name)).to.deep.equal(["shipper"]);
    });

    it("does not reach the test's pod", () => {
        const test = (values: Values): unknown =>
            only(renderObjects(merged(smallest, values)), "Job", "mf-demo-test").spec?.template;
        expect(test({ merge: { pod: { priorityClassName: "serving" } } })).to.deep.equal(test({}));
    });
});
