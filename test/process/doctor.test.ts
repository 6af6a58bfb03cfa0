import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { type Check, checkTable } from "../../cli/doctor-checks";
import { imageChecks, WANTED_FILES } from "../../cli/doctor-image";
import { proposed, writeProposal } from "../../cli/doctor";
import { serverChecks, type Subject } from "../../cli/doctor-server";
import { findTarget } from "../../cli/doctor-target";
import { configOf, layOut, openImage, type OpenImage } from "../../local/image/unpack";
import { ProjectFolder } from "../unit/project-folder";

const KEY = "the-key";
const SAMPLE = '{"inputs":[1,2,3]}';
const MAX_BYTES = 1000;
const PLACES = 2;

/** How a server breaks the contract. */
interface Faults {
    readonly livePath?: string;
    readonly neverReady?: boolean;
    readonly noMetrics?: boolean;
    readonly closedProbes?: boolean;
    readonly noKey?: boolean;
    readonly anyKey?: boolean;
    readonly sampleFails?: boolean;
    readonly badInputCrashes?: boolean;
    readonly noLimit?: boolean;
    readonly headerOnlyLimit?: boolean;
    readonly noPlaces?: boolean;
}

/** A server that keeps the image contract, but for its faults. */
function serve(faults: Faults): Promise<{ url: string; close: () => void }> {
    let underWay = 0;
    const server = http.createServer((request, response) => {
        const end = (status: number, text = "{}"): void => void response.writeHead(status).end(text);
        const key = request.headers.authorization === `Bearer ${KEY}`;
        const path = request.url ?? "";
        if (path !== "/predict") {
            if (faults.closedProbes === true && !key) end(401);
            else if (path === (faults.livePath ?? "/livez")) end(200);
            else if (path === "/readyz") end(faults.neverReady === true ? 503 : 200);
            else if (path === "/metrics" && faults.noMetrics !== true) end(200, "# TYPE a counter\na 1\n");
            else end(404);
            return;
        }
        if (!key && faults.noKey !== true && !(faults.anyKey === true && request.headers.authorization !== undefined)) {
            end(401);
            return;
        }
        if (underWay >= PLACES && faults.noPlaces !== true) {
            end(429);
            return;
        }
        underWay++;
        response.on("close", () => underWay--);
        const said = Number(request.headers["content-length"] ?? 0);
        let body = "";
        let refused = faults.noLimit !== true && said > MAX_BYTES;
        if (refused) end(413);
        request.setEncoding("utf8").on("data", (text: string) => {
            body += text;
            if (refused || faults.noLimit === true || faults.headerOnlyLimit === true || body.length <= MAX_BYTES)
                return;
            refused = true;
            end(413);
        });
        request.on("end", () => {
            if (refused) return;
            if (body === SAMPLE) end(faults.sampleFails === true ? 500 : 200);
            else end(faults.badInputCrashes === true ? 500 : 422);
        });
    });
    return new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => {
            const { port } = server.address() as AddressInfo;
            const close = (): void => {
                server.closeAllConnections();
                server.close();
            };
            resolve({ url: `http://127.0.0.1:${port}`, close });
        });
    });
}

const PATHS = { live: "/livez", ready: "/readyz", predict: "/predict", metrics: "/metrics" };

async function checksOf(faults: Faults, over: Partial<Subject> = {}): Promise<Check[]> {
    const { url, close } = await serve(faults);
    const all = { paths: PATHS, key: KEY, sample: SAMPLE, maxRequestBytes: MAX_BYTES, maxConcurrentRequests: PLACES };
    return serverChecks({ address: { url }, ...all, ...over }).finally(close);
}
const named = (checks: readonly Check[], status: Check["status"]): string[] =>
    checks.filter((check) => check.status === status).map(({ name }) => name);

