import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { stringify } from "yaml";
import { mergeValues, type Values } from "../../components/config/values";
import { clusterContext, type ClusterInfo } from "../../local/clusters/cluster";
import { enterNode, nodeCluster } from "../../local/clusters/node";
import { buildImage } from "../../local/image/build";
import { loadImage } from "../../local/image/load";
import { checkoutHash, checkoutRoot } from "../../local/paths";
import { thorough } from "../thorough";
import { Checkout, type Ended, succeeded } from "./checkout";
import { DrilledStack, evidenceIn, failedWith, type TimedEnd } from "./drill";
import type { ServerLine } from "./model-server";
import { deployingTo, skipWithoutNode } from "./own-node";

const instance = createHash("sha256").update(`${checkoutHash()} drills test`).digest("hex").slice(0, 10);
/** So many deploys are under way at once. */
const AT_ONCE = 5;
/** Seconds: long enough for what is to be seen, and no longer. */
const RELEASE_TIMEOUT = 45;
const BUDGET = 10;
/** Three for a shorter run, `make test-all` has every one; `DRILLS=crash,hook` narrows the test. */
const THREE = ["image", "crash", "hook"];
const ONLY = process.env["DRILLS"]?.split(",") ?? (thorough ? undefined : THREE);

/** A server whose behaviour is Python: `get(path)` and `post()` give a status, `start` runs before it listens. */
function server({ get = "200", post = "200", start = "pass", port = 'int(os.environ["PORT"])' }): string[] {
    const program = `
import http.server, os, sys, time
count = 0
${start}
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        count += 1
        self.answer(200 if self.path == "/livez" else ${get})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(${post})
    def answer(self, status):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"fine" if status == 200 else b"the model is not ready")
    def log_message(self, *_):
        pass
port = ${port}
print(f"INFO:     Uvicorn running on http://0.0.0.0:{port}", flush=True)
http.server.ThreadingHTTPServer(("", port), Api).serve_forever()
`;
    return ["python3", "-I", "-c", program];
}

const serves = (how: Parameters<typeof server>[0]): Values => ({ merge: { container: { command: server(how) } } });

/** A registry that has nothing, and does not give everything away. */
const REGISTRY = `
import http.server
class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/v2/" else 403 if "forbidden" in self.path else 404)
        self.end_headers()
    do_HEAD = do_GET
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 5001), Registry).serve_forever()
`;

/** Their pods are ready before they fail. */
const SERVED = ["hook", "crash-later"];

interface Drill {
    readonly values: Values;
    readonly words: readonly RegExp[];
    /** Seconds from the beginning of the upgrade until the error is there, when it is not there at once. */
    readonly from?: number;
}

interface Outcome {
    readonly servingBefore: string;
    readonly failed: TimedEnd;
    /** Names in the evidence folder that it named: only ten of them are kept. */
    readonly evidence: readonly string[];
    readonly history: readonly string[];
    readonly servingAfter: string;
    readonly mended: Ended;
    readonly unchanged: Ended;
}

