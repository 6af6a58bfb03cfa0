import * as fs from "node:fs/promises";
import { withLock } from "../lock";
import type { RunResult } from "../run";
import type { Cluster, ClusterContext, ClusterStatus } from "./cluster";
import { canRun, type Runnable } from "./node/can-run";
import { daemonNames, nodeName, type DaemonName } from "./node/configuration";
import { down, leftovers } from "./node/down";
import { enterCommand } from "./node/namespaces";
import { nodeNetwork } from "./node/network";
import { execute } from "./node/program";
import {
    apiServer,
    clusterInfo,
    currentRecord,
    deadDaemons,
    holderOf,
    nodeParts,
    siteOf,
    type Site,
} from "./node/site";
import { up } from "./node/up";

/**
 * A Kubernetes node on this machine: real control plane, real containers, in a network and a mount namespace of its own.
 *
 * - What runs is read from the kernel at every start (processes by pid and start time, all of them members of one control
 *   group); the record on disk only says what to look for. So any part may have been killed at any moment.
 * - When every process is gone, as after a restart of the machine, `up` brings the same cluster back: objects (etcd),
 *   images, pod volumes on disk and the address are kept.
 * - Images come by `loadImage`: the node has no way out, and nothing of this machine's network is changed to give it one.
 */
export const nodeCluster: Cluster & { canRun(): Promise<Runnable> } = {
    kind: "node",
    canRun,
    up: async (context) => {
        const site = await siteOf(context);
        return exclusively(site, () => up(site));
    },
    down: async (context) => {
        const site = await siteOf(context);
        if ((await leftovers(site)).length > 0) {
            await exclusively(site, () => down(site));
        }
        // Left where other parts of the checkout keep something there.
        await fs.rmdir(context.stateDir).catch(() => undefined);
    },
    status: async (context) => statusOf(await siteOf(context)),
};

/** Words that, put before a command, run it inside the node's namespaces: its loopback, its Services' addresses. */
export async function enterNode(context: ClusterContext): Promise<readonly string[]> {
    return enterCommand(await requireHolder(await siteOf(context)));
}

/** Runs a program inside the node's namespaces, with the node's own iptables, ctr and the like first on PATH. */
export async function runInNode(
    context: ClusterContext,
    command: readonly string[],
    options: { readonly timeLimit: number },
): Promise<RunResult> {
    const [program = "", ...args] = [...(await enterNode(context)), ...command];
    const { env } = await nodeParts(context);
    return execute(program, args, { ...options, variables: env, signal: context.signal });
}

/** The node's own processes by name, for whoever wants to stop, slow or kill one. Those that do not run are missing. */
export async function nodeProcesses(context: ClusterContext): Promise<Partial<Record<DaemonName, number>>> {
    const record = await currentRecord((await siteOf(context)).files);
    const dead = deadDaemons(record);
    const alive = daemonNames.filter((name) => !dead.includes(name));
    return Object.fromEntries(alive.map((name) => [name, record?.processes[name]?.pid]));
}

async function requireHolder(site: Site): Promise<number> {
    const holder = await holderOf(site, await currentRecord(site.files));
    if (holder === undefined) {
        throw new Error("The local node is not running. `make up` starts it.");
    }
    return holder;
}

async function statusOf(site: Site): Promise<ClusterStatus> {
    const left = await leftovers(site);
    if (left.length === 0) {
        return { state: "absent" };
    }
    const record = await currentRecord(site.files);
    const dead = deadDaemons(record);
    if (record === undefined || dead.length > 0) {
        const reason =
            record === undefined ? `parts of it are left: ${left.join(", ")}` : `not running: ${dead.join(", ")}`;
        return { state: "broken", reason };
    }
    const network = nodeNetwork(site.context.instance, record.subnet);
    const { ready, why } = await (await apiServer(site, network)).nodeReadiness(nodeName);
    return ready
        ? { state: "up", info: clusterInfo(site, network) }
        : { state: "broken", reason: `the node is not ready: ${why}` };
}

function exclusively<T>(site: Site, work: () => Promise<T>): Promise<T> {
    const { log, signal } = site.context;
    const onWait = (pid: number): void => {
        log(`Another run (process ${pid}) works on the local node; waiting for it.`);
    };
    return withLock(site.files.lock, work, { onWait, signal });
}
