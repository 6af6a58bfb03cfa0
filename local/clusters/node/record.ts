import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { ProcessIdentity } from "./processes";

/** Inode names of the node's namespaces, as `readlink /proc/<pid>/ns/net` prints them. */
export interface NamespaceNames {
    readonly net: string;
    readonly mnt: string;
}

export interface RecordedProcess extends ProcessIdentity {
    readonly fingerprint: string;
    /** Unix time in milliseconds. */
    readonly startedAt: number;
}

/** What is known about a node between two runs. */
export interface NodeRecord {
    /** Start times count from the machine's start, so they mean something within one boot only. */
    readonly boot: string;
    /** Which /30 of 10.213.0.0/16. Kept for the life of the cluster, whose certificates name the address. */
    readonly subnet: number;
    /** Absent until everything inside them is set up. */
    readonly namespaces?: NamespaceNames;
    readonly processes: Readonly<Record<string, RecordedProcess>>;
}

export async function bootId(): Promise<string> {
    return (await fs.readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

export async function readRecord(file: string): Promise<NodeRecord | undefined> {
    const text = await fs.readFile(file, "utf8").catch(() => undefined);
    if (text === undefined) {
        return undefined;
    }
    let record: unknown;
    try {
        record = JSON.parse(text);
    } catch {
        return undefined;
    }
    return isRecord(record) ? record : undefined;
}

export async function writeRecord(file: string, record: NodeRecord): Promise<void> {
    await writeWhole(file, `${JSON.stringify(record, null, 2)}\n`);
}

/** Writes a file so that a reader, or a crash, sees the old or the new text and nothing between. */
export async function writeWhole(file: string, text: string): Promise<void> {
    await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    const partial = `${file}.partial`;
    await fs.writeFile(partial, text, { mode: 0o600 });
    await fs.rename(partial, file);
}

function isIdentity(value: unknown): value is ProcessIdentity {
    const fields = object(value);
    return typeof fields?.["pid"] === "number" && typeof fields["startTime"] === "string";
}

function isRecord(value: unknown): value is NodeRecord {
    const fields = object(value);
    const processes = object(fields?.["processes"]);
    return (
        typeof fields?.["boot"] === "string" &&
        typeof fields["subnet"] === "number" &&
        processes !== undefined &&
        Object.values(processes).every(isIdentity)
    );
}

function object(value: unknown): Record<string, unknown> | undefined {
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}
