import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { podQuotaFaults, type Rollout } from "../../components/guarded-release/safety/pod-quota";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { askServer, safetyOf, type ServerAnswer, upgradeSafety } from "../../components/guarded-release/safety/safety";

interface Reply {
    readonly status: number;
    readonly body?: object;
    readonly warnings?: readonly string[];
}

/** An API server that accepts everything, but for one answer. What real ones say is seen in test/cluster/safety.test.ts. */
class FakeApi {
    /** What was sent by dry run. */
    readonly sent: string[] = [];
    private readonly server: Server;

    constructor(private readonly reply: (request: IncomingMessage) => Reply | "silence" | undefined) {
        this.server = createServer((request, response) => {
            this.answer(request, response);
        });
    }

    async start(): Promise<string> {
        await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
        return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    }

    stop(): void {
        this.server.closeAllConnections();
        this.server.close();
    }

    private answer(request: IncomingMessage, response: ServerResponse): void {
        const url = request.url ?? "";
        if (url.includes("dryRun=All")) this.sent.push(`${request.method ?? ""} ${url}`);
        const reply = this.reply(request) ?? ordinary(url, request.method ?? "GET");
        if (reply === "silence") return;
        const { status, body = {}, warnings = [] } = reply;
        const headers = warnings.map((text) => `299 - ${JSON.stringify(text)}`);
        if (headers.length > 0) response.setHeader("warning", headers);
        response.writeHead(status);
        response.end(JSON.stringify(body));
    }
}

function ordinary(url: string, method: string): Reply {
    const [path = ""] = url.split("?");
    if (path === "/api/v1") {
        const resource = (name: string, kind: string) => ({ name, kind, namespaced: true });
        return {
            status: 200,
            body: { resources: [resource("configmaps", "ConfigMap"), resource("secrets", "Secret")] },
        };
    }
    if (path.endsWith("selfsubjectaccessreviews")) return { status: 201, body: { status: { allowed: true } } };
    if (path === "/api/v1/namespaces/home") return { status: 200, body: { metadata: {} } };
    if (method === "GET") return { status: 404 };
    return { status: 201, body: {} };
}

const isDryRun = ({ url = "" }: IncomingMessage) => url.includes("dryRun=All");
const object = (kind: string, more: object = {}): RenderedObject => ({
    apiVersion: "v1",
    kind,
    metadata: { name: "demo", namespace: "home" },
    ...more,
});

