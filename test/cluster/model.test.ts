import { expect } from "chai";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { get } from "node:https";
import * as os from "node:os";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { clusterContext, type ClusterInfo } from "../../local/clusters/cluster";
import { enterNode, nodeCluster, runInNode } from "../../local/clusters/node";
import { members } from "../../local/clusters/node/cgroups";
import { siteOf } from "../../local/clusters/node/site";
import { buildImage } from "../../local/image/build";
import { loadImage } from "../../local/image/load";
import { checkoutHash, checkoutRoot } from "../../local/paths";
import { run } from "../../local/run";
import { ensureTools } from "../../local/tools";
import { environmentValues, merged, type Values } from "../chart/helm";
import { modelIn } from "./demo-model";
import type { ServerLine, Told } from "./model-server";
import { skipWithoutNode } from "./own-node";

const instance = createHash("sha256").update(`${checkoutHash()} model test`).digest("hex").slice(0, 10);
const namespace = "models";

interface ContainerState {
    readonly running?: { readonly startedAt: string };
    readonly waiting?: { readonly reason: string };
    readonly terminated?: { readonly exitCode: number; readonly finishedAt: string; readonly message?: string };
}
interface ContainerStatus {
    readonly name: string;
    readonly restartCount: number;
    readonly started?: boolean;
    readonly ready: boolean;
    readonly state: ContainerState;
    readonly lastState: ContainerState;
}
interface Pod {
    readonly metadata: { readonly name: string };
    readonly status: {
        readonly conditions?: readonly { type: string; status: string; lastTransitionTime: string }[];
        readonly podIP?: string;
        readonly initContainerStatuses?: readonly ContainerStatus[];
        readonly containerStatuses?: readonly ContainerStatus[];
    };
}

/** An API with one health path that is always fine, and a model that answers from the second time on. */
const plainApi = `
import http.server, os, time
answers = iter([503])
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(next(answers, 200))
    def answer(self, status):
        self.send_response(status)
        self.end_headers()
        print(f"{time.time():.3f} {self.command} {self.path} {status}", flush=True)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Api).serve_forever()
`;

