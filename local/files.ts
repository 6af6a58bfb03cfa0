import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Makes a folder that only its owner may look into; parents that are missing are made the same way. */
export function privateFolder(path: string): string {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
    return path;
}

/** Writes a file that only its owner may read, whole or not at all. */
export function writePrivate(path: string, content: string): void {
    privateFolder(dirname(path));
    const aside = `${path}.${randomBytes(6).toString("hex")}`;
    try {
        writeFileSync(aside, content, { mode: 0o600 });
        renameSync(aside, path);
    } finally {
        rmSync(aside, { force: true });
    }
}

/** Reads a JSON file; undefined when it is not there or not whole. */
export function readJson(path: string): unknown {
    try {
        return JSON.parse(readFileSync(path, "utf8"));
    } catch {
        return undefined;
    }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}
