import * as crypto from "node:crypto";
import type { RenderedObject } from "./render";

/**
 * A hash of what a chart renders to. It does not depend on the order of objects or keys, on the checkout's place or on the
 * machine, so it changes with an edit exactly when the outcome of the edit does. NOTES.txt is no outcome: it is printed, not
 * installed, so an edit of it alone is no update, and goes into the release's record with the next one.
 *
 * @returns 64 hex digits (SHA-256)
 */
export function digestOf(objects: readonly RenderedObject[]): string {
    const lines = objects.map((object) => canonicalJson(object)).sort();
    return crypto.createHash("sha256").update(lines.join("\n")).digest("hex");
}

/** JSON with the keys of every object in code unit order. */
export function canonicalJson(value: unknown): string {
    if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
    if (typeof value !== "object" || value === null) return JSON.stringify(value);
    const entries = Object.entries(value)
        .filter(([, inner]) => inner !== undefined)
        .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`).join(",")}}`;
}
