import { expect } from "chai";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type ApiAccess, openAccess } from "../../components/config/kubeconfig";
import { request } from "../../components/guarded-release/live/api";
import { fakeOrigin, type FakeOrigin, type Scratch, scratch } from "../unit/local-fakes";

describe("what a kubeconfig gives for a request", () => {
    let place: Scratch;
    beforeEach(() => {
        place = scratch();
    });
    afterEach(() => {
        place.remove();
    });

    const base64 = (text: string) => Buffer.from(text).toString("base64");

    function kubeconfig(user: object, cluster: object = {}): NodeJS.ProcessEnv {
        const config = {
            "current-context": "mine",
            contexts: [{ name: "mine", context: { cluster: "c", user: "u" } }],
            clusters: [{ name: "c", cluster: { server: "https://api.example:6443", ...cluster } }],
            users: [{ name: "u", user }],
        };
        return { PATH: process.env["PATH"], KUBECONFIG: place.file("config", JSON.stringify(config)) };
    }

    function open(user: object, cluster: object = {}, timeoutMs = 2000): Promise<ApiAccess> {
        return openAccess(undefined, kubeconfig(user, cluster), timeoutMs);
    }

    async function refusal(promise: Promise<unknown>): Promise<string> {
        const error: unknown = await promise.then(
            () => new Error("it was not refused"),
            (reason: unknown) => reason,
        );
        return (error as Error).message;
    }

    it("is its server, authority and token", async () => {
        const cluster = { "certificate-authority-data": base64("CA"), "tls-server-name": "api" };
        expect(await open({ token: "t" }, cluster)).to.deep.include({
            server: "https://api.example:6443",
            ca: "CA",
            serverName: "api",
            authorization: "Bearer t",
            insecure: false,
        });
    });

    it("starts relative paths at the file they stand in", async () => {
        place.file("ca.crt", "CA");
        place.file("sub/token", " from-file \n");
        const access = await open({ token: "older", tokenFile: "sub/token" }, { "certificate-authority": "ca.crt" });
        expect(access).to.deep.include({ ca: "CA", authorization: "Bearer from-file" });
    });

    it("is a client certificate, whose data wins over its file", async () => {
        const user = {
            "client-certificate-data": base64("CERT"),
            "client-certificate": "gone",
            "client-key-data": base64("KEY"),
        };
        expect(await open(user)).to.deep.include({ clientCertificate: "CERT", clientKey: "KEY" });
    });

    it("is a user name with its password", async () => {
        const { authorization } = await open({ username: "u", password: "p" });
        expect(authorization).to.equal(`Basic ${base64("u:p")}`);
    });

    it("is the context that is asked for, else the pinned one, else the current one", async () => {
        const user = (name: string) => ({ name, user: { token: name } });
        const config = {
            "current-context": "a",
            contexts: ["a", "b", "c"].map((name) => ({ name, context: { cluster: "c", user: name } })),
            clusters: [{ name: "c", cluster: { server: "https://api" } }],
            users: [user("a"), user("b"), user("c")],
        };
        const env = { KUBECONFIG: place.file("config", JSON.stringify(config)) };
        const tokenOf = async (context: string | undefined, pinned = "") =>
            (await openAccess(context, { ...env, ML_API_CONTEXT: pinned }, 1000)).authorization;
        expect(await tokenOf(undefined)).to.equal("Bearer a");
        expect(await tokenOf(undefined, "b")).to.equal("Bearer b");
        expect(await tokenOf("c", "b")).to.equal("Bearer c");
        expect(await refusal(openAccess("d", env, 1000))).to.contain('no context "d" (there are: a, b, c)');
    });

    it("is merged from several files, of which the first that mentions a name wins", async () => {
        const file = (name: string, server: string, users: object[]) =>
            place.file(
                name,
                JSON.stringify({
                    "current-context": name,
                    contexts: [{ name, context: { cluster: "c", user: "u" } }],
                    clusters: [{ name: "c", cluster: { server } }],
                    users,
                }),
            );
        const files = [
            file("one", "https://one", []),
            join(place.path, "absent"),
            file("two", "https://two", [{ name: "u", user: { token: "two" } }]),
            file("three", "https://three", [{ name: "u", user: { token: "three" } }]),
        ];
        expect(await openAccess(undefined, { KUBECONFIG: files.join(delimiter) }, 1000)).to.deep.include({
            server: "https://one",
            authorization: "Bearer two",
        });
    });

    it("is refused without a kubeconfig, a current context, or with an auth provider", async () => {
        expect(await refusal(openAccess(undefined, { KUBECONFIG: join(place.path, "none") }, 1000))).to.contain(
            "there is no kubeconfig",
        );
        expect(await refusal(openAccess(undefined, { KUBECONFIG: place.file("empty", "") }, 1000))).to.contain(
            "there is no current context",
        );
        expect(await refusal(open({ "auth-provider": { name: "oidc" } }))).to.contain(
            'the auth provider "oidc" of context "mine" is not supported',
        );
    });

    describe("when a program gives the credential", () => {
        const exec = (command: string, more: object = {}) => ({
            exec: { apiVersion: "client.authentication.k8s.io/v1", command, interactiveMode: "IfAvailable", ...more },
        });
        const answer = (status: object) =>
            `printf '%s' '${JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status })}'`;

        it("is the token that it prints; the program stands beside the kubeconfig or on PATH", async () => {
            place.script("login", answer({ token: "from-program" }));
            expect((await open(exec("./login"))).authorization).to.equal("Bearer from-program");
            const env = kubeconfig(exec("login"));
            const found = await openAccess(undefined, { ...env, PATH: `${place.path}:/usr/bin:/bin` }, 2000);
            expect(found.authorization).to.equal("Bearer from-program");
        });

        it("is a certificate with its key", async () => {
            place.script("login", answer({ clientCertificateData: "CERT", clientKeyData: "KEY" }));
            expect(await open(exec("./login"))).to.deep.include({ clientCertificate: "CERT", clientKey: "KEY" });
        });

        it("tells the program what kubectl tells it", async () => {
            const told = join(place.path, "told");
            place.script(
                "login",
                `printf '%s' "$1 $REGION $KUBERNETES_EXEC_INFO" > ${told}; ${answer({ token: "t" })}`,
            );
            const more = { args: ["get"], env: [{ name: "REGION", value: "eu" }], provideClusterInfo: true };
            await open(exec("./login", more), {
                "certificate-authority-data": base64("CA"),
                extensions: [{ name: "client.authentication.k8s.io/exec", extension: { audience: "a" } }],
            });
            const [first = "", ...rest] = readFileSync(told, "utf8").split(" {");
            expect(first).to.equal("get eu");
            expect(JSON.parse(`{${rest.join(" {")}`)).to.deep.equal({
                apiVersion: "client.authentication.k8s.io/v1",
                kind: "ExecCredential",
                spec: {
                    interactive: false,
                    cluster: {
                        server: "https://api.example:6443",
                        "certificate-authority-data": base64("CA"),
                        config: { audience: "a" },
                    },
                },
            });
        });

        for (const [what, script, more, words] of [
            ["fails", "echo 'no session' >&2; exit 1", {}, "failed: no session"],
            ["prints something else", "echo hello", {}, "printed no ExecCredential"],
            ["gives nothing", answer({}), {}, "gave neither a token nor a certificate"],
            ["wants a terminal", answer({ token: "t" }), { interactiveMode: "Always" }, "asks at a terminal"],
        ] as const) {
            it(`is refused when the program ${what}`, async () => {
                place.script("login", script);
                expect(await refusal(open(exec("./login", more)))).to.contain(words);
            });
        }

        it("is refused when the program is not there", async () => {
            expect(await refusal(open(exec("no-such-login")))).to.contain(
                'the credential program "no-such-login" is not there',
            );
        });

        it("is refused when the program takes too long, which is then ended with all it started", async () => {
            const late = join(place.path, "late");
            place.script("login", `(sleep 1; touch ${late}) & wait`);
            const began = Date.now();
            expect(await refusal(open(exec("./login"), {}, 300))).to.contain("does not answer within 0.3 s");
            expect(Date.now() - began).to.be.below(900);
            await new Promise((resolve) => setTimeout(resolve, 1200));
            expect(existsSync(late)).to.equal(false);
        });
    });
});

