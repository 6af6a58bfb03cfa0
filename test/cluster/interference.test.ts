import { expect } from "chai";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openAccess } from "../../components/config/kubeconfig";
import { isAlive, listProcesses } from "../../local/processes";
import { lentCluster, type LentCluster } from "../lent-cluster";
import { Checkout, type Ended, succeeded } from "./checkout";
import { HeldApi } from "./held-api";
import { KilledRun } from "./killed-run";
import { isHelm, type Point, POINTS } from "./points";

const NAMESPACE = "mf-demo-dev";
const VALUES = "chart/environment/dev/values-dev.yaml";

/** What others do while a run is at work or dead, and what an API server does that is not well; the next run always converges. */
describe("a run that is disturbed", function () {
    let lent: LentCluster;
    let checkout: Checkout;
    let api: HeldApi;
    let through: NodeJS.ProcessEnv;
    let edits = 0;

    before(async () => {
        // One of its own: its API server dies, and its etcd is halted.
        lent = lentCluster();
        const env = await lent.get();
        checkout = new Checkout(env);
        api = new HeldApi(await openAccess(undefined, env, 10_000));
        await api.start();
        checkout.write("held.yaml", api.kubeconfig(env["ML_API_CONTEXT"] ?? ""));
        through = { KUBECONFIG: checkout.file("held.yaml") };
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        succeeded(await up());
    });
    beforeEach(edit);
    afterEach(() => {
        api.drop();
    });
    after(async () => {
        api.stop();
        checkout.remove();
        await lent.giveBack();
    });

    it("by a second one with the same back end: that one is told of the lock, and the first ends well", async () => {
        const first = await heldRun("waiting for pods");
        const second = await up();
        expect(second.code).not.to.equal(0);
        expect(second.text).to.contain("the stack is currently locked by 1 lock(s)").and.to.contain("pulumi cancel");
        api.open();
        expect((await first.ended).code).to.equal(0);
        await converges();
    });

    it("by a second one with another back end: that one is told of the Lease, and the first ends well", async () => {
        const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-backend-"));
        const env = { PULUMI_BACKEND_URL: `file://${folder}` };
        const other = (...args: string[]) =>
            checkout.run("pulumi", [...args, "--stack", "dev", "--non-interactive"], { env });
        try {
            const { stdout } = succeeded(await checkout.pulumi("stack", "export", "--stack", "dev"));
            checkout.write("state.json", stdout);
            succeeded(await checkout.run("pulumi", ["stack", "init", "dev", "--non-interactive"], { env }));
            succeeded(await other("stack", "import", "--file", checkout.file("state.json")));
            const first = await heldRun("waiting for pods");
            const second = await other("up", "--yes", "--skip-preview");
            expect(second.code).not.to.equal(0);
            expect(second.text).to.match(
                /mf-demo in namespace mf-demo-dev is being worked on by a run of stack dev on \S+ \(process \d+\), since 20\S+; nothing was changed/,
            );
            expect(second.text).to.contain("If you know that it is dead: npx --no ml-api recover dev --force");
            expect(second.text).not.to.match(/^\s+at .*[:(]\d+:\d+\)?$/m);
            api.open();
            expect((await first.ended).code).to.equal(0);
            await converges();
        } finally {
            fs.rmSync(folder, { recursive: true, force: true });
        }
    });

    it("by a kill, and then by somebody's helm rollback", async () => {
        await kill("with Helm's record pending");
        const args = ["rollback", "mf-demo", "--namespace", NAMESPACE, "--kube-context", context()];
        succeeded(await checkout.run("helm", args));
        await converges();
    });

    it("by a kill, and then by the loss of all of Helm's records", async () => {
        await kill("with Helm's record pending");
        // An item of a list that merges by this very number.
        checkout.edit(VALUES, /^replicas:/m, "service:\n  port: 8000\n\n$&");
        await checkout.kubectl("-n", NAMESPACE, "delete", "secrets", "-l", "owner=helm,name=mf-demo");
        const { text } = await converges();
        expect(text).to.contain("Helm has no record of mf-demo in namespace mf-demo-dev any more");
        expect(text).to.match(/it gets one of what is there: .*Deployment\/mf-demo/);
        const ports = ["get", "service", "mf-demo", "-o", "jsonpath={.spec.ports[*].port}"];
        expect(await checkout.kubectl("-n", NAMESPACE, ...ports)).to.equal("8000");
    });

    it("by an etcd that stands still for a second, again and again", async () => {
        const etcd = partOf("etcd");
        const run = new KilledRun(checkout, ["up", "--yes", "--skip-preview", "--stack", "dev"]);
        for (let burst = 0; burst < 6; burst++) {
            process.kill(etcd, "SIGSTOP");
            await sleep(1000);
            process.kill(etcd, "SIGCONT");
            await sleep(700);
        }
        const { code, text } = await run.ended;
        expect(code, text).to.equal(0);
        await converges();
    });

    it("by the death of the API server, which comes back", async () => {
        const first = await heldRun("waiting for pods");
        const server = partOf("kube-apiserver");
        const [program = "", ...args] = listProcesses().find(({ pid }) => pid === server)?.argv ?? [];
        process.kill(server, "SIGKILL");
        api.open();
        while (isAlive(server)) await sleep(50);
        await sleep(3000);
        spawn(program, args, { detached: true, stdio: "ignore" }).unref();
        const { code, text } = await first.ended;
        if (code !== 0) expect(text).to.match(/refused|EOF|reset|not (?:be )?reach|shutting down/);
        await ready();
        await converges();
    });

    it("by the end of its namespace: it says so, and a refresh brings all of it back", async () => {
        await checkout.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s");
        const told = await up();
        expect(told.code).not.to.equal(0);
        expect(told.text).to.contain("the namespace mf-demo-dev is gone, with everything in it: `pulumi refresh`");
        succeeded(await up("--refresh"));
        await converges();
    });

    function edit(): void {
        edits++;
        checkout.edit(VALUES, /memory: \d+Mi/, `memory: ${192 + edits}Mi`);
    }

    /** One that stands still while its Lease goes on. */
    async function heldRun(point: Point): Promise<KilledRun> {
        const run = new KilledRun(checkout, ["up", "--yes", "--skip-preview", "--stack", "dev"], through);
        await run.until(api.holdAt(POINTS[point](), isHelm));
        return run;
    }

    async function kill(point: Point): Promise<void> {
        const run = await heldRun(point);
        await run.killFamily();
        api.drop();
        succeeded(await checkout.pulumi("cancel", "--yes", "--stack", "dev"));
    }

    async function converges(): Promise<Ended> {
        const ended = succeeded(await up());
        const memory = /memory: (\w+)/.exec(checkout.read(VALUES))?.[1];
        const { status } = await checkout
            .pulumi("stack", "output", "--json", "--stack", "dev")
            .then(({ stdout }) => JSON.parse(stdout) as { status: string });
        expect(status).to.equal("deployed");
        const path = "{.spec.template.spec.containers[0].resources.requests.memory}";
        const live = ["get", "deployment", "mf-demo", "-o", `jsonpath=${path}`];
        expect(await checkout.kubectl("-n", NAMESPACE, ...live)).to.equal(memory);
        expect(await checkout.kubectl("-n", NAMESPACE, "get", "leases", "-o", "name")).to.equal("");
        return ended;
    }

    /** Number of the process of this test's own control plane. */
    function partOf(name: string): number {
        const folder = path.dirname(checkout.env["KUBECONFIG"] ?? "");
        const found = listProcesses().filter(
            ({ argv }) => path.basename(argv[0] ?? "") === name && argv.some((word) => word.includes(folder)),
        );
        if (found.length !== 1) throw new Error(`${found.length} processes are ${name} of ${folder}`);
        return found[0]?.pid ?? 0;
    }

    async function ready(): Promise<void> {
        const until = Date.now() + 60_000;
        while ((await checkout.run("kubectl", ["get", "--raw", "/readyz"])).code !== 0) {
            if (Date.now() > until) throw new Error("the API server did not come back");
            await sleep(500);
        }
    }

    function context(): string {
        return checkout.env["ML_API_CONTEXT"] ?? "";
    }

    function up(...args: string[]): Promise<Ended> {
        return checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev", ...args);
    }
});
