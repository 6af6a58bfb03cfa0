import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { parse } from "yaml";
import { isValues, type Values } from "../../components/config/values";
import { findCanary } from "./canary";
import { Checkout, type Ended as Run, succeeded } from "./checkout";
import type { Ended, LoadSettings } from "./load";
import { deployingTo, eventually, ownNode, type OwnNode, skipWithoutNode } from "./own-node";

const NAMESPACE = "mf-demo-dev";
const VALUES = "chart/environment/dev/values-dev.yaml";
/** Requests a second with one key. */
const PER_SECOND = 10;

/** Requests with one key, until they are ended. */
interface Load {
    readonly records: readonly Ended[];
    /** The kinds of what was not answered with 200, and how many of each. */
    readonly end: () => Promise<Readonly<Record<string, number>>>;
}

/** The whole rotation with the command and the engine, on pods that serve: who has a valid key loses nothing, whoever else is refused. */
describe("ml-api rotate-key, on the local node", function () {
    this.timeout(300_000);
    let node: OwnNode | undefined;
    let checkout: Checkout | undefined;
    let learnInTime: () => void = () => undefined;
    const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-rotate-"));
    /** What anybody may see, by where. */
    const seen = new Map<string, string>();
    let keys: readonly string[] = [];

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        node = await ownNode("rotate-key test", "load");
        checkout = Checkout.whole(await deployingTo(node.info, stateDir));
        checkout.write(VALUES, checkout.read(VALUES).replace(/tag: .*/, `tag: "${node.image.tag}"`));
        // None is told to come back later, also where the machine is busy with other things.
        checkout.edit(VALUES, /^api:$/m, "api:\n  maxConcurrentRequests: 64");
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
        learnInTime = await node.learnLate(4);
    });
    after(async () => {
        learnInTime();
        await node?.down();
        checkout?.remove();
        fs.rmSync(stateDir, { recursive: true, force: true });
    });

    const work = (): Checkout => {
        if (checkout === undefined) throw new Error("no checkout");
        return checkout;
    };
    const rotate = async (...options: string[]): Promise<Run> => {
        const ended = succeeded(await work().run("cli/ml-api.js", ["rotate-key", "dev", "--yes", ...options]));
        seen.set(["rotate-key", ...options].join(" "), ended.text);
        return ended;
    };
    const kubectl = (...args: string[]): Promise<string> => work().kubectl("-n", NAMESPACE, ...args);
    async function keysOf(secret: string): Promise<readonly string[]> {
        const text = await kubectl("get", "secret", secret, "-o", "go-template={{.data.keys | base64decode}}");
        return text.split("\n").filter((key) => key !== "");
    }

    async function load(key: string): Promise<Load> {
        const host = await kubectl("get", "service", "mf-demo", "--output", "jsonpath={.spec.clusterIP}");
        const { verify } = parse(work().read(VALUES)) as Values;
        const body = JSON.stringify(isValues(verify) ? verify["sample"] : undefined);
        const settings: LoadSettings = {
            url: `http://${host}:80`,
            path: "/predict",
            key,
            short: { perSecond: PER_SECOND, bodies: [body], seconds: 30 },
            long: { perSecond: 1, bodies: [body], seconds: 30 },
        };
        const child = await node?.start(path.join(__dirname, "load.ts"), JSON.stringify(settings));
        const stdout = child?.stdout ?? undefined;
        if (child === undefined || stdout === undefined) throw new Error("no load");
        const records: Ended[] = [];
        createInterface(stdout).on("line", (line) => {
            records.push(JSON.parse(line) as Ended);
        });
        await eventually(() => (records.length > 10 ? Promise.resolve() : Promise.reject(new Error("no answers"))));
        return { records, end: () => ended(child, records) };
    }

    async function ended(child: ChildProcess, records: readonly Ended[]): Promise<Readonly<Record<string, number>>> {
        const closed = new Promise((resolve) => {
            child.on("close", resolve);
        });
        child.stdin?.end();
        await Promise.race([closed, sleep(40_000)]);
        child.kill("SIGKILL");
        const failed: Record<string, number> = {};
        for (const { failure } of records) if (failure !== undefined) failed[failure] = (failed[failure] ?? 0) + 1;
        return failed;
    }

    /** Holds for a load: it went on the whole time, and nothing of it was lost. */
    async function lostNothing({ records, end }: Load, seconds: number): Promise<void> {
        const failed = await end();
        process.stdout.write(
            `    ${records.length} requests in ${seconds.toFixed(0)} s, lost ${JSON.stringify(failed)}\n`,
        );
        expect(failed).to.deep.equal({});
        expect(records.length).to.be.at.least(PER_SECOND * seconds * 0.95);
    }

    /** What `ml-api logs` has printed, which goes on until it is ended. */
    async function followedLogs(): Promise<string> {
        const { root, env } = work();
        const child = spawn(path.join(root, "cli", "ml-api.js"), ["logs", "dev"], { cwd: root, env });
        const closed = new Promise((resolve) => child.on("close", resolve));
        let text = "";
        child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        const shown = (): Promise<void> =>
            text.includes("/predict") ? Promise.resolve() : Promise.reject(new Error(`ml-api logs says: ${text}`));
        await eventually(shown).finally(() => child.kill("SIGTERM"));
        await closed;
        return text;
    }

    it("makes both keys valid, and whoever has the old one loses no request", async () => {
        const [old = ""] = await keysOf("mf-demo-key-1");
        const using = await load(old);
        const began = performance.now();
        const { text } = await rotate();
        const seconds = (performance.now() - began) / 1000;
        expect(text).to.contain("key 2 is accepted (200)").and.to.contain("key 1 is accepted (200)");
        keys = await keysOf("mf-demo-key-2-with-1");
        expect(keys).to.have.lengthOf(2);
        expect(keys[1]).to.equal(old);
        await lostNothing(using, seconds);
    });

    it("takes the old key away, and whoever has the new one loses no request", async () => {
        const [fresh = ""] = keys;
        const using = await load(fresh);
        const began = performance.now();
        const { text } = await rotate("--finish");
        const seconds = (performance.now() - began) / 1000;
        expect(text).to.contain("key 2 is accepted (200)").and.to.contain("key 1 is refused (401)");
        await lostNothing(using, seconds);
        expect(await keysOf("mf-demo-key-2")).to.deep.equal([fresh]);
    });

    it("lets nobody in with the old key any more", async () => {
        const using = await load(keys[1] ?? "");
        const failed = await using.end();
        expect(failed).to.deep.equal({ "status 401": using.records.length });
    });

    it("shows no key: not in what it says, in the logs of the pods, in their metrics or in what a person is told", async () => {
        const ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/metrics').read().decode())";
        seen.set("metrics", await kubectl("exec", "deploy/mf-demo", "--", "/opt/venv/bin/python", "-c", ask));
        expect(seen.get("metrics")).to.contain("# HELP");
        const selector = "app.kubernetes.io/instance=mf-demo";
        seen.set("logs", await kubectl("logs", "--selector", selector, "--tail=-1"));
        expect(seen.get("logs")).to.contain("/predict");
        seen.set("ml-api logs", await followedLogs());
        seen.set("events", await kubectl("get", "events", "-o", "json"));
        seen.set("objects", await kubectl("get", "all,networkpolicies,configmaps,leases", "-o", "json"));
        for (const command of [["status"], ["status", "--json"], ["drift"], ["rotate-key", "--status"], ["rollback"]]) {
            const [name = "", ...options] = command;
            seen.set(command.join(" "), (await work().run("cli/ml-api.js", [name, "dev", ...options])).text);
        }
        for (const key of keys) {
            for (const [where, text] of seen) expect(findCanary(key, text), where).to.equal(undefined);
            expect(findCanary(key, `a ${key} b`)).to.equal("plain");
        }
    });
});
