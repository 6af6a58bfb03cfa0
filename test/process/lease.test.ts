import { expect } from "chai";
import { setTimeout as sleep } from "node:timers/promises";
import { Held, keepLease, type Pulse, readLease, removeLease } from "../../components/guarded-release/recover/lease";
import { fakeOrigin, type FakeOrigin } from "../unit/local-fakes";

const PULSE: Pulse = { beatMs: 40, durationSeconds: 0.4, requestMs: 1000, orphanMs: 200 };
const OWNER = { release: "api", namespace: "demo" };
const LIST = "/apis/coordination.k8s.io/v1/namespaces/demo/leases";

interface Stored {
    metadata: { name: string; uid: string; resourceVersion: string; annotations: Record<string, string> };
    spec: { holderIdentity: string; acquireTime: string; renewTime: string; leaseDurationSeconds: number };
}

/** An API server that knows one Lease, and the rules by which a change in between is noticed. */
class LeaseServer {
    lease: Stored | undefined;
    refusal: number | undefined;
    private version = 0;
    private origin: FakeOrigin | undefined;

    async start(): Promise<void> {
        this.origin = await fakeOrigin((request, response) => {
            let body = "";
            request.on("data", (chunk: Buffer) => (body += chunk.toString()));
            request.on("end", () => {
                const [status, answer] = this.answer(request.method ?? "", request.url ?? "", body);
                response.writeHead(status).end(JSON.stringify(answer ?? {}));
            });
        });
    }

    private answer(method: string, path: string, body: string): [number, object?] {
        if (this.refusal !== undefined) return [this.refusal];
        if (method === "POST" && path === LIST)
            return this.lease === undefined ? [201, this.store(JSON.parse(body) as Stored)] : [409];
        if (path !== `${LIST}/ml-api-api` || this.lease === undefined) return [404];
        if (method === "GET") return [200, this.lease];
        const sent = JSON.parse(body) as Stored & { preconditions?: { resourceVersion: string } };
        const version = sent.preconditions?.resourceVersion ?? sent.metadata.resourceVersion;
        if (version !== this.lease.metadata.resourceVersion) return [409];
        if (method === "PUT") return [200, this.store(sent)];
        this.lease = undefined;
        return [200];
    }

    store(lease: Stored): Stored {
        const metadata = { ...lease.metadata, uid: "u", resourceVersion: String(++this.version) };
        return (this.lease = { ...lease, metadata });
    }

    get access() {
        return { server: this.origin?.url ?? "" };
    }

    stop(): Promise<void> | undefined {
        return this.origin?.close();
    }
}

