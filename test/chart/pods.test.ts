import { expect } from "chai";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
    containerIn,
    deploymentIn,
    environmentOf,
    environments,
    environmentValues,
    merged,
    only,
    podTemplatesIn,
    render,
    renderObjects,
    smallest,
    withChartCopy,
    type PodTemplate,
    type Values,
} from "./helm";

/** What the "restricted" Pod Security Standard asks for, and what this chart adds to it. */
function checkHardened({ spec }: PodTemplate): void {
    expect(spec.serviceAccountName, "own ServiceAccount").to.equal("mf-demo");
    expect(spec.automountServiceAccountToken, "token").to.be.false;
    expect(spec.enableServiceLinks, "service links").to.be.false;
    expect([spec.hostNetwork, spec.hostPID, spec.hostIPC], "host name spaces").to.deep.equal([
        undefined,
        undefined,
        undefined,
    ]);
    expect(spec.securityContext).to.deep.equal({
        runAsNonRoot: true,
        runAsUser: 10001,
        runAsGroup: 10001,
        fsGroup: 10001,
        seccompProfile: { type: "RuntimeDefault" },
    });
    for (const volume of spec.volumes ?? []) {
        expect(volume, volume.name).to.have.any.keys("emptyDir", "secret");
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

function apiEnvironment(values: Values): Record<string, string> {
    return environmentOf(containerIn(deploymentIn(renderObjects(merged(smallest, values))).spec.template));
}

const podTemplate = (values: Values): PodTemplate => deploymentIn(renderObjects(values)).spec.template;

describe("chart: pods", function () {
    this.timeout(20_000);

    for (const environment of environments) {
        it(`are hardened in ${environment}, the test's pod included`, () => {
            const templates = podTemplatesIn(renderObjects(environmentValues(environment)));
            expect(templates).to.have.lengthOf(2);
            templates.forEach(checkHardened);
        });
    }

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
        expect(env).to.deep.equal({
            PORT: "9000",
            LOG_LEVEL: "error",
            REQUEST_TIMEOUT_SECONDS: "7",
            MAX_CONCURRENT_REQUESTS: "3",
            MAX_REQUEST_BYTES: "12345678",
            API_KEYS_FILE: "/var/run/ml-api/keys/keys",
            UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: "12",
            UVICORN_TIMEOUT_KEEP_ALIVE: "75",
            OMP_NUM_THREADS: "2",
            MKL_NUM_THREADS: "2",
            OPENBLAS_NUM_THREADS: "2",
            ...words,
        });
    });

    it("get text with $ in a form that Kubernetes does not expand", () => {
        expect(apiEnvironment({ env: { PASSWORD: "pa$$w$(PORT)" } }).PASSWORD).to.equal("pa$$$$w$$(PORT)");
    });

    it("compute with one thread per whole core: of the limit, else of the request, and at least one", () => {
        const threads = (requests: string | number, limits: string | number): string | undefined =>
            apiEnvironment({ resources: { requests: { cpu: requests }, limits: { cpu: limits } } }).OMP_NUM_THREADS;
        expect(threads("50m", "")).to.equal("1");
        expect(threads("3", "")).to.equal("3");
        expect(threads("500m", "3999m")).to.equal("3");
        expect(threads(0.5, 2.5)).to.equal("2");
        expect(threads("0.999", "")).to.equal("1");
    });

    it("may use as much memory as they asked for, or more if told so", () => {
        const memory = (values: Values): unknown =>
            containerIn(podTemplate(merged(smallest, values))).resources?.limits?.memory;
        expect(memory({ resources: { requests: { memory: "1.5Gi" } } })).to.equal("1.5Gi");
        expect(memory({ resources: { limits: { memory: "2Gi" } } })).to.equal("2Gi");
    });

    it("have room on the node's disk for /tmp and logs", () => {
        const disk = (size: string): unknown =>
            containerIn(podTemplate(merged(smallest, { tmp: { size } }))).resources?.limits?.["ephemeral-storage"];
        expect(disk("128Mi")).to.equal("256Mi");
        expect(disk("1.5Gi")).to.equal("1664Mi");
        expect(disk("1G")).to.equal("1082Mi");
    });

    it("see the accepted keys only, and no Secret at all without API keys", () => {
        const withKeys = podTemplate(smallest);
        expect(withKeys.spec.volumes?.find(({ name }) => name === "keys")?.secret).to.deep.equal({
            secretName: "churn-key",
            defaultMode: 0o440,
            items: [{ key: "keys", path: "keys" }],
        });
        const open = renderObjects(merged(smallest, { apiKey: { enabled: false, existingSecret: "" } }));
        for (const { spec } of podTemplatesIn(open)) {
            expect(spec.volumes?.map(({ name }) => name)).to.deep.equal(["tmp"]);
        }
        expect(environmentOf(containerIn(deploymentIn(open).spec.template)).API_KEYS_FILE).to.equal("");
    });

    it("are reached by the Service, the test's pod is not", () => {
        const objects = renderObjects(smallest);
        const { selector } = only(objects, "Service").spec as unknown as { selector: Record<string, string> };
        const { spec } = deploymentIn(objects);
        expect(selector).to.deep.equal(spec.selector.matchLabels);
        expect(spec.template.metadata.labels).to.include(selector);
        const testLabels = only(objects, "Job").spec?.template?.metadata.labels ?? {};
        expect(Object.entries(selector).every(([name, value]) => testLabels[name] === value)).to.be.false;
    });

    it("keep names that look like something else: release on, namespace 1e3", () => {
        const objects = renderObjects(merged(smallest, { apiKey: { existingSecret: "1e3" } }), {
            release: "on",
            namespace: "1e3",
        });
        for (const { kind, metadata } of objects) {
            expect(metadata.name, kind).to.equal(kind === "Job" ? "on-test" : "on");
            expect(metadata.namespace, kind).to.equal("1e3");
            expect(metadata.labels?.["app.kubernetes.io/instance"], kind).to.equal("on");
        }
        expect(deploymentIn(objects).spec.template.spec.volumes?.[1]?.secret?.secretName).to.equal("1e3");
    });
});

