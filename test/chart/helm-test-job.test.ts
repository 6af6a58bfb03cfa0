import { expect } from "chai";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerIn, deploymentIn, merged, only, refusal, renderObjects, smallest, type Values } from "./helm";

/** What it answers, the last of a list from then on; cut: it takes the request and closes the connection. */
interface Api {
    ready: Answers;
    withoutKey: Answers;
    withKey: Answers;
}
type Answers = readonly (number | "cut")[];

const working: Api = { ready: [200], withoutKey: [401], withKey: [200] };

/** The script of the chart's Jobs, run here against an API of a few lines, as a Job's pod runs it against the Service. */
describe("chart: the Jobs that ask the API", function () {
    this.timeout(20_000);
    let folder: string;
    let server: Server;
    let api: Api;
    let asked: string[];

    before((done) => {
        folder = mkdtempSync(join(tmpdir(), "ml-api-keys-"));
        writeFileSync(join(folder, "keys"), "newest\nprevious\n");
        const next = (what: keyof Api): number | "cut" => {
            const [first = 404, ...rest] = api[what];
            if (rest.length > 0) api[what] = rest;
            return first;
        };
        const answer = ({ method, url, headers }: IncomingMessage): number | "cut" => {
            if (url === "/readyz" || url === "/health?full=1") {
                return next("ready");
            }
            if (method !== "POST" || url !== "/predict" || headers["content-type"] !== "application/json") {
                return 404;
            }
            return next(headers.authorization === "Bearer newest" ? "withKey" : "withoutKey");
        };
        server = createServer((request, response) => {
            let body = "";
            request.on("data", (chunk: Buffer) => (body += chunk.toString()));
            request.on("end", () => {
                asked.push(`${request.method ?? ""} ${request.url ?? ""} ${body}`.trim());
                const status = answer(request);
                if (status === "cut") request.socket.destroy();
                else response.writeHead(status).end("the answer");
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

    async function run(values: Values, job = "test"): Promise<{ status: number | null; output: string }> {
        const container = containerIn(
            only(renderObjects(merged(smallest, values)), "Job", `mf-demo-${job}`).spec?.template,
        );
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        const addresses: Record<string, [string, string]> = {
            test: ["http://mf-demo:80", url],
            verify: ["http://mf-demo:80 http://mf-demo-verify:80", `${url} ${url}`],
            candidate: ["http://127.0.0.1:8080", url],
        };
        const [asks = "", instead = ""] = addresses[job] ?? [];
        const here: Record<string, string> = {
            [`API_URL=${asks}`]: `API_URL=${instead}`,
            "API_KEYS_FILE=/var/run/ml-api/keys/keys": `API_KEYS_FILE=${join(folder, "keys")}`,
        };
        // As the kubelet reads it: $$ is $.
        const [command = "", ...args] = (container.command ?? []).map((word) =>
            (here[word] ?? word).replaceAll("$$", "$"),
        );
        expect(container.command, "the address").to.include(`API_URL=${asks}`);
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
        api.withoutKey = [200];
        const { status, output } = await run(sample);
        expect(status).to.equal(1);
        expect(output).to.contain("POST /predict without a key: expected 401, got 200");
    });

    it("fails with the API's own words when there is no prediction", async () => {
        api.withKey = [422];
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
        api.withoutKey = [200];
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

    it("asks the Service whether anybody is ready, and the new pods for the prediction", async () => {
        const { status, output } = await run(sample, "verify");
        expect(status, output).to.equal(0);
        expect(asked.map((one) => one.split(" {")[0])).to.deep.equal([
            "GET /readyz",
            "GET /readyz",
            "POST /predict",
            "POST /predict",
        ]);
        // Each line says when, so that one can tell for how long a version served.
        expect(output).to.match(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .*\n){4}$/);
    });

    it("asks a candidate beside it", async () => {
        const { status, output } = await run(
            { verify: { ...(sample["verify"] as Values), candidate: true } },
            "candidate",
        );
        expect(status, output).to.equal(0);
        expect(asked).to.have.lengthOf(3);
    });

    it("is patient with a Service that is late and with an API that is busy", async () => {
        api.ready = ["cut", 503, 200];
        api.withKey = [429, 200];
        const { status, output } = await run(sample, "verify");
        expect(status, output).to.equal(0);
        expect(asked.filter((one) => one.startsWith("GET"))).to.have.lengthOf(4);
        expect(asked.filter((one) => one.startsWith("POST"))).to.have.lengthOf(3);
    });

    for (const bad of [500, 503, "cut"] as const) {
        it(`takes ${bad} for a prediction as the answer, the first time`, async () => {
            api.withKey = [bad, 200];
            const { status, output } = await run(sample, "verify");
            expect(status, output).to.equal(1);
            expect(output).to.contain(`POST /predict: expected 200, got ${bad === "cut" ? "no answer" : bad}`);
        });
    }
});

describe("chart: the Jobs of a deploy", function () {
    this.timeout(20_000);

    const rendered = (values: Values = {}) => renderObjects(merged(smallest, values));
    const job = (name: string, values: Values = {}) => only(rendered(values), "Job", `mf-demo-${name}`);
    const candidate: Values = { verify: { candidate: true } };

    it("are hooks: one verifies installs and upgrades, the candidate comes before an upgrade, both stay when they fail", () => {
        const kept = { "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded" };
        const verify = job("verify").metadata.annotations;
        expect(verify).to.include({ "helm.sh/hook": "post-install,post-upgrade", "helm.sh/hook-weight": "0", ...kept });
        expect(job("candidate", candidate).metadata.annotations).to.include({ "helm.sh/hook": "pre-upgrade", ...kept });
        expect(job("verify").spec).to.deep.include({ backoffLimit: 0, activeDeadlineSeconds: 250 });
    });

    it("are there by default and on demand, and each can be turned off", () => {
        const names = (values: Values) =>
            rendered(values)
                .filter(({ metadata }) => metadata.annotations?.["helm.sh/hook"] !== undefined)
                .map(({ kind, metadata }) => `${kind}/${metadata.name}`);
        const test = "Job/mf-demo-test";
        expect(names({ verify: { onDeploy: false } })).to.have.members([test]);
        expect(names({})).to.have.members([test, "Job/mf-demo-verify", "Service/mf-demo-verify"]);
        expect(names({ verify: { candidate: true, onDeploy: false } })).to.have.members([
            test,
            "Job/mf-demo-candidate",
            "NetworkPolicy/mf-demo-candidate",
        ]);
    });

    it("ask the pods of this version only: those of an older one do not have its label", () => {
        const of = (values: Values) => {
            const { selector } = only(rendered(values), "Service", "mf-demo-verify").spec as unknown as {
                selector: Record<string, string>;
            };
            const labels = deploymentIn(rendered(values)).spec.template.metadata.labels;
            expect(labels).to.include(selector);
            expect(only(rendered(values), "Job", "mf-demo-test").spec?.template?.metadata.labels).not.to.include(
                selector,
            );
            return selector["ml-api/pod-version"];
        };
        const now = of({});
        expect(now).to.match(/^v[0-9a-f]{15}$/);
        for (const other of [
            { image: { tag: "1.4.3" } },
            { env: { A: "b" } },
            { apiKey: { generation: 2 } },
        ] as Values[]) {
            expect(of(other), JSON.stringify(other)).not.to.equal(now);
        }
        expect(of({ replicas: 3, service: { port: 81 } })).to.equal(now);
    });

    it("run a candidate as the API's pods are, but for what serving and draining need", () => {
        const values = merged(candidate, {
            gpu: { count: 1, rollout: "surge" },
            secrets: { TOKEN: { secret: "s", key: "k" } },
            network: { to: { models: { cidr: "203.0.113.0/24" } } },
            model: { download: { url: "https://models.example.org/a", file: "a", sha256: "0".repeat(64) } },
            merge: {
                pod: {
                    containers: [
                        {
                            name: "proxy",
                            image: "proxy:1",
                            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
                        },
                    ],
                },
            },
        });
        const {
            containers,
            initContainers = [],
            ...pod
        } = job("candidate", values).spec?.template?.spec ?? {
            containers: [],
        };
        const served = deploymentIn(rendered(values)).spec.template.spec;
        const { containers: api, initContainers: before = [], ...rest } = served;
        expect(pod).to.deep.equal({ ...rest, restartPolicy: "Never" });
        expect(containers.map(({ name }) => name)).to.deep.equal(["candidate"]);
        expect(initContainers.map(({ name }) => name)).to.deep.equal(["fetch-model", "proxy", "api"]);
        expect(initContainers[0]).to.deep.equal(before[0]);
        const { lifecycle, readinessProbe, livenessProbe, ...kept } = api[0] ?? { name: "none" };
        expect([lifecycle, readinessProbe, livenessProbe]).not.to.include(undefined);
        expect(initContainers[2]).to.deep.equal({ ...kept, restartPolicy: "Always" });
    });

    it("never wait for a card that a running pod holds", () => {
        const gpu = { gpu: { count: 1, rollout: "replace" } };
        expect(refusal(merged(smallest, merged(candidate, gpu)))).to.contain(
            "verify.candidate is true and gpu.rollout",
        );
    });
});
