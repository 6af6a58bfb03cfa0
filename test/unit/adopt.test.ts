import { expect } from "chai";
import * as path from "node:path";
import { compareTakeOver } from "../../cli/adopt-compare";
import { type LiveApi, type OwnedByChart, valuesOfObjects } from "../../cli/adopt-objects";
import { importFile } from "../../cli/adopt-take";
import { valuesOfRelease } from "../../cli/adopt-values";
import { readValuesSchema, unknownKeys } from "../../components/config/values-schema";
import { objectsIn } from "../../components/guarded-release/render/manifest";
import { asMap, type Fields, isMap } from "../../components/guarded-release/safety/patch";
import { fakeOrigin, type FakeOrigin } from "./local-fakes";

const SCHEMA = readValuesSchema(path.join(__dirname, "..", "..", "chart")) ?? {};
const OWNED: OwnedByChart = {
    variables: { PORT: "from api.port", LOG_LEVEL: "from api.logLevel", OMP_NUM_THREADS: "from the CPU" },
    labels: ["app.kubernetes.io/name", "app.kubernetes.io/managed-by"],
};
const DIGEST = `sha256:${"ab".repeat(32)}`;

/** An API as a team may have made it by hand. */
function api(container: object = {}, pod: object = {}): LiveApi {
    const status = { name: "server", imageID: `docker-pullable://registry.example.org/team/churn@${DIGEST}` };
    return {
        deployment: {
            metadata: {
                name: "churn",
                labels: { app: "churn", owner: "team-churn", "app.kubernetes.io/name": "churn" },
            },
            spec: {
                replicas: 3,
                selector: { matchLabels: { app: "churn" } },
                template: {
                    spec: {
                        containers: [
                            {
                                name: "server",
                                image: "registry.example.org/team/churn:1.4",
                                ports: [{ containerPort: 9000 }],
                                readinessProbe: { httpGet: { path: "/health", port: 9000 } },
                                resources: { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "250m" } },
                                ...container,
                            },
                        ],
                        ...pod,
                    },
                },
            },
        },
        services: [{ spec: { ports: [{ port: 8000, targetPort: 9000 }] } }],
        ingresses: [],
        autoscalers: [],
        pods: [{ status: { containerStatuses: [status] } }, { status: { containerStatuses: [status] } }],
    };
}

describe("ml-api adopt: values of a Helm release", () => {
    it("are its own, without what a deploying program adds and what our chart does not have", () => {
        const { values, dropped } = valuesOfRelease(
            {
                environment: "dev",
                replicas: 2,
                replcas: 3,
                team: { channel: "#churn" },
                api: { logLevel: "debug", colour: "red" },
                global: { renderDigest: "abc", repair: "", region: "eu" },
            },
            SCHEMA,
        );
        expect(values).to.deep.equal({ environment: "dev", replicas: 2, api: { logLevel: "debug" } });
        expect(dropped.map(({ key }) => key)).to.have.members(["replcas", "team", "api.colour", "global.region"]);
        expect(dropped.find(({ key }) => key === "replcas")?.advice).to.contain('"replicas"');
    });

    it("never carry a secret into a file that is committed", () => {
        const { values, dropped } = valuesOfRelease(
            { env: { DB_PASSWORD: "hunter2", MODE: "fast" }, apiKey: { existingSecret: "churn-key-1", generation: 1 } },
            SCHEMA,
        );
        expect(values).to.deep.equal({
            env: { MODE: "fast" },
            apiKey: { existingSecret: "churn-key-1", generation: 1 },
        });
        expect(dropped.map(({ key }) => key)).to.deep.equal(["env.DB_PASSWORD"]);
        expect(JSON.stringify(dropped)).not.to.contain("hunter2");
    });
});

