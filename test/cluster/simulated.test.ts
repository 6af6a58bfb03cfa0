import { spawn } from "node:child_process";
import {
    existsSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    readlinkSync,
    rmSync,
    statSync,
    writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { clusterContext, type ClusterContext, type ClusterInfo } from "../../local/clusters/cluster";
import { createSimulatedCluster, simulatedCluster } from "../../local/clusters/simulated";
import { freePorts } from "../../local/ports";
import { isAlive, killAll, listProcesses } from "../../local/processes";
import { run } from "../../local/run";
import { ensureTools } from "../../local/tools";
import { itThoroughly } from "../thorough";

/** A real control plane, started and stopped for real, in a place of its own. Needs the tools of local/tools. */
describe("the simulated cluster", function () {
    this.timeout(180_000);

    let root: string;
    let context: ClusterContext;
    let kubectlPath: string;
    const lines: string[] = [];

    before(async () => {
        const tools = await ensureTools(["kubectl"], { log: () => undefined });
        kubectlPath = tools.kubectl.path;
    });

    beforeEach(() => {
        root = mkdtempSync(join(tmpdir(), "ml-api-simulated-"));
        lines.length = 0;
        context = clusterContext({
            stateDir: join(root, "state"),
            instance: "test",
            log: (line) => {
                lines.push(line);
            },
        });
    });

    afterEach(async () => {
        await simulatedCluster.down(context);
        rmSync(root, { recursive: true, force: true });
    });

    it("starts, runs Deployments and Jobs, says that pods do not serve, and leaves nothing behind", async () => {
        const before = census(root);
        const info = await simulatedCluster.up(context);

        expect(info).to.include({ kind: "simulated", podsServe: false });
        expect(lines.join("\n")).to.contain("No pod runs, no request is answered");
        expect(statSync(info.kubeconfig).mode & 0o777, "kubeconfig mode").to.equal(0o600);
        expect(listeners(), "addresses other than loopback").to.deep.equal([]);

        await kubectl(info, "create", "deployment", "api", "--image=nowhere.invalid/api:1", "--replicas=2");
        await kubectl(info, "rollout", "status", "deployment/api", "--timeout=30s");
        await kubectl(info, "create", "job", "check", "--image=nowhere.invalid/check:1");
        await kubectl(info, "wait", "--for=condition=complete", "job/check", "--timeout=30s");
        const version = JSON.parse(await kubectl(info, "version", "--output=json")) as {
            serverVersion: { gitVersion: string };
        };
        expect(version.serverVersion.gitVersion).to.match(/^v1\.34\./);

        await simulatedCluster.down(context);
        expect(census(root)).to.deep.equal(before);
        await simulatedCluster.down(context);
    });

    it("finds in less than two seconds that it is up already", async () => {
        const first = await simulatedCluster.up(context);
        const running = pids();
        const started = Date.now();
        const second = await simulatedCluster.up(context);
        expect(Date.now() - started).to.be.below(2000);
        expect(second).to.deep.equal(first);
        expect(pids()).to.deep.equal(running);
        expect(await simulatedCluster.status(context)).to.deep.equal({ state: "up", info: first });
    });

    for (const part of ["etcd", "kube-apiserver", "kube-controller-manager", "kwok-controller"]) {
        itThoroughly(`comes back with what was deployed after its ${part} was killed`, async () => {
            const info = await simulatedCluster.up(context);
            await kubectl(info, "create", "configmap", "kept");
            killAll(
                ownProcesses()
                    .filter(({ argv }) => (argv[0] ?? "").endsWith(`/${part}`))
                    .map(({ pid }) => pid),
            );
            await sleep(100);
            expect((await simulatedCluster.status(context)).state).to.equal("broken");

            const again = await simulatedCluster.up(context);
            expect(await kubectl(again, "get", "configmap", "kept", "--output=name")).to.equal("configmap/kept\n");
            await kubectl(again, "create", "deployment", "after", "--image=nowhere.invalid/api:1");
            await kubectl(again, "rollout", "status", "deployment/after", "--timeout=30s");
        });
    }

    itThoroughly("takes other ports when, after everything was killed, somebody else has one of its own", async () => {
        const info = await simulatedCluster.up(context);
        await kubectl(info, "create", "configmap", "kept");
        const killed = pids();
        killAll(killed);
        while (killed.some(isAlive)) await sleep(20);
        const thief = createServer();
        await new Promise<void>((resolve) => thief.listen(Number(new URL(info.server).port), "127.0.0.1", resolve));
        try {
            const again = await simulatedCluster.up(context);
            expect(again.server).not.to.equal(info.server);
            expect(await kubectl(again, "get", "configmap", "kept", "--output=name")).to.equal("configmap/kept\n");
        } finally {
            thief.close();
        }
    });

    itThoroughly("tries other ports when somebody takes one between the choice and the start", async () => {
        const thief = createServer();
        await new Promise<void>((resolve) => thief.listen(0, "127.0.0.1", resolve));
        const address = thief.address();
        const taken = typeof address === "object" && address !== null ? address.port : 0;
        let asked = 0;
        const cluster = createSimulatedCluster({
            tools: () =>
                ensureTools(
                    [
                        "kwokctl",
                        "kwok",
                        "etcd",
                        "kube-apiserver",
                        "kube-controller-manager",
                        "kube-scheduler",
                        "kubectl",
                    ],
                    { log: () => undefined },
                ),
            freePorts: async (count, seed) => {
                asked += 1;
                const ports = await freePorts(count, seed);
                return asked === 1 ? [taken, ...ports.slice(1)] : ports;
            },
        });
        try {
            const started = Date.now();
            await cluster.up(context);
            expect(asked).to.equal(2);
            expect(Date.now() - started).to.be.below(60_000);
        } finally {
            thief.close();
        }
    });

    itThoroughly("starts anew over a creation that was killed half-way, whose parts go on starting", async () => {
        const script = `require("ts-node/register/transpile-only");
            const { simulatedCluster } = require("./local/clusters/simulated");
            const { clusterContext } = require("./local/clusters/cluster");
            simulatedCluster.up(clusterContext({ stateDir: ${JSON.stringify(context.stateDir)}, instance: "test" }));`;
        const starter = spawn(process.execPath, ["-e", script], { cwd: process.cwd(), stdio: "ignore" });
        while (ownProcesses().length < 3) await sleep(20);
        killAll([starter.pid ?? 0]);
        const status = await simulatedCluster.status(context);
        expect(status).to.deep.equal({ state: "broken", reason: "its creation did not end" });

        const info = await simulatedCluster.up(context);
        expect(await kubectl(info, "get", "nodes", "--output=name")).to.equal("node/node-000000\nnode/node-000001\n");
        expect(ownProcesses()).to.have.length(5);
    });

    it("never ends a process whose number a stale file names", async () => {
        const info = await simulatedCluster.up(context);
        const bystander = spawn("sleep", ["60"]);
        try {
            const folder = join(context.stateDir, "simulated", "clusters", "ml-api", "pids");
            killAll(pids());
            for (const name of readdirSync(folder)) {
                writeFileSync(join(folder, name), String(bystander.pid));
            }
            await simulatedCluster.up(context);
            expect(info.kind).to.equal("simulated");
            await simulatedCluster.down(context);
            expect(isAlive(bystander.pid ?? 0)).to.equal(true);
        } finally {
            bystander.kill("SIGKILL");
        }
    });

    function ownProcesses(): readonly { pid: number; argv: readonly string[] }[] {
        return listProcesses().filter(
            ({ argv }) => (argv[0] ?? "").startsWith(root) || (argv[0] ?? "").endsWith("kwokctl"),
        );
    }

    function pids(): readonly number[] {
        return ownProcesses().map(({ pid }) => pid);
    }

    /** Sockets of this cluster that more than this machine could reach. */
    function listeners(): readonly string[] {
        if (process.platform !== "linux") return [];
        const own = new Set(pids().flatMap((pid) => socketsOf(pid)));
        return ["tcp", "tcp6"].flatMap((table) =>
            readFileSync(`/proc/net/${table}`, "utf8")
                .trim()
                .split("\n")
                .slice(1)
                .map((line) => line.trim().split(/\s+/))
                .filter((fields) => fields[3] === "0A" && own.has(fields[9] ?? ""))
                .map((fields) => fields[1] ?? "")
                .filter((address) => !address.startsWith("0100007F:")),
        );
    }

    function socketsOf(pid: number): readonly string[] {
        return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
            try {
                return [/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? ""];
            } catch {
                return [];
            }
        });
    }

    async function kubectl(info: ClusterInfo, ...args: readonly string[]): Promise<string> {
        const result = await run(kubectlPath, args, {
            variables: { ...process.env, KUBECONFIG: info.kubeconfig },
            timeLimit: 40_000,
        });
        expect(result.failure, `kubectl ${args.join(" ")}: ${result.stderr}`).to.equal(undefined);
        return result.stdout;
    }
});

/** Every file below a folder and every process that has to do with it. */
function census(root: string): readonly string[] {
    const files = existsSync(root) ? (readdirSync(root, { recursive: true }) as string[]) : [];
    const processes = listProcesses().filter(({ argv }) => argv.some((argument) => argument.includes(root)));
    return [...files.sort(), ...processes.map(({ argv }) => argv.join(" "))];
}