/** Models of the sample API, fetched by real pods from an HTTPS server beside them. */
describe("a model that is not in the image, on the local node", function () {
    this.timeout(90_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-model-"));
    const context = clusterContext({
        instance,
        stateDir: path.join(os.tmpdir(), `ml-api-test-${instance}`),
        log: () => undefined,
    });
    const variables = { ...process.env, KUBECACHEDIR: path.join(folder, "kubectl") };
    const cache = path.join(folder, "cache");
    let programs: { readonly helm: string; readonly kubectl: string } | undefined;
    let info: ClusterInfo;
    let server: ChildProcess | undefined;
    let url: string;
    let told: (after?: "go") => Promise<Told>;
    let sha256: string;
    let common: Values;

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        const { helm, kubectl } = await ensureTools(["helm", "kubectl"], { log: () => undefined });
        programs = { helm: helm.path, kubectl: kubectl.path };
        await nodeCluster.down(context);
        info = await nodeCluster.up(context);
        const image = await buildImage(context);
        await loadImage(context, image);

        const archive = modelOf(image.file);
        sha256 = createHash("sha256").update(fs.readFileSync(archive)).digest("hex");
        const line = await startServer(archive);
        url = line.url;
        told = (after) => ask(`${url}/${after ?? "told"}`, line.cert);
        const [repository, tag = ""] = image.reference.split(":");
        common = merged(environmentValues("dev"), {
            environment: "production",
            image: { repository: repository ?? "", tag },
            apiKey: { existingSecret: "key" },
            secrets: { SSL_CERT: { secret: "authority", key: "ca.crt", as: "file" } },
            model: { download: { sha256, unpack: true, size: "16Mi", fetchBudgetSeconds: 600 } },
            // Helm would wait for it, and so for the pods.
            verify: { onDeploy: false },
            network: { to: { models: { cidr: `${info.nodeAddress ?? ""}/32`, port: Number(new URL(url).port) } } },
        });
        fs.mkdirSync(cache);
        fs.chmodSync(cache, 0o777);
        fs.writeFileSync(path.join(folder, "keys"), "the-key\n");
        await eventually(() => apply(line.cert));
        // All at once, so that each has what it waits for while the others are looked at.
        await install("killed", download(`${url}/half/model.tar`));
        await install("whole", download(`${url}/whole/model.tar`));
        await install("damaged", download(`${url}/damaged/model.tar`));
        await install(
            "warm",
            merged(common, {
                model: { download: { sha256: "", unpack: false } },
                api: { paths: { live: "/health", ready: "/health" } },
                verify: { warmUp: true },
                merge: { container: { command: ["python3", "-I", "-c", plainApi] } },
            }),
        );
    });
    after(async () => {
        server?.kill("SIGKILL");
        if (programs !== undefined) await nodeCluster.down(context);
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const download = (from: string, more: Values = {}): Values =>
        merged(common, { model: { download: { url: from, ...more } } });

    async function kubectl(...args: readonly string[]): Promise<string> {
        return succeed(programs?.kubectl ?? "", ["--kubeconfig", info.kubeconfig, "--namespace", namespace, ...args]);
    }
    async function succeed(program: string, args: readonly string[]): Promise<string> {
        const { stdout, stderr, failure } = await run(program, args, { variables, timeLimit: 60_000 });
        if (failure !== undefined) throw new Error(`${program} ${args.join(" ")} ${failure}: ${stderr}`);
        return stdout;
    }

    async function install(release: string, values: Values): Promise<void> {
        const file = path.join(folder, `${release}.yaml`);
        fs.writeFileSync(file, stringify(values));
        const chart = path.join(checkoutRoot, "chart");
        const where = ["--kubeconfig", info.kubeconfig, "--namespace", namespace];
        await succeed(programs?.helm ?? "", ["upgrade", "--install", release, chart, ...where, "--values", file]);
    }

    /** What the pods need beside the releases: a strict namespace, the key, the authority, and a volume that keeps models. */
    async function apply(authority: string): Promise<void> {
        const secret = (name: string, stringData: Record<string, string>) => ({
            apiVersion: "v1",
            kind: "Secret",
            metadata: { name, namespace },
            stringData,
        });
        const size = { storage: "1Gi" };
        const volume = { accessModes: ["ReadWriteMany"], storageClassName: "" };
        const objects = [
            {
                apiVersion: "v1",
                kind: "Namespace",
                metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
            },
            secret("key", { keys: "the-key\n", key: "the-key" }),
            secret("authority", { "ca.crt": authority }),
            {
                apiVersion: "v1",
                kind: "PersistentVolume",
                metadata: { name: "models" },
                spec: { ...volume, capacity: size, hostPath: { path: cache, type: "Directory" } },
            },
            {
                apiVersion: "v1",
                kind: "PersistentVolumeClaim",
                metadata: { name: "models", namespace },
                spec: { ...volume, volumeName: "models", resources: { requests: size } },
            },
        ];
        const file = path.join(folder, "objects.yaml");
        fs.writeFileSync(file, objects.map((object) => stringify(object)).join("---\n"));
        await kubectl("apply", "--filename", file);
    }

    /** The image's model as an archive, under another name: who predicts with it, tells that name. */
    function modelOf(image: string): string {
        const place = modelIn(image, folder);
        const card = JSON.parse(fs.readFileSync(path.join(place, "model.json"), "utf8")) as object;
        fs.writeFileSync(path.join(place, "model.json"), JSON.stringify({ ...card, name: "wine-from-afar" }));
        execFileSync("tar", ["-cf", path.join(folder, "model.tar"), "-C", place, "."]);
        return path.join(folder, "model.tar");
    }

    async function startServer(file: string): Promise<ServerLine> {
        const program = path.join(__dirname, "model-server.ts");
        // Inside, the current folder is another one.
        const node = [process.execPath, "--require", require.resolve("ts-node/register/transpile-only")];
        const words = [...(await enterNode(context)), ...node, program, info.nodeAddress ?? "", file];
        const env = { ...process.env, TS_NODE_PROJECT: path.join(checkoutRoot, "tsconfig.json") };
        server = spawn(words[0] ?? "", words.slice(1), { env, stdio: ["pipe", "pipe", "inherit"] });
        if (server.stdout === null) throw new Error("no pipe");
        for await (const line of createInterface(server.stdout)) return JSON.parse(line) as ServerLine;
        throw new Error("the model server ended at once");
    }

    async function podsOf(release: string): Promise<readonly Pod[]> {
        const text = await kubectl("get", "pods", "-l", `app.kubernetes.io/instance=${release}`, "--output", "json");
        return (JSON.parse(text) as { items: Pod[] }).items;
    }
    async function podOf(release: string): Promise<Pod> {
        const [pod] = await podsOf(release);
        if (pod === undefined) throw new Error(`${release} has no pod`);
        return pod;
    }
    const fetchOf = (pod: Pod): ContainerStatus | undefined => pod.status.initContainerStatuses?.[0];
    const apiOf = (pod: Pod): ContainerStatus | undefined => pod.status.containerStatuses?.[0];
    const rolledOut = (release: string): Promise<string> =>
        kubectl("rollout", "status", `deployment/${release}`, "--timeout=60s");

    /** What POST /predict says, asked as `helm test` asks. */
    async function prediction(release: string): Promise<string> {
        const { podIP = "" } = (await podOf(release)).status;
        const script = fs.readFileSync(path.join(checkoutRoot, "chart", "files", "ask.py"), "utf8");
        const settings = {
            API_URL: `http://${podIP}:8080`,
            READY_PATH: "/readyz",
            PREDICT_PATH: "/predict",
            SAMPLE: JSON.stringify((common["verify"] as Values)["sample"]),
            API_KEYS_FILE: path.join(folder, "keys"),
            REQUEST_TIMEOUT_SECONDS: "10",
        };
        const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
        const ended = await runInNode(context, ["python3", "-I", "-c", script, "test", ...words], {
            timeLimit: 60_000,
        });
        return ended.stdout;
    }

    it("is fetched again when the fetch is killed half-way; no pod serves before all of it is there", async () => {
        await eventually(async () => {
            const running = fetchOf(await podOf("killed"))?.state.running;
            if (running === undefined || (await fetchersOf("half")).length === 0) throw new Error("not yet");
            expect((await told()).asked).to.include("/half/model.tar");
        });
        expect(apiOf(await podOf("killed"))).to.deep.include({ ready: false, started: false, restartCount: 0 });
        for (const pid of await fetchersOf("half")) process.kill(pid, "SIGKILL");
        await told("go");

        await rolledOut("killed");
        const pod = await podOf("killed");
        expect(fetchOf(pod)?.restartCount).to.equal(1);
        const fetched = fetchOf(pod)?.state.terminated;
        expect(fetched?.exitCode).to.equal(0);
        expect(Date.parse(apiOf(pod)?.state.running?.startedAt ?? "")).to.be.at.least(
            Date.parse(fetched?.finishedAt ?? ""),
        );
        expect(await prediction("killed")).to.contain('"name":"wine-from-afar"');
    });

    it("is there before the API starts, which then predicts with it", async () => {
        await rolledOut("whole");
        const pod = await podOf("whole");
        expect(fetchOf(pod)?.state.terminated?.message).to.contain("fetched from").and.to.contain(sha256);
        const said = await prediction("whole");
        expect(said).to.contain("POST /predict: 200").and.to.contain('"name":"wine-from-afar"');
    });

    it("never gets to serve with one wrong byte, and the pod says why", async () => {
        const pod = await eventually(async () => {
            const found = await podOf("damaged");
            if ((fetchOf(found)?.restartCount ?? 0) < 1) throw new Error("not tried again yet");
            if (fetchOf(found)?.lastState.terminated === undefined) throw new Error("not ended yet");
            return found;
        });
        const { exitCode, message } = fetchOf(pod)?.lastState.terminated ?? {};
        expect(exitCode).to.equal(1);
        expect(message).to.contain(`expected sha256 ${sha256}, got `).and.to.contain("damaged on the way");
        expect(apiOf(pod)).to.deep.include({ ready: false, started: false, restartCount: 0 });
        expect(apiOf(pod)?.state.waiting?.reason).to.equal("PodInitializing");
    });

    it("is fetched once for all pods that share a cache", async () => {
        await install("cached", download(`${url}/whole/for-the-cache.tar`, { cacheClaim: "models" }));
        await rolledOut("cached");
        expect(fs.readdirSync(cache)).to.deep.equal([sha256]);

        const [first] = await podsOf("cached");
        await kubectl("scale", "deployment/cached", "--replicas=2");
        await rolledOut("cached");
        const second = (await podsOf("cached")).find(({ metadata }) => metadata.name !== first?.metadata.name);
        expect(second && fetchOf(second)?.state.terminated?.message).to.match(/^found in the cache.* 0 bytes fetched$/);
        const asked = (await told()).asked.filter((one) => one === "/whole/for-the-cache.tar");
        expect(asked).to.have.lengthOf(1);
        expect(await prediction("cached")).to.contain('"name":"wine-from-afar"');
    });

    it("has answered a prediction before the pod counts as ready, in an image with a plain health path", async () => {
        await rolledOut("warm");
        const pod = await podOf("warm");
        const lines = (await kubectl("logs", pod.metadata.name))
            .trim()
            .split("\n")
            .map((line) => ({ seconds: Number(line.split(" ")[0]), what: line.split(" ").slice(1).join(" ") }));
        const first = lines.findIndex(({ what }) => what === "POST /predict 200");
        expect(first, "a prediction that was answered").to.be.at.least(0);
        const before = lines.slice(0, first).map(({ what }) => what);
        expect(before).to.include("GET /health 200").and.to.include("POST /predict 503");
        const ready = pod.status.conditions?.find(({ type }) => type === "Ready");
        expect(ready?.status).to.equal("True");
        // Kubernetes tells whole seconds.
        expect(Date.parse(ready?.lastTransitionTime ?? "") / 1000).to.be.at.least(
            Math.floor(lines[first]?.seconds ?? Infinity),
        );
        expect(apiOf(pod)?.restartCount).to.equal(0);
    });

    /** Processes of this node's pods that fetch from this path. */
    async function fetchersOf(name: string): Promise<readonly number[]> {
        const { mounts, cgroup } = await siteOf(context);
        return (await members(path.join(mounts.membership, cgroup))).filter((pid) => {
            try {
                return fs.readFileSync(`/proc/${pid}/environ`, "utf8").includes(`/${name}/model.tar`);
            } catch {
                return false; // It ended meanwhile.
            }
        });
    }
});

async function ask(url: string, ca: string): Promise<Told> {
    const text = await new Promise<string>((resolve, reject) => {
        get(url, { ca, agent: false }, (answer) => {
            let body = "";
            answer.on("data", (chunk: Buffer) => (body += chunk.toString()));
            answer.on("end", () => {
                resolve(body);
            });
        }).on("error", reject);
    });
    return JSON.parse(text) as Told;
}

async function eventually<T>(look: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
        try {
            return await look();
        } catch (error) {
            if (attempt > 120) throw error;
            await sleep(500);
        }
    }
}
