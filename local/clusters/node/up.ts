import { Resolver } from "node:dns/promises";
import * as fs from "node:fs/promises";
import * as http from "node:http";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pauseImage } from "../../image/pause";
import { killAll } from "../../processes";
import { duration, ensureTools } from "../../tools";
import type { ClusterInfo } from "../cluster";
import type { ApiServer } from "./api";
import { canRun } from "./can-run";
import { daemonCgroup, killMembers, makeCgroups, members, removeCgroups, removeDeadContainers, wake } from "./cgroups";
import {
    configure,
    containerdSocket,
    corednsAccess,
    daemonNames,
    keptPlaces,
    kubernetesServiceAddress,
    nodeName,
    nodeTools,
    type DaemonName,
    type NodeTool,
} from "./configuration";
import { importImage } from "./images";
import { enterCommand, namespacesOf, setUpMounts, setUpNetwork, waitUntilInside } from "./namespaces";
import {
    chooseSubnet,
    connect,
    isConnected,
    nodeNetwork,
    removeDevice,
    subnetIsFree,
    type NodeNetwork,
} from "./network";
import { ensurePki } from "./pki";
import { end, failedToStart, fingerprint, isAlive, start, type Daemon } from "./processes";
import { bootId, writeRecord, type NodeRecord, type RecordedProcess } from "./record";
import { apiServer, clusterInfo, currentRecord, deadDaemons, holderOf, nodeParts, type Site } from "./site";

/** What one run of `up` works on. The record changes as daemons start, and is on disk after each of them. */
interface Run {
    readonly site: Site;
    readonly network: NodeNetwork;
    readonly daemons: Readonly<Record<DaemonName, Daemon>>;
    /** A process in the namespaces. */
    holder: number;
    record: NodeRecord;
    /** Daemons that are meant to run by now. */
    readonly ensured: Set<DaemonName>;
}

const startLimit = 180_000;
const pollEvery = 50;
const neededMegabytes = 1000;

/** Starts what does not run of the node, and only that. */
export async function up(site: Site): Promise<ClusterInfo> {
    const { context } = site;
    const begun = Date.now();
    const record = await currentRecord(site.files);
    const holder = await holderOf(site, record);
    if (holder === undefined) {
        await requireRunnable();
        await requireSpace(site);
    }
    const network = nodeNetwork(context.instance, record?.subnet ?? (await chooseSubnet(context.instance)));
    await requireSubnet(network);
    const dead = deadDaemons(record);
    if (dead.length > 0) {
        announce(site, network, record === undefined ? undefined : dead);
    }
    // The certificates name the address, so it is kept even when this run ends before anything else is.
    await writeRecord(site.files.record, record ?? emptyRecord(await bootId(), network));
    const { daemons, pause } = await prepare(site, network);
    const run = await openNamespaces(site, network, daemons, record);

    await ensure(run, "etcd");
    await ensure(run, "kube-apiserver");
    await ensure(run, "containerd");
    await until(run, "containerd", () => listens(`/proc/${run.holder}/root${containerdSocket}`));
    await importImage(site, run.holder, pause);
    const api = await apiServer(site, network);
    await until(run, "kube-apiserver", () => api.isReady());
    for (const { collection, object } of corednsAccess) {
        await api.ensure(collection, object);
    }
    for (const name of daemonNames.slice(daemonNames.indexOf("containerd") + 1)) {
        await ensure(run, name);
    }
    await until(run, "kubelet", () => nodeIsReady(run, api));
    // The controllers take longest to begin; without this account no pod is admitted.
    await until(run, "kube-controller-manager", () => api.has("/api/v1/namespaces/default/serviceaccounts/default"));
    await until(run, "coredns", () => answersNames(network));
    await until(run, "kube-proxy", () => answersHttp(`http://${network.nodeAddress}:10256/healthz`));
    if (dead.length > 0) {
        context.log(
            `The local node is up (${duration(Date.now() - begun)}): API server ${clusterInfo(site, network).server}`,
        );
    }
    return clusterInfo(site, network);
}

