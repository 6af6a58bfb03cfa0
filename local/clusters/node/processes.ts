import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive as isAnyAlive, processStart } from "../../processes";
import { lastLines } from "../../run";
import { indent } from "./program";

/** A process as the kernel tells it from every other, earlier and later ones with the same number included. */
export interface ProcessIdentity {
    readonly pid: number;
    /** Clock ticks between the machine's start and the process's. */
    readonly startTime: string;
}

export interface Daemon {
    readonly name: string;
    readonly command: string;
    readonly args: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    /** What else it depends on, such as the text of its configuration: when that changes, it is started anew. */
    readonly configuration: string;
}

/** The same daemon started the same way has the same fingerprint. */
export function fingerprint(daemon: Daemon): string {
    const { command, args, env, configuration } = daemon;
    return createHash("sha256")
        .update(JSON.stringify([command, args, env, configuration]))
        .digest("hex")
        .slice(0, 16);
}

export function identify(pid: number): ProcessIdentity | undefined {
    const startTime = processStart(pid);
    return startTime === undefined || !isAnyAlive(pid) ? undefined : { pid, startTime };
}

export function isAlive(identity: ProcessIdentity | undefined): boolean {
    return identity !== undefined && identify(identity.pid)?.startTime === identity.startTime;
}

export async function end(identity: ProcessIdentity, graceMs: number): Promise<void> {
    const deadline = Date.now() + graceMs;
    while (isAlive(identity)) {
        if (Date.now() > deadline + 10_000) {
            throw new Error(`Process ${identity.pid} does not end, although it was killed.`);
        }
        try {
            process.kill(identity.pid, Date.now() > deadline ? "SIGKILL" : "SIGTERM");
        } catch {
            return;
        }
        await sleep(20);
    }
}

/**
 * Starts a daemon that outlives this program: own session, output to its log, a member of its control group from its
 * first instruction on. `enter` is what puts it into the node's namespaces.
 */
export async function start(
    daemon: Daemon,
    enter: readonly string[],
    cgroup: string,
    log: string,
): Promise<ProcessIdentity> {
    await fs.mkdir(path.dirname(log), { recursive: true });
    await fs.rename(log, `${log}.1`).catch(() => undefined);
    const file = await fs.open(log, "a", 0o600);
    try {
        const join = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"';
        const child = spawn("/bin/sh", ["-c", join, "sh", cgroup, ...enter, daemon.command, ...daemon.args], {
            cwd: "/",
            detached: true,
            env: { ...daemon.env },
            stdio: ["ignore", file.fd, file.fd],
        });
        await new Promise<void>((resolve, reject) => {
            child.once("spawn", resolve);
            child.once("error", reject);
        });
        child.on("error", () => undefined);
        child.unref();
        const identity = child.pid === undefined ? undefined : identify(child.pid);
        if (identity === undefined) {
            throw await failedToStart(daemon.name, log);
        }
        return identity;
    } finally {
        await file.close();
    }
}

/** Names the process, what it said last and where the rest is. */
export async function failedToStart(name: string, log: string, what = "ended right after its start"): Promise<Error> {
    const text = await fs.readFile(log, "utf8").catch(() => "");
    const said = text.trim() === "" ? "It wrote nothing." : `Its last lines:\n${indent(lastLines(text, 12))}`;
    return new Error(`The local node's ${name} ${what}. ${said}\n    Log: ${log}`);
}
