import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { digestOf } from "../../components/guarded-release/render/digest";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import type { MlApiArgs } from "../../components/ml-api/args";
import { MlApi } from "../../components/ml-api/ml-api";
import { accessCommand, urlOf } from "../../components/ml-api/outputs";
import type { Surroundings } from "../../components/ml-api/surroundings";
import { objectsIn } from "../chart/helm";

/** What the chart renders to with an example of chart/ci. */
const golden = (example: string): string => join(__dirname, "..", "chart", "golden", "ci", `${example}.yaml`);

const OBJECTS: RenderedObject[] = [
    {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "mf-demo", annotations: { "ml-api/release-timeout-seconds": "431" } },
        spec: { template: { spec: { containers: [{ image: "localhost/mf-demo:abc" }] } } },
    },
    { apiVersion: "v1", kind: "Service", metadata: { name: "mf-demo" }, spec: { ports: [{ port: 80 }] } },
];

const ARGS: MlApiArgs = {
    name: "mf-demo",
    namespace: "mf-demo-dev",
    createNamespace: true,
    values: { environment: "dev", replicas: 2, verify: { sample: { instances: [[1, 2]] } } },
    keyGeneration: 1,
    acceptPreviousKey: false,
    protect: false,
};
const AROUND: Surroundings = {
    cluster: { context: "kind", server: "https://127.0.0.1:6443", access: "", pinned: true },
    origin: { file: "chart/environment/dev/values-dev.yaml", places: new Map() },
};

interface Recorded {
    readonly type: string;
    readonly name: string;
    readonly inputs: Record<string, unknown>;
}

