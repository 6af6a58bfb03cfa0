import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onInterrupt } from "./interrupt";
import { isAlive, processStart } from "./processes";

export interface LockOptions {
    /** Called once, when somebody else holds the lock. */
    readonly onWait?: ((pid: number) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
    /** Milliseconds between two looks; tests shorten it. */
    readonly pollEvery?: number;
}

interface Holder {
    readonly pid: number;
    readonly start?: string;
    /** Tells two locks of one process apart. */
    readonly token: string;
}

/**
 * Runs `body` while no other process that asks for the same file does. A lock whose process is gone is taken over.
 * What it guards is safe without it (every result is made aside and renamed into place): the lock saves double work.
 */
export async function withLock<T>(file: string, body: () => Promise<T>, options: LockOptions = {}): Promise<T> {
    const own = await acquire(file, options);
    const release = (): void => {
        if (readHolder(file)?.token === own.token) unlinkSync(file);
    };
    const forget = onInterrupt(release);
    try {
        return await body();
    } finally {
        forget();
        release();
    }
}

async function acquire(file: string, options: LockOptions): Promise<Holder> {
    mkdirSync(dirname(file), { recursive: true });
    const start = processStart(process.pid);
    const token = randomBytes(8).toString("hex");
    const own: Holder = { pid: process.pid, token, ...(start === undefined ? {} : { start }) };
    let told = false;
    for (;;) {
        if (claim(file, own)) return own;
        const holder = readHolder(file);
        if (holder === undefined || !isHeld(holder)) {
            takeAway(file, holder);
            continue;
        }
        if (!told) options.onWait?.(holder.pid);
        told = true;
        await sleep(
            options.pollEvery ?? 500,
            undefined,
            options.signal === undefined ? {} : { signal: options.signal },
        );
    }
}

/** Makes the file appear with its content at once, or not at all when it is there. */
function claim(file: string, own: Holder): boolean {
    const aside = `${file}.${own.token}`;
    writeFileSync(aside, JSON.stringify(own), { mode: 0o600 });
    try {
        linkSync(aside, file);
        return true;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
        throw error;
    } finally {
        unlinkSync(aside);
    }
}

function readHolder(file: string): Holder | undefined {
    try {
        const value: unknown = JSON.parse(readFileSync(file, "utf8"));
        return isHolder(value) ? value : undefined;
    } catch {
        return undefined;
    }
}

function isHolder(value: unknown): value is Holder {
    return (
        typeof value === "object" &&
        value !== null &&
        "pid" in value &&
        typeof value.pid === "number" &&
        "token" in value
    );
}

function isHeld(holder: Holder): boolean {
    return isAlive(holder.pid) && (holder.start === undefined || holder.start === processStart(holder.pid));
}

/** Two processes may find the same lock stale: what was moved away is put back when it is no longer the stale one. */
function takeAway(file: string, stale: Holder | undefined): void {
    const aside = `${file}.stale-${randomBytes(8).toString("hex")}`;
    try {
        renameSync(file, aside);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
        throw error;
    }
    const moved = readHolder(aside);
    if (moved !== undefined && moved.token !== stale?.token) {
        try {
            linkSync(aside, file);
        } catch {
            // A third one has it by now.
        }
    }
    unlinkSync(aside);
}
