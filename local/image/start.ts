import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onInterrupt } from "../interrupt";
import { onPath } from "../tools";
import { layOut, type OpenImage } from "./unpack";

/** An image's process, started as the chart would start it. */
export interface StartedImage {
    /** A Unix socket that leads to its port on 127.0.0.1, in its own network. */
    readonly socket: string;
    /** Ports on which it listens. */
    readonly listens: () => readonly number[];
    /** The most memory that its processes have had, in bytes. */
    readonly peakBytes: () => number;
    /** Whether it has ended. */
    readonly ended: () => boolean;
    /** What it printed last. */
    readonly output: () => string;
    readonly terminate: () => void;
    /** Its exit code; 137 when it did not end within the time. */
    readonly wait: (milliseconds: number) => Promise<number>;
    /** Ends whatever is left of it, and removes its files. */
    readonly remove: () => Promise<void>;
}

/** What keeps an image from being started here; undefined when nothing does. */
export function cannotStart(image: OpenImage): string | undefined {
    if (process.platform !== "linux") return "images are started on Linux only";
    if (process.getuid?.() !== 0) return "starting it in namespaces of its own needs root";
    const here = process.arch === "x64" ? "amd64" : process.arch;
    if (image.config.architecture !== here) return `this machine is ${here}, the image ${image.config.architecture}`;
    const missing = ["ip", "unshare", "nsenter", "setpriv"].filter(
        (program) => onPath(program, process.env) === undefined,
    );
    return missing.length === 0 ? undefined : `there is no program ${missing.join(", ")}`;
}

/** User and group, as the chart sets them. */
const USER = "10001";

/**
 * Namespaces of its own, no network but its own loopback, a read-only root file system, a user that is not root and cannot become
 * it. $1 is the root; then comes what runs last. Everything is mounted before the image's own files are run. The image gets
 * process number 1 in a namespace within this shell's: a signal that it does not handle is ignored, as in a container, and this
 * shell, which ends with its caller, takes it along whatever user it has become.
 */
const SCRIPT = `set -e
root=$1; shift
ip link set lo up
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777,size=256m none "$root/tmp"
mount -t tmpfs -o mode=755 none "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/\${node%:*}" c 1 "\${node#*:}"; done
ln -s /proc/self/fd "$root/dev/fd"; ln -s /proc/self/fd/1 "$root/dev/stdout"; ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir -m 1777 "$root/dev/shm"; mount -t tmpfs -o mode=1777,size=64m none "$root/dev/shm"
mount -o remount,bind,ro "$root"
unshare --pid --fork -- sh -c 'mount -t proc none "$0/proc" && exec env -i "$@"' "$root" "$@"`;

/**
 * Starts an image without a container engine.
 *
 * @param env further variables; `API_KEYS_FILE` is set to a file with `keys`
 * @param port on which it is asked; PORT is set to it
 * @throws Error when it cannot be laid out
 */
export async function startImage(
    image: OpenImage,
    { port, keys, env }: { port: number; keys: readonly string[]; env: Readonly<Record<string, string>> },
): Promise<StartedImage> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-doctor-"));
    const root = path.join(folder, "root");
    let child: ChildProcess | undefined;
    let relay: ChildProcess | undefined;
    // The processes end with this one; what they mounted ends with their namespaces.
    const release = onInterrupt(() => {
        child?.kill("SIGKILL");
        fs.rmSync(folder, { recursive: true, force: true });
    });
    const remove = async (): Promise<void> => {
        release();
        // The namespaces, and what is mounted in them, end with their first process.
        for (const one of [relay, child]) {
            if (one === undefined || one.exitCode !== null || one.signalCode !== null) continue;
            const closed = new Promise((resolve) => one.once("close", resolve));
            one.kill("SIGKILL");
            await closed;
        }
        fs.rmSync(folder, { recursive: true, force: true });
    };
    try {
        fs.mkdirSync(root);
        await layOut(image, root);
        // What is mounted over must be a folder of the image's own: a link could lead out of it.
        for (const name of ["tmp", "proc", "dev", "ml-api"]) {
            const place = path.join(root, name);
            if (fs.lstatSync(place, { throwIfNoEntry: false })?.isDirectory() !== true)
                fs.rmSync(place, { force: true });
            fs.mkdirSync(place, { recursive: true });
        }
        fs.writeFileSync(path.join(root, "ml-api", "keys"), `${keys.join("\n")}\n`, { mode: 0o444 });
        const { entrypoint, command, env: own, workingDir } = image.config;
        const variables = {
            ...fromLines(own),
            ...env,
            PORT: String(port),
            API_KEYS_FILE: "/ml-api/keys",
            HOME: "/tmp",
        };
        const apart = ["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--"];
        // The image's variables, its PATH among them, hold from here on; what runs before it runs is this machine's.
        const last = [
            ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
            ...[programPath("setpriv"), "--no-new-privs"],
            ...[programPath("unshare"), `--root=${root}`, `--wd=${workingDir === "" ? "/" : workingDir}`],
            ...["--setgid", USER, "--setuid", USER, "--", ...entrypoint, ...command],
        ];
        const started = spawn(
            "setpriv",
            ["--pdeathsig", "KILL", "unshare", ...apart, "sh", "-c", SCRIPT, "sh", root, ...last],
            {
                stdio: ["ignore", "pipe", "pipe"],
            },
        );
        child = started;
        let output = "";
        for (const stream of [started.stdout, started.stderr])
            stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-4000)));
        const ended = (): boolean => started.exitCode !== null || started.signalCode !== null;
        const inside = await imageProcess(started, ended);
        const socket = path.join(folder, "socket");
        relay = await startRelay(inside, socket, port);
        let peak = 0;
        const measure = (): number => (peak = Math.max(peak, memoryOf(inside)));
        return {
            socket,
            listens: () => listening(inside),
            peakBytes: measure,
            ended,
            output: () => output,
            terminate: () => {
                try {
                    process.kill(inside, "SIGTERM");
                } catch {
                    // It has ended by itself.
                }
            },
            wait: async (milliseconds) => {
                const end = Date.now() + milliseconds;
                while (!ended() && Date.now() < end) await sleep(20);
                return (
                    started.exitCode ??
                    (started.signalCode === null ? 137 : 128 + os.constants.signals[started.signalCode])
                );
            },
            remove,
        };
    } catch (error) {
        await remove();
        throw error;
    }
}

