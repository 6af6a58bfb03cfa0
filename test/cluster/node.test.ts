import { expect } from "chai";
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { clusterContext, type ClusterInfo } from "../../local/clusters/cluster";
import { nodeCluster, runInNode } from "../../local/clusters/node";
import { members } from "../../local/clusters/node/cgroups";
import { readRecord, writeRecord } from "../../local/clusters/node/record";
import { nodeParts, siteOf } from "../../local/clusters/node/site";
import { pauseImage } from "../../local/image/pause";
import { checkoutHash } from "../../local/paths";
import { isAlive, killAll, listProcesses } from "../../local/processes";
import { run, type RunResult } from "../../local/run";
import { ensureTools } from "../../local/tools";
import { itThoroughly } from "../thorough";

// An instance of its own, the same for each run of this checkout: what a killed run left, the next one removes.
const instance = createHash("sha256").update(`${checkoutHash()} node test`).digest("hex").slice(0, 10);
const said: string[] = [];
const context = clusterContext({
    instance,
    stateDir: path.join(os.tmpdir(), `ml-api-test-${instance}`),
    log: (line) => said.push(line),
});
const recordFile = path.join(context.stateDir, "node", "node.json");
const namespace = "shown";

describe("the local node", function () {
    this.timeout(120_000);
    let kubectlProgram = "";
    let info: ClusterInfo;
    let atFirst: Census;

    before(async function () {
        const { ok, reasons } = await nodeCluster.canRun();
        if (!ok) {
            console.log(
                `      The local node cannot run on this machine:\n${reasons.map((reason) => `        - ${reason}`).join("\n")}`,
            );
            this.skip();
        }
        // The first run of a machine downloads Debian packages, and builds tools where none are published.
        this.timeout(3_600_000);
        kubectlProgram = (await ensureTools(["kubectl"], { log: () => undefined })).kubectl.path;
        await nodeParts(context);
        await nodeCluster.down(context);
        atFirst = await census();
        said.length = 0;
    });

    after(async () => {
        if (kubectlProgram !== "") {
            await nodeCluster.down(context);
        }
    });

    const kubectl = async (...args: readonly string[]): Promise<string> => {
        const result = await tryKubectl(...args);
        if (result.failure !== undefined) {
            throw new Error(`kubectl ${args.join(" ")} ${result.failure}: ${result.stderr}`);
        }
        return result.stdout;
    };
    const tryKubectl = (...args: readonly string[]): Promise<RunResult> =>
        run(kubectlProgram, ["--kubeconfig", info.kubeconfig, "--namespace", namespace, ...args], {
            // Else it would keep what it learns of the cluster in the user's home folder.
            variables: { ...process.env, KUBECACHEDIR: path.join(context.stateDir, "node", "kubectl") },
            timeLimit: 60_000,
        });
    const podState = async (): Promise<{ readonly uid: string; readonly restarts: number }> => {
        const text = await kubectl(
            "get",
            "pod",
            "web",
            "--output",
            "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}",
        );
        const [uid = "", restarts = ""] = text.split(" ");
        return { uid, restarts: Number(restarts) };
    };
    /** What the pod's server answers when the pod itself asks for its Service by name. */
    const askedByName = (): Promise<string> =>
        kubectl(
            "exec",
            "web",
            "--",
            "/bin/busybox",
            "wget",
            "-q",
            "-O",
            "-",
            `http://web.${namespace}.svc.cluster.local/index.html`,
        );

    it("says what it will make before it makes it, and is ready", async () => {
        const touched: boolean[] = [];
        const watching = { ...context, log: (line: string) => (said.push(line), touched.push(isMade())) };
        info = await nodeCluster.up(watching);

        expect(said[0]).to.match(/^Starting a local node/);
        const announcement = said.slice(0, said.findIndex((line) => line.includes("make down")) + 1);
        expect(announcement.join("\n"))
            .to.include(`ml${instance}h`)
            .and.include("/sys/fs/cgroup")
            .and.include(context.stateDir);
        expect(touched.slice(0, announcement.length)).to.not.include(true);
        expect(info).to.include({ kind: "node", podsServe: true });
        expect(info.server).to.equal(`https://${info.nodeAddress ?? ""}:6443`);
        expect((await fs.stat(info.kubeconfig)).mode & 0o777).to.equal(0o600);
        expect(await nodeCluster.status(context)).to.deep.equal({ state: "up", info });
    });

    it("is left as it is by a second start, which is quick", async () => {
        const first = await readRecord(recordFile);
        const begun = Date.now();
        expect(await nodeCluster.up(context)).to.deep.equal(info);
        expect(Date.now() - begun).to.be.below(3000);
        expect(await readRecord(recordFile)).to.deep.equal(first);
    });

    it("runs a pod under restricted Pod Security, with its Service, its name, logs, exec and port-forward", async () => {
        const { reference } = await pauseImage(context.cacheDir, await nodeParts(context));
        const file = path.join(context.stateDir, "shown.yaml");
        await fs.writeFile(
            file,
            objects(reference)
                .map((object) => stringify(object))
                .join("---\n"),
        );
        // A new namespace has no service account for a moment.
        await eventually(() => kubectl("apply", "--filename", file));
        await fs.rm(file);
        await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");

        expect(await askedByName()).to.equal("first\n");
        expect(await kubectl("logs", "web")).to.include("the server starts");
        expect(await kubectl("exec", "web", "--", "/bin/busybox", "id", "-u")).to.equal("10001\n");
        const port = await kubectl("get", "service", "web", "--output", "jsonpath={.spec.ports[0].nodePort}");
        expect(await fetchText(`http://${info.nodeAddress ?? ""}:${port}/index.html`)).to.equal("first\n");
        await withPortForward(kubectlProgram, info, async (address) => {
            expect(await fetchText(`${address}/index.html`)).to.equal("first\n");
        });
        await kubectl("exec", "web", "--", "/bin/busybox", "sh", "-c", "echo second > /data/index.html");
    });

    it("keeps etcd to itself", async () => {
        const answer = await fetchText(`http://${info.nodeAddress ?? ""}:2379/version`).catch(() => "refused");
        expect(answer).to.equal("refused");
    });

    it("repairs killed parts and leaves the pods running", async () => {
        const pod = await podState();
        const killed = ["kubelet", "containerd", "kube-apiserver", "namespaces"] as const;
        const record = await readRecord(recordFile);
        for (const name of killed) {
            process.kill(record?.processes[name]?.pid ?? NaN, "SIGKILL");
        }
        await until(() => killed.every((name) => !isAlive(record?.processes[name]?.pid ?? NaN)));
        expect(await nodeCluster.status(context)).to.include({ state: "broken" });

        expect(await nodeCluster.up(context)).to.deep.equal(info);
        expect(await eventually(askedByName)).to.equal("second\n");
        expect(await podState()).to.deep.equal(pod);
    });

    it("comes back with its objects and the pods' data after everything was killed", async () => {
        const pod = await podState();
        await killEverything();
        expect(await nodeCluster.status(context)).to.include({ state: "broken" });

        expect(await nodeCluster.up(context)).to.deep.equal(info);
        expect(await eventually(askedByName)).to.equal("second\n");
        const after = await podState();
        expect(after.uid).to.equal(pod.uid);
        expect(after.restarts).to.equal(pod.restarts + 1);
    });

    it("starts a daemon that is on record under somebody else's process number, and spares that process", async () => {
        const stranger = spawn("sleep", ["60"], { stdio: "ignore" });
        try {
            const record = await readRecord(recordFile);
            const own = record?.processes["coredns"];
            if (record === undefined || own === undefined || stranger.pid === undefined) throw new Error("no record");
            process.kill(own.pid, "SIGKILL");
            await writeRecord(recordFile, {
                ...record,
                processes: { ...record.processes, coredns: { ...own, pid: stranger.pid } },
            });

            await nodeCluster.up(context);
            expect((await readRecord(recordFile))?.processes["coredns"]?.pid).to.not.equal(stranger.pid);
            expect(isAlive(stranger.pid)).to.equal(true);
        } finally {
            stranger.kill("SIGKILL");
        }
    });

    it("names the process that does not start, what it said and its log", async () => {
        const data = path.join(context.stateDir, "node", "data", "etcd", "member");
        await killEverything();
        await fs.rename(data, `${data}.aside`);
        await fs.writeFile(data, "not a folder");
        const failure = await nodeCluster.up(context).then(
            () => "it started",
            (error: unknown) => String(error),
        );
        await fs.rm(data);
        await fs.rename(`${data}.aside`, data);
        expect(failure)
            .to.include("The local node's etcd ended")
            .and.include("not a directory")
            .and.include("logs/etcd.log");
    });

    it("leaves nothing behind when it is removed", async () => {
        await nodeCluster.up(context);
        const network = await runInNode(context, ["iptables-save"], { timeLimit: 10_000 });
        expect(network.stdout).to.include("KUBE-SERVICES");
        await nodeCluster.down(context);
        expect(await census()).to.deep.equal(atFirst);
        await nodeCluster.down(context);
        expect(await nodeCluster.status(context)).to.deep.equal({ state: "absent" });
    });

    itThoroughly("leaves nothing behind when its start was killed half-way, and starts after that", async () => {
        for (const after of [400, 2500]) {
            const starting = startElsewhere();
            await until(isMade);
            await sleep(after);
            starting.kill("SIGKILL");
        }
        info = await nodeCluster.up(context);
        expect((await kubectl("get", "nodes", "--output", "name")).trim()).to.equal("node/ml-api-node");

        const starting = startElsewhere();
        starting.kill("SIGKILL");
        await killEverything();
        await nodeCluster.down(context);
        expect(await census()).to.deep.equal(atFirst);
    });
});

