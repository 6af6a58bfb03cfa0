import { expect } from "chai";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { deploymentIn, environmentOf, merged, renderObjects, smallest } from "./helm";
import { cutsAtHalf, gives, inTurn, type ModelServer, serveModels, status, waitsAtHalf } from "./model-server";

interface Ended {
    readonly code: number | null;
    readonly output: string;
    /** What Kubernetes would show as the container's last message. */
    readonly word: string;
    readonly seconds: number;
}

const sha256 = (content: Buffer): string => createHash("sha256").update(content).digest("hex");
const model = randomBytes(400_000);
const pin = sha256(model);
const card = ".ml-api.json";

/** The init container's script, run here as its pod runs it, against a server on this machine's loopback. */
describe("chart: the fetch of a model", function () {
    this.timeout(30_000);
    let command: string[];
    let variables: Record<string, string>;
    let server: ModelServer;
    let folder: string;
    let root: string;
    let running: ChildProcess[];

    before(async () => {
        const download = { url: "https://models.example.org/model.onnx", file: "model.onnx", sha256: pin };
        const values = merged(smallest, { model: { download }, network: { to: { models: { cidr: "192.0.2.0/24" } } } });
        const container = deploymentIn(renderObjects(values)).spec.template.spec.initContainers?.[0];
        if (container?.command === undefined) throw new Error("no init container is rendered");
        command = container.command;
        variables = environmentOf(container);
        server = await serveModels();
    });
    after(() => server.close());

    beforeEach(() => {
        folder = fs.mkdtempSync(join(tmpdir(), "ml-api-model-"));
        root = join(folder, "models");
        fs.mkdirSync(root);
        fs.writeFileSync(join(folder, "ca.crt"), server.cert);
        Object.assign(server, { sent: 0, behaviour: gives(model) });
        server.asked.length = 0;
        running = [];
    });
    afterEach(() => {
        for (const child of running) child.kill("SIGKILL");
        fs.rmSync(folder, { recursive: true, force: true });
    });

    /** Variables of the container as rendered, but for the place and whatever the test changes. */
    function start(changed: Record<string, string | undefined> = {}): { child: ChildProcess; ended: Promise<Ended> } {
        const own: Record<string, string | undefined> = {
            MODEL_ROOT: root,
            MODEL_URL: `${server.url}/model.onnx`,
            MODEL_FETCH_BUDGET_SECONDS: "20",
            ...changed,
        };
        const optional = ["MODEL_URL_FILE", "SSL_CERT_FILE", "HTTPS_PROXY"];
        const unknown = Object.keys(own).filter((name) => !(name in variables) && !optional.includes(name));
        expect(unknown, "variables that no pod has").to.deep.equal([]);
        const log = join(folder, `message-${running.length}`);
        fs.writeFileSync(log, "");
        const [program = "", ...args] = command;
        const began = performance.now();
        const child = spawn(program, args, {
            env: {
                PATH: process.env.PATH,
                ...variables,
                POD_UID: "pod-1",
                SSL_CERT_FILE: join(folder, "ca.crt"),
                TERMINATION_LOG: log,
                ...own,
            },
        });
        running.push(child);
        let output = "";
        child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
        child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
        const ended = new Promise<Ended>((resolve, reject) => {
            child.on("error", reject);
            child.on("close", (code) => {
                const seconds = (performance.now() - began) / 1000;
                resolve({ code, output, word: fs.readFileSync(log, "utf8"), seconds });
            });
        });
        return { child, ended };
    }
    const run = (changed: Record<string, string | undefined> = {}): Promise<Ended> => start(changed).ended;

    const succeeded = (ended: Ended): Ended => {
        expect(ended.code, ended.output).to.equal(0);
        return ended;
    };
    /** Failed, said why in both places, and left nothing that a pod could serve. */
    const failed = (ended: Ended, ...says: readonly string[]): Ended => {
        expect(ended.code, ended.output).to.equal(1);
        for (const part of says) expect(ended.word).to.contain(part);
        expect(ended.output).to.contain(`NOT READY: ${ended.word}`).and.not.to.contain("Traceback");
        expect(fs.readdirSync(root)).to.deep.equal([]);
        return ended;
    };
    const entry = (name = pin): string => join(root, name);
    const fetched = (): Buffer => fs.readFileSync(join(entry(), "model.onnx"));
    /** The folder of the fetch that runs, once `bytes` of the model are in it. */
    const work = async (bytes = 0): Promise<string> => {
        for (;;) {
            const [found] = fs.readdirSync(root).filter((name) => name.startsWith(".fetch-"));
            const file = join(root, found ?? "", "entry", "model.onnx");
            if (found !== undefined && fs.existsSync(file) && fs.statSync(file).size >= bytes) return found;
            await sleep(20);
        }
    };

    it("needs Python 3.9 and its own library, no more", () => {
        const check = `
import ast, sys
tree = ast.parse(sys.stdin.read(), feature_version=(3, 9))
names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
print(*[name for name in names if name.split(".")[0] not in sys.stdlib_module_names])`;
        for (const name of ["fetch_model.py", "ask.py"]) {
            const input = fs.readFileSync(join(__dirname, "../../chart/files", name));
            const { stdout, stderr } = spawnSync("python3", ["-c", check], { input, encoding: "utf8" });
            expect(stdout + stderr, name).to.equal("\n");
        }
    });

    it("puts the model below its checksum, and tells so", async () => {
        const { output, word } = succeeded(await run());
        expect(fetched().equals(model)).to.equal(true);
        expect(fs.readdirSync(root)).to.deep.equal([pin]);
        expect(word).to.contain("0.4 MB fetched from 127.0.0.1/model.onnx").and.to.contain(pin);
        expect(output).to.contain(word);
        expect(fs.statSync(join(entry(), "model.onnx")).mode & 0o444, "readable by everybody").to.equal(0o444);
    });

    it("fetches nothing when the cache has it, but reads it again", async () => {
        succeeded(await run());
        server.asked.length = 0;
        const { word } = succeeded(await run({ POD_UID: "pod-2" }));
        expect(server.asked).to.deep.equal([]);
        expect(word).to.equal("found in the cache, checked (0.4 MB), 0 bytes fetched");
    });

    it("refuses a download with one wrong byte", async () => {
        const damaged = Buffer.from(model);
        damaged[model.length / 2] = (damaged[model.length / 2] ?? 0) ^ 1;
        server.behaviour = gives(damaged);
        failed(await run(), `expected sha256 ${pin}`, `got ${sha256(damaged)}`, "(400000 bytes)", "damaged on the way");
    });

    for (const [what, damage] of Object.entries({
        "a wrong byte": () => {
            const content = fetched();
            content[7] = (content[7] ?? 0) ^ 1;
            fs.writeFileSync(join(entry(), "model.onnx"), content);
        },
        "half a file": () => {
            fs.truncateSync(join(entry(), "model.onnx"), model.length / 2);
        },
        "a missing file": () => {
            fs.rmSync(join(entry(), "model.onnx"));
        },
        "a file too many": () => {
            fs.writeFileSync(join(entry(), "other.onnx"), "");
        },
        "a link instead of the file": () => {
            fs.renameSync(join(entry(), "model.onnx"), join(folder, "elsewhere"));
            fs.symlinkSync(join(folder, "elsewhere"), join(entry(), "model.onnx"));
        },
        "no card": () => {
            fs.rmSync(join(entry(), card));
        },
        "a card that tells another checksum": () => {
            fs.writeFileSync(join(entry(), "model.onnx"), "other");
            const files = { "model.onnx": sha256(Buffer.from("other")) };
            fs.writeFileSync(join(entry(), card), JSON.stringify({ file: "model.onnx", files }));
        },
    })) {
        it(`removes a cached model with ${what}, and the next start fetches it again`, async () => {
            succeeded(await run());
            damage();
            failed(await run(), "in the cache is damaged and was removed", "The next start fetches it again");
            expect(server.asked).to.have.lengthOf(1);
            succeeded(await run());
            expect(fetched().equals(model)).to.equal(true);
        });
    }

    it("starts anew after it was killed half-way, and never has half a model under the model's name", async () => {
        server.behaviour = inTurn(waitsAtHalf(model, new Promise(() => undefined)), gives(model));
        const { child, ended } = start();
        const left = await work(model.length / 2 - 65_536);
        child.kill("SIGKILL");
        await ended;
        expect(fs.readdirSync(root)).to.deep.equal([left]);
        const { output } = succeeded(await run());
        expect(output).to.contain(`removing ${left}, left by a fetch that was cut short`);
        expect(fs.readdirSync(root)).to.deep.equal([pin]);
        expect(fetched().equals(model)).to.equal(true);
    });

    it("removes what it has when it is told to stop", async () => {
        server.behaviour = waitsAtHalf(model, new Promise(() => undefined));
        const { child, ended } = start();
        await work(1);
        child.kill("SIGTERM");
        const { code, seconds } = await ended;
        expect(code).to.equal(143);
        expect(seconds).to.be.below(10);
        expect(fs.readdirSync(root)).to.deep.equal([]);
    });

    it("leaves the folders of other pods' fetches alone until their time is over", async () => {
        const now = Math.floor(Date.now() / 1000);
        const [alive, justOver, dead, own] = [
            `.fetch-pod-2-${now + 100}`,
            `.fetch-pod-2-${now - 30}`,
            `.fetch-pod-2-${now - 90}`,
            `.fetch-pod-1-${now + 100}`,
        ];
        for (const name of [alive, justOver, dead, own]) fs.mkdirSync(join(root, name));
        succeeded(await run());
        expect(fs.readdirSync(root).sort()).to.deep.equal([alive, justOver, pin].sort());
    });

    it("lets two pods fetch into one cache at once: both have the model, and it is there once", async () => {
        let go = (): void => undefined;
        server.behaviour = waitsAtHalf(
            model,
            new Promise<void>((resolve) => {
                go = resolve;
            }),
        );
        const pods = ["pod-1", "pod-2"].map((POD_UID) => run({ POD_UID }));
        while (server.asked.length < 2) await sleep(20);
        go();
        const words = (await Promise.all(pods)).map((ended) => succeeded(ended).word);
        expect(fs.readdirSync(root)).to.deep.equal([pin]);
        expect(fetched().equals(model)).to.equal(true);
        expect(words.join("\n")).to.contain("fetched from 127.0.0.1/model.onnx");
    });

    it("stops fetching when another pod has brought the model meanwhile", async () => {
        server.behaviour = async (_, response, send) => {
            response.writeHead(200, { "content-length": String(model.length) });
            for (let at = 0; at < model.length && !response.destroyed; at += 4000) {
                send(model.subarray(at, at + 4000));
                await sleep(150);
            }
            response.end();
        };
        const { ended } = start({ POD_UID: "pod-2" });
        await work(1);
        server.behaviour = gives(model);
        succeeded(await run());
        const { word, output } = succeeded(await ended);
        expect(word).to.equal("fetched by another pod meanwhile, checked (0.4 MB), 0 bytes fetched");
        expect(output).to.match(/fetched 0\.\d MB of 0\.4 MB \(\d+ %\), 0\.0 MB\/s/);
    });

    it("does not take a model that the cache holds in another shape, and leaves it there", async () => {
        succeeded(await run());
        const { code, word } = await run({ MODEL_FILE: "other.onnx" });
        expect(code).to.equal(1);
        expect(word).to.contain("as file 'model.onnx'").and.to.contain("as file 'other.onnx'");
        expect(word).to.contain("the same model.download.file");
        expect(fetched().equals(model)).to.equal(true);
    });

    it("goes on where a cut connection ended, when the server can", async () => {
        server.behaviour = cutsAtHalf(model, { etag: '"1"', times: 2 });
        const { output } = succeeded(await run());
        expect(server.asked.map(({ range }) => range?.replace(/\d+/, "N"))).to.deep.equal([
            undefined,
            "bytes=N-",
            "bytes=N-",
        ]);
        expect(server.sent).to.equal(model.length);
        expect(output).to.match(/closed the connection after 0\.2 MB of 0\.4 MB \(50 %\); trying again in \d s/);
        expect(fetched().equals(model)).to.equal(true);
    });

    it("starts at the beginning where the server cannot, or has another file now", async () => {
        server.behaviour = cutsAtHalf(model, { times: 1 });
        succeeded(await run());
        expect(server.sent).to.equal(model.length * 1.5);

        fs.rmSync(entry(), { recursive: true });
        server.behaviour = inTurn(
            cutsAtHalf(randomBytes(300_000), { etag: '"1"', times: 1 }),
            gives(model, { etag: '"2"' }),
        );
        succeeded(await run());
        expect(fetched().equals(model)).to.equal(true);
    });

    it("tries again while the server has trouble, and waits as long as it asks", async () => {
        server.behaviour = inTurn(status(429, { "retry-after": "2" }), status(500), status(503), gives(model));
        const { output, seconds } = succeeded(await run());
        expect(output).to.contain("answered 500 Internal Server Error; trying again in");
        expect(output).to.contain("answered 429 Too Many Requests; trying again in 2 s");
        expect(seconds).to.be.above(2);
        expect(server.asked).to.have.lengthOf(4);
    });

    for (const [code, hint] of [
        [403, "a presigned URL that has expired"],
        [404, "there is no such file"],
        [410, "there is no such file"],
        [400, "expected 200"],
        [204, "expected 200"],
        [304, "expected 200"],
    ] as const) {
        it(`gives up at once when the answer is ${code}`, async () => {
            server.behaviour = status(code);
            failed(await run(), `127.0.0.1/model.onnx answered ${code}`, hint);
            expect(server.asked).to.have.lengthOf(1);
        });
    }

    it("has an end: nothing comes, or too slowly, and its budget is over", async () => {
        const drips: typeof server.behaviour = async (_, response, send) => {
            response.writeHead(200, { "content-length": String(model.length) });
            while (!response.destroyed) {
                send(Buffer.of(1));
                await sleep(50);
            }
        };
        for (const behaviour of [drips, () => new Promise<void>(() => undefined), status(502)]) {
            server.behaviour = behaviour;
            const ended = await run({ MODEL_FETCH_BUDGET_SECONDS: "2" });
            failed(ended, "not there within model.download.fetchBudgetSeconds (2 s)", "network.to");
            expect(ended.seconds).to.be.within(2, 4);
            if (behaviour === drips) expect(ended.word).to.contain("of 0.4 MB (0 %)");
        }
        const ended = await run({ MODEL_FETCH_BUDGET_SECONDS: "2" });
        expect(ended.word).to.contain("last trouble: 127.0.0.1/model.onnx answered 502 Bad Gateway");
    });

    it("says who refused the connection", async () => {
        const other = await serveModels();
        await other.close();
        const ended = await run({ MODEL_URL: `${other.url}/model.onnx`, MODEL_FETCH_BUDGET_SECONDS: "1" });
        failed(ended, "last trouble: 127.0.0.1: Connection refused");
    });

    it("stops when more comes than the model may take", async () => {
        failed(await run({ MODEL_SIZE_BYTES: "399999" }), "gives 0.4 MB", "model.download.size allows 0.4 MB");
        server.behaviour = async (_, response, send) => {
            response.writeHead(200);
            while (!response.destroyed) {
                send(randomBytes(100_000));
                await sleep(5);
            }
        };
        failed(await run({ MODEL_SIZE_BYTES: "1000000" }), "gives more than 1.0 MB");
        expect(server.sent).to.be.below(20_000_000);
        // The server closes in its own time; what is past the announced end is not looked at.
        server.behaviour = (_, response, send) => {
            response.socket?.write(`HTTP/1.1 200 OK\r\ncontent-length: ${model.length}\r\n\r\n`);
            response.socket?.write(Buffer.concat([model, Buffer.from("and more")]));
            send(Buffer.alloc(0));
        };
        succeeded(await run());
    });

    it("fetches over https and in no other way", async () => {
        failed(await run({ MODEL_URL: server.url.replace("https", "http") }), "does not start with https://");
        server.behaviour = status(302, { location: `http://127.0.0.1/secret-path` });
        const { output } = failed(await run(), "127.0.0.1 answered 302, a redirect to http://", "only https://");
        expect(output).not.to.contain("secret-path");
        for (const location of ["file:///etc/passwd", "ftp://127.0.0.1/model"]) {
            server.behaviour = status(302, { location });
            failed(await run(), "answered 302");
        }
        server.behaviour = inTurn(status(302, { location: "/moved" }), gives(model));
        succeeded(await run());
        expect(server.asked.at(-1)?.path).to.equal("/moved");
        fs.rmSync(entry(), { recursive: true });
        server.behaviour = (request, response) => {
            response.writeHead(302, { location: `${request.url ?? ""}x` }).end();
        };
        failed(await run(), "answered 302 Found: expected 200");
    });

    it("talks to nobody whose certificate it does not trust", async () => {
        const ended = await run({ SSL_CERT_FILE: undefined });
        failed(ended, "127.0.0.1 has no certificate that this image trusts", "secrets.SSL_CERT");
        expect(server.asked).to.deep.equal([]);
    });

    it("goes through the proxy that the API's variables name, and trusts it with nothing", async () => {
        const asked: string[] = [];
        const proxy = createServer().on("connect", (request: IncomingMessage, client: Duplex) => {
            asked.push(request.url ?? "");
            const tunnel = connect(Number(request.url?.split(":")[1]), "127.0.0.1", () => {
                client.write("HTTP/1.1 200 OK\r\n\r\n");
                tunnel.pipe(client).pipe(tunnel);
            });
            for (const end of [client, tunnel]) end.on("error", () => undefined);
        });
        proxy.listen(0, "127.0.0.1");
        await once(proxy, "listening");
        const { port } = proxy.address() as AddressInfo;
        try {
            succeeded(await run({ HTTPS_PROXY: `http://127.0.0.1:${port}` }));
            expect(asked).to.deep.equal([new URL(server.url).host]);
            expect(fetched().equals(model)).to.equal(true);
        } finally {
            proxy.close();
        }
    });

    it("prints nothing of a secret URL but the host", async () => {
        const file = join(folder, "url");
        const words = ["bucket-7", "X-Amz-Signature", "5ecre7"];
        const secret = { MODEL_URL_FILE: file, MODEL_FETCH_BUDGET_SECONDS: "1" };
        const tell = async (url: string, code: number): Promise<Ended> => {
            fs.writeFileSync(file, url);
            const ended = await run(secret);
            expect(ended.code, ended.output).to.equal(code);
            for (const word of words) expect(ended.output + ended.word).not.to.contain(word);
            return ended;
        };
        const url = `${server.url}/bucket-7/model.onnx?X-Amz-Signature=5ecre7`;
        expect((await tell(`${url}\n`, 0)).word).to.contain("fetched from 127.0.0.1,");
        expect(server.asked[0]?.path).to.equal("/bucket-7/model.onnx?X-Amz-Signature=5ecre7");
        fs.rmSync(entry(), { recursive: true });
        for (const code of [403, 500]) {
            server.behaviour = status(code);
            await tell(url, 1);
        }
        server.behaviour = cutsAtHalf(model, { times: 9 });
        await tell(url, 1);
        server.behaviour = status(302, { location: url.replace("https", "http") });
        await tell(url, 1);
        for (const malformed of [
            url.replace("/bucket", ":x/bucket"),
            url.replace("bucket", "buck et"),
            url.replace("bucket", "bücket"),
            url.replace("127.0.0.1", "[127"),
            url.replace("127.0.0.1", `${"a".repeat(70)}.example.org`),
            url.replace("https", "http"),
            url.replace(/127[^/]*/, ""),
            "",
        ]) {
            expect((await tell(malformed, 1)).word, malformed).to.contain(
                "the URL in the Secret of model.download.urlSecret",
            );
        }
        fs.rmSync(file);
        expect((await run(secret)).word).to.contain("no readable entry `url`");
    });

    describe("without a checksum", () => {
        const unpinned = { MODEL_SHA256: "" };

        it("takes what comes, each time, and leaves a link to it", async () => {
            for (const content of [model, randomBytes(1000), model]) {
                server.behaviour = gives(content);
                succeeded(await run(unpinned));
                expect(fs.readlinkSync(join(root, "latest"))).to.equal(sha256(content));
                expect(fs.readFileSync(join(root, "latest", "model.onnx")).equals(content)).to.equal(true);
            }
            expect(server.asked).to.have.lengthOf(3);
        });

        it("does not take a part for the whole", async () => {
            server.behaviour = cutsAtHalf(model, { times: 9 });
            failed(await run({ ...unpinned, MODEL_FETCH_BUDGET_SECONDS: "2" }), "fetched 0.2 MB of 0.4 MB (50 %)");
            server.behaviour = (_, response, send) => {
                response.useChunkedEncodingByDefault = false;
                response.writeHead(200, { connection: "close" });
                send(model.subarray(0, 1000));
                response.end();
            };
            failed(await run(unpinned), "does not say how much will come");
        });
    });

    describe("that is an archive", () => {
        const unpacking = (archive: Buffer): Record<string, string> => {
            server.behaviour = gives(archive);
            return { MODEL_FILE: "", MODEL_SHA256: sha256(archive) };
        };
        const files = [
            { name: "./", type: "folder" },
            { name: "./model.json", text: "{}" },
            { name: "weights/", type: "folder" },
            { name: "weights/0.bin", text: "x".repeat(5000) },
        ] as const;

        for (const [kind, archive] of [
            ["a .tar", tar(files)],
            ["a .tar.gz", gzipSync(tar(files))],
        ] as const) {
            it(`is unpacked: ${kind}`, async () => {
                const changed = unpacking(archive);
                succeeded(await run(changed));
                const place = entry(changed.MODEL_SHA256);
                expect(fs.readdirSync(root)).to.deep.equal([changed.MODEL_SHA256]);
                expect(fs.readdirSync(place).sort()).to.deep.equal([card, "model.json", "weights"]);
                expect(fs.readFileSync(join(place, "weights/0.bin"), "utf8")).to.equal("x".repeat(5000));
                const { word } = succeeded(await run(changed));
                expect(word).to.contain("found in the cache, checked");
                expect(server.asked).to.have.lengthOf(1);

                fs.appendFileSync(join(place, "weights/0.bin"), "x");
                failed(await run(changed), "'weights/0.bin': expected sha256", "was removed");
            });
        }

        it("is what docs/image-contract.md says how to pack", async () => {
            const page = fs.readFileSync(join(__dirname, "../../docs/image-contract.md"), "utf8");
            const typed = /^```sh[^\n]*\n([^`]*sha256sum [^`]*)^```/m.exec(page)?.[1];
            const place = join(folder, "typed");
            fs.mkdirSync(join(place, "model"), { recursive: true });
            fs.writeFileSync(join(place, "model", "weights.bin"), model);
            fs.linkSync(join(place, "model", "weights.bin"), join(place, "model", "same.bin"));
            fs.symlinkSync("weights.bin", join(place, "model", "link.bin"));
            const { stdout, stderr } = spawnSync("sh", ["-euc", typed ?? "false"], { cwd: place, encoding: "utf8" });
            const changed = unpacking(fs.readFileSync(join(place, "model.tar.gz")));
            expect(stdout, stderr).to.contain(changed.MODEL_SHA256);
            succeeded(await run(changed));
            expect(fs.readdirSync(entry(changed.MODEL_SHA256)).sort()).to.deep.equal([
                card,
                "link.bin",
                "same.bin",
                "weights.bin",
            ]);
        });

        for (const [what, members, says] of [
            ["a name above its folder", [{ name: "../escaped", text: "x" }], "'../escaped'"],
            ["a name above its folder, hidden", [{ name: "a/../../escaped", text: "x" }], "'a/../../escaped'"],
            ["an absolute name", [{ name: join(tmpdir(), "ml-api-escaped"), text: "x" }], "inside the archive's own"],
            ["a link", [{ name: "a", link: "/etc/passwd", type: "link" }], "a link or a device"],
            ["a hard link", [{ name: "a", link: "../../ca.crt", type: "hard link" }], "--hard-dereference"],
            ["a device", [{ name: "null", type: "device" }], "a link or a device"],
            ["a pipe", [{ name: "pipe", type: "pipe" }], "a link or a device"],
            [
                "a folder that is a link out of it",
                [
                    { name: "a", link: "../..", type: "link" },
                    { name: "a/escaped", text: "x" },
                ],
                "a link or a device",
            ],
            [
                "one name twice",
                [
                    { name: "a", text: "x" },
                    { name: "./a", text: "y" },
                ],
                "holds 'a' twice",
            ],
            [
                "a file that is a folder, too",
                [
                    { name: "a", text: "x" },
                    { name: "a/b", text: "y" },
                ],
                "holds 'a/b' twice",
            ],
            ["the name of the cache's own card", [{ name: `./${card}`, text: "{}" }], card],
            ["no file", [{ name: "./", type: "folder" }], "holds no file"],
        ] as const) {
            it(`is refused with ${what}`, async () => {
                failed(await run(unpacking(tar(members))), says);
                expect(fs.readdirSync(folder).sort()).to.deep.equal(["ca.crt", "message-0", "models"]);
                expect(fs.existsSync(join(tmpdir(), "ml-api-escaped"))).to.equal(false);
            });
        }

        it("is refused when it is none, or only the beginning of one", async () => {
            failed(await run(unpacking(model)), "no readable .tar or .tar.gz", "set model.download.file");
            failed(await run(unpacking(gzipSync(tar(files)).subarray(0, 60))), "no readable .tar or .tar.gz");
            failed(await run(unpacking(tar(files).subarray(0, 4000))), "no readable .tar or .tar.gz");
        });

        it("is refused when more comes out of it than the model may take, in bytes or in files", async () => {
            const bomb = gzipSync(tar([{ name: "zeros", text: "\0".repeat(20_000_000) }]));
            expect(bomb.length).to.be.below(100_000);
            const says = "unpacks to more than model.download.size (1.0 MB)";
            failed(await run({ ...unpacking(bomb), MODEL_SIZE_BYTES: "1000000" }), says);
            const many = gzipSync(tar(Array.from({ length: 300 }, (_, index) => ({ name: `${index}`, text: "" }))));
            failed(await run({ ...unpacking(many), MODEL_SIZE_BYTES: "1000000" }), says);
        });
    });
});

interface Member {
    readonly name: string;
    readonly text?: string;
    readonly link?: string;
    readonly type?: "folder" | "link" | "hard link" | "device" | "pipe";
}

/** An archive with these members, of which `tar` itself would not write some. */
function tar(members: readonly Member[]): Buffer {
    const types = { "hard link": "1", link: "2", device: "3", folder: "5", pipe: "6" };
    const blocks = members.flatMap(({ name, text = "", link = "", type }) => {
        const header = Buffer.alloc(512);
        const field = (at: number, value: string): void => {
            header.write(value, at, "latin1");
        };
        const number = (at: number, length: number, value: number): void => {
            field(at, value.toString(8).padStart(length - 1, "0"));
        };
        field(0, name);
        number(100, 8, 0o644);
        number(124, 12, text.length);
        field(148, " ".repeat(8));
        field(156, type === undefined ? "0" : types[type]);
        field(157, link);
        field(257, "ustar\x0000");
        number(
            148,
            7,
            header.reduce((sum, byte) => sum + byte, 0),
        );
        header[154] = 0;
        const content = Buffer.alloc(Math.ceil(text.length / 512) * 512);
        content.write(text, "latin1");
        return [header, content];
    });
    return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
