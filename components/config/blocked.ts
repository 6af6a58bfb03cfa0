import * as fs from "node:fs";
import * as path from "node:path";
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap } from "yaml";
import { didYouMean } from "./nearest";
import { InputError, type Problem } from "./problem";

// The program loads this at every preview: nothing but the YAML reader, which is loaded already.

/** A digest that must not run anywhere. */
export interface BlockedDigest {
    /** `sha256:` and 64 hexadecimal digits: of an image, of a model, or of a chart's sources. */
    readonly digest: string;
    readonly reason: string;
    readonly who: string;
    /** Day, `YYYY-MM-DD`. */
    readonly when: string;
    /** `file:line` of the entry. */
    readonly place: string;
}

export const BLOCK_LIST = "branching/blocked.yaml";

const KEYS = ["digest", "reason", "who", "when"] as const;

/** The block list of a project's folder; empty without a file. @throws InputError with every problem and its line */
export function readBlocked(root: string): BlockedDigest[] {
    const file = path.join(root, BLOCK_LIST);
    return fs.existsSync(file) ? parseBlocked(fs.readFileSync(file, "utf8")) : [];
}

/** As {@link readBlocked}, from text. */
export function parseBlocked(text: string, shown = BLOCK_LIST): BlockedDigest[] {
    const lines = new LineCounter();
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
    const problems: Problem[] = [];
    const report = (offset: number | undefined, what: string, fix?: string): void => {
        const where = offset === undefined ? shown : `${shown}:${lines.linePos(offset).line}`;
        problems.push({ where, what, ...(fix === undefined ? {} : { fix }) });
    };
    for (const { pos, message } of document.errors) report(pos[0], message);
    const top = document.contents;
    if (problems.length === 0 && !isMap(top)) report(undefined, "a map with the key `blocked` is expected");
    const found: BlockedDigest[] = [];
    if (isMap(top)) {
        for (const { key } of top.items) {
            if (isScalar(key) && key.value !== "blocked")
                report(
                    key.range[0],
                    `there is no key "${String(key.value)}"${didYouMean(String(key.value), ["blocked"])}`,
                );
        }
        const list = top.get("blocked");
        if (!isSeq(list)) report(undefined, "`blocked` is no list", "write blocked: [] for an empty one");
        else for (const item of list.items) read(item);
    }
    if (problems.length > 0) throw new InputError("block list", problems);
    return found;

    function read(item: unknown): void {
        if (!isMap(item)) {
            report(isScalar(item) ? item.range?.[0] : undefined, `an entry is a map of ${KEYS.join(", ")}`);
            return;
        }
        const before = problems.length;
        const offset = item.range?.[0];
        for (const { key } of item.items) {
            const name = isScalar(key) ? String(key.value) : "?";
            if (!(KEYS as readonly string[]).includes(name))
                report(isScalar(key) ? key.range?.[0] : offset, `there is no key "${name}"${didYouMean(name, KEYS)}`);
        }
        const entry = { digest: "", reason: "", who: "", when: "" };
        for (const key of KEYS) {
            const value = textOf(item, key);
            if (value === undefined) report(offset, `this entry has no ${key}`, "say it as text");
            else entry[key] = value;
        }
        if (entry.digest !== "" && !/^sha256:[0-9a-f]{64}$/.test(entry.digest))
            report(offset, `${JSON.stringify(entry.digest)} is no digest`, "write sha256: and 64 hexadecimal digits");
        if (entry.when !== "" && !isDay(entry.when))
            report(offset, `${JSON.stringify(entry.when)} is no day`, "write it as YYYY-MM-DD");
        if (problems.length === before) found.push({ ...entry, place: `${shown}:${lines.linePos(offset ?? 0).line}` });
    }
}

function textOf(item: YAMLMap, key: string): string | undefined {
    const value: unknown = item.get(key);
    return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

function isDay(text: string): boolean {
    const day = new Date(`${text}T00:00:00Z`);
    return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

/**
 * The entries that something would run: an image's name, values, a manifest, the parts of a record, as text or as anything that
 * JSON can hold. Digests are found wherever they stand, with `sha256:` before them or, as in `model.download.sha256`, without.
 */
export function blockedIn(list: readonly BlockedDigest[], ...where: readonly unknown[]): BlockedDigest[] {
    if (list.length === 0) return [];
    const text = where.map((one) => (typeof one === "string" ? one : JSON.stringify(one ?? null))).join("\n");
    const digests = new Set(text.toLowerCase().match(/(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g));
    const found = list.filter(({ digest }) => digests.has(digest.slice("sha256:".length)));
    return [...new Map(found.map((one) => [one.digest, one])).values()];
}

/** One sentence, for whoever is stopped by it. */
export function blockedText({ digest, reason, who, when, place }: BlockedDigest): string {
    return `${digest} is blocked since ${when}: ${reason} (${who}, ${place})`;
}

/** What a stack's values would run although it is blocked, with the line of the values where it stands. */
export function blockedProblems(
    list: readonly BlockedDigest[],
    values: unknown,
    places: ReadonlyMap<string, string>,
    file: string,
): Problem[] {
    return blockedIn(list, values).map((one) => ({
        where: placeOf(one.digest, values, places) ?? file,
        what: blockedText(one),
        fix: "go back to a version that is not blocked, or forward to a new one",
    }));
}

function placeOf(digest: string, value: unknown, places: ReadonlyMap<string, string>, at = ""): string | undefined {
    if (typeof value === "string")
        return value.toLowerCase().includes(digest.slice("sha256:".length)) ? places.get(at) : undefined;
    if (typeof value !== "object" || value === null) return undefined;
    for (const [key, inner] of Object.entries(value) as [string, unknown][]) {
        const place = placeOf(digest, inner, places, at === "" ? key : `${at}.${key}`);
        if (place !== undefined) return place;
    }
    return undefined;
}
