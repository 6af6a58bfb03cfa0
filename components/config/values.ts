import * as fs from "node:fs";
import {
    Document,
    isAlias,
    isMap,
    isPair,
    isScalar,
    LineCounter,
    type Pair,
    parseAllDocuments,
    Scalar,
    visit,
    type YAMLMap,
} from "yaml";
import { InputError, type Problem } from "./problem";
import { dataOf } from "./yaml-data";

/** A value as Helm holds it: JSON, with numbers that a double can hold exactly. */
export type Value = null | boolean | number | string | readonly Value[] | Values;
export interface Values {
    readonly [key: string]: Value;
}

/** Where each leaf of a values file stands, by its dotted path: `image.tag` → `chart/…/values-dev.yaml:4`. */
export type Places = ReadonlyMap<string, string>;

export interface ValuesFile {
    readonly values: Values;
    readonly places: Places;
}

/**
 * Reads one values file; see {@link parseValues}. A file that is missing or not readable is an {@link InputError}.
 * @param shown the name that stands in messages and places
 */
export function readValuesFile(file: string, shown = file): ValuesFile {
    let text: string;
    try {
        text = fs.readFileSync(file, "utf8");
    } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
        const what = code === "ENOENT" ? "there is no such values file" : `the values file cannot be read (${code})`;
        throw new InputError("values", [
            { where: shown, what, fix: "create it, or correct `environment` or `valuesDir` of the stack" },
        ]);
    }
    return parseValues(text, shown);
}

/**
 * Parses a values file to exactly what Helm 3 reads from it, or refuses it.
 *
 * Helm reads YAML 1.1 words, every other tool around reads YAML 1.2. Where the two disagree (`NO`, `0777`, `1_000`, …) nobody
 * can say what the author meant, so such a spelling is refused with its line and the quoted and plain ways to write it.
 *
 * @param file the name that stands in messages and places; relative to the project's root
 * @throws InputError with every problem of the file
 */
export function parseValues(text: string, file: string): ValuesFile {
    const lines = new LineCounter();
    const problems: Problem[] = [];
    const at = (offset: number) => {
        const { line, col } = lines.linePos(offset);
        return `${file}:${line}:${col}`;
    };
    const report = (offset: number, what: string, fix?: string) =>
        problems.push({ where: at(offset), what, ...(fix === undefined ? {} : { fix }) });

    const documents = parseAllDocuments(text, {
        lineCounter: lines,
        merge: true,
        prettyErrors: false,
        logLevel: "error",
    });
    const [document, second] = Array.isArray(documents) ? documents : [];
    // YAML 1.1 folds these characters as line breaks, YAML 1.2 keeps them.
    for (const match of text.matchAll(/[\u0085\u2028\u2029]|(?!^)\uFEFF/g)) {
        report(
            match.index,
            `the invisible character U+${hex(match[0])} stands here, which Helm reads as a line break`,
            "remove it",
        );
    }
    if (second !== undefined) {
        report(
            second.range[0],
            "a second YAML document begins here; a values file is one document",
            "remove the `---` line",
        );
    }
    if (document === undefined) return finish({}, new Map());

    for (const error of document.errors) report(error.pos[0], firstLine(error.message));
    if (document.directives.docStart === true && /^%/m.test(text.split(/^---/m, 1)[0] ?? "")) {
        report(0, "a YAML directive changes how the file is read", "remove the line that begins with `%`");
    }
    if (document.contents !== null && !isMap(document.contents) && !isNullScalar(document.contents)) {
        report(document.contents.range[0], "a values file is a map of `key: value` lines at its top level");
    }
    if (problems.length === 0) reportAmbiguities(document, report);
    if (problems.length > 0) return finish({}, new Map());

    const data = dataOf(document);
    if ("what" in data) {
        report(0, data.what);
        return finish({}, new Map());
    }
    const values = (data.value as Values | null) ?? {};
    const places = new Map<string, string>();
    if (isMap(document.contents))
        place(document.contents, [], document, (path, offset) =>
            places.set(path, `${file}:${lines.linePos(offset).line}`),
        );
    return finish(values, places);

    function finish(values: Values, places: Places): ValuesFile {
        if (problems.length > 0) throw new InputError("values", problems);
        return { values, places };
    }
}

/** Lays `over` on `base` as Helm does with a later values file: maps merge, lists and scalars are replaced, `null` stays. */
export function mergeValues(base: Values, over: Values): Values {
    const merged: Record<string, Value> = { ...base };
    for (const [key, value] of Object.entries(over)) {
        const below = Object.hasOwn(merged, key) ? merged[key] : undefined;
        const next = isValues(below) && isValues(value) ? mergeValues(below, value) : value;
        // defineProperty, because assigning to a key called `__proto__` would change the object's kind instead.
        Object.defineProperty(merged, key, { value: next, enumerable: true, configurable: true, writable: true });
    }
    return merged;
}