describe("MlApi", () => {
    let recorded: Recorded[];
    let rendered: Record<string, unknown>[];

    /** Deploys into Pulumi's mocks. In a preview nothing that a provider computes is known, as in a very first real one. */
    async function deploy(args: Partial<MlApiArgs> = {}, preview = false, objects: object[] = OBJECTS): Promise<MlApi> {
        recorded = [];
        rendered = [];
        await pulumi.runtime.setMocks(
            {
                newResource: ({ type, name, inputs }) => {
                    recorded.push({ type, name, inputs: inputs as Record<string, unknown> });
                    const computed = type.includes("RandomPassword")
                        ? { result: preview ? undefined : `random-${name}` }
                        : {};
                    const status = type.endsWith(":Release")
                        ? { status: preview ? undefined : { status: "deployed", revision: 1 } }
                        : {};
                    return {
                        id: preview ? "" : `${name}-id`,
                        state: { ...(inputs as object), ...computed, ...status },
                    };
                },
                call: ({ inputs }) => {
                    rendered.push(JSON.parse((inputs as { jsonOpts: string }).jsonOpts) as Record<string, unknown>);
                    return { result: objects };
                },
            },
            "ml-api",
            "dev",
            preview,
        );
        const api = new MlApi("mf-demo", { ...ARGS, ...args }, {}, AROUND);
        await pulumi.runtime.disconnect();
        return api;
    }

    const promiseOf = <T>(output: pulumi.Output<T>): Promise<T> => new Promise((resolve) => output.apply(resolve));
    const find = (type: string) => recorded.filter((resource) => resource.type === type);
    const release = () => find("kubernetes:helm.sh/v3:Release")[0]?.inputs ?? {};
    /** The names of secret inputs arrive wrapped; this says whether a value is, at any depth. */
    const holdsSecret = (value: unknown): boolean => JSON.stringify(value).includes("4dabf18193072939515e22adb298388d");

    it("makes a namespace that admits restricted pods only", async () => {
        await deploy();
        expect(find("kubernetes:core/v1:Namespace").map(({ inputs }) => inputs["metadata"])).to.deep.equal([
            {
                name: "mf-demo-dev",
                labels: {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/audit": "restricted",
                    "pod-security.kubernetes.io/warn": "restricted",
                },
            },
        ]);
    });

    it("touches no namespace when told to use an existing one", async () => {
        await deploy({ createNamespace: false });
        expect(find("kubernetes:core/v1:Namespace")).to.deep.equal([]);
        expect(release()["namespace"]).to.equal("mf-demo-dev");
    });

    it("releases the local chart atomically, bounded and explicit, with the time-out that the chart computes", async () => {
        await deploy();
        expect(release()).to.deep.include({
            chart: "./chart",
            name: "mf-demo",
            namespace: "mf-demo-dev",
            timeout: 431,
            atomic: true,
            cleanupOnFail: true,
            waitForJobs: true,
            maxHistory: 10,
            resetValues: true,
            createNamespace: false,
        });
    });

    for (const preview of [true, false]) {
        it(`gives the release only known and public values, ${preview ? "in the very first preview" : "in an update"}`, async () => {
            await deploy({}, preview);
            expect(release()["values"]).to.deep.equal({
                ...ARGS.values,
                apiKey: { existingSecret: "mf-demo-key-1", generation: 1 },
                global: { renderDigest: digestOf(OBJECTS), repair: "" },
            });
            expect(holdsSecret(release()["values"])).to.equal(false);
        });
    }

    it("renders exactly the values of the release but for their digest, for a declared Kubernetes version", async () => {
        await deploy();
        const values = { ...(release()["values"] as object), global: { renderDigest: "", repair: "" } };
        expect(rendered).to.have.length(1);
        expect(rendered[0]).to.deep.include({
            path: "./chart",
            release_name: "mf-demo",
            namespace: "mf-demo-dev",
            values,
            kube_version: "1.34.0",
        });
    });

    it("shows the rendered objects as the inputs of a resource of their own", async () => {
        await deploy({}, true);
        const [shown] = find("ml-api:index:RenderedObjects");
        expect(shown?.inputs["objects"]).to.deep.equal({
            "Deployment/mf-demo": OBJECTS[0],
            "Service/mf-demo": OBJECTS[1],
        });
    });

    it("keeps apart and secret what the chart renders into a Secret", async () => {
        const data = { token: Buffer.from("canary").toString("base64") };
        await deploy({}, true, [...OBJECTS, { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, data }]);
        const [shown] = find("ml-api:index:RenderedObjects");
        const objects = shown?.inputs["objects"] as Record<string, unknown>;
        expect(objects["Secret/s"]).to.deep.include({ kind: "Secret", data: { token: "[secret]" } });
        expect(JSON.stringify(objects)).not.to.contain(data.token);
        expect(holdsSecret(shown?.inputs["secretData"])).to.equal(true);
        expect(JSON.stringify(shown?.inputs["secretData"])).to.contain(data.token);
    });

    it("keeps one random key per generation in an immutable Secret", async () => {
        await deploy({ keyGeneration: 2 });
        expect(find("random:index/randomPassword:RandomPassword").map(({ name }) => name)).to.deep.equal([
            "mf-demo-key-2",
        ]);
        const [secret] = find("kubernetes:core/v1:Secret");
        expect(secret?.inputs).to.deep.include({ immutable: true, type: "Opaque" });
        expect(secret?.inputs["metadata"]).to.deep.include({ name: "mf-demo-key-2", namespace: "mf-demo-dev" });
        expect(holdsSecret(secret?.inputs["stringData"])).to.equal(true);
        expect(JSON.stringify(secret?.inputs["stringData"])).to.contain("random-mf-demo-key-2\\n");
    });

    it("accepts two keys during a rotation, the newest first, in a Secret of its own", async () => {
        await deploy({ keyGeneration: 2, acceptPreviousKey: true });
        const [secret] = find("kubernetes:core/v1:Secret");
        expect(secret?.inputs["metadata"]).to.deep.include({ name: "mf-demo-key-2-with-1" });
        expect(JSON.stringify(secret?.inputs["stringData"])).to.contain(
            "random-mf-demo-key-2\\nrandom-mf-demo-key-1\\n",
        );
        expect((release()["values"] as { apiKey: unknown }).apiKey).to.deep.equal({
            existingSecret: "mf-demo-key-2-with-1",
            generation: 2,
        });
    });

    it("takes a given key and makes no random one", async () => {
        await deploy({ apiKey: pulumi.secret("given-key-0123456") });
        expect(find("random:index/randomPassword:RandomPassword")).to.deep.equal([]);
        expect(holdsSecret(find("kubernetes:core/v1:Secret")[0]?.inputs["stringData"])).to.equal(true);
    });

    it("makes no key when the values name a Secret of their own, or ask for none", async () => {
        for (const apiKey of [{ existingSecret: "theirs" }, { enabled: false }]) {
            await deploy({ values: { ...ARGS.values, apiKey } });
            expect(find("kubernetes:core/v1:Secret")).to.deep.equal([]);
            expect((release()["values"] as { apiKey: unknown }).apiKey).to.deep.equal(apiKey);
        }
    });

    it("tells image, URL, access and logs, in a preview too", async () => {
        const api = await deploy({}, true);
        expect(await promiseOf(api.image)).to.equal("localhost/mf-demo:abc");
        expect(await promiseOf(api.url)).to.equal("http://mf-demo.mf-demo-dev.svc.cluster.local");
        expect(await promiseOf(api.access)).to.contain(
            "kubectl --context kind --namespace mf-demo-dev port-forward service/mf-demo 8080:80",
        );
        expect(await promiseOf(api.access))
            .to.contain("get secret mf-demo-key-1")
            .and.to.contain(`-d '{"instances":[[1,2]]}'`);
        expect(await promiseOf(api.logs)).to.contain("logs --selector app.kubernetes.io/instance=mf-demo");
    });

    it("tells the address that clients use: of the Ingress, else of the HTTPRoute, else of the Service", () => {
        const url = (example: string): string => urlOf(objectsIn(readFileSync(golden(example), "utf8")), "churn");
        expect(url("ingress")).to.equal("https://models.example.org/churn");
        expect(url("ingress-haproxy"), "no certificate, and the path is /").to.equal("http://churn.example.org");
        expect(url("gateway")).to.equal("https://churn.example.org/v1");
        expect(url("everything"), "Ingress and HTTPRoute").to.equal("https://churn.example.org");
        expect(url("smallest")).to.equal("http://churn.churn.svc.cluster.local");
        expect(url("other-image")).to.equal("http://churn.churn.svc.cluster.local:8000");
        expect(urlOf([], "churn")).to.equal("");
    });

    it("takes no Service of a hook for the API's, whatever comes first", () => {
        const hook = { metadata: { name: "mf-demo-verify", annotations: { "helm.sh/hook": "post-install" } } };
        const objects = [{ ...OBJECTS[1], ...hook } as RenderedObject, ...OBJECTS];
        expect(urlOf(objects, "churn")).to.equal("http://mf-demo.churn.svc.cluster.local");
        const where = { name: "mf-demo", namespace: "churn", context: undefined, keySecret: undefined };
        expect(accessCommand(where, objects, {})).to.contain("service/mf-demo 8080:80");
    });

    it("names every resource by the types and parents that its state is found by", async () => {
        await deploy();
        expect(recorded.map(({ type, name }) => `${type} ${name}`)).to.have.members([
            "ml-api:index:MlApi mf-demo",
            "kubernetes:core/v1:Namespace mf-demo-dev",
            "random:index/randomPassword:RandomPassword mf-demo-key-1",
            "kubernetes:core/v1:Secret mf-demo-key-1",
            "ml-api:index:GuardedRelease mf-demo",
            "ml-api:index:RenderedObjects mf-demo",
            "kubernetes:helm.sh/v3:Release mf-demo",
        ]);
    });
});