/** True once something of the instance but its lock is on this machine. */
function isMade(): boolean {
    return existsSync(path.join(context.stateDir, "node"));
}

/** Another process that starts the same instance, to be killed half-way. */
function startElsewhere(): ChildProcess {
    const modules = ["../../local/clusters/cluster", "../../local/clusters/node"].map((name) =>
        JSON.stringify(path.join(__dirname, name)),
    );
    const overrides = JSON.stringify({ instance, stateDir: context.stateDir });
    const program = `require(${modules[1] ?? ""}).nodeCluster.up(require(${modules[0] ?? ""}).clusterContext(${overrides}))`;
    return spawn(process.execPath, ["--require", "ts-node/register/transpile-only", "--eval", program], {
        cwd: path.dirname(path.dirname(__dirname)),
        stdio: "ignore",
    });
}

async function killEverything(): Promise<void> {
    const { mounts, cgroup } = await siteOf(context);
    await until(async () => {
        const pids = await members(path.join(mounts.membership, cgroup));
        killAll(pids);
        return pids.length === 0;
    });
}

async function until(done: () => boolean | Promise<boolean>): Promise<void> {
    for (let attempt = 0; !(await done()); attempt++) {
        if (attempt > 1000) throw new Error("It did not come to that within 20 s.");
        await sleep(20);
    }
}

