import { expect } from "chai";
import { setTimeout as sleep } from "node:timers/promises";
import { clearPendingCreates } from "../../cli/pending-creates";
import { openAccess } from "../../components/config/kubeconfig";
import { Checkout, type Ended, succeeded } from "./checkout";
import { HeldApi } from "./held-api";
import { KilledRun } from "./killed-run";
import { type Point, POINTS } from "./points";

const NAMESPACE = "mf-demo-dev";
const VALUES = "chart/environment/dev/values-dev.yaml";

type Signal = "SIGINT" | "SIGTERM" | "SIGKILL";

/** Each run of `pulumi up` is stopped at a point, and killed there; the next one puts everything right. */
describe("a run that is killed", function () {
    let checkout: Checkout;
    let api: HeldApi;
    let through: NodeJS.ProcessEnv;
    let edits = 0;

    before(async () => {
        const { ML_API_TEST_KUBECONFIG: kubeconfig, ML_API_CONTEXT: context = "" } = process.env;
        if (kubeconfig === undefined) throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        api = new HeldApi(await openAccess(undefined, process.env, 10_000));
        await api.start();
        checkout.write("held.yaml", api.kubeconfig(context));
        through = { KUBECONFIG: checkout.file("held.yaml") };
        for (const stack of ["dev", "staging"]) succeeded(await checkout.pulumi("stack", "init", stack));
        checkout.edit(VALUES, /^replicas: 1$/m, "service:\n  port: 8000\n\n$&");
        succeeded(await up());
    });
    afterEach(() => {
        api.drop();
    });
    after(async () => {
        api.stop();
        for (const stack of ["dev", "staging"]) {
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        checkout.remove();
    });

    for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const)
        for (const point of Object.keys(POINTS) as Point[])
            it(`by ${signal} ${point} is followed by one that ends well`, async () => {
                edit(point);
                await kill(signal, point);
                await converges();
            });

    it("alone, without what it has started, is followed by one that waits for that and ends well", async () => {
        edit("with Helm's record pending");
        const run = new KilledRun(checkout, ["up", "--yes", "--skip-preview", "--stack", "dev"], through);
        await run.until(api.holdAt(POINTS["with Helm's record pending"]()));
        run.signal("SIGKILL");
        await run.ended;
        api.open();
        succeeded(await checkout.pulumi("cancel", "--yes", "--stack", "dev"));
        await converges();
    });

    for (const point of ["with Helm's record pending", "waiting for pods", "after Helm's success"] as const)
        it(`by SIGKILL ${point} is followed by one that ends well, also when the edit was taken back meanwhile`, async () => {
            const before = checkout.read(VALUES);
            edit(point);
            await kill("SIGKILL", point);
            checkout.write(VALUES, before);
            await converges();
        });

    it("leaves nothing that the stack or the cluster would still have to change", async () => {
        succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "dev"));
    });

    describe("in a first install", () => {
        const place = ["-n", "mf-demo-staging"];

        it("after Helm's success is followed by one that takes over what serves, and touches no pod", async () => {
            await kill("SIGKILL", "after Helm's success", "staging");
            const pods = await checkout.kubectl(...place, "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}");
            expect(pods).not.to.equal("");
            const { text } = succeeded(await up("staging"));
            expect(text).to.contain("mf-demo in namespace mf-demo-staging was installed by a run of stack staging on ");
            expect(text).to.contain("which was killed before Pulumi had noted it; its objects stay and are taken over");
            expect(await checkout.kubectl(...place, "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}")).to.equal(
                pods,
            );
            const said: string[] = [];
            await clearPendingCreates("staging", process.env, (one) => said.push(one), checkout.root);
            expect(said).to.deep.equal(["a killed run had begun to make something; that is noted as done now"]);
            expect(await pendingOperations("staging")).to.deep.equal([]);
            succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "staging"));
            const events = await checkout.kubectl(...place, "get", "events", "-o", "jsonpath={.items[*].reason}");
            expect(events.split(" ")).to.contain("ReleaseRecovered");
        });
    });

    /** Something that the point needs: new pods where it waits for pods, else nothing that takes time. */
    function edit(point: Point): void {
        edits++;
        if (point === "waiting for pods") checkout.edit(VALUES, /memory: \d+Mi/, `memory: ${192 + edits}Mi`);
        else checkout.edit(VALUES, /port: \d+/, `port: ${8000 + edits}`);
    }

    async function kill(signal: Signal, point: Point, stack = "dev"): Promise<void> {
        // There is something to recover only after another death.
        if (point === "in the recovery") await kill("SIGKILL", "with Helm's record pending", stack);
        const run = new KilledRun(checkout, ["up", "--yes", "--skip-preview", "--stack", stack], through);
        await run.until(api.holdAt(POINTS[point]()));
        if (signal === "SIGKILL") {
            await run.killFamily();
            api.drop();
            const next = await up(stack);
            expect(next.code).not.to.equal(0);
            expect(next.text).to.contain("the stack is currently locked by 1 lock(s)").and.to.contain("pulumi cancel");
            succeeded(await checkout.pulumi("cancel", "--yes", "--stack", stack));
        } else {
            run.signal(signal);
            // The engine has heard it before Helm goes on.
            await sleep(300);
            api.open();
        }
        expect((await run.ended).code).not.to.equal(0);
    }

    async function converges(): Promise<void> {
        succeeded(await up());
        const port = /port: (\d+)/.exec(checkout.read(VALUES))?.[1];
        const memory = /memory: (\w+)/.exec(checkout.read(VALUES))?.[1];
        expect(await live("service", "{.spec.ports[0].port}")).to.equal(port);
        const requests = "{.spec.template.spec.containers[0].resources.requests.memory}";
        expect(await live("deployment", requests)).to.equal(memory);
        expect((await history()).at(-1)).to.match(/^\d+ deployed$/);
        expect(await checkout.kubectl("-n", NAMESPACE, "get", "leases", "-o", "name")).to.equal("");
        expect(await pendingOperations("dev")).to.deep.equal([]);
    }

    async function pendingOperations(stack: string): Promise<unknown[]> {
        const { stdout } = await checkout.pulumi("stack", "export", "--stack", stack);
        const { deployment } = JSON.parse(stdout) as { deployment: { pending_operations?: unknown[] } };
        return deployment.pending_operations ?? [];
    }

    function live(kind: string, path: string): Promise<string> {
        return checkout.kubectl("-n", NAMESPACE, "get", kind, "mf-demo", "-o", `jsonpath=${path}`);
    }

    function up(stack = "dev"): Promise<Ended> {
        return checkout.pulumi("up", "--yes", "--skip-preview", "--stack", stack);
    }

    async function history(): Promise<string[]> {
        const list = await checkout.kubectl(
            ...["-n", NAMESPACE, "get", "secrets", "-l", "owner=helm,name=mf-demo"],
            ...["-o", "jsonpath={range .items[*]}{.metadata.labels.version} {.metadata.labels.status}{'\\n'}{end}"],
        );
        return list.split("\n").sort((a, b) => parseInt(a) - parseInt(b));
    }
});
