import * as fs from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { diagnosis } from "../../components/guarded-release/diagnose/companion";
import type { Operation } from "../../components/guarded-release/operation";

type Item = Record<string, unknown>;
type Lists = Record<"deployments" | "replicasets" | "jobs" | "pods" | "events", Item[]>;

const owned = (kind: string, name: string, uid: string) => ({
    ownerReferences: [{ kind, name, uid, controller: true }],
});

/** A Deployment with one ReplicaSet, whose pod is in the given state. */
function rollout(revision: number, state: object, restartCount = 0): Lists {
    const annotations = { "deployment.kubernetes.io/revision": String(revision) };
    const container = { name: "api", image: "api:1", ready: false, restartCount, state };
    return {
        deployments: [
            {
                metadata: { name: "api", uid: "d", generation: revision, annotations },
                spec: { replicas: 1 },
                status: { observedGeneration: revision },
            },
        ],
        replicasets: [
            {
                metadata: {
                    name: `api-${revision}`,
                    uid: `r${revision}`,
                    annotations,
                    ...owned("Deployment", "api", "d"),
                },
            },
        ],
        jobs: [],
        pods: [
            {
                metadata: {
                    name: `api-${revision}-x`,
                    uid: `p${revision}`,
                    ...owned("ReplicaSet", `api-${revision}`, `r${revision}`),
                },
                spec: { containers: [{ name: "api", image: "api:1" }] },
                status: { phase: "Pending", containerStatuses: [container] },
            },
        ],
        events: [
            {
                metadata: { uid: "e" },
                involvedObject: { kind: "Pod", name: "x", uid: `p${revision}` },
                type: "Warning",
                reason: "Failed",
                message: "no",
            },
        ],
    };
}

/** Revision 1 again, as revision 3 and with another pod. */
function rolledBack(state: object): Lists {
    const annotations = { "deployment.kubernetes.io/revision": "3" };
    const { replicasets, pods } = rollout(1, state, 1);
    const renamed = (uid: string) => (one: Item) => ({ ...one, metadata: { ...(one["metadata"] as Item), uid } });
    return {
        ...rollout(3, state),
        replicasets: replicasets.map((one) => ({ ...one, metadata: { ...(one["metadata"] as Item), annotations } })),
        pods: pods.map(renamed("p1-again")),
    };
}

async function until(holds: () => boolean): Promise<void> {
    for (let attempt = 0; !holds() && attempt < 100; attempt++) await sleep(50);
}

const MISSING = { waiting: { reason: "ErrImagePull", message: "failed to resolve reference: not found" } };
const PACE = { lookMs: 50, lastingMs: 500 };
const CRASHED = { terminated: { exitCode: 1, reason: "Error" } };