/** Right after a restart the kubelet may not know its pods yet. */
async function eventually<T>(ask: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
        try {
            return await ask();
        } catch (error) {
            if (attempt > 60) throw error;
            await sleep(500);
        }
    }
}

async function fetchText(url: string): Promise<string> {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
    return answer.text();
}

async function withPortForward(
    kubectl: string,
    info: ClusterInfo,
    use: (address: string) => Promise<void>,
): Promise<void> {
    const args = ["--kubeconfig", info.kubeconfig, "--namespace", namespace, "port-forward", "service/web", ":80"];
    const env = { ...process.env, KUBECACHEDIR: path.join(context.stateDir, "node", "kubectl") };
    const forward = spawn(kubectl, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    try {
        const port = await new Promise<string>((resolve, reject) => {
            let text = "";
            forward.stdout.on("data", (chunk: Buffer) => {
                text += chunk.toString();
                const found = /127\.0\.0\.1:(\d+)/.exec(text)?.[1];
                if (found !== undefined) resolve(found);
            });
            forward.once("exit", () => {
                reject(new Error("port-forward ended"));
            });
        });
        await use(`http://127.0.0.1:${port}`);
    } finally {
        forward.kill("SIGKILL");
    }
}

function objects(image: string): readonly unknown[] {
    const serve =
        "echo the server starts; test -e /data/index.html || echo first > /data/index.html; exec /bin/busybox httpd -f -p 8080 -h /data";
    return [
        {
            apiVersion: "v1",
            kind: "Namespace",
            metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
        },
        {
            apiVersion: "v1",
            kind: "Pod",
            metadata: { name: "web", namespace, labels: { app: "web" } },
            spec: {
                automountServiceAccountToken: false,
                terminationGracePeriodSeconds: 1,
                securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: "RuntimeDefault" } },
                containers: [
                    {
                        name: "web",
                        image,
                        command: ["/bin/busybox", "sh", "-c", serve],
                        ports: [{ name: "http", containerPort: 8080 }],
                        readinessProbe: { httpGet: { path: "/index.html", port: "http" }, periodSeconds: 1 },
                        resources: {
                            requests: { cpu: "10m", memory: "16Mi" },
                            limits: { cpu: "500m", memory: "64Mi" },
                        },
                        securityContext: {
                            allowPrivilegeEscalation: false,
                            readOnlyRootFilesystem: true,
                            capabilities: { drop: ["ALL"] },
                        },
                        volumeMounts: [{ name: "data", mountPath: "/data" }],
                    },
                ],
                volumes: [{ name: "data", emptyDir: {} }],
            },
        },
        {
            apiVersion: "v1",
            kind: "Service",
            metadata: { name: "web", namespace },
            spec: { type: "NodePort", selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
        },
    ];
}

