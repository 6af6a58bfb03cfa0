import { expect } from "chai";
import type { Lease } from "../../components/guarded-release/recover/lease";
import {
    NotRecoverable,
    recoverCreate,
    recoverUpdate,
    type Target,
} from "../../components/guarded-release/recover/recover";
import { objectsIn } from "../../components/guarded-release/render/manifest";
import { decodeRecord, type RecordSecret, recordsIn } from "../../components/guarded-release/live/record";
import { MANIFEST, type Planted, recordSecret, secretList } from "./helm-records";
import { fakeOrigin, type FakeOrigin } from "./local-fakes";

const NOW = new Date("2026-11-22T12:00:00Z");
const SECRETS = "/api/v1/namespaces/demo/secrets";
const SERVICE = "/api/v1/namespaces/demo/services/api";
const DEPLOYMENT = "/apis/apps/v1/namespaces/demo/deployments/api";

const OWNED = {
    labels: { "app.kubernetes.io/managed-by": "Helm" },
    annotations: { "meta.helm.sh/release-name": "api", "meta.helm.sh/release-namespace": "demo" },
};

/** A few words of the Kubernetes API: what is listed can be read, changed and deleted, and every change is noted. */
class FakeCluster {
    readonly objects = new Map<string, object>();
    /** `METHOD path` and body of everything but reads. */
    readonly changes: [string, string][] = [];
    refuseWrites = false;
    private origin: FakeOrigin | undefined;

    async start(): Promise<void> {
        const resources = (...kinds: [string, string][]) => ({
            resources: kinds.map(([name, kind]) => ({ name, kind, namespaced: true })),
        });
        this.objects.set(
            "/api/v1",
            resources(["services/status", "Service"], ["services", "Service"], ["configmaps", "ConfigMap"]),
        );
        this.objects.set("/apis/apps/v1", resources(["deployments", "Deployment"]));
        this.objects.set("/api/v1/namespaces/demo", {});
        this.origin = await fakeOrigin((request, response) => {
            const { method = "GET", url = "" } = request;
            let body = "";
            request.on("data", (chunk: Buffer) => (body += chunk.toString()));
            request.on("end", () => {
                if (method !== "GET") {
                    this.changes.push([`${method} ${url}`, body]);
                    if (this.refuseWrites) return response.writeHead(409).end('{"message":"changed meanwhile"}');
                    if (method === "DELETE") this.objects.delete(url);
                    return response.end("{}");
                }
                const found = this.objects.get(url);
                return response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found ?? {}));
            });
        });
    }

    stop(): Promise<void> | undefined {
        return this.origin?.close();
    }

    get access() {
        return { server: this.origin?.url ?? "" };
    }
}

