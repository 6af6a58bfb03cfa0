import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { whyNoPackages } from "../../debian";
import { lastLines, run } from "../../run";
import { cgroupMounts, missingControllers, undividedControllers } from "./cgroups";

export interface Runnable {
    readonly ok: boolean;
    /** Each thing that is missing, in words. */
    readonly reasons: readonly string[];
}

/** Whether this machine can be a node, found by trying what a node does on a small scale and leaving nothing of it. */
export async function canRun(): Promise<Runnable> {
    if (process.platform !== "linux") {
        return { ok: false, reasons: [`this is ${process.platform}; pods run on Linux only`] };
    }
    const reasons = [
        rootReason(),
        ...(await programReasons()),
        await whyNoPackages(),
        await kernelLogReason(),
        ...(await cgroupReasons()),
    ];
    const first = reasons.filter((reason) => reason !== undefined);
    // Without root or programs, what follows would only repeat that.
    const all =
        first.length > 0
            ? first
            : [await namespaceReason(), await bridgeReason()].filter((reason) => reason !== undefined);
    return { ok: all.length === 0, reasons: all };
}

function rootReason(): string | undefined {
    return process.getuid?.() === 0 ? undefined : "not root (namespaces, mounts and control groups need it)";
}

async function programReasons(): Promise<string[]> {
    const reasons: string[] = [];
    for (const [program, from] of [
        ["ip", "iproute2"],
        ["unshare", "util-linux"],
        ["nsenter", "util-linux"],
        ["mount", "mount"],
        ["tar", "tar"],
    ] as const) {
        const version = program === "ip" ? "-Version" : "--version";
        const { failure } = await run(program, [version], { variables: process.env, timeLimit: 5000 });
        if (failure?.includes("(ENOENT)") === true) {
            reasons.push(`the program ${program} is missing (package ${from})`);
        }
    }
    return reasons;
}

async function kernelLogReason(): Promise<string | undefined> {
    const readable = await fs.access("/dev/kmsg", fs.constants.R_OK).then(
        () => true,
        () => false,
    );
    return readable ? undefined : "/dev/kmsg cannot be read (the kubelet looks there for out-of-memory kills)";
}

async function cgroupReasons(): Promise<string[]> {
    const mounts = await cgroupMounts();
    if (mounts === undefined) {
        return ["no control groups are mounted below /sys/fs/cgroup"];
    }
    const missing = await missingControllers(mounts);
    if (missing.length > 0) {
        return [
            `the control group controllers ${missing.join(", ")} are not available (cgroup version ${mounts.version})`,
        ];
    }
    const undivided = await undividedControllers(mounts);
    if (undivided.length > 0) {
        return [`the control group ${mounts.membership} does not hand ${undivided.join(", ")} to groups below it`];
    }
    for (const root of mounts.roots) {
        const probe = path.join(root, `ml-api-probe-${process.pid}`);
        try {
            await fs.mkdir(probe);
            await fs.rmdir(probe);
        } catch (error) {
            return [
                `control groups cannot be made in ${root} (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
            ];
        }
    }
    return [];
}

async function namespaceReason(): Promise<string | undefined> {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "ml-api-probe-"));
    const script = [
        "set -e",
        'step() { what="$1"; shift; "$@" 2>/dev/null || { echo "$what" >&2; exit 1; }; }',
        `step "a tmpfs cannot be mounted" mount -t tmpfs tmpfs ${folder}`,
        `cd ${folder} && mkdir lower upper work merged`,
        'step "an overlay cannot be mounted (kernel module overlay)" mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged',
        'step "no device pair can be made (kernel module veth)" ip link add mlprobe0 type veth peer name mlprobe1',
        'step "/proc/sys/net cannot be written" sh -c "echo 1 > /proc/sys/net/ipv4/ip_forward"',
        'step "no bridge can be made (kernel module bridge)" ip link add mlprobe2 type bridge',
    ].join("\n");
    try {
        const args = ["--net", "--mount", "--propagation", "private", "/bin/sh", "-c", script];
        const { failure, stderr } = await run("unshare", args, { variables: process.env, timeLimit: 10_000 });
        return failure === undefined
            ? undefined
            : `in a network and mount namespace of its own: ${lastLines(stderr, 2).trim()}`;
    } finally {
        await fs.rmdir(folder).catch(() => undefined);
    }
}

async function bridgeReason(): Promise<string | undefined> {
    if (
        await fs.access("/proc/sys/net/bridge").then(
            () => true,
            () => false,
        )
    ) {
        return undefined;
    }
    const { failure } = await run("modprobe", ["--dry-run", "br_netfilter"], {
        variables: process.env,
        timeLimit: 5000,
    });
    return failure === undefined
        ? undefined
        : "the kernel module br_netfilter is missing (Services would not answer pods)";
}
