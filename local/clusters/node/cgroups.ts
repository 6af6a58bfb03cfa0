import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The control group mounts of this machine. */
export interface CgroupMounts {
    /** 1 also where a second, controller-less v2 tree is mounted beside the v1 ones. */
    readonly version: 1 | 2;
    readonly roots: readonly string[];
    /** The tree in which membership of a process in an instance is recorded and looked up. */
    readonly membership: string;
}

/**
 * Every process of a node, pods included, is a member of one control group, so "all that belongs to this node" is a
 * question the kernel answers: no name is matched, and a pid that was used again by somebody else is never in it.
 * Version 1 was tried; the version 2 paths follow the kernel's documentation and were not tried on a v2 machine.
 */
export async function cgroupMounts(): Promise<CgroupMounts | undefined> {
    const lines = (await fs.readFile("/proc/self/mountinfo", "utf8")).split("\n");
    const mounts = lines.flatMap((line) => {
        const [before, after] = line.split(" - ");
        const place = before?.split(" ")[4];
        const [type, , options] = after?.split(" ") ?? [];
        return place !== undefined && (type === "cgroup" || type === "cgroup2")
            ? [{ place, version: type === "cgroup" ? (1 as const) : (2 as const), options: options?.split(",") ?? [] }]
            : [];
    });
    const first = mounts.filter(({ version }) => version === 1);
    if (first.length > 0) {
        const preferred = first.find(({ options }) => options.includes("pids")) ?? first[0];
        return preferred && { version: 1, roots: mounts.map(({ place }) => place), membership: preferred.place };
    }
    const second = mounts[0];
    return second && { version: 2, roots: [second.place], membership: second.place };
}

/** Controllers without which the kubelet does not start. */
const needed = ["cpu", "cpuset", "memory", "pids"];

export async function missingControllers(mounts: CgroupMounts): Promise<readonly string[]> {
    const known =
        mounts.version === 2
            ? (await fs.readFile(path.join(mounts.membership, "cgroup.controllers"), "utf8")).trim().split(" ")
            : (await fs.readFile("/proc/self/mountinfo", "utf8"))
                  .split("\n")
                  .filter((line) => line.includes(" - cgroup "))
                  .flatMap((line) => line.split(" ").at(-1)?.split(",") ?? []);
    return needed.filter((name) => !known.includes(name));
}

/** Version 2 inside a container: its topmost group may hold processes, and then cannot hand controllers down. */
export async function undividedControllers({ version, membership }: CgroupMounts): Promise<readonly string[]> {
    const isTop = !(await fs.access(path.join(membership, "cgroup.type")).then(
        () => true,
        () => false,
    ));
    if (version === 1 || isTop) {
        return [];
    }
    const handed = (await fs.readFile(path.join(membership, "cgroup.subtree_control"), "utf8")).trim().split(" ");
    return needed.filter((name) => !handed.includes(name));
}

/** Makes the instance's group in every tree, and a leaf for each daemon in the membership tree. */
export async function makeCgroups(mounts: CgroupMounts, name: string, daemons: readonly string[]): Promise<void> {
    for (const root of mounts.roots) {
        await fs.mkdir(path.join(root, name), { recursive: true });
    }
    if (mounts.version === 2) {
        // A group that hands controllers to its children may hold no process itself, hence the leaves for the daemons.
        await delegate(mounts.membership);
        await delegate(path.join(mounts.membership, name));
    }
    for (const daemon of daemons) {
        await fs.mkdir(daemonCgroup(mounts, name, daemon), { recursive: true });
    }
}

export function daemonCgroup(mounts: CgroupMounts, name: string, daemon: string): string {
    return path.join(mounts.membership, name, "daemons", daemon);
}

async function delegate(group: string): Promise<void> {
    const available = (await fs.readFile(path.join(group, "cgroup.controllers"), "utf8")).trim().split(" ");
    for (const controller of available.filter((name) => name !== "")) {
        await fs.writeFile(path.join(group, "cgroup.subtree_control"), `+${controller}`).catch(() => undefined);
    }
}