function programPath(name: string): string {
    return onPath(name, process.env) ?? name;
}

function fromLines(env: readonly string[]): Record<string, string> {
    return Object.fromEntries(
        env.map((line): [string, string] => [line.split("=", 1)[0] ?? "", line.slice(line.indexOf("=") + 1)]),
    );
}

/** The image's process, by its id outside of the namespaces. */
async function imageProcess(outermost: ChildProcess, ended: () => boolean): Promise<number> {
    for (let tries = 0; tries < 500 && !ended(); tries++) {
        const [shell] = childrenOf(outermost.pid ?? 0);
        const [within] = shell === undefined ? [] : childrenOf(shell).flatMap(childrenOf);
        // What the shell runs before has the shell's own numbers.
        if (shell !== undefined && within !== undefined && pidSpaceOf(within) !== pidSpaceOf(shell)) return within;
        await sleep(10);
    }
    throw new Error("the image could not be started in namespaces of its own");
}

function childrenOf(pid: number): number[] {
    return textOf(`/proc/${pid}/task/${pid}/children`).trim().split(" ").filter(Boolean).map(Number);
}

const RELAY = `const net = require("node:net");
const [socket, port] = process.argv.slice(1);
net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
    for (const one of [near, far]) one.on("error", () => { near.destroy(); far.destroy(); });
    near.pipe(far); far.pipe(near);
}).listen(socket, () => console.log("ready"));`;

/** Leads from a Unix socket here to a port there. */
async function startRelay(inside: number, socket: string, port: number): Promise<ChildProcess> {
    const words = [`--net=/proc/${inside}/ns/net`, "--", process.execPath, "-e", RELAY, socket, String(port)];
    const relay = spawn("setpriv", ["--pdeathsig", "KILL", "nsenter", ...words], {
        stdio: ["ignore", "pipe", "ignore"],
    });
    await new Promise<void>((resolve, reject) => {
        relay.once("error", reject);
        relay.once("exit", () => {
            reject(new Error("the image ended as soon as it was started"));
        });
        relay.stdout.once("data", () => {
            relay.removeAllListeners("exit");
            resolve();
        });
    });
    return relay;
}

function memoryOf(inside: number): number {
    const space = pidSpaceOf(inside);
    const all = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name) && pidSpaceOf(name) === space);
    return all.reduce((sum, pid) => {
        const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(textOf(`/proc/${pid}/status`))?.[1];
        return sum + Number(kibibytes ?? 0) * 1024;
    }, 0);
}

function pidSpaceOf(pid: string | number): string {
    try {
        return fs.readlinkSync(`/proc/${pid}/ns/pid`);
    } catch {
        return `${pid} has ended`;
    }
}

function listening(inside: number): readonly number[] {
    const lines = ["tcp", "tcp6"].flatMap((name) => textOf(`/proc/${inside}/net/${name}`).split("\n"));
    const ports = lines.flatMap((line) => {
        const port = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /.exec(line)?.[1];
        return port === undefined ? [] : [parseInt(port, 16)];
    });
    return [...new Set(ports)];
}

function textOf(file: string): string {
    try {
        return fs.readFileSync(file, "utf8");
    } catch {
        return "";
    }
}
