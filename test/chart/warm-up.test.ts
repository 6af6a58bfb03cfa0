import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerIn, deploymentIn, environmentOf, merged, renderObjects, smallest, type Values } from "./helm";

interface WarmUpProbe {
    readonly exec: { readonly command: readonly string[] };
    readonly timeoutSeconds: number;
}

/** The startup probe of verify.warmUp, run here against an API of a few lines, as the kubelet runs it in the API's container. */
describe("chart: the warm-up gate", function () {
    this.timeout(20_000);
    const sample = { text: "it's $(HOME), $$5 <&>" };
    let folder: string;
    let server: Server;
    let asked: string[];
    let answers: Record<string, number | string>;

    before((done) => {
        folder = mkdtempSync(join(tmpdir(), "ml-api-keys-"));
        writeFileSync(join(folder, "keys"), "newest\nprevious\n");
        const answer = (request: IncomingMessage, response: ServerResponse, body: string): void => {
            const what = `${request.method ?? ""} ${request.url ?? ""}`;
            const read = body === "" ? "" : JSON.stringify(JSON.parse(body));
            asked.push([what, request.headers.authorization, read].filter(Boolean).join(" "));
            const status = answers[what] ?? 404;
            if (typeof status === "number") response.writeHead(status).end("the API's words");
            else response.writeHead(302, { location: status }).end();
        };
        server = createServer((request, response) => {
            let body = "";
            request.on("data", (chunk: Buffer) => (body += chunk.toString()));
            request.on("end", () => {
                answer(request, response, body);
            });
        }).listen(0, "127.0.0.1", done);
    });
    after((done) => {
        rmSync(folder, { recursive: true });
        server.close(done);
    });
    beforeEach(() => {
        asked = [];
        answers = { "GET /readyz": 200, "POST /predict": 200 };
    });

    const probeOf = (values: Values): { probe: WarmUpProbe; env: Record<string, string> } => {
        const { port } = server.address() as AddressInfo;
        const set = merged(merged(smallest, { api: { port }, verify: { warmUp: true, sample } }), values);
        const container = containerIn(deploymentIn(renderObjects(set)).spec.template);
        return { probe: container.startupProbe as unknown as WarmUpProbe, env: environmentOf(container) };
    };

    function run(values: Values = {}): Promise<{ code: number | null; output: string }> {
        const { probe, env } = probeOf(values);
        // As Kubernetes reads a command: $$ is a $, and $(NAME) a variable, of which there must be none.
        const [program = "", ...args] = probe.exec.command.map((word) =>
            word.replace(/\$\$|\$\(/g, (found) => (found === "$$" ? "$" : "EXPANDED")),
        );
        // The last word on a name is the one that counts.
        if (!args.includes("API_KEYS_FILE=")) args.push(`API_KEYS_FILE=${join(folder, "keys")}`);
        const proxies = { http_proxy: "http://127.0.0.1:1", HTTP_PROXY: "http://127.0.0.1:1" };
        const child = spawn(program, args, { env: { ...env, ...proxies, PATH: process.env.PATH } });
        return new Promise((resolve, reject) => {
            let output = "";
            for (const stream of [child.stdout, child.stderr]) {
                stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
            }
            child.on("error", reject);
            child.on("close", (code) => {
                resolve({ code, output });
            });
        });
    }

    const prediction = `POST /predict Bearer newest ${JSON.stringify(sample)}`;

    it("opens once the API has answered the sample, and says nothing", async () => {
        expect(await run()).to.deep.equal({ code: 0, output: "" });
        expect(asked).to.deep.equal(["GET /readyz", prediction]);
    });

    it("stays shut while the API is not ready, and asks for no prediction", async () => {
        answers["GET /readyz"] = 503;
        const { code, output } = await run();
        expect(code).to.equal(1);
        expect(output).to.match(
            /^GET \/readyz: expected 200, got 503 from http:\/\/127\.0\.0\.1:\d+: the API's words\n$/,
        );
        expect(asked).to.deep.equal(["GET /readyz"]);
    });

    it("stays shut while the API does not predict, however ready it says it is, and repeats its words", async () => {
        for (const status of [500, 503, 422, 401, 202]) {
            answers["POST /predict"] = status;
            const { code, output } = await run();
            expect(code).to.equal(1);
            expect(output).to.contain(`POST /predict: expected 200, got ${status}`).and.to.contain("the API's words");
            expect(output).not.to.contain("newest");
        }
    });

    it("takes no redirect for an answer", async () => {
        answers = { "GET /readyz": "/login", "GET /login": 200, "POST /predict": 200 };
        expect((await run()).output).to.contain("GET /readyz: expected 200, got 302");
        answers = { "GET /readyz": 200, "POST /predict": "/login", "GET /login": 200, "POST /login": 200 };
        expect((await run()).output).to.contain("POST /predict: expected 200, got 302");
        expect(asked.join()).not.to.contain("/login");
    });

    it("asks at the paths of the API, and without a key where none is asked for", async () => {
        answers = { "GET /health": 200, "POST /v1/predict": 200 };
        const paths = { live: "/health", ready: "/health", predict: "/v1/predict" };
        expect(await run({ api: { paths }, apiKey: { enabled: false } })).to.deep.equal({ code: 0, output: "" });
        expect(asked).to.deep.equal(["GET /health", `POST /v1/predict ${JSON.stringify(sample)}`]);
    });

    it("is shut, without a stack trace, while nobody listens", async () => {
        const other = createServer().listen(0, "127.0.0.1");
        await once(other, "listening");
        const { port } = other.address() as AddressInfo;
        other.close();
        const { code, output } = await run({ api: { port } });
        expect(code).to.equal(1);
        expect(output).to.contain(`GET /readyz: expected 200, got no answer from http://127.0.0.1:${port}: [Errno`);
        expect(output).not.to.contain("Traceback");
    });

    it("may take as long as one prediction, and is the ordinary probe unless it is wanted", () => {
        expect(probeOf({ api: { requestTimeoutSeconds: 90 } }).probe.timeoutSeconds).to.equal(95);
        expect(probeOf({ verify: { warmUp: false } }).probe).to.have.nested.property("httpGet.path", "/readyz");
    });
});