describe("the Lease of a release", () => {
    let server: LeaseServer;
    let said: string[];
    const keep = (pulse = PULSE) =>
        keepLease(server.access, OWNER, { stack: "dev", say: (text) => said.push(text), pulse });
    beforeEach(async () => {
        server = new LeaseServer();
        said = [];
        await server.start();
    });
    afterEach(() => server.stop());

    /** One that somebody on another machine has taken, and that was renewed so many milliseconds ago. */
    function others(ageMs: number): void {
        const time = new Date(Date.now() - ageMs).toISOString();
        server.store({
            metadata: { name: "ml-api-api", uid: "", resourceVersion: "", annotations: {} },
            spec: {
                holderIdentity: "staging/build-7/4711/aa",
                acquireTime: "2026-11-22T10:00:00.000000Z",
                renewTime: time,
                leaseDurationSeconds: 0.4,
            },
        });
    }

    async function refusal(kept: Promise<unknown>): Promise<string> {
        const error: unknown = await kept.catch((reason: unknown) => reason);
        expect(error).to.be.instanceOf(Held);
        return (error as Error).message;
    }

    it("is renewed while it is kept, names stack, machine and process, and is gone afterwards", async () => {
        const kept = await keep();
        const first = server.lease;
        expect(first?.spec.holderIdentity).to.match(new RegExp(`^dev/[^/]+/${process.pid}/[0-9a-f]{8}$`));
        expect(first?.spec.acquireTime).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
        await sleep(150);
        expect(server.lease?.spec.renewTime).not.to.equal(first?.spec.renewTime);
        expect(server.lease?.spec.acquireTime).to.equal(first?.spec.acquireTime);
        await kept.release();
        expect(server.lease).to.equal(undefined);
        expect(said).to.deep.equal([]);
    });

    it("that still beats refuses the next run, with who and since when", async () => {
        others(0);
        const beats = setInterval(() => {
            if (server.lease !== undefined)
                server.store({
                    ...server.lease,
                    spec: { ...server.lease.spec, renewTime: new Date().toISOString() },
                });
        }, 40);
        const message = await refusal(keep()).finally(() => {
            clearInterval(beats);
        });
        expect(message)
            .to.contain("a run of stack staging on build-7 (process 4711), since 2026-11-22T10:00:00.000000Z")
            .and.to.contain("nothing was changed")
            .and.to.contain("npx --no ml-api recover dev --force");
        expect(server.lease?.spec.holderIdentity).to.contain("staging/");
    });

    it("that no longer beats is taken over, when its time is over, and told of", async () => {
        others(0);
        const began = Date.now();
        const kept = await keep();
        expect(Date.now() - began).to.be.within(300, 900);
        expect(kept.before).to.deep.include({ stack: "staging", host: "build-7", process: "4711" });
        expect((await readLease(server.access, OWNER, 1000))?.unnotedSince, "another stack's").not.to.contain(
            "T10:00:00",
        );
        expect(said.join()).to.contain("has not said that it ended: waiting up to 1 s for a sign of life");
        expect(server.lease?.spec.holderIdentity).to.match(/^dev\//);
        await kept.release();
    });

    it("still tells when the first of several dead runs of the stack began, and is left when nothing could be put right", async () => {
        others(0);
        if (server.lease !== undefined) server.lease.spec.holderIdentity = "dev/build-7/4711/aa";
        const kept = await keep();
        await kept.leave();
        const left = await readLease(server.access, OWNER, 1000);
        expect(left?.since).not.to.equal("2026-11-22T10:00:00.000000Z");
        expect(left?.unnotedSince).to.equal("2026-11-22T10:00:00.000000Z");
    });

    it("of a clock that goes wrong is watched all the same", async () => {
        others(600_000);
        const beats = setInterval(() => {
            others(600_000 - Math.random() * 1000);
        }, 20);
        await refusal(keep()).finally(() => {
            clearInterval(beats);
        });
    });

    it("of a process of this machine that is dead needs no waiting", async function () {
        if (process.platform !== "linux") this.skip();
        (await keep({ ...PULSE, beatMs: 60_000 })) satisfies object;
        const mine = server.lease;
        if (mine === undefined) throw new Error("there is no Lease");
        const dead = mine.metadata.annotations["ml-api/processes"]?.replace(/:\d+/g, ":1") ?? "";
        expect(dead).to.contain(`${process.pid}:1`);
        server.store({
            ...mine,
            metadata: { ...mine.metadata, annotations: { ...mine.metadata.annotations, "ml-api/processes": dead } },
        });
        const began = Date.now();
        const kept = await keep({ ...PULSE, durationSeconds: 60 });
        expect(Date.now() - began).to.be.below(200);
        expect(said).to.deep.equal([]);
        await kept.release();
    });

    it("of a run that is dead while something that it started lives on this machine is waited for, then refuses", async function () {
        if (process.platform !== "linux") this.skip();
        (await keep({ ...PULSE, beatMs: 60_000 })) satisfies object;
        const began = Date.now();
        expect(await refusal(keep()))
            .to.contain("is dead, but on this machine live processes that it had started (")
            .and.to.match(new RegExp(`or end them: kill [\\d ]*\\b${process.pid}\\b`));
        expect(Date.now() - began).to.be.greaterThan(550);
    });

    it("that may not be written is said once, and holds nobody up", async () => {
        server.refusal = 403;
        const kept = await keep();
        await kept.release();
        expect(said).to.deep.equal([
            "no Lease is kept in namespace demo (the credentials may not read and write Leases there): runs with another Pulumi back end are not seen",
        ]);
        server.refusal = 500;
        await keep();
        expect(said.at(-1)).to.contain("answers 500");
    });

    it("that was taken over by force is left to its new holder", async () => {
        const kept = await keep();
        others(0);
        await sleep(150);
        expect(said).to.deep.equal([
            "the Lease of this run was taken over by a run of stack staging on build-7 (process 4711), since 2026-11-22T10:00:00.000000Z",
        ]);
        await kept.release();
        const left = await readLease(server.access, OWNER, 1000);
        expect(left?.host).to.equal("build-7");
        if (left !== undefined) await removeLease(server.access, OWNER, left, 1000);
        expect(server.lease).to.equal(undefined);
    });
});