describe("ml-api doctor", () => {
    describe("asking a server", () => {
        it("finds nothing in one that keeps the contract", async () => {
            const checks = await checksOf({});
            expect(named(checks, "ok")).to.have.length(checks.length);
            expect(checks.map(({ name }) => name)).to.include.members(["413 in chunks", "429", "401 wrong key"]);
        });

        const cases: readonly (readonly [faults: Faults, failed: readonly string[]])[] = [
            [{ livePath: "/health" }, ["live path"]],
            [{ neverReady: true }, ["ready path"]],
            [{ noMetrics: true }, ["metrics path"]],
            [{ closedProbes: true }, ["live path", "ready path", "metrics path", "open paths"]],
            [{ noKey: true }, ["401 without key", "401 wrong key"]],
            [{ anyKey: true }, ["401 wrong key"]],
            [{ sampleFails: true }, ["predict path", "429"]],
            [{ badInputCrashes: true }, ["bad input"]],
            [{ noLimit: true }, ["413", "413 in chunks"]],
            [{ headerOnlyLimit: true }, ["413 in chunks"]],
            [{ noPlaces: true }, ["429"]],
        ];
        // At once: each waits for a moment with predictions under way.
        let found: Promise<readonly Check[]>[];
        before(() => {
            found = cases.map(([faults]) => checksOf(faults));
        });
        for (const [index, [faults, wanted]] of cases.entries()) {
            it(`finds ${JSON.stringify(faults)}`, async () => {
                expect(named((await found[index]) ?? [], "failed")).to.deep.equal(wanted);
            });
        }

        it("says what it did not check, and why", async () => {
            const known = await checksOf({}, { key: undefined, sample: undefined, maxConcurrentRequests: undefined });
            expect(named(known, "not checked")).to.deep.equal([
                "predict path",
                "bad input",
                "413",
                "413 in chunks",
                "429",
            ]);
            const [predict] = known.filter(({ name }) => name === "predict path");
            expect(predict?.says).to.equal("needs a key (--key-file) and --sample");
            const live = await checksOf({}, { maxConcurrentRequests: undefined });
            expect(live.at(-1)?.says).to.contain("it would take places from those whom it serves");
        });

        it("says at once that nobody is there", async () => {
            const { url, close } = await serve({});
            close();
            const all = {
                paths: PATHS,
                key: KEY,
                sample: SAMPLE,
                maxRequestBytes: MAX_BYTES,
                maxConcurrentRequests: PLACES,
            };
            const checks = await serverChecks({ address: { url }, ...all });
            expect(checks.map(({ name, status, says }) => [name, status, says])).to.deep.equal([
                ["reachable", "failed", "nobody answers (ECONNREFUSED)"],
            ]);
        });
    });

    describe("looking at an image", () => {
        const good = {
            architecture: "amd64",
            config: {
                User: "10001:10001",
                Entrypoint: ["/opt/venv/bin/python", "-m", "app"],
                Env: ["PATH=/usr/local/bin:/usr/bin", "HF_HOME=/tmp"],
                ExposedPorts: { "8080/tcp": {} },
            },
            history: [{ created_by: `/bin/sh -c #(nop) COPY dir:${"a1".repeat(32)} in /app` }],
        };
        const look = (
            change: Partial<typeof good.config> & {
                architecture?: string;
                history?: string;
                files?: string[];
                bytes?: number;
                reference?: string;
            } = {},
        ): string[] => {
            const {
                architecture = "amd64",
                history,
                files = [],
                bytes = 1e6,
                reference = "ghcr.io/a/b:1",
                ...config
            } = change;
            const made = history === undefined ? good.history : [{ created_by: history }];
            const image: OpenImage = {
                file: "",
                bytes,
                files: ["usr/bin/python3", ...files],
                layers: ["a"],
                config: configOf({ architecture, config: { ...good.config, ...config }, history: made }),
            };
            return named(imageChecks(reference, image), "failed");
        };

        it("finds nothing in one that keeps the contract, nor in a shell that hands over", () => {
            expect(look()).to.deep.equal([]);
            expect(look({ Entrypoint: ["sh", "-c", "umask 77; exec python -m app"] })).to.deep.equal([]);
        });

        const cases: readonly (readonly [change: Parameters<typeof look>[0], failed: string])[] = [
            [{ User: "" }, "user"],
            [{ User: "0:0" }, "user"],
            [{ User: "root" }, "user"],
            [{ User: "app" }, "user"],
            [{ Entrypoint: ["/bin/sh", "-c", "python -m app"] }, "signals"],
            [{ Entrypoint: [] }, "signals"],
            [{ architecture: "s390x" }, "architecture"],
            [{ bytes: 3e9 }, "size"],
            [{ Env: ["PATH=/opt/bin"] }, "python3"],
            [{ Env: ["PATH=/usr/bin", "AWS_SECRET_ACCESS_KEY=abcdefghijklmnop"] }, "secrets"],
            [{ history: "RUN pip install --index-url https://user:pa55word@pypi.example.org/simple x" }, "secrets"],
            [{ files: ["root/.netrc"] }, "secret files"],
            [{ files: ["app/.env"] }, "secret files"],
            [{ reference: "ghcr.io/a/b:latest" }, "version"],
            [{ reference: "ghcr.io/a/b" }, "version"],
        ];
        for (const [change, wanted] of cases) {
            it(`finds ${JSON.stringify(change)}`, () => {
                expect(look(change)).to.deep.equal([wanted]);
            });
        }

        it("never shows the secret that it found", () => {
            const config = configOf({ ...good, config: { ...good.config, Env: ["API_TOKEN=hunter2hunter2"] } });
            const image = { file: "", bytes: 1, files: [], layers: [], config };
            expect(checkTable(imageChecks("a/b:1", image)))
                .to.contain("ENV API_TOKEN")
                .and.not.to.contain("hunter2");
        });
    });

    describe("an image's file", () => {
        let folder: string;
        beforeEach(() => {
            folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-image-"));
        });
        afterEach(() => {
            fs.rmSync(folder, { recursive: true, force: true });
        });
        /** An image of layers, each a map of file → text; the second one is packed. */
        const image = (...layers: Record<string, string>[]): string => {
            const names = layers.map((files, index) => {
                const place = path.join(folder, `layer-${index}`);
                for (const [file, text] of Object.entries(files)) {
                    fs.mkdirSync(path.dirname(path.join(place, file)), { recursive: true });
                    fs.writeFileSync(path.join(place, file), text);
                }
                const name = `${index}.tar${index === 1 ? ".gz" : ""}`;
                execFileSync("tar", ["-C", place, index === 1 ? "-czf" : "-cf", path.join(folder, name), "."]);
                return name;
            });
            fs.writeFileSync(path.join(folder, "c.json"), JSON.stringify({ architecture: "amd64", config: {} }));
            const manifest = [{ Config: "c.json", Layers: names }];
            fs.writeFileSync(path.join(folder, "manifest.json"), JSON.stringify(manifest));
            execFileSync("tar", [
                "-C",
                folder,
                "-cf",
                path.join(folder, "image.tar"),
                "manifest.json",
                "c.json",
                ...names,
            ]);
            return path.join(folder, "image.tar");
        };

        it("shows a secret that a later layer removed, and lays out what is left", async () => {
            const file = image(
                { "root/.netrc": "x", "app/old.py": "1", "data/a": "1", "usr/bin/python3": "" },
                {
                    "root/.wh..netrc": "",
                    "app/.wh.old.py": "",
                    "app/new.py": "2",
                    "data/.wh..wh..opq": "",
                    "data/b": "2",
                },
            );
            const open = await openImage(file, WANTED_FILES);
            expect(open.files).to.deep.equal(["root/.netrc", "usr/bin/python3"]);
            const root = path.join(folder, "root");
            fs.mkdirSync(root);
            await layOut(open, root);
            const files = fs
                .readdirSync(root, { recursive: true, withFileTypes: true })
                .filter((entry) => entry.isFile());
            const left = files.map((entry) => path.relative(root, path.join(entry.parentPath, entry.name))).sort();
            expect(left).to.deep.equal(["app/new.py", "data/b", "usr/bin/python3"]);
        });

        it("is told from another file", async () => {
            fs.writeFileSync(path.join(folder, "a.tar"), "no archive");
            const error: unknown = await openImage(path.join(folder, "a.tar"), ".").catch((reason: unknown) => reason);
            expect((error as Error).message).to.contain("is no image: it has no manifest.json");
        });
    });

    it("proposes what was measured, and the paths that are not the chart's", () => {
        const measured = { readySeconds: 21.3, peakBytes: 200 << 20 };
        expect(proposed(measured, { ...PATHS, live: "/health" })).to.deep.equal({
            resources: { requests: { memory: "320Mi" } },
            model: { loadBudgetSeconds: 90 },
            api: { paths: { live: "/health" } },
        });
        expect(proposed({ readySeconds: 0.5, peakBytes: 1 << 20 }, PATHS)).to.deep.equal({
            resources: { requests: { memory: "64Mi" } },
            model: { loadBudgetSeconds: 30 },
        });
        expect(proposed(undefined, PATHS, 5000)).to.deep.equal({ api: { port: 5000 } });
        expect(proposed(undefined, PATHS)).to.deep.equal({});
    });

    it("writes the size for one stack, and what environments have to agree in for all of the API", () => {
        const project = new ProjectFolder();
        try {
            for (const name of ["dev", "staging"]) project.addStack(name, "replicas: 1 # one\n");
            project.write(
                "Pulumi.other.yaml",
                "config:\n  ml-api:environment: dev\n  ml-api:name: other\n  ml-api:valuesDir: apis/other\n",
            );
            project.write("apis/other/values-dev.yaml", "environment: dev\n");
            const values = { resources: { requests: { memory: "320Mi" } }, model: { loadBudgetSeconds: 60 } };
            const files = ["dev", "staging"].map((name) => `chart/environment/${name}/values-${name}.yaml`);
            expect(writeProposal(project.root, "dev", values)).to.deep.equal(files);
            const [dev, staging] = files.map((file) => parse(project.read(file)) as object);
            expect(dev).to.deep.equal({ environment: "dev", replicas: 1, ...values });
            expect(staging).to.deep.equal({ environment: "staging", replicas: 1, model: values.model });
            expect(project.read(files[0] ?? "")).to.contain("replicas: 1 # one\n");
            expect(writeProposal(project.root, "dev", values)).to.deep.equal([]);
        } finally {
            project.remove();
        }
    });

    it("takes a URL, a stack or an image", () => {
        const root = path.join(__dirname, "..", "..");
        expect(findTarget(root, "http://127.0.0.1:1")).to.deep.equal({ kind: "url", url: "http://127.0.0.1:1" });
        const stack = findTarget(root, "staging");
        expect(stack.kind === "image" && stack.reference).to.match(/^localhost\/mf-demo:[0-9a-f]{16}$/);
        expect(findTarget(root, "ghcr.io/a/b:1")).to.include({ kind: "image", reference: "ghcr.io/a/b:1" });
    });
});