/** What starting a node could leave on a machine. Other nodes of this machine may come and go meanwhile; they do not count. */
interface Census {
    readonly processes: readonly string[];
    readonly mounts: readonly string[];
    readonly devices: readonly string[];
    readonly rules: string;
    readonly cgroups: readonly string[];
    readonly files: readonly string[];
    readonly settings: readonly string[];
}

async function census(): Promise<Census> {
    const otherNode = /ml-api-[0-9a-f]{10}\b|^ml[0-9a-f]{10}h$/;
    const ours = (text: string): boolean => text.includes(instance) || !otherNode.test(text);
    const lines = async (file: string): Promise<readonly string[]> =>
        (await fs.readFile(file, "utf8").catch(() => "")).split("\n");
    const { mounts } = await siteOf(context);
    const groups = await Promise.all(
        mounts.roots.map(async (root) =>
            (await fs.readdir(root, { withFileTypes: true }))
                .filter((entry) => entry.isDirectory())
                .map(({ name }) => `${root}/${name}`),
        ),
    );
    const places = [
        ...[
            "/run/containerd",
            "/run/netns",
            "/run/ml-api",
            "/run/xtables.lock",
            "/run/flannel",
            "/etc/cni",
            "/usr/libexec/kubernetes",
        ],
        ...["/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/log/pods", "/var/log/containers"],
        ...["/sys/class/net/cni0", context.stateDir],
    ];
    const settings = [
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "net/ipv4/ip_forward",
        "net/netfilter/nf_conntrack_max",
    ];
    const rules = await run("iptables-save", [], { variables: process.env, timeLimit: 10_000 });
    return {
        processes: listProcesses()
            .map(({ argv }) => argv.join(" "))
            .filter((line) => line.includes(context.stateDir)),
        mounts: (await lines("/proc/self/mountinfo")).map((line) => line.split(" ").slice(3, 5).join(" ")).filter(ours),
        devices: Object.keys(os.networkInterfaces()).filter(ours).sort(),
        rules: rules.stdout.replace(/^#.*$|\[\d+:\d+\]/gm, ""),
        cgroups: groups
            .flat()
            .filter((name) => /kubepods|ml-api/.test(name))
            .filter(ours)
            .sort(),
        files: places.filter(existsSync),
        settings: await Promise.all(settings.map(async (name) => (await lines(`/proc/sys/${name}`)).join(""))),
    };
}