describe("ml-api adopt: values of plain objects", () => {
    const valuesOf = (live: LiveApi) => valuesOfObjects(live, "staging", OWNED);

    it("say what runs: image by the digest that all pods report, size, port, probes, labels", () => {
        const { values, notes } = valuesOf(api());
        expect(values).to.deep.equal({
            environment: "staging",
            image: { repository: "registry.example.org/team/churn", tag: "1.4", digest: DIGEST },
            labels: { owner: "team-churn" },
            replicas: 3,
            resources: { requests: { cpu: "250m", memory: "1Gi" }, limits: { cpu: "1", memory: "1Gi" } },
            api: { port: 9000, paths: { live: "", ready: "/health" } },
            service: { port: 8000 },
            apiKey: { enabled: false },
            network: { enabled: false },
        });
        expect(unknownKeys(SCHEMA, values)).to.deep.equal([]);
        expect(notes.join("\n")).to.contain("verify.sample").and.to.contain("user 10001");
    });

    it("leave the digest out while pods of two images run", () => {
        const other = { status: { containerStatuses: [{ name: "server", imageID: `x@sha256:${"cd".repeat(32)}` }] } };
        const live = api();
        expect(valuesOf({ ...live, pods: [...live.pods, other] }).values["image"]).not.to.have.property("digest");
    });

    it("take variables by their kind, and no secret in clear", () => {
        const env = [
            { name: "MODE", value: "fast" },
            { name: "LOG_LEVEL", value: "warning" },
            { name: "PORT", value: "9000" },
            { name: "OMP_NUM_THREADS", value: "4" },
            { name: "API_TOKEN", value: "abc123" },
            { name: "DB_PASSWORD", valueFrom: { secretKeyRef: { name: "db", key: "password" } } },
            { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
        ];
        const { values, notes } = valuesOf(api({ env }));
        expect(values["env"]).to.deep.equal({ MODE: "fast" });
        expect(values["secrets"]).to.deep.equal({ DB_PASSWORD: { secret: "db", key: "password", as: "env" } });
        expect(values["api"]).to.deep.include({ logLevel: "warning" });
        const said = notes.join("\n");
        for (const name of ["OMP_NUM_THREADS", "API_TOKEN", "NODE"]) expect(said).to.contain(name);
        expect(said).not.to.contain("abc123");
    });

    it("follow an autoscaler, and name what it watches besides", () => {
        const resource = (name: string, averageUtilization: number) => ({
            type: "Resource",
            resource: { name, target: { type: "Utilization", averageUtilization } },
        });
        const metrics = [resource("cpu", 60), { type: "Pods", pods: {} }];
        const scaler = { spec: { minReplicas: 2, maxReplicas: 8, metrics } };
        const { values, notes } = valuesOf({ ...api(), autoscalers: [scaler] });
        expect(values).not.to.have.property("replicas");
        expect(values["autoscaling"]).to.deep.equal({
            ...{ enabled: true, minReplicas: 2, maxReplicas: 8, cpuPercent: 60, memoryPercent: 0 },
        });
        expect(notes.join("\n")).to.contain("Pods");
    });

    it("keep what the chart has no key for in merge, and leave out what it forbids", () => {
        const pod = {
            nodeSelector: { disk: "fast" },
            serviceAccountName: "churn",
            volumes: [
                { name: "config", configMap: { name: "churn" } },
                { name: "host", hostPath: { path: "/data" } },
                { name: "scratch", emptyDir: {} },
            ],
        };
        const volumeMounts = [
            { name: "config", mountPath: "/etc/churn" },
            { name: "host", mountPath: "/data" },
            { name: "scratch", mountPath: "/tmp" },
        ];
        const { values, notes } = valuesOf(api({ args: ["--fast"], volumeMounts }, pod));
        expect(values["merge"]).to.deep.equal({
            pod: { nodeSelector: { disk: "fast" }, volumes: [pod.volumes[0]] },
            container: { args: ["--fast"], volumeMounts: [volumeMounts[0]] },
        });
        expect(notes.join("\n")).to.contain("volume host was left out").and.to.contain("ServiceAccount churn");
    });
});

/** As much of an API server as a take-over asks: objects by their paths, and dry runs that merge one level deep. */
describe("ml-api adopt: what the first update does to live objects", () => {
    const SERVICE = "/api/v1/namespaces/models/services/churn";
    const DEPLOYMENT = "/apis/apps/v1/namespaces/models/deployments/churn";
    const objects = new Map<string, Fields>();
    const sent: string[] = [];
    let origin: FakeOrigin;

    before(async () => {
        const resources = (name: string, kind: string) => ({ resources: [{ name, kind, namespaced: true }] });
        origin = await fakeOrigin((request, response) => {
            const url = new URL(request.url ?? "", "http://it");
            const kinds: Record<string, object> = {
                "/api/v1": resources("services", "Service"),
                "/apis/apps/v1": resources("deployments", "Deployment"),
            };
            let body = "";
            request.on("data", (chunk: Buffer) => (body += chunk.toString()));
            request.on("end", () => {
                const found = kinds[url.pathname] ?? objects.get(url.pathname);
                if (request.method !== "GET") sent.push(`${request.method ?? ""} ${url.pathname}${url.search}`);
                const patched = body === "" ? found : { ...found, ...merged(found, JSON.parse(body) as Fields) };
                response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(patched ?? {}));
            });
        });
    });
    after(() => origin.close());
    beforeEach(() => {
        objects.clear();
        sent.length = 0;
    });

    const merged = (onto: unknown, patch: Fields): Fields =>
        Object.fromEntries(
            Object.entries({ ...asMap(onto), ...patch }).map(([key, value]) => {
                const below = asMap(onto)[key];
                return [key, key in patch && isMap(value) && isMap(below) ? merged(below, value) : value];
            }),
        );
    const rendered = (app: string) =>
        objectsIn(
            `apiVersion: v1\nkind: Service\nmetadata: {name: churn}\nspec: {type: ClusterIP}\n---\n` +
                `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: churn}\nspec: {replicas: 2, selector: {matchLabels: {app: ${app}}}, template: {spec: {nodeName: a}}}\n`,
            "models",
        );
    const live = (changes: Record<string, object> = {}): void => {
        const [service, deployment] = rendered("churn") as unknown as [Fields, Fields];
        objects.set(SERVICE, { ...service, ...changes["service"] });
        objects.set(DEPLOYMENT, { ...deployment, ...changes["deployment"] });
    };
    const compare = (app = "churn", recorded?: ReturnType<typeof rendered>) =>
        compareTakeOver({ server: origin.url }, { release: "churn", namespace: "models" }, recorded, rendered(app));

    it("is nothing for objects as the chart renders them; Helm's marks are not told of, and nothing is written", async () => {
        live();
        const { changes, met, faults } = await compare();
        expect([changes, faults]).to.deep.equal([[], []]);
        expect(met.map(({ name }) => name)).to.have.members(["Service/churn", "Deployment/churn"]);
        expect(sent.every((one) => one.startsWith("PATCH") && one.endsWith("?dryRun=All"))).to.equal(true);
    });

    it("names what it makes, changes and takes away, and the pods that restart", async () => {
        live({
            deployment: {
                spec: {
                    replicas: 3,
                    selector: { matchLabels: { app: "churn" } },
                    template: { spec: { nodeName: "b" } },
                },
            },
        });
        const map = objectsIn("apiVersion: v1\nkind: Service\nmetadata: {name: old}\n", "models");
        objects.set("/api/v1/namespaces/models/services/old", map[0] as unknown as Fields);
        objects.delete(SERVICE);
        const { changes } = await compare("churn", [...rendered("churn"), ...map]);
        const told = changes.map(
            ({ name, action, restartsPods }) => `${action} ${name}${restartsPods ? ", restarts" : ""}`,
        );
        expect(told).to.have.members([
            "create Service/churn",
            "delete Service/old",
            "update Deployment/churn, restarts",
        ]);
        expect(
            changes.find(({ action }) => action === "update")?.fields.map(({ path: way }) => way.join(".")),
        ).to.include("spec.replicas");
    });

    it("is impossible for another selector, and another release's object keeps its owner", async () => {
        live({ service: { metadata: { name: "churn", annotations: { "meta.helm.sh/release-name": "other" } } } });
        const { faults, met } = await compare("else");
        expect(faults.map(({ name }) => name)).to.deep.equal(["Deployment/churn spec.selector"]);
        expect(met.find(({ name }) => name === "Service/churn")?.owner).to.equal("other");
    });
});

describe("ml-api adopt: the import", () => {
    it("puts the release where the program makes it, with the program's own provider", () => {
        const { resources } = importFile({ release: "churn", namespace: "models" }) as { resources: object[] };
        expect(resources.at(-1)).to.deep.include({ id: "models/churn", parent: "guarded", logicalName: "churn" });
        expect(resources[1]).to.deep.include({ type: "ml-api:index:GuardedRelease", parent: "api", component: true });
    });
});
