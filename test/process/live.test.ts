import { createServer as createSecureServer, type Server as SecureServer } from "node:https";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { createServer as createPlainServer, type RequestListener } from "node:http";
import { expect } from "chai";
import { digestOf } from "../../components/guarded-release/render/digest";
import { askLive, type Live } from "../../components/guarded-release/live/live";
import {
    decodeRecord,
    newRecord,
    type RecordSecret,
    recordsIn,
    withStatus,
} from "../../components/guarded-release/live/record";
import { isOurs } from "../../components/guarded-release/recover/repair";
import { loopbackIdentity } from "../unit/certificate";
import { MANIFEST, recordSecret, secretList } from "../unit/helm-records";
import { type Scratch, scratch } from "../unit/local-fakes";

describe("the live side of a release", () => {
    const authority = loopbackIdentity();
    let place: Scratch;
    let servers: (Server | SecureServer)[];
    let sockets: Set<Socket>;
    beforeEach(() => {
        place = scratch();
        servers = [];
        sockets = new Set();
    });
    afterEach(async () => {
        for (const socket of sockets) socket.destroy();
        await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
        place.remove();
    });

    async function listening(server: Server | SecureServer): Promise<number> {
        servers.push(server);
        server.on("connection", (socket: Socket) => sockets.add(socket));
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        return (server.address() as AddressInfo).port;
    }

    async function api(answer: RequestListener): Promise<string> {
        const options = {
            cert: authority.certificate,
            key: authority.key,
            ca: authority.certificate,
            requestCert: true,
            rejectUnauthorized: false,
        };
        return `https://127.0.0.1:${await listening(createSecureServer(options, answer))}`;
    }

    function ask(
        server: string,
        user: object = { token: "t" },
        env: NodeJS.ProcessEnv = {},
        proxy?: string,
    ): Promise<Live> {
        const ca = Buffer.from(authority.certificate).toString("base64");
        const config = {
            "current-context": "mine",
            contexts: [{ name: "mine", context: { cluster: "c", user: "u" } }],
            clusters: [{ name: "c", cluster: { server, "certificate-authority-data": ca, "proxy-url": proxy } }],
            users: [{ name: "u", user }],
        };
        const KUBECONFIG = place.file("config", JSON.stringify(config));
        return askLive({ namespace: "demo", release: "api" }, { PATH: process.env["PATH"], KUBECONFIG, ...env });
    }

    const silence = async (live: Promise<Live>): Promise<string> => {
        const answer = await live;
        return answer.kind === "silent" ? answer.why : `it answered ${JSON.stringify(answer)}`;
    };

    it("is the newest of Helm's records and the history of all, by one list", async () => {
        const asked: string[] = [];
        const secrets = [
            recordSecret({ revision: 10, digest: "right", values: { replicas: 2 } }),
            recordSecret({ revision: 9, status: "failed" }),
            recordSecret({ revision: 2, status: "superseded" }),
        ];
        const server = await api((request, response) => {
            asked.push(`${request.method ?? ""} ${request.url ?? ""} ${request.headers.authorization ?? ""}`);
            response.end(secretList(...secrets));
        });
        const live = await ask(server);
        if (live.kind !== "answered") throw new Error(live.why);
        expect(asked).to.deep.equal([
            "GET /api/v1/namespaces/demo/secrets?labelSelector=owner%3Dhelm%2Cname%3Dapi Bearer t",
        ]);
        expect(live.history).to.deep.equal([
            { revision: 2, status: "superseded" },
            { revision: 9, status: "failed" },
            { revision: 10, status: "deployed" },
        ]);
        expect(live.newest).to.deep.include({
            name: "api",
            namespace: "demo",
            revision: 10,
            status: "deployed",
            description: "Upgrade complete",
            deployedAt: "2026-11-22T10:00:00Z",
            chartVersion: "1.2.3",
        });
        expect(live.newest?.values["replicas"]).to.equal(2);
        expect(live.newest?.objects.map(({ kind, metadata }) => [kind, metadata])).to.deep.equal([
            ["Service", { name: "api", namespace: "demo" }],
            ["Deployment", { name: "api", namespace: "demo" }],
        ]);
    });

    it("answers with nothing when Helm has no record", async () => {
        const server = await api((_, response) => response.end(secretList()));
        expect(await ask(server)).to.deep.equal({ kind: "answered", newest: undefined, history: [] });
    });

    it("is asked with a client certificate, or with what a program gives", async () => {
        const seen: unknown[] = [];
        const server = await api((request, response) => {
            seen.push((request.socket as { authorized?: boolean }).authorized, request.headers.authorization);
            response.end(secretList());
        });
        const pem = (text: string) => Buffer.from(text).toString("base64");
        await ask(server, {
            "client-certificate-data": pem(authority.certificate),
            "client-key-data": pem(authority.key),
        });
        place.script("login", `printf '%s' '{"kind": "ExecCredential", "status": {"token": "p"}}'`);
        await ask(server, { exec: { command: "./login" } });
        expect(seen).to.deep.equal([true, undefined, false, "Bearer p"]);
    });

    for (const [what, status, body, words] of [
        ["does not know who asks", 401, "", "does not accept the credential of the kubeconfig"],
        ["forbids it", 403, "", "this user may not list the Secrets of namespace demo"],
        ["is another kind of server", 404, "", "answers 404 to a list of Secrets"],
        ["answers with something else", 200, "<html>", "answers something that is not a list of Secrets"],
        ["answers with another object", 200, '{"kind":"Status"}', "answers something that is not a list of Secrets"],
        [
            "has a record that is none",
            200,
            secretList(spoilt("bm90IGEgcmVjb3Jk")),
            "Helm's record of revision 3 cannot",
        ],
        ["has a record of another kind", 200, secretList(spoilt(twice("[]"))), "Helm's record of revision 3 cannot"],
        ["has a manifest that is no YAML", 200, secretList(recordSecret({ revision: 3, manifest: "a: [" })), "cannot"],
    ] as const) {
        it(`is silent with the reason when the server ${what}`, async () => {
            const server = await api((_, response) => response.writeHead(status).end(body));
            expect(await silence(ask(server))).to.contain(words);
        });
    }

    it("is silent at once when nobody listens, and when the certificate is a stranger's", async () => {
        const port = await listening(createServer());
        const closed = servers.pop();
        await new Promise((resolve) => closed?.close(resolve));
        const began = Date.now();
        expect(await silence(ask(`https://127.0.0.1:${port}`))).to.contain("refuses connections");
        const stranger = loopbackIdentity("stranger");
        const server = createSecureServer({ cert: stranger.certificate, key: stranger.key }, () => undefined);
        expect(await silence(ask(`https://127.0.0.1:${await listening(server)}`))).to.contain("certificate");
        expect(Date.now() - began).to.be.below(1500);
    });

    it("is silent after two seconds in all: before TLS, before the answer, in its middle, and in the credential program", async () => {
        const mute = `https://127.0.0.1:${await listening(createServer())}`;
        const waiting = await api(() => undefined);
        const stuck = await api((_, response) => response.write("{"));
        place.script("login", `sleep 1; printf '%s' '{"kind": "ExecCredential", "status": {"token": "p"}}'`);
        const began = Date.now();
        const all = await Promise.all([
            silence(ask(mute)),
            silence(ask(waiting)),
            silence(ask(stuck)),
            silence(ask(waiting, { exec: { command: "./login" } })),
        ]);
        for (const why of all) expect(why).to.contain("does not answer within 2 s");
        expect(Date.now() - began).to.be.within(1900, 2600);
    });

    it("is asked through the proxy that the kubeconfig names", async () => {
        const server = await api((request, response) => {
            response.end(secretList(recordSecret({ revision: request.headers.authorization === "Bearer t" ? 1 : 9 })));
        });
        const asked: string[] = [];
        const proxy = createPlainServer().on("connect", (request, socket: Socket) => {
            asked.push(request.url ?? "");
            const { hostname, port } = new URL(`http://${request.url ?? ""}`);
            const onward = connect(Number(port), hostname, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
            socket.pipe(onward).pipe(socket);
        });
        const live = await ask(server, { token: "t" }, {}, `http://127.0.0.1:${await listening(proxy)}`);
        if (live.kind === "silent") throw new Error(live.why);
        expect(live.history).to.deep.equal([{ revision: 1, status: "deployed" }]);
        expect(asked).to.deep.equal([new URL(server).host]);
        expect(await silence(ask(server, { token: "t" }, {}, "socks5://127.0.0.1:1"))).to.contain(
            "the proxy 127.0.0.1 speaks socks5, and only http is known here",
        );
    });

    it("is silent without a kubeconfig, with one that only the provider reads, and where Helm keeps its records elsewhere", async () => {
        expect(await silence(askLive({ namespace: "n", release: "r", kubeconfig: "~/other" }, {}))).to.contain(
            "the stack has a kubeconfig of its own",
        );
        expect(await silence(askLive({ namespace: "n", release: "r", driver: "configmap" }, {}))).to.contain(
            'by the driver "configmap", which is not looked at',
        );
        expect(await silence(askLive({ namespace: "n", release: "r" }, { KUBECONFIG: "/nowhere" }))).to.equal(
            "there is no kubeconfig",
        );
        expect(await silence(ask("https://127.0.0.1:1", {}, { PULUMI_K8S_HELM_DRIVER: "sql" }))).to.equal(
            'Helm keeps its records by the driver "sql", which is not looked at',
        );
    });

    function spoilt(release: string): RecordSecret {
        return { ...recordSecret({ revision: 3 }), data: { release } };
    }

    function twice(json: string): string {
        return Buffer.from(gzipSync(json).toString("base64")).toString("base64");
    }
});

describe("Helm's record of a revision", () => {
    const hook = `apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: check\n  annotations: {helm.sh/hook: post-upgrade}\n`;

    it("has the digest of its own objects, hooks included, wherever their namespace is written", () => {
        const record = decodeRecord(recordSecret({ revision: 1, hooks: [hook], digest: "right" }));
        expect(record.objects).to.have.length(3);
        expect(isOurs(record)).to.equal(true);
        const explicit = MANIFEST.replaceAll("  name: api\n", "  name: api\n  namespace: demo\n");
        expect(
            digestOf(decodeRecord(recordSecret({ revision: 1, manifest: explicit, hooks: [hook] })).objects),
        ).to.equal(digestOf(record.objects));
        expect(isOurs(decodeRecord(recordSecret({ revision: 1, hooks: [hook], digest: "0".repeat(64) })))).to.equal(
            false,
        );
    });

    it("is read as Helm reads YAML: 1.1 words, the last of two keys, no dates, empty documents left out", () => {
        const manifest =
            "---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, name: b}\nx: [yes, 0o17, 2026-01-01]\n";
        expect(decodeRecord(recordSecret({ revision: 1, manifest })).objects).to.deep.equal([
            { apiVersion: "v1", kind: "Namespace", metadata: { name: "b" }, x: [true, 15, "2026-01-01"] },
        ]);
    });

    it("keeps everything but its state when it is marked", () => {
        const before = recordSecret({ revision: 4, status: "pending-upgrade", digest: "right", hooks: [hook] });
        const after = withStatus(before, "failed", "given up");
        expect(after.metadata).to.deep.equal({
            ...before.metadata,
            labels: { ...before.metadata.labels, status: "failed" },
        });
        expect(decodeRecord(after)).to.deep.equal({
            ...decodeRecord(before),
            status: "failed",
            description: "given up",
        });
        expect(Object.keys(after)).to.deep.equal(Object.keys(before));
        expect(recordsIn(secretList(after)).map(({ status }) => status)).to.deep.equal(["failed"]);
    });

    it("can be a new one of what is there, that says nothing is deployed, so that no rollback takes it away", () => {
        const owner = { release: "api", namespace: "demo" };
        const { objects } = decodeRecord(recordSecret({ revision: 1 }));
        const secret = newRecord(owner, objects, "lost", new Date("2026-11-22T10:00:00Z")) as RecordSecret;
        expect(secret.metadata.name).to.equal("sh.helm.release.v1.api.v1");
        expect(decodeRecord(secret)).to.deep.include({ revision: 1, status: "failed", objects, values: {} });
    });
});
