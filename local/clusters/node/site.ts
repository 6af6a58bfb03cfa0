import { debianPackages, type UnpackedPackages } from "../../debian";
import type { ClusterContext, ClusterInfo } from "../cluster";
import { ApiServer } from "./api";
import { cgroupMounts, type CgroupMounts } from "./cgroups";
import {
    contextName,
    daemonNames,
    nodeFiles,
    nodePackages,
    serverUrl,
    type DaemonName,
    type NodeFiles,
} from "./configuration";
import { findHolder } from "./namespaces";
import type { NodeNetwork } from "./network";
import { isAlive } from "./processes";
import { bootId, readRecord, type NodeRecord } from "./record";

/** One instance's place on this machine, whether something is there or not. */
export interface Site {
    readonly context: ClusterContext;
    readonly files: NodeFiles;
    readonly mounts: CgroupMounts;
    /** Name of the instance's control group in every tree. */
    readonly cgroup: string;
}

export async function siteOf(context: ClusterContext): Promise<Site> {
    const mounts = await cgroupMounts();
    if (mounts === undefined) {
        throw new Error(
            "No control groups are mounted below /sys/fs/cgroup, and without them there is no local node on this machine.",
        );
    }
    return { context, files: nodeFiles(context.stateDir), mounts, cgroup: `ml-api-${context.instance}` };
}

/** The record, without what an earlier run of the machine left in it. */
export async function currentRecord(files: NodeFiles): Promise<NodeRecord | undefined> {
    const record = await readRecord(files.record);
    const boot = await bootId();
    return record === undefined || record.boot === boot ? record : { boot, subnet: record.subnet, processes: {} };
}

/** A process through which the node's namespaces are reached; none when they are gone. */
export async function holderOf(site: Site, record: NodeRecord | undefined): Promise<number | undefined> {
    return record?.namespaces && (await findHolder(site.mounts, site.cgroup, record.namespaces));
}

/** The daemons that do not run. */
export function deadDaemons(record: NodeRecord | undefined): readonly DaemonName[] {
    return daemonNames.filter((name) => !isAlive(record?.processes[name]));
}

const foundParts = new Map<string, Promise<UnpackedPackages>>();

/** The node's Debian packages; looked at once in this process. */
export function nodeParts({ cacheDir, variables, log, signal }: ClusterContext): Promise<UnpackedPackages> {
    const known = foundParts.get(cacheDir);
    if (known !== undefined) {
        return known;
    }
    const purpose = "Node parts (containerd, runc, …)";
    const found = debianPackages({ purpose, ...nodePackages, cacheDir, variables, log, signal });
    foundParts.set(cacheDir, found);
    found.catch(() => foundParts.delete(cacheDir));
    return found;
}

export function apiServer(site: Site, network: NodeNetwork): Promise<ApiServer> {
    return ApiServer.of(serverUrl(network), site.files.pki);
}

export function clusterInfo(site: Site, network: NodeNetwork): ClusterInfo {
    return {
        kind: "node",
        kubeconfig: site.files.kubeconfig,
        context: contextName,
        server: serverUrl(network),
        podsServe: true,
        nodeAddress: network.nodeAddress,
    };
}
