import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import {
    chooseCluster,
    clusterDown,
    clusterStatus,
    clusterUp,
    type CanRun,
    type Clusters,
} from "../../local/clusters/choose";
import {
    clusterContext,
    type Cluster,
    type ClusterContext,
    type ClusterInfo,
    type ClusterKind,
    type ClusterStatus,
} from "../../local/clusters/cluster";
import { currentCluster } from "../../local/clusters/current";
import { proxyFor } from "../../components/config/kubeconfig";
import { readTarget } from "../../local/clusters/kubeconfig";
import { rememberedCluster } from "../../local/clusters/remembered";
import { simulatedCluster } from "../../local/clusters/simulated";
import { failure, fakeOrigin, scratch, type FakeOrigin, type Scratch } from "../unit/local-fakes";

const can = (): Promise<CanRun> => Promise.resolve({ ok: true, reasons: [] });
const cannot = (): Promise<CanRun> => Promise.resolve({ ok: false, reasons: ["not root", "no overlayfs"] });
const mustNotAsk = (): Promise<CanRun> => Promise.reject(new Error("asked"));

describe("choosing the cluster", () => {
    it("takes real pods where they can run, else simulated ones, and says why", async () => {
        expect(await chooseCluster(undefined, undefined, can)).to.deep.equal({
            kind: "node",
            reason: "real pods, which this machine can run",
        });
        expect(await chooseCluster("", undefined, cannot)).to.deep.equal({
            kind: "simulated",
            reason: "real pods cannot run here: not root; no overlayfs",
        });
    });

    it("does what CLUSTER says, without looking at more than it must", async () => {
        expect((await chooseCluster("simulated", undefined, mustNotAsk)).kind).to.equal("simulated");
        expect((await chooseCluster("current", undefined, mustNotAsk)).kind).to.equal("current");
        expect((await chooseCluster("node", undefined, can)).kind).to.equal("node");
    });

    it("says what is missing for CLUSTER=node, and what else there is", async () => {
        expect(await failure(chooseCluster("node", undefined, cannot)))
            .to.contain("not root; no overlayfs")
            .and.to.contain("CLUSTER=simulated")
            .and.to.contain("CLUSTER=current");
    });

    it("stays with the cluster there is, and refuses another with the way out", async () => {
        for (const kind of ["current", "node", "simulated"] as const) {
            expect((await chooseCluster(undefined, kind, mustNotAsk)).kind).to.equal(kind);
            expect((await chooseCluster(kind, kind, mustNotAsk)).kind).to.equal(kind);
        }
        expect(await failure(chooseCluster("node", "simulated", can)))
            .to.contain("make down")
            .and.to.contain("without CLUSTER=node");
        expect(await failure(chooseCluster("simulated", "current", can))).to.contain("pulumi destroy -s dev");
    });

    it("knows a misspelling", async () => {
        expect(await failure(chooseCluster("nodes", undefined, can)))
            .to.contain('CLUSTER is "nodes"')
            .and.to.contain('Did you mean "node"?');
        expect(await failure(chooseCluster("production", undefined, can))).not.to.contain("Did you mean");
    });
});

describe("the cluster of a checkout", () => {
    let place: Scratch;
    let calls: string[];
    let state: ClusterStatus["state"];
    let failing: boolean;

    beforeEach(() => {
        place = scratch();
        calls = [];
        state = "absent";
        failing = false;
    });
    afterEach(() => {
        place.remove();
    });

    it("is remembered from before its start until it is removed", async () => {
        failing = true;
        await failure(clusterUp(context("simulated"), clusters()));
        expect(rememberedCluster(context().stateDir)).to.deep.equal({ kind: "simulated" });
        failing = false;
        const info = await clusterUp(context(), clusters());
        expect(info.kind).to.equal("node");
        expect(rememberedCluster(context().stateDir)).to.deep.equal({ kind: "node", info });
        state = "up";
        expect((await clusterStatus(context(), clusters()))?.kind).to.equal("node");
        expect(await clusterDown(context(), clusters())).to.equal("node");
        expect(calls).to.deep.equal(["up simulated", "up node", "down node"]);
        expect(existsSync(context().stateDir)).to.equal(false);
        expect(await clusterStatus(context(), clusters())).to.equal(undefined);
    });

    it("may be of another kind once the one before is gone, and not earlier", async () => {
        await clusterUp(context("simulated"), clusters());
        state = "broken";
        expect(await failure(clusterUp(context("node"), clusters()))).to.contain("has a cluster already (simulated)");
        state = "absent";
        expect((await clusterUp(context("node"), clusters())).kind).to.equal("node");
    });

    it("is the user's own only as long as it is the same one", async () => {
        await clusterUp(context("current"), clusters());
        expect(await failure(clusterUp(context("current"), clusters("https://other"))))
            .to.contain("now points at https://other")
            .and.to.contain("kubectl config use-context");
        expect(await failure(clusterUp(context("node"), clusters()))).to.contain("your own cluster");
    });

    it("is looked for where no record of it is left", async () => {
        await clusterDown(context(), clusters());
        expect(calls[0]).to.equal("down simulated");
    });

    function context(asked?: string): ClusterContext {
        return clusterContext({
            stateDir: join(place.path, "state"),
            variables: { CLUSTER: asked },
            log: () => undefined,
        });
    }

    function clusters(server = "https://one"): Clusters {
        const fake = (kind: ClusterKind): Cluster => ({
            kind,
            up: (): Promise<ClusterInfo> => {
                calls.push(`up ${kind}`);
                return failing
                    ? Promise.reject(new Error("no"))
                    : Promise.resolve({ kind, kubeconfig: "/k", context: "c", server, podsServe: true });
            },
            down: () => {
                calls.push(`down ${kind}`);
                return Promise.resolve();
            },
            status: () =>
                Promise.resolve(
                    state === "up"
                        ? { state, info: { kind, kubeconfig: "/k", context: "c", server, podsServe: true } }
                        : state === "broken"
                          ? { state, reason: "r" }
                          : { state },
                ),
        });
        return { current: fake("current"), simulated: fake("simulated"), node: { ...fake("node"), canRun: can } };
    }
});