/** The dotted path of every leaf (scalar, list, null or empty map) with its value. */
export function leaves(values: Values, prefix: readonly string[] = []): [string, Value][] {
    return Object.entries(values).flatMap(([key, value]): [string, Value][] => {
        const path = [...prefix, key];
        return isValues(value) && Object.keys(value).length > 0 ? leaves(value, path) : [[path.join("."), value]];
    });
}

export function isValues(value: Value | undefined): value is Values {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Report = (offset: number, what: string, fix?: string) => void;

/** Reports every spelling below a document or map that Helm and other tools read differently. */
export function reportAmbiguities(node: Document.Parsed | YAMLMap, report: Report): void {
    visit(node, {
        Node(_, node) {
            // An unquoted scalar carries no explicit tag in its source; whatever has one is read differently by the two sides.
            if (!isAlias(node) && node.tag !== undefined && !node.tag.startsWith("tag:yaml.org,2002:") && node.range) {
                report(
                    node.range[0],
                    `the tag \`${node.tag}\` is not understood by Helm`,
                    "write the value without a tag",
                );
            }
        },
        Scalar(key, node) {
            if (node.range === undefined || node.range === null) return;
            const offset = node.range[0];
            if (node.tag !== undefined) {
                report(
                    offset,
                    `the tag \`${node.tag}\` is read differently by Helm and by other tools`,
                    "write the value without a tag",
                );
                return;
            }
            if (node.type !== Scalar.PLAIN) return;
            const source = node.source ?? "";
            const doubt = ambiguity(source, node.value);
            if (doubt !== undefined) report(offset, doubt.what, doubt.fix);
            else if (key === "key" && typeof node.value !== "string" && source !== "<<") {
                report(offset, `the key \`${source}\` is not a string`, `quote it: "${source}"`);
            }
        },
        Map(_, map: YAMLMap) {
            map.items.forEach((pair, index) => {
                if (index === 0 || !isScalar(pair.key) || pair.key.source !== "<<" || pair.key.type !== Scalar.PLAIN)
                    return;
                report(
                    pair.key.range?.[0] ?? 0,
                    "`<<` stands behind other keys, where Helm lets it overwrite them",
                    "move it to the top of its map",
                );
            });
        },
        Pair(_, pair: Pair) {
            if (isMap(pair.key) || (pair.key !== null && typeof pair.key === "object" && "items" in pair.key)) {
                const range = (pair.key as YAMLMap).range;
                report(range?.[0] ?? 0, "a map or list stands as a key", "a key of a values file is a word");
            }
        },
    });
}

const HELM_BOOLEAN = /^(?:y|yes|on|n|no|off)$/i;
const CANONICAL_NUMBER = /^(?:0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]+|-?[1-9](?:\.[0-9]+)?[eE][+-]?[0-9]+)$/;
/** What Helm's parser takes for a number once the underscores are gone (Go's `ParseInt(…, 0, 64)` and YAML 1.1 floats). */
const HELM_NUMBER =
    /^[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$/;
const NOT_FINITE = /^[-+]?\.(?:inf|nan)$/i;

/** Says why an unquoted scalar has no one meaning, or nothing when Helm and YAML 1.2 agree on it. */
function ambiguity(source: string, value: unknown): { what: string; fix: string } | undefined {
    const quoted = `"${source}"`;
    if (HELM_BOOLEAN.test(source)) {
        const meaning = /^(?:y|yes|on)$/i.test(source);
        return {
            what: `\`${source}\` is the boolean ${meaning} to Helm and a word to other tools`,
            fix: `write ${meaning}, or ${quoted} for the word`,
        };
    }
    const isNumber = typeof value === "number";
    if (!isNumber && !HELM_NUMBER.test(source.replaceAll("_", "")) && !NOT_FINITE.test(source)) return undefined;
    if (!CANONICAL_NUMBER.test(source)) {
        return {
            what: `\`${source}\` is a number to Helm or to other tools, but not the same one to all`,
            fix: `write the number in plain decimal digits, or ${quoted} for the text`,
        };
    }
    const number = Number(source);
    if (!Number.isFinite(number) || (Number.isInteger(number) && !Number.isSafeInteger(number))) {
        return {
            what: `the number \`${source}\` is larger than Helm can hold exactly (2^53 - 1)`,
            fix: `quote it: ${quoted}`,
        };
    }
    return undefined;
}

function place(
    map: YAMLMap,
    prefix: readonly string[],
    document: Document,
    put: (path: string, offset: number) => void,
): void {
    for (const pair of map.items) {
        if (!isPair(pair) || !isScalar(pair.key) || pair.key.range === undefined || pair.key.range === null) continue;
        const path = [...prefix, String(pair.key.value)];
        const value = isAlias(pair.value) ? pair.value.resolve(document) : pair.value;
        put(path.join("."), pair.key.range[0]);
        if (isMap(value)) place(value, path, document, put);
    }
}

function isNullScalar(node: unknown): boolean {
    return isScalar(node) && node.value === null;
}

function firstLine(message: string): string {
    return message.split("\n", 1)[0] ?? message;
}

function hex(character: string): string {
    return (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
}
