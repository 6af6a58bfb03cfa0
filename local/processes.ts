import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessEntry {
    readonly pid: number;
    /** The program and its arguments; where the system only tells one string, split at blanks. */
    readonly argv: readonly string[];
}

/** Every process of this machine that this user may see. */
export function listProcesses(): readonly ProcessEntry[] {
    return process.platform === "linux" ? fromProc() : fromPs();
}

export function isAlive(pid: number): boolean {
    if (!Number.isInteger(pid) || pid <= 0) return false;
    try {
        process.kill(pid, 0);
    } catch (error) {
        return (error as NodeJS.ErrnoException).code === "EPERM";
    }
    return !isZombie(pid);
}

/**
 * Something that differs when a process number is used again by another process; undefined where the system
 * does not tell.
 */
export function processStart(pid: number): string | undefined {
    if (process.platform !== "linux") return undefined;
    return statFields(pid)?.[19];
}

/** Ends processes at once; one that is gone already is no error. */
export function killAll(pids: readonly number[]): void {
    for (const pid of pids) {
        try {
            process.kill(pid, "SIGKILL");
        } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
        }
    }
}

function fromProc(): readonly ProcessEntry[] {
    return readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .flatMap((name) => {
            try {
                const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").slice(0, -1);
                return argv.length === 0 ? [] : [{ pid: Number(name), argv }];
            } catch {
                return []; // It ended while the list was read.
            }
        });
}

function fromPs(): readonly ProcessEntry[] {
    const text = execFileSync("ps", ["-axww", "-o", "pid=,command="], {
        encoding: "utf8",
        maxBuffer: 64 * 1024 * 1024,
    });
    return text.split("\n").flatMap((line) => {
        const match = /^\s*(\d+)\s+(.*)$/.exec(line);
        return match === null ? [] : [{ pid: Number(match[1]), argv: (match[2] ?? "").split(" ") }];
    });
}

/** Ended, and only waiting for its parent to notice. While other threads are still ending, its ports are still taken. */
function isZombie(pid: number): boolean {
    if (process.platform !== "linux" || statFields(pid)?.[0] !== "Z") return false;
    try {
        return readdirSync(`/proc/${pid}/task`).length <= 1;
    } catch {
        return true;
    }
}

/** Fields of /proc/PID/stat from the state on; the name before it may hold blanks and brackets. */
function statFields(pid: number): readonly string[] | undefined {
    try {
        const text = readFileSync(`/proc/${pid}/stat`, "utf8");
        return text.slice(text.lastIndexOf(")") + 2).split(" ");
    } catch {
        return undefined;
    }
}