describe("the user's own cluster", () => {
    let place: Scratch;
    let origin: FakeOrigin | undefined;
    beforeEach(() => {
        place = scratch();
    });
    afterEach(async () => {
        await origin?.close();
        origin = undefined;
        place.remove();
    });

    it("is found in ~/.kube/config and used as it is", async () => {
        origin = await fakeOrigin((_, response) => response.end("{}"));
        place.file(".kube/config", kubeconfig({ token: "t" }, origin.url));
        const lines: string[] = [];
        const info = await currentCluster.up({ ...context(), log: (line) => lines.push(line) });
        expect(info).to.deep.equal({
            kind: "current",
            kubeconfig: join(place.path, ".kube/config"),
            context: "mine",
            server: origin.url,
            podsServe: true,
        });
        expect(lines.join()).to.contain('context "mine"').and.not.to.contain('"t"');
        expect(origin.requests).to.deep.equal(["GET /version"]);
    });

    it("may be spread over several files, of which the first that says something wins", () => {
        const one = place.file(
            "one",
            "current-context: mine\ncontexts:\n- {name: mine, context: {cluster: c, user: u}}\n",
        );
        const two = place.file(
            "two",
            kubeconfig({ token: "t" }, "https://two").replace("current-context: mine", "current-context: other"),
        );
        const target = readTarget({ KUBECONFIG: `${one}:${place.path}/absent:${two}`, HOME: place.path });
        expect(target).to.deep.include({ context: "mine", kubeconfig: `${one}:${place.path}/absent:${two}` });
        expect(target.access.server).to.equal("https://two");
    });

    for (const [what, user, credential] of [
        ["a token", { token: "t" }, "token"],
        ["a token file", { tokenFile: "token" }, "token"],
        [
            "a client certificate",
            { "client-certificate-data": "YQ==", "client-key-data": "Yg==" },
            "client certificate",
        ],
        [
            "a client certificate in files",
            { "client-certificate": "token", "client-key": "token" },
            "client certificate",
        ],
        ["a program", { exec: { command: "sh" } }, "program sh"],
        ["a program beside the kubeconfig", { exec: { command: "./login" } }, "program ./login"],
        ["an auth provider", { "auth-provider": { name: "oidc" } }, "auth provider oidc"],
        ["a user name and a password", { username: "u", password: "p" }, "user name and password"],
    ] as const) {
        it(`is taken with ${what}`, () => {
            place.file(".kube/token", "t\n");
            place.script(".kube/login", "true");
            place.file(".kube/config", kubeconfig(user));
            expect(readTarget(variables()).credential).to.equal(credential);
        });
    }

    for (const [what, content, expected] of [
        [
            "no kubeconfig at all",
            undefined,
            ["There is no kubeconfig", ".kube/config does not exist", "CLUSTER=simulated"],
        ],
        ["a file that is not YAML", "a: [", ["cannot be read"]],
        ["an empty file", "", ["holds no settings"]],
        [
            "no current context",
            kubeconfig({ token: "t" }).replace("current-context: mine", ""),
            ["no current context", "there are: mine"],
        ],
        [
            "a context that is not defined",
            kubeconfig({ token: "t" }).replace("current-context: mine", "current-context: yours"),
            ['"yours"', "there are: mine"],
        ],
        [
            "a cluster that is not defined",
            kubeconfig({ token: "t" }).replace("cluster: c,", "cluster: d,"),
            ['names cluster "d"', "there are: c"],
        ],
        ["a user that is not defined", kubeconfig({ token: "t" }).replace("user: u}", "user: v}"), ['names user "v"']],
        ["a server that is no URL", kubeconfig({ token: "t" }, "nowhere"), ['no "server"']],
        ["no credential", kubeconfig({}), ["has no credential", "Log in to the cluster again"]],
        ["an empty token", kubeconfig({ token: "" }), ["has no credential"]],
        ["a certificate without its key", kubeconfig({ "client-certificate-data": "YQ==" }), ["has no credential"]],
        [
            "a certificate file that is not there",
            kubeconfig({ "client-certificate": "gone.crt" }),
            ["client-certificate", "gone.crt cannot be read"],
        ],
        [
            "a program that is not on PATH",
            kubeconfig({ exec: { command: "no-such-login" } }),
            ['"no-such-login"', "not on PATH"],
        ],
    ] as const) {
        it(`is refused in one message with ${what}`, async () => {
            if (content !== undefined) place.file(".kube/config", content);
            const message = await failure(currentCluster.up(context()));
            for (const part of expected) expect(message).to.contain(part);
            expect((await currentCluster.status(context())).state).to.equal("broken");
        });
    }

    it("must answer within three seconds", async () => {
        origin = await fakeOrigin(() => undefined);
        place.file(".kube/config", kubeconfig({ token: "t" }, origin.url));
        const started = Date.now();
        expect(await failure(currentCluster.up(context())))
            .to.contain("does not answer within 3 s")
            .and.to.contain("VPN");
        expect(Date.now() - started).to.be.within(2500, 4500);
    });

    it("is told from one that is not there", async () => {
        const server = createServer();
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        const address = server.address();
        await new Promise((resolve) => server.close(resolve));
        place.file(
            ".kube/config",
            kubeconfig(
                { token: "t" },
                `https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 1}`,
            ),
        );
        expect(await failure(currentCluster.up(context()))).to.contain("refuses connections");
    });

    it("is told from one that does not accept the credential", async () => {
        origin = await fakeOrigin((_, response) => response.writeHead(401).end());
        place.file(".kube/config", kubeconfig({ token: "t" }, origin.url));
        expect(await failure(currentCluster.up(context())))
            .to.contain("does not accept the token")
            .and.to.contain("expired");
        place.file(".kube/config", kubeconfig({ exec: { command: "sh" } }, origin.url));
        expect((await currentCluster.up(context())).kind, "who proves nothing here may still prove it later").to.equal(
            "current",
        );
    });

    it("is never removed", async () => {
        expect(await failure(currentCluster.down(context()))).to.contain("pulumi destroy -s dev");
    });

    it("is reached through the proxy that kubectl would use", () => {
        const proxy = { HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "internal, .corp.example,10.0.0.1" };
        expect(proxyFor("https://api.example", proxy)).to.equal("http://proxy:3128");
        for (const server of [
            "https://127.0.0.1:6443",
            "https://localhost",
            "https://internal",
            "https://api.corp.example",
            "https://10.0.0.1",
            "http://api.example",
        ]) {
            expect(proxyFor(server, proxy), server).to.equal(undefined);
        }
        expect(proxyFor("https://api.example", { ...proxy, NO_PROXY: "*" })).to.equal(undefined);
        expect(proxyFor("https://api.example", {})).to.equal(undefined);
    });

    function variables(): Record<string, string> {
        return { HOME: place.path, PATH: "/usr/bin:/bin" };
    }

    function context(): ClusterContext {
        return clusterContext({ stateDir: join(place.path, "state"), variables: variables(), log: () => undefined });
    }
});

describe("the simulated cluster, before anything is started", () => {
    it("is absent, and removing it then does nothing", async () => {
        const place = scratch();
        const context = clusterContext({ stateDir: join(place.path, "state"), log: () => undefined });
        expect(await simulatedCluster.status(context)).to.deep.equal({ state: "absent" });
        await simulatedCluster.down(context);
        expect(existsSync(context.stateDir)).to.equal(false);
        place.remove();
    });

    it("refuses a place that kwokctl cannot handle", async () => {
        const place = scratch();
        const context = clusterContext({ stateDir: join(place.path, "a state"), log: () => undefined });
        expect(await failure(simulatedCluster.up(context)))
            .to.contain("blank")
            .and.to.contain("XDG_STATE_HOME");
        place.remove();
    });
});

function kubeconfig(user: unknown, server = "https://127.0.0.1:1"): string {
    return [
        "apiVersion: v1",
        "kind: Config",
        "current-context: mine",
        "contexts:",
        "- {name: mine, context: {cluster: c, user: u}}",
        "clusters:",
        `- {name: c, cluster: {server: "${server}"}}`,
        "users:",
        `- {name: u, user: ${JSON.stringify(user)}}`,
        "",
    ].join("\n");
}