describe("the diagnosis of an operation", function () {
    this.timeout(10_000);
    let server: Server;
    let lists: Lists;
    let requests: number;
    const sockets = new Set<object>();
    let operation: Operation;
    let said: string[];
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-diagnosis-"));
    const { XDG_STATE_HOME } = process.env;

    before(async () => {
        process.env["XDG_STATE_HOME"] = folder;
        server = createServer((request, response) => {
            requests++;
            const { pathname } = new URL(request.url ?? "", "http://x");
            if (pathname.endsWith("/log")) return void response.end("FileNotFoundError: gone\n");
            const items = lists[pathname.split("/").at(-1) as keyof Lists];
            response.end(JSON.stringify({ items }));
        });
        server.on("connection", (socket: object) => sockets.add(socket));
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    });
    after(() => {
        if (XDG_STATE_HOME === undefined) delete process.env["XDG_STATE_HOME"];
        else process.env["XDG_STATE_HOME"] = XDG_STATE_HOME;
        delete process.env["ML_API_GIVE_UP_FILE"];
        server.close();
        fs.rmSync(folder, { recursive: true, force: true });
    });
    beforeEach(() => {
        lists = rollout(1, MISSING);
        requests = 0;
        said = [];
        const say = (how: string) => (text: string) => void said.push(`${how}: ${text}`);
        operation = {
            event: "update",
            access: { server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
            target: {
                release: "api",
                stack: "dev",
                namespace: "demo",
                objects: () =>
                    Promise.resolve([{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "api" } }]),
                timeoutSeconds: () => Promise.resolve(300),
                say: say("say"),
            },
            inform: say("info"),
            warn: say("warning"),
            complain: say("error"),
            progress: say("progress"),
        };
    });

    it("says an error once, as soon as it is there, and at the end why it failed and where the evidence is", async () => {
        const { ended } = await diagnosis(operation, PACE);
        await sleep(150);
        expect(said, "the old pods are not blamed").to.deep.equal([]);
        lists = rollout(2, MISSING);
        await until(() => said.length > 0);
        await sleep(200);
        expect(said).to.have.lengthOf(1);
        expect(said[0]).to.match(
            /^warning: Pod\/api-2-x \(container api\): the registry docker\.io has no image api:1/,
        );
        // Helm goes back to the revision before, which gets a new pod.
        lists = rolledBack(CRASHED);
        await sleep(200);
        await ended({ kind: "failed", errors: ["context deadline exceeded"] });
        expect(said).to.have.lengthOf(2);
        expect(said[1]).to.match(
            /^error: why api failed:\n {2}Pod\/api-2-x .*\nthe new version was never in service\nevidence \(objects, events, logs\): \S+$/,
        );
        const evidence = said[1]?.split(": ").at(-1) ?? "";
        expect(evidence.startsWith(folder)).to.equal(true);
        expect(fs.readFileSync(path.join(evidence, "objects.yaml"), "utf8")).to.contain("name: api-2-x");
        expect(fs.readFileSync(path.join(evidence, "findings.md"), "utf8")).to.contain("context deadline exceeded");
    });

    it("says for how long a new version was in service that failed later, also while it was taken back", async () => {
        const { ended } = await diagnosis(operation, PACE);
        const ready = rollout(2, { running: {} });
        const [pod] = ready.pods;
        const serving = { ...pod, status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } };
        lists = { ...ready, pods: [serving] };
        await sleep(200);
        const back = rolledBack({ running: {} });
        lists = { ...back, pods: [serving, ...back.pods] };
        await sleep(1300);
        lists = back;
        await sleep(400);
        await ended({ kind: "failed", errors: ["post-upgrade hooks failed"] });
        expect(said.join("\n")).to.match(/\nthe new version was in service for about [12] s\nevidence/);
    });

    it("reads the last words of what has crashed", async () => {
        const { ended } = await diagnosis(operation, PACE);
        lists = rollout(2, CRASHED, 1);
        await ended({ kind: "failed", errors: [] });
        expect(said.join("\n")).to.contain(
            "it crashes at start: exit code 1, 2 times; its last words: FileNotFoundError: gone",
        );
    });

    it("says what Helm's words mean when nothing shows in the cluster, and that nothing does", async () => {
        const refused = 'admission webhook "owners.example.org" denied the request: no owner label';
        for (const [errors, words] of [
            [[refused], "Release/api: the admission webhook owners.example.org refuses it: no owner label"],
            [["context deadline exceeded"], "nothing was seen in namespace demo that explains why api failed"],
        ] as const) {
            said = [];
            await (await diagnosis(operation, PACE)).ended({ kind: "failed", errors });
            expect(said.join("\n")).to.contain(words);
        }
    });

    it("costs a short operation next to nothing, and says nothing", async () => {
        sockets.clear();
        const began = performance.now();
        const { ended } = await diagnosis(operation, PACE);
        await ended({ kind: "succeeded" });
        expect(performance.now() - began).to.be.below(500);
        expect(requests, "one look at the beginning").to.equal(4);
        expect(said).to.deep.equal([]);
        expect(
            fs
                .readdirSync(path.join(folder, "ml-api"), { recursive: true })
                .some((name) => String(name).includes("evidence/")),
        ).to.equal(true);
    });

    it("asks to be ended when it is hopeless, once the evidence is there", async () => {
        const file = path.join(folder, "reason");
        process.env["ML_API_GIVE_UP_FILE"] = file;
        const { ended } = await diagnosis(operation, PACE);
        lists = rollout(2, MISSING);
        await sleep(300);
        expect(fs.existsSync(file), "it has not lasted long enough").to.equal(false);
        await until(() => fs.existsSync(file));
        const reason = fs.readFileSync(file, "utf8");
        delete process.env["ML_API_GIVE_UP_FILE"];
        await ended({ kind: "succeeded" });
        expect(reason).to.contain("has no image api:1");
        expect(fs.existsSync(path.join(reason.trimEnd().split(": ").at(-1) ?? "", "findings.md"))).to.equal(true);
    });

    it("holds nobody when the cluster does not answer", async () => {
        const silent = createServer(() => undefined);
        await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
        const access = { server: `http://127.0.0.1:${(silent.address() as AddressInfo).port}` };
        const began = performance.now();
        await (await diagnosis({ ...operation, access }, PACE)).ended({ kind: "failed", errors: [] });
        expect(performance.now() - began).to.be.below(4000);
        silent.closeAllConnections();
        silent.close();
    });
});
