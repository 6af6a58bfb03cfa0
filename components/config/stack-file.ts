import * as fs from "node:fs";
import * as path from "node:path";
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument, Scalar, visit, type YAMLMap } from "yaml";
import { didYouMean } from "./nearest";
import type { Problem } from "./problem";
import { reportAmbiguities } from "./values";
import { dataOf } from "./yaml-data";

/** A value that only the stack's key can read. */
export const ENCRYPTED = Symbol("encrypted");
export type ConfigText = string | typeof ENCRYPTED;

/** `Pulumi.<stack>.yaml`, read without Pulumi. */
export interface StackFile {
    /** `namespace:key` → text, as Pulumi hands it to a program: JSON for maps and lists. */
    readonly config: Readonly<Record<string, ConfigText>>;
    /** The lines of the configuration by dotted path: `ml-api:values.image.tag` → `Pulumi.dev.yaml:7`. */
    readonly places: ReadonlyMap<string, string>;
    /** What Pulumi would drop without a word, or read differently than it looks. */
    readonly problems: readonly Problem[];
}

/** The stacks that have a stack file in a folder, in alphabetical order. */
export function stackNames(root: string): string[] {
    return fs
        .readdirSync(root)
        .flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? [])
        .sort();
}

export function stackFileName(stack: string): string {
    return `Pulumi.${stack}.yaml`;
}

/** Reads a stack file; one that does not exist is as good as an empty one: all of it may come from the command line. */
export function readStackFile(root: string, stack: string, project: string): StackFile {
    const name = stackFileName(stack);
    const file = path.join(root, name);
    const config: Record<string, ConfigText> = {};
    const places = new Map<string, string>();
    const problems: Problem[] = [];
    if (!fs.existsSync(file)) return { config, places, problems };

    const lines = new LineCounter();
    const document: Document = parseDocument(fs.readFileSync(file, "utf8"), {
        lineCounter: lines,
        merge: true,
        prettyErrors: false,
        logLevel: "error",
    });
    const at = (offset: number) => `${name}:${lines.linePos(offset).line}`;
    const report = (offset: number, what: string, fix?: string) =>
        problems.push({ where: at(offset), what, ...(fix === undefined ? {} : { fix }) });
    for (const error of document.errors) report(error.pos[0], error.message);
    if (!isMap(document.contents)) return { config, places, problems };

    for (const { key } of document.contents.items) {
        if (!isScalar(key) || !key.range || TOP_LEVEL.includes(String(key.value))) continue;
        report(
            key.range[0],
            `Pulumi drops the key "${String(key.value)}"${didYouMean(String(key.value), TOP_LEVEL)}`,
            "what the stack sets stands below `config:`",
        );
    }

    const below = document.get("config");
    if (!isMap(below)) return { config, places, problems };
    for (const { key, value } of below.items) {
        if (!isScalar(key) || !key.range) continue;
        const written = String(key.value);
        // Pulumi takes a bare key for one of the project.
        const full = written.includes(":") ? written : `${project}:${written}`;
        if (places.has(full))
            report(key.range[0], `${full} is set a second time`, `the first is ${places.get(full) ?? ""}`);
        places.set(full, at(key.range[0]));
        if (isMap(value)) placeBelow(value, full);
        if (full === `${project}:values` && isMap(value)) {
            reportAmbiguities(value, report);
            reportDates(value, report);
        }
        const data = isNode(value) ? dataOf(document, value) : { value };
        if ("value" in data) config[full] = configText(data.value);
        else report(key.range[0], data.what);
    }
    return { config, places, problems };

    function placeBelow(map: YAMLMap, prefix: string): void {
        for (const { key, value } of map.items) {
            if (!isScalar(key) || !key.range) continue;
            const dotted = `${prefix}.${String(key.value)}`;
            places.set(dotted, at(key.range[0]));
            if (isMap(value)) placeBelow(value, dotted);
        }
    }
}

/** What a stack file may hold; Pulumi keeps nothing else when it writes the file. */
const TOP_LEVEL = ["config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment"];

/** A configuration value as Pulumi hands it to a program. */
export function configText(value: unknown): ConfigText {
    if (holdsEncrypted(value)) return ENCRYPTED;
    if (value === null || value === undefined) return "";
    if (typeof value === "string") return value;
    return JSON.stringify(value);
}

/** One encrypted value makes the whole key a secret. */
function holdsEncrypted(value: unknown): boolean {
    if (typeof value !== "object" || value === null) return false;
    const entries = Object.entries(value);
    const [first] = entries;
    if (entries.length === 1 && first?.[0] === "secure" && typeof first[1] === "string") return true;
    return entries.some(([, inner]) => holdsEncrypted(inner));
}

/** Pulumi makes a point in time of an unquoted date, Helm and other tools a text. */
function reportDates(values: YAMLMap, report: (offset: number, what: string, fix: string) => void): void {
    visit(values, {
        Scalar(_, { type, source, range }) {
            if (type !== Scalar.PLAIN || source === undefined || !range) return;
            if (!/^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?$/.test(source)) return;
            report(range[0], `\`${source}\` is a point in time to Pulumi and a text to Helm`, `quote it: "${source}"`);
        },
    });
}
