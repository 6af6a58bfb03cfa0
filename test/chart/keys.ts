/**
 * What the sweeps know about the chart's keys. All of it is read from values.yaml, values.schema.json and the examples when
 * the tests run, so that a new key is swept without a word here.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import {
    at,
    chartFolder,
    environments,
    environmentValues,
    errorsOf,
    errorsOfWhole,
    isMap,
    merged,
    objectsIn,
    smallest,
    withDefaults,
    type Value,
    type Values,
} from "./helm";

/** The part of JSON Schema that the chart's schema uses. The sweeps understand no other (schema.test.ts checks that). */
export interface Schema {
    readonly $schema?: string;
    readonly title?: string;
    readonly description?: string;
    readonly type?: string | readonly string[];
    readonly enum?: readonly Value[];
    readonly pattern?: string;
    readonly maxLength?: number;
    readonly minimum?: number;
    readonly maximum?: number;
    readonly required?: readonly string[];
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly patternProperties?: Readonly<Record<string, Schema>>;
    readonly additionalProperties?: boolean | Schema;
}

export const schemaKeywords: ReadonlySet<string> = new Set<keyof Schema>([
    "$schema",
    "title",
    "description",
    "type",
    "enum",
    "pattern",
    "maxLength",
    "minimum",
    "maximum",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
]);

export const chartSchema = JSON.parse(readFileSync(join(chartFolder, "values.schema.json"), "utf8")) as Schema;

/** Stands in a path for the name of an entry, which is the user's to choose: `secrets.*.key`. */
export const entry = "*";

export interface Key {
    readonly path: readonly string[];
    readonly schema: Schema;
    /** Of the object that holds the key. */
    readonly holder: Schema;
}

/** Every key of the chart from the top down, entries of maps included. */
export const keys: readonly Key[] = keysBelow(chartSchema, []);

function keysBelow(holder: Schema, above: readonly string[]): Key[] {
    const named = Object.entries(holder.properties ?? {});
    const open = holder.additionalProperties;
    const entries: [string, Schema][] = [
        ...Object.values(holder.patternProperties ?? {}),
        ...(typeof open === "object" ? [open] : []),
    ].map((schema) => [entry, schema]);
    return [...named, ...entries].flatMap(([name, schema]) => {
        const path = [...above, name];
        return [{ path, schema, holder }, ...keysBelow(schema, path)];
    });
}

export function nameOf({ path }: { readonly path: readonly string[] }): string {
    return path.join(".");
}

export function lastOf(path: readonly string[]): string {
    return path.at(-1) ?? "";
}

export function hasType(schema: Schema, type: string): boolean {
    return schema.type === type || (Array.isArray(schema.type) && schema.type.includes(type));
}

/** An object that takes any key: what is in it belongs to Kubernetes, to the image or to a parent chart. */
export function isOpen(schema: Schema): boolean {
    return hasType(schema, "object") && (schema.additionalProperties ?? true) === true;
}

/** Open on purpose: what they hold is described by Kubernetes, by the image or by a parent chart. */
export const openObjects: ReadonlySet<string> = new Set([
    "autoscaling.behavior",
    "verify.sample",
    "merge.pod",
    "merge.container",
    "global",
]);

/** The keys that the chart names, in objects that belong to it alone: only there can it know a misspelling. */
export const ownedKeys: readonly Key[] = keys.filter(
    ({ path }) => lastOf(path) !== entry && !openObjects.has(path.slice(0, -1).join(".")),
);

/** The keys that hold a value and no further keys of the chart. */
export const leafKeys: readonly Key[] = keys.filter(
    (key) => !keys.some(({ path }) => path.length === key.path.length + 1 && startsWith(path, key.path)),
);

/** The keys that hold further keys with names of the chart's own. */
export const sectionKeys: readonly Key[] = keys.filter(({ schema }) => schema.properties !== undefined);

export function startsWith(path: readonly string[], start: readonly string[]): boolean {
    return start.every((name, index) => path[index] === name);
}