describe("chart: what restarts pods", function () {
    this.timeout(20_000);

    const restarting: Values[] = [
        { api: { logLevel: "debug" } },
        { env: { FEATURE: "on" } },
        { image: { tag: "1.4.3" } },
        { apiKey: { existingSecret: "churn-key-2" } },
        { apiKey: { generation: 2 } },
        { resources: { requests: { memory: "300Mi" } } },
        { model: { loadBudgetSeconds: 10 } },
        { tmp: { size: "1Gi" } },
    ];
    for (const change of restarting) {
        it(`${JSON.stringify(change)} does`, () => {
            expect(podTemplate(merged(smallest, change))).not.to.deep.equal(podTemplate(smallest));
        });
    }

    for (const change of [
        { replicas: 5 },
        { service: { port: 8000 } },
        { verify: { sample: { a: 1 } } },
    ] satisfies Values[]) {
        it(`${JSON.stringify(change)} does not, but changes something`, () => {
            expect(podTemplate(merged(smallest, change))).to.deep.equal(podTemplate(smallest));
            expect(render(merged(smallest, change))).not.to.equal(render(smallest));
        });
    }

    it("what the program notes in global changes nothing at all", () => {
        expect(render(merged(smallest, { global: { renderDigest: "abc", repair: "1" } }))).to.equal(render(smallest));
    });

    it("a new version of the chart changes nothing but the label that says so", () => {
        const bumped = withChartCopy(
            (chart) => {
                const file = join(chart, "Chart.yaml");
                writeFileSync(file, readFileSync(file, "utf8").replace(/^version: .*$/m, "version: 9.8.7"));
            },
            (chart) => render(smallest, { chart }),
        );
        expect(bumped).to.contain("helm.sh/chart: ml-api-9.8.7");
        expect(bumped.replaceAll("ml-api-9.8.7", "ml-api-0.1.0")).to.equal(render(smallest));
        expect(JSON.stringify(podTemplatesIn(renderObjects(smallest)))).not.to.contain("0.1.0");
    });
});