async function requireSpace(site: Site): Promise<void> {
    await fs.mkdir(site.context.stateDir, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await fs.statfs(site.context.stateDir);
    const megabytes = Math.floor((bavail * bsize) / 2 ** 20);
    if (megabytes < neededMegabytes) {
        throw new Error(
            `The local node needs ${neededMegabytes} MB for etcd and images; ${megabytes} MB are free in ${site.context.stateDir}.\n` +
                "    → Free some space there, or set XDG_STATE_HOME to a folder on another disk.",
        );
    }
}

async function requireRunnable(): Promise<void> {
    const { ok, reasons } = await canRun();
    if (!ok) {
        throw new Error(
            `The local node cannot run on this machine:\n${reasons.map((reason) => `  - ${reason}\n`).join("")}` +
                "    → Use CLUSTER=current (a cluster you have) or CLUSTER=simulated (pods only pretend).",
        );
    }
}

async function requireSubnet(network: NodeNetwork): Promise<void> {
    if (!(await subnetIsFree(network))) {
        throw new Error(
            `The local node's address ${network.nodeAddress} is now part of another network of this machine (\`ip route\`).\n` +
                "    → End that network, or run `make down` and `make up`: the new cluster gets another address.",
        );
    }
}

/** Said before anything is touched. */
function announce(site: Site, network: NodeNetwork, dead: readonly DaemonName[] | undefined): void {
    const { log, stateDir, cacheDir } = site.context;
    log(
        dead === undefined
            ? "Starting a local node. As root on this machine it makes:"
            : `Repairing the local node (not running: ${dead.join(", ")}). It is made of:`,
    );
    for (const line of [
        `a network and a mount namespace, joined to this machine by the device ${network.hostDevice} (${network.hostAddress}/30)`,
        `control groups called ${site.cgroup} below /sys/fs/cgroup`,
        `processes of Kubernetes and containerd; their files in ${site.files.root}, programs in ${cacheDir}`,
        "bridge, iptables rules and mounts inside these namespaces only (the kernel may load its modules for them)",
    ]) {
        log(`  - ${line}`);
    }
    log(
        `  No package, rule, mount or setting of this machine changes. \`make down\` removes it all (state: ${stateDir}).`,
    );
}

/** Everything on disk that the daemons need. */
async function prepare(
    site: Site,
    network: NodeNetwork,
): Promise<Pick<Run, "daemons"> & { readonly pause: Awaited<ReturnType<typeof pauseImage>> }> {
    const { context, files, cgroup } = site;
    const { cacheDir, variables, log, signal } = context;
    const packages = await nodeParts(context);
    const found = await ensureTools(nodeTools, {
        cache: cacheDir,
        variables,
        log,
        signal,
        terminal: process.stdout.isTTY,
    });
    const tools = Object.fromEntries(nodeTools.map((name) => [name, found[name].path])) as Record<NodeTool, string>;
    const pause = await pauseImage(cacheDir, packages);
    await ensurePki(files.pki, {
        nodeName,
        nodeAddress: network.nodeAddress,
        serviceAddress: kubernetesServiceAddress,
        openssl: packages.program("usr/bin/openssl"),
        variables: packages.env,
    });
    const daemons = await configure({ files, network, cgroup, tools, packages, pauseImage: pause.reference });
    return { daemons, pause };
}

/** The namespaces of the processes that are left, else new ones. A process that is just ending may look like a way in. */
async function openNamespaces(
    site: Site,
    network: NodeNetwork,
    daemons: Run["daemons"],
    record: NodeRecord | undefined,
): Promise<Run> {
    for (let attempts = 5; ; attempts--) {
        const holder = await holderOf(site, record);
        if (record === undefined || holder === undefined) {
            return makeNamespaces(site, network, daemons);
        }
        try {
            return await repairNamespaces({ site, network, daemons, holder, record, ensured: new Set() });
        } catch (error) {
            if (attempts === 0 || isAlive(record.processes["namespaces"])) {
                throw error;
            }
            await sleep(100);
        }
    }
}

/** Namespaces from nothing. What may be left of earlier ones has no way in any more, so it is ended first. */
async function makeNamespaces(site: Site, network: NodeNetwork, daemons: Run["daemons"]): Promise<Run> {
    const { context, files, mounts, cgroup } = site;
    await killMembers(mounts, cgroup);
    await removeCgroups(mounts, cgroup);
    await makeCgroups(mounts, cgroup, daemonNames);
    await removeDevice(network.hostDevice);
    await writeRecord(files.record, emptyRecord(await bootId(), network));
    const unshare = ["unshare", "--net", "--mount", "--propagation", "private", "--"];
    const keeper = await start(
        daemons.namespaces,
        unshare,
        daemonCgroup(mounts, cgroup, "namespaces"),
        files.log("namespaces"),
    );
    const namespaces = await waitUntilInside(keeper.pid);
    const enter = enterCommand(keeper.pid);
    const places = Object.entries(keptPlaces).map(([place, folder]) => [place, path.join(files.data, folder)] as const);
    await setUpMounts(enter, {
        keep: [context.stateDir, context.cacheDir, context.checkout],
        places: Object.fromEntries(places),
    });
    await setUpNetwork(enter);
    await connect(network, keeper.pid, enter);
    const processes = {
        namespaces: { ...keeper, fingerprint: fingerprint(daemons.namespaces), startedAt: Date.now() },
    };
    const record: NodeRecord = { boot: await bootId(), subnet: network.subnet, namespaces, processes };
    // Only now: a run that ends before this line leaves no namespaces on record, and the next one makes new ones.
    await writeRecord(files.record, record);
    return { site, network, daemons, holder: keeper.pid, record, ensured: new Set(["namespaces"]) };
}

function emptyRecord(boot: string, network: NodeNetwork): NodeRecord {
    return { boot, subnet: network.subnet, processes: {} };
}

async function repairNamespaces(run: Run): Promise<Run> {
    const { mounts, cgroup } = run.site;
    await makeCgroups(mounts, cgroup, daemonNames);
    await wake(mounts, cgroup);
    run.ensured.add("namespaces");
    if (!isAlive(run.record.processes["namespaces"])) {
        await launch(run, "namespaces");
    }
    // From here on the way in is the keeper, the one process that no later step ends.
    run.holder = run.record.processes["namespaces"]?.pid ?? run.holder;
    if (!(await isConnected(run.network))) {
        await connect(run.network, run.holder, enterCommand(run.holder));
    }
    return run;
}

/** Leaves a daemon that runs as it should alone, and starts it anew otherwise. */
async function ensure(run: Run, name: DaemonName): Promise<void> {
    const { site, daemons } = run;
    const daemon = daemons[name];
    const recorded = run.record.processes[name];
    site.context.signal?.throwIfAborted();
    run.ensured.add(name);
    if (recorded !== undefined && isAlive(recorded)) {
        if (recorded.fingerprint === fingerprint(daemon)) {
            return;
        }
        site.context.log(`${name}: its program or its configuration changed; it is started anew.`);
        await end(recorded, 5000);
    }
    await launch(run, name);
}

async function launch(run: Run, name: DaemonName): Promise<void> {
    const { site, daemons } = run;
    const daemon = daemons[name];
    const cgroup = daemonCgroup(site.mounts, site.cgroup, name);
    await endStrays(cgroup, daemon);
    if (name === "containerd") {
        await removeDeadContainers(site.mounts, site.cgroup);
    }
    const identity = await start(daemon, enterCommand(run.holder), cgroup, site.files.log(name));
    const started: RecordedProcess = { ...identity, fingerprint: fingerprint(daemon), startedAt: Date.now() };
    run.record = { ...run.record, processes: { ...run.record.processes, [name]: started } };
    await writeRecord(run.site.files.record, run.record);
    await until(run, name, () => isInside(run, started.pid));
}

/** `nsenter` needs a moment; nobody may take a process for a way in, or for the daemon, before that. */
async function isInside({ record }: Run, pid: number): Promise<boolean> {
    const names = await namespacesOf(pid);
    return names !== undefined && names.net === record.namespaces?.net && names.mnt === record.namespaces.mnt;
}

/** A daemon whose start was never put on record. containerd's shims are in its group too, and hold running pods. */
async function endStrays(cgroup: string, daemon: Daemon): Promise<void> {
    const found = await members(cgroup);
    if (daemon.name === "namespaces") {
        // One keeper too many does no harm, and it may be the only way in.
        return;
    }
    if (daemon.name !== "containerd") {
        killAll(found);
        return;
    }
    for (const pid of found) {
        const program = await fs.readlink(`/proc/${pid}/exe`).catch(() => undefined);
        if (program === daemon.command) {
            killAll([pid]);
        }
    }
}

/** Waits for a daemon to do its work; one that ended meanwhile, of all those started so far, is the error. */
async function until(run: Run, name: DaemonName, works: () => Promise<boolean>): Promise<void> {
    const { site } = run;
    const deadline = Date.now() + startLimit;
    while (!(await works())) {
        site.context.signal?.throwIfAborted();
        for (const started of run.ensured) {
            if (!isAlive(run.record.processes[started])) {
                throw await failedToStart(started, site.files.log(started), "ended");
            }
        }
        if (Date.now() > deadline) {
            throw await failedToStart(name, site.files.log(name), `does not work after ${startLimit / 1000} s`);
        }
        await sleep(pollEvery);
    }
}

/** Ready by its own word, given after the kubelet that runs now has started. */
async function nodeIsReady({ record }: Run, api: ApiServer): Promise<boolean> {
    const { ready, heartbeat } = await api.nodeReadiness(nodeName);
    // The API server tells whole seconds.
    return ready && heartbeat + 1000 > (record.processes["kubelet"]?.startedAt ?? 0);
}

function listens(socket: string): Promise<boolean> {
    return new Promise((resolve) => {
        const connection = net.connect(socket);
        const settle = (works: boolean): void => {
            connection.destroy();
            resolve(works);
        };
        connection.once("connect", () => {
            settle(true);
        });
        connection.once("error", () => {
            settle(false);
        });
    });
}

async function answersNames(network: NodeNetwork): Promise<boolean> {
    const resolver = new Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([network.nodeAddress]);
    return resolver.resolve4("kubernetes.default.svc.cluster.local").then(
        (addresses) => addresses.length > 0,
        () => false,
    );
}

function answersHttp(url: string): Promise<boolean> {
    return new Promise((resolve) => {
        const request = http.get(url, { agent: false, timeout: 1000 }, (response) => {
            response.resume();
            resolve(response.statusCode === 200);
        });
        request.on("timeout", () => request.destroy(new Error("no answer")));
        request.on("error", () => {
            resolve(false);
        });
    });
}
