import { expect } from "chai";
import { type ChildProcess, spawn } from "node:child_process";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pythonEnvironment } from "../../local/python";
import { applyLoad, type Ended } from "../cluster/load";
import { containerIn, deploymentIn, environmentOf, merged, renderObjects, smallest } from "./helm";

/** Everything happens so many times faster than in a cluster. */
const speed = 5;
const requestTimeoutSeconds = 10;
/** A cluster's nodes learn of a pod's end so much later, at worst; most take a second. */
const lateSeconds = 5;

interface Server {
    readonly process: ChildProcess;
    readonly port: number;
    /** The exit code. */
    readonly ended: Promise<number | null>;
}

/**
 * The end of pods without a cluster: real servers with the chart's times, a router between them and the load that hears late of
 * a pod's end as a node's does, and what the kubelet does to a pod: wait for preStop, then SIGTERM. The real thing is
 * test/cluster/rollouts.test.ts.
 */
describe("chart: a pod's end, with real servers and without a cluster", function () {
    this.timeout(120_000);
    const pod = deploymentIn(renderObjects(merged(smallest, { api: { requestTimeoutSeconds } }))).spec.template;
    const container = containerIn(pod);
    const preStop = container.lifecycle?.preStop.sleep.seconds ?? 0;
    const variables = environmentOf(container);
    let python: string;
    const processes: ChildProcess[] = [];

    before(async function () {
        this.timeout(900_000);
        const requirements = path.join(__dirname, "../../examples/mf-demo/requirements-test.txt");
        python = await pythonEnvironment(requirements, { log: () => undefined });
    });
    after(() => {
        for (const child of processes) child.kill("SIGKILL");
    });

    const faster = (seconds: string | undefined): string => String(Number(seconds) / speed);
    /** The chart's arguments with their times made shorter. */
    const gunicornArguments = (variables["GUNICORN_CMD_ARGS"] ?? "").replace(/(?<=timeout )\d+/g, faster);
    const servers: Readonly<Record<string, (port: number) => readonly string[]>> = {
        uvicorn: (port) => ["uvicorn", "drained_app:app", "--host", "127.0.0.1", "--port", String(port)],
        gunicorn: (port) => ["gunicorn", "drained_app:wsgi", "--threads", "64", "--bind", `127.0.0.1:${port}`],
    };

    async function start(kind: string, name: string): Promise<Server> {
        const port = await freePort();
        const args = ["-m", ...(servers[kind]?.(port) ?? [])];
        const child = spawn(python, args, {
            cwd: __dirname,
            env: {
                PATH: process.env.PATH,
                PYTHONDONTWRITEBYTECODE: "1",
                POD: name,
                UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: faster(variables["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"]),
                UVICORN_TIMEOUT_KEEP_ALIVE: variables["UVICORN_TIMEOUT_KEEP_ALIVE"],
                GUNICORN_CMD_ARGS: gunicornArguments,
            },
            stdio: "ignore",
        });
        processes.push(child);
        const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
        for (let attempt = 0; !(await answers(port)); attempt++) {
            if (attempt > 400) throw new Error(`${kind} does not answer`);
            await sleep(50);
        }
        return { process: child, port, ended };
    }

    /** A pod serves, another one comes, the first one goes after a pause of so many seconds. */
    async function rollout(kind: string, pause: number): Promise<{ lost: Ended[]; requests: number; cut: number }> {
        const [old, successor] = await Promise.all([start(kind, "old"), start(kind, "new")]);
        let table = [old.port];
        const router = await routerTo(() => table);
        const records: Ended[] = [];
        // Half of what it may take: everything runs on the same few cores, and is slower than it should be.
        const longest = requestTimeoutSeconds / speed / 2;
        const end = applyLoad(
            {
                url: `http://127.0.0.1:${router.port}`,
                path: "/predict",
                key: "",
                short: { perSecond: 30, bodies: ["0", "0.02"], seconds: 30 },
                long: { perSecond: 6, bodies: [String(longest)], seconds: 30 },
            },
            (ended) => records.push(ended),
        );
        // Until kept connections lead to the old one; some go on doing so until its end.
        await sleep(1000);
        table = [old.port, successor.port];
        const told = sleep((lateSeconds / speed) * 1000).then(() => (table = [successor.port]));
        await sleep((pause / speed) * 1000);
        const sigterm = Date.now();
        old.process.kill("SIGTERM");
        await Promise.all([old.ended, told]);
        await end();
        router.close();
        successor.process.kill("SIGKILL");
        const cut = records.filter(
            ({ share, pod: by, began, ended }) =>
                share === "long" && by === "old" && began < sigterm && ended > sigterm,
        ).length;
        return { lost: records.filter(({ failure }) => failure !== undefined), requests: records.length, cut };
    }

    for (const kind of Object.keys(servers)) {
        it(`loses nothing with the chart's times, and something without the pause: ${kind}`, async () => {
            const [chart, control] = await Promise.all([rollout(kind, preStop), rollout(kind, 0)]);
            expect(chart.lost, `of ${chart.requests} requests`).to.deep.equal([]);
            expect(chart.requests).to.be.at.least(100);
            expect(chart.cut, "long requests that were finished after SIGTERM").to.be.at.least(1);
            expect(control.lost.length, `of ${control.requests} requests without preStop`).to.be.at.least(1);
        });
    }
});

/** Gives each connection to one of the ports of the moment, as a Service does, and keeps it there. */
async function routerTo(ports: () => readonly number[]): Promise<{ port: number; close: () => void }> {
    let next = 0;
    const server = net.createServer({ noDelay: true }, (from) => {
        const table = ports();
        const to = net.connect({ host: "127.0.0.1", port: table[next++ % table.length] ?? 0, noDelay: true });
        from.pipe(to).pipe(from);
        // A refusal or a reset reaches the client as one.
        to.on("error", () => from.resetAndDestroy());
        from.on("error", () => to.resetAndDestroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { port: (server.address() as net.AddressInfo).port, close: () => server.close() };
}

async function freePort(): Promise<number> {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as net.AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
}

/** A server may listen long before it answers. */
function answers(port: number): Promise<boolean> {
    return fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "0" }).then(
        ({ ok }) => ok,
        () => false,
    );
}
