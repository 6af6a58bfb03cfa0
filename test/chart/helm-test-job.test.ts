import { expect } from "chai";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerIn, merged, only, renderObjects, smallest, type Values } from "./helm";

interface Api {
    ready: number;
    withoutKey: number;
    withKey: number;
}

const working: Api = { ready: 200, withoutKey: 401, withKey: 200 };

/** The script of `helm test`, run here against an API of a few lines, as the Job's pod runs it against the Service. */
describe("chart: the Job of helm test", function () {
    this.timeout(20_000);
    let folder: string;
    let server: Server;
    let api: Api;
    let asked: string[];

    before((done) => {
        folder = mkdtempSync(join(tmpdir(), "ml-api-keys-"));
        writeFileSync(join(folder, "keys"), "newest\nprevious\n");
        const answer = ({ method, url, headers }: IncomingMessage): number => {
            if (url === "/readyz" || url === "/health?full=1") {
                return api.ready;
            }
            if (method !== "POST" || url !== "/predict" || headers["content-type"] !== "application/json") {
                return 404;
            }
            return headers.authorization === "Bearer newest" ? api.withKey : api.withoutKey;
        };
        server = createServer((request, response) => {
            let body = "";
            request.on("data", (chunk: Buffer) => (body += chunk.toString()));
            request.on("end", () => {
                asked.push(`${request.method ?? ""} ${request.url ?? ""} ${body}`.trim());
                response.writeHead(answer(request)).end("the answer");
            });
        }).listen(0, "127.0.0.1", done);
    });

    after((done) => {
        rmSync(folder, { recursive: true });
        server.close(done);
    });

    beforeEach(() => {
        api = { ...working };
        asked = [];
    });

    function run(values: Values): Promise<{ status: number | null; output: string }> {
        const container = containerIn(only(renderObjects(merged(smallest, values)), "Job").spec?.template);
        const here: Record<string, string> = {
            "API_URL=http://mf-demo:80": `API_URL=http://127.0.0.1:${(server.address() as AddressInfo).port}`,
            "API_KEYS_FILE=/var/run/ml-api/keys/keys": `API_KEYS_FILE=${join(folder, "keys")}`,
        };
        // As the kubelet reads it: $$ is $.
        const [command = "", ...args] = (container.command ?? []).map((word) =>
            (here[word] ?? word).replaceAll("$$", "$"),
        );
        expect(container.command, "the address is the Service's").to.include("API_URL=http://mf-demo:80");
        const child = spawn(command, args, { env: { PATH: process.env.PATH } });
        return new Promise((resolve, reject) => {
            let output = "";
            child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
            child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
            child.on("error", reject);
            child.on("close", (status) => {
                resolve({ status, output });
            });
        });
    }

    const sample: Values = { verify: { sample: { inputs: [1, 2.5, "it's"] } } };
    const body = '{"inputs":[1,2.5,"it\'s"]}';

    it("asks for readiness, for a refusal without key and for one prediction with the newest key", async () => {
        const { status, output } = await run(sample);
        expect(status, output).to.equal(0);
        expect(asked).to.deep.equal(["GET /readyz", `POST /predict ${body}`, `POST /predict ${body}`]);
        expect(output).to.contain("POST /predict: 200 the answer").and.not.to.contain("newest");
    });

    it("fails when the API predicts without a key", async () => {
        api.withoutKey = 200;
        const { status, output } = await run(sample);
        expect(status).to.equal(1);
        expect(output).to.contain("POST /predict without a key: expected 401, got 200");
    });

    it("fails with the API's own words when there is no prediction", async () => {
        api.withKey = 422;
        const { status, output } = await run(sample);
        expect(status).to.equal(1);
        expect(output).to.contain("POST /predict: 422 the answer").and.to.contain("expected 200, got 422");
    });

    it("asks where the API answers", async () => {
        const { status, output } = await run({ api: { paths: { ready: "/health?full=1" } } });
        expect(status, output).to.equal(0);
        expect(asked).to.deep.equal(["GET /health?full=1"]);
    });

    it("sends no key where none is asked for", async () => {
        api.withoutKey = 200;
        const { status, output } = await run({ ...sample, apiKey: { enabled: false } });
        expect(status, output).to.equal(0);
        expect(asked).to.deep.equal(["GET /readyz", `POST /predict ${body}`]);
    });

    it("asks for readiness only, and says so, when there is no sample", async () => {
        const { status, output } = await run({});
        expect(status, output).to.equal(0);
        expect(asked).to.deep.equal(["GET /readyz"]);
        expect(output).to.contain("no prediction was asked for");
    });
});