describe("the answer to a dry run", () => {
    let api: FakeApi | undefined;
    afterEach(() => api?.stop());

    /** Installs one object on an API server that answers the dry run with this. */
    async function ask(reply: Reply | "silence", after = object("ConfigMap"), when = isDryRun): Promise<ServerAnswer> {
        api = new FakeApi((request) => (when(request) ? reply : undefined));
        const access = { server: await api.start() };
        const upgrade = { namespace: "home", release: "demo", before: [], after: [after] };
        return askServer(access, upgrade, { firstMs: 300, totalMs: 600 });
    }
    const status = (code: number, message: string, causes: object[] = []): Reply => ({
        status: code,
        body: { kind: "Status", message, details: { causes } },
    });

    it("that accepts leaves nothing to say", async () => {
        expect(await ask({ status: 201 })).to.deep.equal({
            checked: true,
            problems: [],
            asked: new Set(["ConfigMap/demo"]),
        });
    });

    it("by an admission webhook is passed on", async () => {
        const { problems, checked } = await ask(
            status(403, 'admission webhook "policy.example.com" denied the request: no owner'),
        );
        expect(checked).to.equal(true);
        expect(problems).to.have.length(1);
        expect(problems[0]).to.deep.include({
            object: "ConfigMap/demo",
            what: 'admission webhook "policy.example.com" denied the request: no owner',
            blocking: true,
        });
    });

    it("by a webhook that knows no dry run says nothing, so the object counts as not checked", async () => {
        const message = 'admission webhook "x" does not support dry run';
        expect(await ask(status(400, message))).to.deep.equal({
            checked: false,
            why: `not checked: ${message}`,
            problems: [],
            asked: new Set(),
        });
    });

    for (const code of [429, 500, 503]) {
        it(`with ${code} says nothing either`, async () => {
            const { checked, why, problems } = await ask(status(code, "later"));
            expect({ checked, why, problems }).to.deep.equal({
                checked: false,
                why: `not checked: the API server answers ${code}: later`,
                problems: [],
            });
        });
    }

    it("with another refusal is shown as it is", async () => {
        const { problems } = await ask(status(400, "spec.x: wrong type"));
        expect(problems[0]).to.deep.include({ what: "spec.x: wrong type", blocking: true });
    });

    it("names every field that is refused", async () => {
        const causes = [
            { field: "data[a b]", message: 'Invalid value: "a b": a key must not have a blank' },
            { field: "metadata.name", message: "Required value" },
        ];
        const { problems } = await ask(status(422, "ConfigMap is invalid", causes));
        expect(problems.map(({ field }) => field)).to.deep.equal(["data[a b]", "metadata.name"]);
    });

    it("never shows what a Secret holds", async () => {
        const causes = [{ field: "data", message: 'Invalid value: "correct horse": wrong' }];
        const refused = await ask(status(422, "Secret is invalid", causes), object("Secret"));
        expect(refused.problems[0]?.what).to.equal("wrong");
    });

    it("brings the server's warnings", async () => {
        const { problems } = await ask({
            status: 201,
            warnings: ['unknown field "dat"', "v1 X is deprecated in v1.33+"],
        });
        expect(problems.map(({ field, what, blocking }) => ({ field, what, blocking }))).to.deep.equal([
            { field: "dat", what: "the server does not know this field and ignores it", blocking: false },
            { field: "", what: "v1 X is deprecated in v1.33+", blocking: false },
        ]);
    });

    it("stops nothing when it is about what only `helm test` starts", async () => {
        const test = object("ConfigMap", { metadata: { name: "demo", annotations: { "helm.sh/hook": "test" } } });
        const { problems } = await ask(status(400, "wrong"), test);
        expect(problems[0]).to.deep.include({ what: "wrong", blocking: false });
    });

    it("that does not come in time makes it not checked, within the limit", async () => {
        const began = Date.now();
        const { why } = await ask("silence");
        expect(why).to.match(/^not checked: the API server \S+ does not answer within 0\.6 s$/);
        expect(Date.now() - began).to.be.below(1500);
    });

    it("is not asked for where the permissions are unknown", async () => {
        const { why } = await ask({ status: 403 }, object("ConfigMap"), ({ url = "" }) => url.includes("selfsubject"));
        expect(why).to.equal("not checked: the API server answers 403 when asked for permissions");
        expect(api?.sent).to.deep.equal([]);
    });

    it("is asked for, whatever is wrong with the API of another object", async () => {
        api = new FakeApi(({ url = "" }) => (url.startsWith("/apis/down") ? { status: 503 } : undefined));
        const access = { server: await api.start() };
        const down = { ...object("Thing"), apiVersion: "down.example.com/v1" };
        const upgrade = { namespace: "home", release: "demo", before: [], after: [down, object("Secret")] };
        const { asked, why } = await askServer(access, upgrade);
        expect([...asked]).to.deep.equal(["Secret/demo"]);
        expect(why).to.equal("not checked: the API server answers 503 when asked for down.example.com/v1");
    });

    it("is asked for once, and only for what changes", async () => {
        api = new FakeApi(() => undefined);
        const access = { server: await api.start() };
        const same = object("ConfigMap", { data: { a: "1" } });
        const upgrade = { namespace: "home", release: "demo", before: [same], after: [same, object("Secret")] };
        await askServer(access, upgrade);
        expect(api.sent).to.deep.equal(["POST /api/v1/namespaces/home/secrets?dryRun=All"]);
    });

    describe("together with what is known without a server", () => {
        const sealed = (data: string) => object("ConfigMap", { immutable: true, data: { a: data } });
        const upgrade = { namespace: "home", release: "demo", before: [sealed("1")], after: [sealed("2")] };

        it("counts instead of it", async () => {
            api = new FakeApi(() => undefined);
            const safety = await upgradeSafety(upgrade, { server: await api.start() });
            expect(safety).to.deep.equal({ problems: [], notChecked: undefined });
        });

        it("and what is known counts where the server may not be asked", async () => {
            api = new FakeApi(({ url = "" }) =>
                url.includes("selfsubject") ? { status: 201, body: { status: { allowed: false } } } : undefined,
            );
            const { problems, notChecked } = await upgradeSafety(upgrade, { server: await api.start() });
            expect(problems.map(({ object: name, field }) => `${name} ${field}`)).to.deep.equal([
                "ConfigMap/demo data",
            ]);
            expect(notChecked).to.equal("not checked: needs create on configmaps in home");
        });

        it("and so does what needs no installed release, when the cluster is silent", async () => {
            const silent = { answer: Promise.resolve({ kind: "silent", why: "it sleeps" } as const) };
            const live = { ...silent, access: Promise.resolve(undefined) };
            const { problems } = await safetyOf(live, upgrade, [object("Deploymint")]);
            expect(problems.map(({ what }) => what)).to.deep.equal(["Kubernetes has no Deploymint in v1"]);
        });
    });
});