export interface Example {
    readonly name: string;
    readonly values: Values;
    /** What the example's own file says; `values` has what the chart cannot do without, too. */
    readonly own: Values;
    /** As Helm hands them to the chart. */
    readonly full: Values;
}

/** The values that the repository shows to its users: the smallest, each environment and each feature. */
export const examples: readonly Example[] = [
    example("smallest", {}, smallest),
    ...environments.map((environment) => example(environment, {}, environmentValues(environment))),
    ...featureFiles().map((file) =>
        example(`ci/${file}`, smallest, (parse(readFileSync(join(chartFolder, "ci", file), "utf8")) ?? {}) as Values),
    ),
];

const lengths = new Map(examples.map((one) => [one, JSON.stringify(one.own).length]));

function example(name: string, base: Values, own: Values): Example {
    const values = merged(base, own);
    return { name, values, own, full: withDefaults(values) };
}

export function featureFiles(): string[] {
    const folder = join(chartFolder, "ci");
    return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** What stands at a path; undefined where nothing does. */
export function valueAt(values: Values, path: readonly string[]): Value | undefined {
    return path.reduce<Value | undefined>((value, name) => (isMap(value) ? value[name] : undefined), values);
}

/** A key in an example: the path with the names that the example gives to entries. */
export interface Place {
    readonly example: Example;
    readonly path: readonly string[];
}

/**
 * Where the examples show a key, the most telling first: set by the example itself, then in a section that it sets, then at
 * all. The shorter example comes first among equals: it has less beside the key, and renders faster.
 */
export function placesOf({ path }: Pick<Key, "path">): Place[] {
    const ranked = examples.flatMap((example) =>
        concrete(example.full, path).map((real) => {
            const sets = valueAt(example.own, real) !== undefined;
            const near = valueAt(example.own, real.slice(0, -1)) !== undefined && real.length > 1;
            const [section = ""] = real;
            return { place: { example, path: real }, rank: sets ? 0 : near ? 1 : section in example.own ? 2 : 3 };
        }),
    );
    const length = ({ place }: { place: Place }): number => lengths.get(place.example) ?? 0;
    return ranked.sort((one, other) => one.rank - other.rank || length(one) - length(other)).map(({ place }) => place);
}

/** The paths of an example for one path with entries; none where the example has no entry there. */
function concrete(values: Values, path: readonly string[], above: readonly string[] = []): string[][] {
    const [first, ...rest] = path;
    if (first === undefined) {
        return [[...above]];
    }
    const here = valueAt(values, above);
    const names = first !== entry ? [first] : isMap(here) ? Object.keys(here) : [];
    return names.flatMap((name) =>
        rest.length > 0 && !isMap(valueAt(values, [...above, name])) ? [] : concrete(values, rest, [...above, name]),
    );
}

/** The key with the most telling place of it, for every key that an example shows (schema.test.ts sees that each one is). */
export function shown(some: readonly Key[]): { key: Key; place: Place }[] {
    return some.flatMap((key) =>
        placesOf(key)
            .slice(0, 1)
            .map((place) => ({ key, place })),
    );
}

/** The example with one value changed. */
export function changed({ example, path }: Place, value: Value): Values {
    return merged(example.values, at(path, value));
}

/** A text for each form that a key can have. Each key finds some that its schema accepts and that it does not have. */
const texts = [
    "other",
    "OTHER_NAME",
    "2.0.1",
    "/other",
    "other.bin",
    "0.7",
    "350m",
    "1.75Gi",
    "700Mi",
    "31",
    "other.example.org",
    "registry.example.org/other/name",
    "https://models.example.org/other.tar.gz",
    "other.example.org/card",
    "10.9.0.0/16",
    `sha256:${"fedcba9876543210".repeat(4)}`,
    "fedcba9876543210".repeat(4),
    "00112233445566778899aabbccddeeff".repeat(2),
    `registry.example.org/other/name@sha256:${"fedcba9876543210".repeat(4)}`,
];

const maps: Values[] = [
    { other: "text" },
    { scaleDown: { stabilizationWindowSeconds: 77 } },
    { dnsPolicy: "Default" },
    { workingDir: "/tmp" },
    { other: null },
];

/** Other valid values for one place, for each type that the key has. */
export function alternatives({ schema }: Key, place: Place): Value[] {
    const now = valueAt(place.example.full, place.path);
    const number = typeof now === "number" ? now : 0;
    const candidates: readonly Value[] = [
        ...(schema.enum ?? []),
        ...(hasType(schema, "boolean") ? [true, false] : []),
        ...(hasType(schema, "integer") || hasType(schema, "number")
            ? [number + 1, number - 1, schema.minimum ?? number + 10, schema.maximum ?? number + 100]
            : []),
        ...(hasType(schema, "string") && schema.enum === undefined ? texts : []),
        ...(hasType(schema, "object") ? maps : []),
    ];
    return candidates.filter(
        (value) => JSON.stringify(value) !== JSON.stringify(now) && errorsOf(changed(place, value)).length === 0,
    );
}

/** Whether the schema names `name` as a key that is too much, beside the key that stands at a place. */
export function refusesBeside({ example, path }: Place): (name: string) => boolean {
    const values = structuredClone(example.full) as Record<string, Value>;
    const above = path.slice(0, -1);
    // The one place that changes things in place: tens of thousands of copies would take most of the sweep's time.
    const holder = (above.length === 0 ? values : valueAt(values, above)) as Record<string, Value>;
    const value = holder[lastOf(path)] ?? "x";
    const instancePath = above.map((name) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
    return (name) => {
        const before = holder[name];
        holder[name] = value;
        const errors = errorsOfWhole(values);
        if (before === undefined) {
            // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a plain record of values
            delete holder[name];
        }
        return errors.some(
            (error) => error.instancePath === instancePath && error.params["additionalProperty"] === name,
        );
    };
}

/**
 * Whether a message names the key of a place: as Helm does (at '/api/port', missing property 'port'), in words (api.port), or
 * by the map or section that holds it and its own name. For an entry that was taken away, what held it can be named.
 */
export function names(message: string, { path }: Pick<Place, "path">, key: Pick<Key, "path">): boolean {
    const pointer = path.map((name) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
    const helms = [`at '${pointer}'`, `at '${pointer}/`, `'${lastOf(path)}'`];
    const holders = path.slice(0, -1).map((_, index) => path.slice(0, index + 1).join("."));
    const holder = holders.at(-1) ?? "";
    return (
        helms.some((words) => message.includes(words)) ||
        hasWord(message, path.join(".")) ||
        (holder !== "" && hasWord(message, holder) && hasWord(message, lastOf(path))) ||
        (lastOf(key.path) === entry && [holder, ...holders.slice(1)].some((name) => hasWord(message, name)))
    );
}

/** `api.port` is named in "api.port is" and in "api.port.", but not in "api.portrait". */
function hasWord(message: string, word: string): boolean {
    return message
        .split(word)
        .slice(1)
        .some((after) => !/^[A-Za-z0-9_]/.test(after));
}

/** Marks of a value that was printed although there was none, or as another one than it was. */
export const misprint = /<no value>|<nil>|%!|: map\[|\de\+\d/;

const parsed = new Map<string, readonly string[]>();

/** Every scalar of the manifests as Kubernetes reads it, names of maps' entries included, as text. */
export function scalarsIn(manifests: string): string[] {
    return manifests.split(/^---\n/m).flatMap((document) => {
        // Most documents of a sweep are the same, and reading YAML is what takes the time.
        const known = parsed.get(document) ?? objectsIn(document).flatMap(scalarsOf);
        parsed.set(document, known);
        return known;
    });
}

function scalarsOf(value: unknown): string[] {
    if (Array.isArray(value)) {
        return value.flatMap(scalarsOf);
    }
    if (typeof value === "object" && value !== null) {
        return Object.entries(value).flatMap(([key, below]) => [key, ...scalarsOf(below)]);
    }
    return [typeof value === "string" ? value : JSON.stringify(value)];
}