describe("before an update, Helm's records", () => {
    let cluster: FakeCluster;
    let said: string[];
    const target = {
        release: "api",
        namespace: "demo",
        stack: "dev",
        timeoutSeconds: () => Promise.resolve(400),
        objects: () => Promise.resolve(objectsIn(MANIFEST, "demo")),
        say: (text: string) => said.push(text),
    };
    beforeEach(async () => {
        cluster = new FakeCluster();
        said = [];
        await cluster.start();
    });
    afterEach(() => cluster.stop());

    function run(
        recover: typeof recoverCreate,
        planted: readonly Planted[],
        more: Partial<Target> = {},
        before?: Lease,
    ): Promise<void> {
        const records = recordsIn(secretList(...planted.map(recordSecret)));
        return recover({ access: cluster.access, records }, { ...target, ...more }, NOW, before);
    }
    const update = (...planted: Planted[]) => run(recoverUpdate, planted);
    const create = (...planted: Planted[]) => run(recoverCreate, planted);

    async function refusal(promise: Promise<void>): Promise<string> {
        const error: unknown = await promise.then(
            () => undefined,
            (reason: unknown) => reason,
        );
        expect(error).to.be.instanceOf(NotRecoverable);
        return (error as Error).message;
    }
    const names = () => cluster.changes.map(([name]) => name);

    it("stay as they are when Helm can go on from them", async () => {
        await update({ revision: 1, status: "superseded" }, { revision: 2, digest: "right" });
        await update({ revision: 1, status: "failed" });
        await update({ revision: 2, status: "failed" }, { revision: 3, description: "Rollback to 1" });
        expect(cluster.changes).to.deep.equal([]);
        expect(said).to.deep.equal([]);
    });

    it("of a run that died end as failed, and what it did is taken back to the last good revision", async () => {
        const manifest =
            MANIFEST.replace("  name: api\nspec:\n  ports", "  name: api\n  annotations: {a: b}\nspec:\n  ports") +
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n" +
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: others}\n" +
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n" +
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-upgrade}}\n" +
            "---\napiVersion: gone.example/v1\nkind: Gone\nmetadata: {name: x}\n";
        cluster.objects.set(SERVICE, {
            apiVersion: "v1",
            kind: "Service",
            metadata: {
                name: "api",
                namespace: "demo",
                ...OWNED,
                annotations: { ...OWNED.annotations, a: "b", mine: "too" },
            },
            spec: { ports: [{ port: 80 }], clusterIP: "10.0.0.1" },
        });
        cluster.objects.set(DEPLOYMENT, {
            apiVersion: "apps/v1",
            kind: "Deployment",
            metadata: { name: "api", namespace: "demo", ...OWNED },
            spec: { replicas: 2 },
        });
        for (const name of ["new", "kept", "hook"])
            cluster.objects.set(`/api/v1/namespaces/demo/configmaps/${name}`, { metadata: { name, ...OWNED } });
        cluster.objects.set("/api/v1/namespaces/demo/configmaps/others", { metadata: { name: "others" } });

        await update({ revision: 1 }, { revision: 2, status: "pending-upgrade", manifest, digest: "right" });

        expect(names()).to.deep.equal([
            `PUT ${SECRETS}/sh.helm.release.v1.api.v2`,
            `PATCH ${SERVICE}`,
            "DELETE /api/v1/namespaces/demo/configmaps/new",
        ]);
        const marked = JSON.parse(cluster.changes[0]?.[1] ?? "") as RecordSecret;
        expect(marked.metadata.labels["status"]).to.equal("failed");
        expect(marked.metadata["resourceVersion"], "a change in between is noticed").to.equal("7");
        expect(decodeRecord(marked)).to.deep.include({ status: "failed", revision: 2 });
        expect(JSON.parse(cluster.changes[1]?.[1] ?? "")).to.deep.equal({ metadata: { annotations: { a: null } } });
        expect(said).to.deep.equal([
            'revision 2 was "pending-upgrade"; it is marked as failed',
            "taken back to revision 1: Service/api",
            "deleted, because revision 1 does not have it: ConfigMap/new",
        ]);
    });

    it("of an uninstall that was undone half-way are upgraded from", async () => {
        await update({ revision: 3, status: "uninstalled" });
        expect(names()).to.deep.equal([`PUT ${SECRETS}/sh.helm.release.v1.api.v3`]);
    });

    it("that somebody else's helm may be writing are left alone until twice its time-out is over", async () => {
        const foreign = { revision: 2, status: "pending-upgrade", deployedAt: "2026-11-22T11:47:00Z" };
        const message = await refusal(update({ revision: 1 }, foreign));
        expect(message).to.contain("a helm that is not this program's may be at work").and.to.contain("12:00:20.000Z");
        const reused = { ...foreign, digest: "0".repeat(64) };
        expect(await refusal(update({ revision: 1 }, reused)), "our digest, other objects").to.contain(
            "may be at work",
        );
        const touched = { ...foreign, deployedAt: "2026-11-22T09:00:00Z", labels: { modifiedAt: "1795348740" } };
        expect(await refusal(update({ revision: 1 }, touched)), "written a minute ago").to.contain("may be at work");
        expect(cluster.changes).to.deep.equal([]);
        await update({ revision: 1 }, { ...foreign, deployedAt: "2026-11-22T11:46:00Z" });
        expect(names()).to.deep.equal([`PUT ${SECRETS}/sh.helm.release.v1.api.v2`]);
    });

    it("that somebody else's helm was writing are put right at once when a person knows that it is dead", async () => {
        const foreign = { revision: 2, status: "pending-upgrade", deployedAt: "2026-11-22T11:59:00Z" };
        await run(recoverUpdate, [{ revision: 1 }, foreign], { force: true });
        expect(names()).to.deep.equal([`PUT ${SECRETS}/sh.helm.release.v1.api.v2`]);
    });

    it("are only looked at for a plan, which says the same", async () => {
        const dead = { revision: 2, status: "pending-upgrade", digest: "right" };
        await run(recoverUpdate, [{ revision: 1 }, dead], { planOnly: true });
        expect(cluster.changes).to.deep.equal([]);
        const planned = said.splice(0);
        await update({ revision: 1 }, dead);
        expect(said).to.deep.equal(planned);
        cluster.objects.set(DEPLOYMENT, { metadata: { name: "api", ...OWNED } });
        said.splice(0);
        cluster.changes.splice(0);
        await run(recoverCreate, [{ revision: 1, status: "pending-install", digest: "right" }], { planOnly: true });
        expect(cluster.changes).to.deep.equal([]);
        expect(said.join()).to.contain("Deployment/api");
    });

    it("that somebody changes at the same moment are left to them", async () => {
        cluster.refuseWrites = true;
        expect(await refusal(update({ revision: 1, status: "pending-upgrade", digest: "right" }))).to.contain(
            "answers 409: changed meanwhile",
        );
    });

    it("that are lost are replaced by one of what is there and the release's, or the namespace is said to be gone", async () => {
        cluster.objects.set(DEPLOYMENT, { metadata: { name: "api", ...OWNED } });
        cluster.objects.set(SERVICE, { metadata: { name: "api" } });
        await update();
        expect(names()).to.deep.equal([`POST ${SECRETS}`]);
        const written = JSON.parse(cluster.changes[0]?.[1] ?? "") as RecordSecret;
        const record = decodeRecord(written);
        expect(record).to.deep.include({ name: "api", namespace: "demo", revision: 1, status: "failed" });
        expect(record.objects.map(({ kind }) => kind)).to.deep.equal(["Deployment"]);
        expect(said.join()).to.contain("it gets one of what is there: Deployment/api");
        cluster.objects.delete("/api/v1/namespaces/demo");
        expect(await refusal(update()))
            .to.contain("the namespace demo is gone")
            .and.to.contain("pulumi refresh");
    });

    describe("when the stack knows no release", () => {
        it("are none, and nothing is done", async () => {
            await create();
            expect(cluster.changes).to.deep.equal([]);
        });

        it("of an install of this program that never ended go, with the objects that are the release's", async () => {
            cluster.objects.set(SERVICE, { metadata: { name: "api" } });
            cluster.objects.set(DEPLOYMENT, { metadata: { name: "api", ...OWNED } });
            await create({ revision: 1, status: "pending-install", digest: "right" });
            expect(names()).to.deep.equal([`DELETE ${DEPLOYMENT}`, `DELETE ${SECRETS}/sh.helm.release.v1.api.v1`]);
            expect(said).to.deep.equal([
                "an earlier install of api in namespace demo never came to an end (revision 1, pending-install)",
                "what it left behind is deleted: Deployment/api, Helm's record",
            ]);
        });

        it("of a release that was uninstalled go", async () => {
            await create({ revision: 1, status: "superseded" }, { revision: 2, status: "uninstalled" });
            expect(names()).to.have.length(2);
        });

        describe("and a run of it was killed when Helm was done", () => {
            const installed = { revision: 1, digest: "right", deployedAt: "2026-11-22T11:50:00.123456789Z" };
            const left: Lease = {
                ...{ stack: "dev", host: "ci-1", process: "42", since: "2026-11-22T11:49:59.000000Z" },
                ...{ renewed: "2026-11-22T11:50:10.000000Z", seconds: 15, stored: { metadata: { name: "x" } } },
            };

            it("only Helm's record goes, and what the release does not have any more; the rest serves on", async () => {
                const manifest = `${MANIFEST}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n`;
                for (const path of [DEPLOYMENT, SERVICE, "/api/v1/namespaces/demo/configmaps/old"])
                    cluster.objects.set(path, { metadata: OWNED });
                await run(recoverCreate, [{ ...installed, manifest }], {}, left);
                expect(names()).to.deep.equal([
                    "DELETE /api/v1/namespaces/demo/configmaps/old",
                    `DELETE ${SECRETS}/sh.helm.release.v1.api.v1`,
                ]);
                expect(said).to.deep.equal([
                    "api in namespace demo was installed by a run of stack dev on ci-1 (process 42), since 2026-11-22T11:49:59.000000Z, " +
                        "which was killed before Pulumi had noted it; its objects stay and are taken over, except ConfigMap/old",
                ]);
            });

            for (const [what, planted, lease] of [
                ["another stack", installed, { ...left, stack: "staging" }],
                ["a run before that", { ...installed, deployedAt: "2026-11-22T11:49:58Z" }, left],
                ["plain helm", { ...installed, digest: "0".repeat(64) }, left],
                ["a later upgrade", { ...installed, revision: 2 }, left],
            ] as const) {
                it(`what is of ${what} is not touched`, async () => {
                    expect(await refusal(run(recoverCreate, [planted], {}, lease))).to.contain("does not know it");
                    expect(cluster.changes).to.deep.equal([]);
                });
            }
        });

        for (const [what, planted] of [
            ["a deployed release", { revision: 4, digest: "right" }],
            ["a failed install by plain helm", { revision: 1, status: "failed" }],
        ] as const) {
            it(`are not touched when they are of ${what}`, async () => {
                const message = await refusal(create(planted));
                expect(message).to.contain("this stack does not know it");
                expect(message).to.contain("npx --no ml-api adopt api --namespace demo");
                expect(cluster.changes).to.deep.equal([]);
            });
        }
    });
});