describe("a deploy that fails on real pods", function () {
    this.timeout(600_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-drills-"));
    const context = clusterContext({
        instance,
        stateDir: path.join(os.tmpdir(), `ml-api-test-${instance}`),
        log: () => undefined,
    });
    const children: ChildProcess[] = [];
    let checkout: Checkout | undefined;
    let ran = false;
    let models: ServerLine = { url: "", cert: "" };
    let info: ClusterInfo;
    const outcomes = new Map<string, Promise<Outcome>>();

    const allDrills: Readonly<Record<string, (base: Values) => Drill>> = {
        image: () => ({
            values: { image: { repository: "localhost:5001/team/absent", tag: "1" } },
            words: [
                /Pod\/mf-demo-\S+ \(container api\): the registry localhost:5001 has no image localhost:5001\/team\/absent:1 \(not found\) → push the image/,
            ],
        }),
        pull: () => ({
            values: { image: { repository: "localhost:5001/team/forbidden", tag: "1" } },
            words: [
                /the registry localhost:5001 forbids the pull of the image localhost:5001\/team\/forbidden:1 \(403 Forbidden\) → let/,
            ],
        }),
        crash: () => ({
            values: serves({ start: 'raise FileNotFoundError("/app/model/wine.onnx")' }),
            words: [
                /\(container api\): it crashes at start: exit code 1, .*; its last words: FileNotFoundError: \/app\/model\/wine\.onnx → correct/,
            ],
            from: 5,
        }),
        "crash-later": () => ({
            values: serves({ post: "os._exit(7)" }),
            words: [
                /\(container api\): it crashes after it had been ready: exit code 7/,
                /Job\/mf-demo-verify \(container verify\): the hook Job did not succeed: .*; its last words: .*POST \/predict: .*no answer/,
            ],
            from: 15,
        }),
        memory: () => ({
            values: serves({ start: 'x = b"x" * (1 << 30)' }),
            words: [
                /it was killed because it used more memory than its limit of 64Mi \(OOMKilled.*\) → raise resources\.requests\.memory/,
            ],
        }),
        model: () => ({
            values: {
                secrets: { SSL_CERT: { secret: "authority", key: "ca.crt", as: "file" } },
                model: {
                    loadBudgetSeconds: BUDGET,
                    download: {
                        url: `${models.url}/damaged/model.bin`,
                        sha256: sumOfModel,
                        file: "model.bin",
                        size: "16Mi",
                        fetchBudgetSeconds: 20,
                    },
                },
                network: {
                    to: { models: { cidr: `${info.nodeAddress ?? ""}/32`, port: Number(new URL(models.url).port) } },
                },
            },
            words: [
                /\(container fetch-model\): it crashes at start: exit code 1, .*; its last words: .*expected sha256 .*damaged on the way/,
            ],
            from: 15,
        }),
        slow: () => ({
            values: serves({ get: "503" }),
            words: [
                new RegExp(
                    `it was not ready within its budget of ${BUDGET} s, so it was killed; the last answer: GET /readyz on port 8080 answers 503`,
                ),
                /→ raise model\.loadBudgetSeconds/,
            ],
            from: BUDGET + 5,
        }),
        port: () => ({
            values: serves({ port: "9000" }),
            words: [
                /wrong port: the server listens on 9000, and port 8080 refuses connections → have it listen on \$PORT/,
            ],
        }),
        unready: () => ({
            values: serves({ get: "200 if count == 1 else 503" }),
            words: [/it started, but does not become ready; the last answer: GET \/readyz on port 8080 answers 503/],
            from: 5,
        }),
        secret: () => ({
            values: { secrets: { FEATURES: { secret: "absent", key: "url", as: "env" } } },
            words: [/the Secret absent, which a variable is taken from, is not in the namespace → create it/],
        }),
        hook: () => ({
            values: serves({ post: "500" }),
            words: [
                /Job\/mf-demo-verify \(container verify\): the hook Job did not succeed: .*; its last words: .*POST \/predict: .*500/,
            ],
            from: 15,
        }),
    };

    const drills = Object.entries(allDrills).filter(([name]) => ONLY?.includes(name) ?? true);
    const model = randomBytes(64 << 10);
    const sumOfModel = createHash("sha256").update(model).digest("hex");

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        ran = true;
        await nodeCluster.down(context);
        fs.rmSync(context.stateDir, { recursive: true, force: true });
        info = await nodeCluster.up(context);
        const image = await buildImage(context);
        await loadImage(context, image);
        checkout = new Checkout(await deployingTo(info, context.stateDir));
        checkout.env["XDG_STATE_HOME"] = checkout.file("state");
        checkout.edit("chart/templates/_helpers.tpl", /"releaseTimeout" .*/, `"releaseTimeout" ${RELEASE_TIMEOUT}`);
        await startServers();
        const [repository, tag = ""] = image.reference.split(":");
        const base: Values = mergeValues(
            {
                image: { repository: repository ?? "", tag },
                resources: { requests: { cpu: "10m", memory: "64Mi" } },
                storage: { tmp: "16Mi", cache: "16Mi", sharedMemory: "16Mi" },
                api: { requestTimeoutSeconds: 1, maxConcurrentRequests: 1 },
                apiKey: { enabled: false },
                model: { loadBudgetSeconds: BUDGET },
            },
            serves({}),
        );
        const waiting = [...drills];
        const runNext = async (): Promise<void> => {
            for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
                const [name, drill] = next;
                const outcome = perform(name, drill(base), base);
                outcomes.set(name, outcome);
                await outcome.catch(() => undefined);
            }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, runNext));
    });
    after(async () => {
        for (const child of children) child.kill("SIGKILL");
        if (ran) await nodeCluster.down(context);
        fs.rmSync(context.stateDir, { recursive: true, force: true });
        checkout?.remove();
        fs.rmSync(folder, { recursive: true, force: true });
    });

    for (const [name, drill] of drills) {
        it(`because of ${name}, says so in time, leaves the old version serving, and converges afterwards`, async () => {
            const { words, from = 0 } = drill({});
            const outcome = await outcomes.get(name);
            if (outcome === undefined) throw new Error("it did not run");
            failedWith(outcome.failed, words, from + 15);
            const served = SERVED.includes(name)
                ? "was in service for about"
                : "was (?:never in service|in service for)";
            expect(outcome.failed.text).to.match(new RegExp(`the new version ${served}`));
            expect(outcome.evidence).to.include.members(["findings.md", "objects.yaml", "events.txt", "logs"]);
            expect(outcome.servingAfter).to.equal(outcome.servingBefore);
            expect(outcome.servingBefore).to.match(/ serves$/);
            expect(outcome.history).to.deep.equal(["1 superseded", "2 failed", "3 deployed"]);
            succeeded(outcome.mended);
            succeeded(outcome.unchanged);
        });
    }

    async function perform(name: string, { values }: Drill, base: Values): Promise<Outcome> {
        if (checkout === undefined) throw new Error("no checkout");
        const stack = new DrilledStack(checkout, name, base);
        await stack.init();
        succeeded(await stack.up());
        if (name === "model") await applyAuthority(stack);
        const servingBefore = await stack.serving();
        stack.set(values);
        const failed = await stack.up();
        const folder = evidenceIn(failed);
        const evidence = folder === undefined ? [] : fs.readdirSync(folder);
        const history = await stack.history();
        const servingAfter = await stack.serving();
        stack.set({});
        const mended = await stack.up();
        const unchanged = await checkout.pulumi("preview", "--expect-no-changes", "--stack", name);
        return { servingBefore, failed, evidence, history, servingAfter, mended, unchanged };
    }

    /** A registry and a model server, in the node's own network. */
    async function startServers(): Promise<void> {
        const inside = await enterNode(context);
        const start = (words: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess => {
            const [file = "", ...args] = [...inside, ...words];
            const child = spawn(file, args, { env, stdio: ["pipe", "pipe", "inherit"] });
            children.push(child);
            return child;
        };
        start(["python3", "-c", REGISTRY]);
        fs.writeFileSync(path.join(folder, "model.bin"), model);
        const program = path.join(__dirname, "model-server.ts");
        const node = [process.execPath, "--require", require.resolve("ts-node/register/transpile-only")];
        const env = { ...process.env, TS_NODE_PROJECT: path.join(checkoutRoot, "tsconfig.json") };
        const child = start([...node, program, info.nodeAddress ?? "", path.join(folder, "model.bin")], env);
        if (child.stdout === null) throw new Error("no pipe");
        for await (const line of createInterface(child.stdout)) {
            models = JSON.parse(line) as ServerLine;
            return;
        }
        throw new Error("the model server ended at once");
    }

    async function applyAuthority(stack: DrilledStack): Promise<void> {
        const secret = {
            apiVersion: "v1",
            kind: "Secret",
            metadata: { name: "authority" },
            stringData: { "ca.crt": models.cert },
        };
        const file = path.join(folder, "authority.yaml");
        fs.writeFileSync(file, stringify(secret));
        await stack.kubectl("apply", "--filename", file);
    }
});
