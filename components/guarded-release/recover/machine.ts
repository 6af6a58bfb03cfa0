import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The processes of a run, for those on the same machine: they need not wait to know that it is dead. */
export interface RunProcesses {
    /** Differs between machines, between two boots of one, and between containers on one. */
    readonly machine: string;
    /** `pid:start` of each; the second number tells when a pid is used again. */
    readonly processes: readonly string[];
}

/** This program, and what the Pulumi engine has started beside it: the provider in which Helm runs. Undefined where the system does not tell. */
export function ownProcesses(): RunProcesses | undefined {
    const machine = machineId();
    const engine = statOf(process.ppid)?.parent;
    if (machine === undefined || engine === undefined) return undefined;
    const beside =
        engine <= 1
            ? []
            : readdirSync("/proc")
                  .map(Number)
                  .filter((pid) => statOf(pid)?.parent === engine);
    const processes = [process.pid, ...beside].flatMap((pid) => {
        const start = statOf(pid)?.start;
        return start === undefined ? [] : [`${pid}:${start}`];
    });
    return { machine, processes };
}

/** What is left of a run; undefined when it was not on this machine. */
export function survivors({ machine, processes }: RunProcesses): readonly number[] | undefined {
    if (machine === "" || machine !== machineId()) return undefined;
    return processes.flatMap((one) => {
        const [pid, start] = one.split(":");
        const found = statOf(Number(pid));
        return found === undefined || found.state === "Z" || found.start !== start ? [] : [Number(pid)];
    });
}

/** It ran on this machine, and nothing of it is left. */
export function isGone(run: RunProcesses): boolean {
    return survivors(run)?.length === 0;
}

function machineId(): string | undefined {
    try {
        const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
        return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
    } catch {
        return undefined;
    }
}

function statOf(pid: number): { state: string; parent: number; start: string } | undefined {
    if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
    try {
        const text = readFileSync(`/proc/${pid}/stat`, "utf8");
        // The name before the last bracket may hold blanks and brackets.
        const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
        return { state: fields[0] ?? "", parent: Number(fields[1]), start: fields[19] ?? "" };
    } catch {
        return undefined;
    }
}
