/**
 * The table of all values in chart/README.md, out of values.schema.json (type, limits, meaning) and values.yaml (default).
 * Nothing in it is written by hand.
 */

import { isRecord } from "../local/files";
import { cell, table } from "./table";

/** As much of JSON Schema as the chart's schema uses. */
export interface Schema {
    readonly description?: string;
    readonly type?: string | readonly string[];
    readonly enum?: readonly unknown[];
    readonly pattern?: string;
    readonly minimum?: number;
    readonly maximum?: number;
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly patternProperties?: Readonly<Record<string, Schema>>;
    readonly additionalProperties?: boolean | Schema;
}

interface Row {
    readonly key: string;
    readonly type: string;
    readonly preset: string;
    readonly meaning: string;
}

/** A Markdown table: one row for each section, each key, and each key of an entry of a map (`secrets.NAME.key`). */
export function valueReference(schema: Schema, defaults: unknown): string {
    const rows = rowsOf(schema, defaults, []);
    const missing = rows.filter(({ meaning }) => meaning === "").map(({ key }) => key);
    if (missing.length > 0) {
        throw new Error(
            `chart/values.schema.json says nothing about ${missing.join(", ")} → add a description there, with the unit`,
        );
    }
    return table(
        ["key", "type", "default", "meaning"],
        rows.map(({ key, type, preset, meaning }) => [key, type, preset, meaning]),
    );
}

function rowsOf(schema: Schema, preset: unknown, path: readonly string[]): readonly Row[] {
    const entry = Object.values(schema.patternProperties ?? {})[0];
    const children = Object.entries(schema.properties ?? {}).flatMap(([key, child]) =>
        rowsOf(child, isRecord(preset) ? preset[key] : undefined, [...path, key]),
    );
    const entries = Object.entries(entry?.properties ?? {}).flatMap(([key, child]) =>
        rowsOf(child, undefined, [...path, "NAME", key]),
    );
    if (path.length === 0) return children;
    const section = schema.properties !== undefined;
    const key = path.join(".");
    const row: Row = {
        key: section ? `**${key}**` : `\`${key}\``,
        type: section ? "" : typeOf(schema),
        preset: section || preset === undefined ? "" : `\`${JSON.stringify(preset)}\``,
        meaning: cell(schema.description ?? ""),
    };
    return [row, ...children, ...entries];
}

function typeOf(schema: Schema): string {
    const types = [schema.type ?? []].flat().filter((type) => type !== "null");
    if (schema.enum !== undefined) return schema.enum.map((value) => `\`${cell(JSON.stringify(value))}\``).join(", ");
    if (types.includes("object")) return "map";
    if (types.includes("boolean")) return "true, false";
    if (types.includes("string")) return "text";
    const limits = [schema.minimum, schema.maximum].filter((limit) => limit !== undefined);
    return limits.length === 2 ? `${types.join(" or ")} ${limits.join("–")}` : types.join(" or ");
}