describe("pods and quotas", () => {
    const quota = (hard: Record<string, string>, used: Record<string, string>, spec: object = {}) => ({
        metadata: { name: "team" },
        spec,
        status: { hard, used },
    });
    const workload = (replicas: number, cpu: string, more: object = {}, image = "a") => ({
        spec: {
            replicas,
            strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
            ...more,
            template: {
                spec: { containers: [{ image, resources: { requests: { cpu }, limits: { memory: "1Gi" } } }] },
            },
        },
    });
    const rollout = (accepted: object, live?: object): Rollout => ({
        name: "Deployment/demo",
        kind: "Deployment",
        accepted: accepted as Rollout["accepted"],
        live: live as Rollout["live"],
    });
    const faults = (limits: object, ...rollouts: Rollout[]) =>
        podQuotaFaults([limits as Rollout["accepted"]], rollouts).map(({ field, what }) => `${field}: ${what}`);

    it("fit when there is room", () => {
        const room = quota({ "requests.cpu": "4", pods: "10" }, { "requests.cpu": "1", pods: "2" });
        expect(faults(room, rollout(workload(3, "1")))).to.deep.equal([]);
    });

    it("do not fit when all of them need more than is free", () => {
        const full = quota({ "requests.cpu": "4" }, { "requests.cpu": "3500m" });
        expect(faults(full, rollout(workload(3, "500m"), workload(1, "500m")))).to.deep.equal([
            "spec.replicas: its pods do not fit: the quota team has 3500m of 4 requests.cpu in use, and this needs 1 more",
        ]);
    });

    it("are counted for memory by their limits, as a request too", () => {
        const full = quota({ "requests.memory": "2Gi" }, { "requests.memory": "1Gi" });
        expect(faults(full, rollout(workload(2, "1")))[0]).to.contain("this needs 2Gi more");
    });

    it("need room for the first new pod of a rolling update", () => {
        const full = quota({ cpu: "2" }, { cpu: "2" });
        const live = workload(2, "1");
        const next = (more: object) => rollout(workload(2, "1", more, "b"), live);
        expect(faults(full, next({}))[0]).to.match(/^spec\.strategy: a rolling update starts a new pod before/);
        expect(faults(full, next({ strategy: { type: "Recreate" } }))).to.deep.equal([]);
        const giving = { strategy: { rollingUpdate: { maxUnavailable: "50%" } } };
        expect(faults(full, next(giving))).to.deep.equal([]);
        expect(faults(full, rollout(live, live))).to.deep.equal([]);
    });

    it("take what their first containers take, when that is more", () => {
        const accepted = workload(1, "1");
        const heavy = { resources: { requests: { cpu: "3" } } };
        Object.assign(accepted.spec.template.spec, { initContainers: [heavy] });
        expect(faults(quota({ cpu: "2" }, { cpu: "0" }), rollout(accepted))[0]).to.contain("this needs 3 more");
    });

    it("are not judged by a quota for some pods only", () => {
        const scoped = quota({ pods: "0" }, { pods: "0" }, { scopes: ["BestEffort"] });
        expect(faults(scoped, rollout(workload(1, "1")))).to.deep.equal([]);
    });
});
