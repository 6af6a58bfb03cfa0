import { structuredPatch } from "diff";
import { stringify } from "yaml";
import { visible } from "../components/config/visible";
import type { FieldChange, ObjectChange } from "../components/guarded-release/changes/changes";
import { pathText } from "../components/guarded-release/changes/changes";
import { isNoise, type StackDiff } from "./diff-report";

export { visible };

/** One line of a diff. ` ` is what stays, shown around what changes. */
export interface Line {
    readonly sign: "+" | "-" | "~" | " ";
    readonly text: string;
    /** What stands behind the text, before and after. */
    readonly change?: { readonly before: string; readonly after: string };
}

/** Lines of a long text, list or map that are shown. */
const LONGEST_BLOCK = 40;
/** Characters of a line. */
const LONGEST_LINE = 240;

/** What becomes of an object, beginning with its name. Noise is left to {@link noiseLine}. */
export function objectLines({ name, action, fields, restartsPods }: ObjectChange): readonly Line[] {
    const sign = action === "create" ? "+" : action === "delete" ? "-" : "~";
    const heading = visible(name) + (restartsPods ? "  (pods restart)" : "");
    const telling = fields.filter((field) => !isNoise(field));
    return [
        { sign, text: heading },
        ...telling.flatMap(fieldLines).map((line) => ({ ...line, text: `  ${line.text}` })),
    ];
}

/** The objects with more to tell than noise. */
export function tellingObjects({ objects }: StackDiff): readonly ObjectChange[] {
    return objects.filter(({ action, fields }) => action !== "update" || !fields.every(isNoise));
}

/** One line for all changes that are noise; undefined when there are none. */
export function noiseLine({ objects }: StackDiff): string | undefined {
    const noise = objects.flatMap(({ fields }) => fields.filter(isNoise));
    if (noise.length === 0) return undefined;
    const kinds = [...new Set(noise.map(describeNoise))].sort();
    const only = objects.filter(({ action, fields }) => action === "update" && fields.every(isNoise));
    const where = only.length === 0 ? "" : `; nothing else in ${only.map(({ name }) => visible(name)).join(", ")}`;
    return `also ${kinds.join(", ")}${where}`;
}

function describeNoise({ path, before, after }: FieldChange): string {
    const key = path.at(-1) ?? "";
    const text = (value: unknown) => (value === undefined ? "none" : inline(value));
    return `${key} ${text(before)} → ${text(after)}`;
}

function fieldLines({ path, before, after }: FieldChange): readonly Line[] {
    const isOrder = path.at(-1) === "[*]";
    const field = visible(isOrder ? `${pathText(path.slice(0, -1))} (order)` : pathText(path));
    if (before === undefined) return valueLines("+", field, after);
    if (after === undefined) return valueLines("-", field, before);
    if (isShort(before) && isShort(after)) {
        const [was, is] = excerpts(inline(before), inline(after));
        // Both sides can read the same: what differs is hidden.
        if (was === is) return [{ sign: "~", text: `${field}: ${was} (it changes)` }];
        return [{ sign: "~", text: `${field}: `, change: { before: was, after: is } }];
    }
    const [was, is] = [block(before), block(after)];
    return was === is
        ? [{ sign: "~", text: `${field}: it changes, in what is hidden here` }]
        : [{ sign: "~", text: `${field}:` }, ...textLines(was, is)];
}

function valueLines(sign: "+" | "-", field: string, value: unknown): readonly Line[] {
    if (isVariable(value)) return valueLines(sign, `${field}.value`, value.value);
    if (isShort(value)) return [{ sign, text: cut(`${field}: ${inline(value)}`) }];
    const lines = block(value)
        .trimEnd()
        .split("\n")
        .map((line): Line => ({ sign, text: `  ${cut(visible(line))}`.trimEnd() }));
    return [{ sign, text: `${field}:` }, ...shorten(lines)];
}

/** `{name: LOG_LEVEL, value: info}`, whose name stands in its path already. */
function isVariable(value: unknown): value is { readonly name: string; readonly value: unknown } {
    return (
        typeof value === "object" &&
        value !== null &&
        "name" in value &&
        "value" in value &&
        Object.keys(value).length === 2
    );
}

/** A value on lines of its own: a text as it is, anything else as YAML. */
function block(value: unknown): string {
    return typeof value === "string" ? value : stringify(value, { lineWidth: 0 });
}

/** A text of several lines, line by line. */
function textLines(before: string, after: string): readonly Line[] {
    const { hunks } = structuredPatch("", "", before, after, "", "", { context: 1 });
    const lines = hunks.flatMap(({ lines }, index) => [
        ...(index === 0 ? [] : [{ sign: " ", text: "    …" } as const]),
        ...lines
            .filter((line) => !line.startsWith("\\"))
            .map((line): Line => ({
                sign: line.slice(0, 1) as Line["sign"],
                text: `  | ${cut(visible(line.slice(1)))}`,
            })),
    ]);
    return shorten(lines);
}

function shorten(lines: readonly Line[]): readonly Line[] {
    if (lines.length <= LONGEST_BLOCK) return lines;
    return [
        ...lines.slice(0, LONGEST_BLOCK),
        { sign: " ", text: `    … ${lines.length - LONGEST_BLOCK} more lines (--json has all)` },
    ];
}

function isShort(value: unknown): boolean {
    if (typeof value === "string") return !value.includes("\n");
    return typeof value !== "object" || value === null || JSON.stringify(value).length <= 60;
}

/** A value on one line, written so that the text "3" and the number 3 differ. */
export function inline(value: unknown): string {
    if (typeof value === "object" && value !== null) return visible(JSON.stringify(value));
    return visible(stringify(value, { lineWidth: 0 }).trimEnd());
}

function cut(text: string): string {
    return text.length <= LONGEST_LINE ? text : `${text.slice(0, LONGEST_LINE)}… (${text.length} characters)`;
}

/** Two long texts on one line each, cut to where they begin to differ. */
function excerpts(before: string, after: string): [string, string] {
    let same = 0;
    while (same < before.length && before[same] === after[same]) same++;
    const start = before.length + after.length <= LONGEST_LINE ? 0 : Math.max(0, same - 40);
    const part = (text: string) => (start === 0 ? cut(text) : `…${cut(text.slice(start))}`);
    return [part(before), part(after)];
}