/** Every process of a group and the groups below it. */
export async function members(group: string): Promise<number[]> {
    const pids = new Set<number>();
    for (const folder of await subtree(group)) {
        const text = await fs.readFile(path.join(folder, "cgroup.procs"), "utf8").catch(() => "");
        for (const line of text.split("\n").filter((entry) => entry !== "" && entry !== "0")) {
            pids.add(Number(line));
        }
    }
    return [...pids];
}

/** Whoever slowed a daemon or a shim down with SIGSTOP may have been killed before the SIGCONT. */
export async function wake(mounts: CgroupMounts, name: string): Promise<void> {
    for (const pid of await members(path.join(mounts.membership, name, "daemons"))) {
        signal(pid, "SIGCONT");
    }
}

/** Ends everything in the instance's groups, pods too, and waits until nothing is left. */
export async function killMembers(mounts: CgroupMounts, name: string): Promise<void> {
    const deadline = Date.now() + 15_000;
    for (;;) {
        const pids = new Set<number>();
        for (const root of mounts.roots) {
            await thaw(path.join(root, name));
            for (const pid of await members(path.join(root, name))) {
                pids.add(pid);
            }
        }
        if (pids.size === 0) {
            return;
        }
        if (Date.now() > deadline) {
            throw new Error(
                `Processes ${[...pids].join(", ")} of the local node do not end, although they were killed.\n` +
                    "    → They wait for a device or a file system; end that (`cat /proc/<pid>/stack` says what), then run the command again.",
            );
        }
        for (const pid of pids) {
            signal(pid, "SIGKILL");
        }
        await sleep(25);
    }
}

/** Removes the instance's groups from every tree. Groups of processes that just ended stay busy for a moment. */
export async function removeCgroups(mounts: CgroupMounts, name: string): Promise<void> {
    const deadline = Date.now() + 10_000;
    for (const root of mounts.roots) {
        for (;;) {
            const folders = (await subtree(path.join(root, name))).reverse();
            if (folders.length === 0) {
                break;
            }
            for (const folder of folders) {
                await fs.rmdir(folder).catch(() => undefined);
            }
            if (Date.now() > deadline) {
                throw new Error(
                    `The control group ${path.join(root, name)} cannot be removed: something still uses it.`,
                );
            }
            await sleep(10);
        }
    }
}

/**
 * Removes the groups of containers that were killed together with the runtime. A kubelet that finds them asks for each,
 * for 3 s, before it calls the node ready. Groups with a process in them stay: the kernel does not let go of those.
 */
export async function removeDeadContainers(mounts: CgroupMounts, name: string): Promise<void> {
    for (const root of mounts.roots) {
        for (const folder of (await subtree(path.join(root, name, "kubepods"))).reverse()) {
            if (/^[0-9a-f]{64}$/.test(path.basename(folder))) {
                await fs.rmdir(folder).catch(() => undefined);
            }
        }
    }
}

/** A group and all below it, parents first. */
async function subtree(group: string): Promise<string[]> {
    const entries = await fs.readdir(group, { withFileTypes: true }).catch(() => undefined);
    if (entries === undefined) {
        return [];
    }
    const below = await Promise.all(
        entries.filter((entry) => entry.isDirectory()).map((entry) => subtree(path.join(group, entry.name))),
    );
    return [group, ...below.flat()];
}

/** A frozen group (version 1) delivers no signal, not even the last one. */
async function thaw(group: string): Promise<void> {
    for (const folder of await subtree(group)) {
        for (const [file, text] of [
            ["freezer.state", "THAWED"],
            ["cgroup.freeze", "0"],
        ] as const) {
            await fs.writeFile(path.join(folder, file), text, { flag: "r+" }).catch(() => undefined);
        }
    }
}

function signal(pid: number, name: NodeJS.Signals): void {
    try {
        process.kill(pid, name);
    } catch {
        // It ended by itself.
    }
}