describe("a request to the API server", () => {
    let origin: FakeOrigin | undefined;
    afterEach(async () => {
        await origin?.close();
        origin = undefined;
    });

    it("carries method, query, body and credential, and takes any status for an answer", async () => {
        let got = "";
        origin = await fakeOrigin((asked, response) => {
            const { authorization, "content-type": type } = asked.headers;
            asked.on("data", (chunk: Buffer) => (got += `${type} ${authorization} ${chunk.toString()}`));
            asked.on("end", () => response.writeHead(409).end("no"));
        });
        const access = { server: `${origin.url}/prefix`, authorization: "Bearer t" };
        const answer = await request(access, {
            method: "PATCH",
            path: "/api/v1/x",
            query: { dryRun: "All" },
            body: "{}",
            contentType: "application/merge-patch+json",
            timeoutMs: 2000,
        });
        expect(answer).to.deep.include({ status: 409, body: "no" });
        expect(origin.requests).to.deep.equal(["PATCH /prefix/api/v1/x?dryRun=All"]);
        expect(got).to.equal("application/merge-patch+json Bearer t {}");
    });

    it("ends when the answer grows beyond its limit", async () => {
        origin = await fakeOrigin((_, response) => response.end("x".repeat(3 << 20)));
        const long = request({ server: origin.url }, { path: "/", timeoutMs: 5000, limit: 1 << 20 });
        expect(
            await long.then(
                () => "",
                (error: unknown) => (error as Error).message,
            ),
        ).to.contain("longer than 1 MiB");
    });
});
