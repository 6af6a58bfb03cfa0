import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { members, type CgroupMounts } from "./cgroups";
import { execute, ProgramError } from "./program";
import type { NamespaceNames } from "./record";

/**
 * A node's network and mount namespace have no name on this machine: they live as long as a process of the node does,
 * and any of them is a way in. So nothing is mounted outside, and when all processes are gone, so is every device, rule
 * and mount that was made inside.
 */
export async function namespacesOf(pid: number): Promise<NamespaceNames | undefined> {
    try {
        return { net: await fs.readlink(`/proc/${pid}/ns/net`), mnt: await fs.readlink(`/proc/${pid}/ns/mnt`) };
    } catch {
        return undefined;
    }
}

/** A process that is in both namespaces (a pod's is in neither, its shim in both). */
export async function findHolder(
    mounts: CgroupMounts,
    cgroup: string,
    names: NamespaceNames,
): Promise<number | undefined> {
    for (const pid of await members(path.join(mounts.membership, cgroup))) {
        const found = await namespacesOf(pid);
        if (found?.net === names.net && found.mnt === names.mnt) {
            return pid;
        }
    }
    return undefined;
}

/** Words that, put before a command, run it inside. It is `nsenter`: `ip netns exec` would put a new /sys over the control groups. */
export function enterCommand(holder: number): readonly string[] {
    return ["nsenter", `--net=/proc/${holder}/ns/net`, `--mount=/proc/${holder}/ns/mnt`, "--"];
}

/** `unshare` gives the keeper its namespaces after it has started; until then it is still in ours. */
export async function waitUntilInside(pid: number): Promise<NamespaceNames> {
    const outside = await namespacesOf(process.pid);
    for (let attempt = 0; attempt < 250; attempt++) {
        const names = await namespacesOf(pid);
        const program = await fs.readlink(`/proc/${pid}/exe`).catch(() => "");
        if (
            names !== undefined &&
            names.net !== outside?.net &&
            names.mnt !== outside?.mnt &&
            !program.endsWith("unshare")
        ) {
            return names;
        }
        await sleep(20);
    }
    throw new Error("`unshare --net --mount` did not give the local node namespaces of its own within 5 s.");
}

/**
 * Folders that kubelet and containerd write to wherever they are told to keep their files. Inside, each is an empty
 * tmpfs, so that this machine's own, if it has any, is neither read nor written.
 */
const hidden = ["/run", "/var/lib", "/var/log"];

/**
 * What the kubelet wants of the kernel. It would set these for the whole machine; inside, it finds them set, because a
 * file with the wanted number lies over each.
 */
const kernelSettings: Readonly<Record<string, string>> = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
};

export interface InsideMounts {
    /** Folders that must stay visible even below a hidden one. */
    readonly keep: readonly string[];
    /** Folders of this machine by the place inside where they are found as well. */
    readonly places: Readonly<Record<string, string>>;
}

/** Makes the inside of the mount namespace. */
export async function setUpMounts(enter: readonly string[], { keep, places }: InsideMounts): Promise<void> {
    const kept = await Promise.all(keep.map((folder) => fs.realpath(folder)));
    const script = [
        "set -eu",
        "mount --make-rshared /",
        ...hidden.flatMap((folder) => hide(folder, kept)),
        ...Object.entries(places).flatMap(([place, folder]) => [
            `mkdir -p ${place}`,
            `mount --rbind ${quoted(folder)} ${place}`,
        ]),
        ...settingsScript(),
    ];
    await inside(enter, script.join("\n"));
}

/** What a network namespace does not have from the start, and pods and Services need. */
export async function setUpNetwork(enter: readonly string[]): Promise<void> {
    await inside(
        enter,
        [
            "set -eu",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            // Without it the answer of a Service's pod to a pod on the same bridge does not come back from the Service's address.
            "test -e /proc/sys/net/bridge/bridge-nf-call-iptables || modprobe br_netfilter",
            "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
        ].join("\n"),
    );
}

function hide(folder: string, kept: readonly string[]): string[] {
    const below = kept.filter((place) => place.startsWith(`${folder}/`)).map((place) => place.slice(folder.length + 1));
    // The shell's current folder still is the one that was hidden; mount must not turn it into its name again.
    const back = below.flatMap((place) => [
        `mkdir -p ${quoted(`${folder}/${place}`)}`,
        `mount --no-canonicalize --rbind ${quoted(`/proc/self/cwd/${place}`)} ${quoted(`${folder}/${place}`)}`,
    ]);
    return [`if cd ${folder} 2>/dev/null; then`, `mount -t tmpfs -o mode=0755 tmpfs ${folder}`, ...back, "cd /", "fi"];
}

function settingsScript(): string[] {
    return Object.entries(kernelSettings).flatMap(([name, value]) => {
        const file = `/run/ml-api/${name.replaceAll("/", ".")}`;
        return [
            "mkdir -p /run/ml-api",
            `if test -e /proc/sys/${name}; then echo ${value} > ${file}; mount --bind ${file} /proc/sys/${name}; fi`,
        ];
    });
}

async function inside(enter: readonly string[], script: string): Promise<void> {
    const [program, ...args] = [...enter, "/bin/sh", "-c", script];
    try {
        await execute(program, args, { timeLimit: 20_000 });
    } catch (error) {
        if (error instanceof ProgramError) {
            throw new Error(
                `Setting up the inside of the local node's namespaces failed: ${error.result.stderr.trim()}`,
                { cause: error },
            );
        }
        throw error;
    }
}

function quoted(text: string): string {
    return `'${text.replaceAll("'", `'\\''`)}'`;
}
