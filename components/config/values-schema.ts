import * as fs from "node:fs";
import * as path from "node:path";
import { didYouMean } from "./nearest";
import { isValues, type Values } from "./values";

/** As much of a JSON schema as it takes to name keys and what they mean; whether values fit it, only Helm says. */
export interface ValuesSchema {
    readonly $ref?: string;
    readonly description?: string;
    readonly properties?: Readonly<Record<string, ValuesSchema>>;
    readonly patternProperties?: Readonly<Record<string, ValuesSchema>>;
    readonly additionalProperties?: boolean | ValuesSchema;
    readonly items?: ValuesSchema | readonly ValuesSchema[];
    readonly allOf?: readonly ValuesSchema[];
    readonly anyOf?: readonly ValuesSchema[];
    readonly oneOf?: readonly ValuesSchema[];
    readonly if?: ValuesSchema;
    readonly then?: ValuesSchema;
    readonly else?: ValuesSchema;
}

/** The schema of a chart's values; undefined when it has none that can be read (Helm says what is wrong with it). */
export function readValuesSchema(chart: string): ValuesSchema | undefined {
    try {
        return JSON.parse(fs.readFileSync(path.join(chart, "values.schema.json"), "utf8")) as ValuesSchema;
    } catch {
        return undefined;
    }
}

/** The names that a schema gives to the keys of the map at a path. */
export function keysAt(schema: ValuesSchema, path: readonly string[]): string[] {
    return [...new Set(schemasAt(schema, path).flatMap(({ properties = {} }) => Object.keys(properties)))];
}

/** What a schema says of the value at a path. */
export function descriptionAt(schema: ValuesSchema, path: readonly string[]): string | undefined {
    return schemasAt(schema, path).find(({ description }) => description !== undefined)?.description;
}

/** Says of a key that a closed map does not have what its author may have meant. */
export function adviceOnUnknownKey(
    schema: ValuesSchema | undefined,
    parent: readonly string[],
    key: string,
): { meant: string; fix?: string } {
    if (schema === undefined) return { meant: "" };
    const keys = keysAt(schema, parent);
    const sibling = didYouMean(key, keys);
    if (sibling !== "") return { meant: sibling };
    const elsewhere = pathsNamed(schema, key);
    if (elsewhere.length > 0 && elsewhere.length <= 3) {
        return { meant: `, did you mean ${elsewhere.map((dotted) => `"${dotted}"`).join(" or ")}?` };
    }
    const where = parent.length === 0 ? "the top level" : parent.join(".");
    if (keys.length > 0) return { meant: "", fix: `the keys of ${where} are ${keys.join(", ")}` };
    const description = descriptionAt(schema, parent);
    return { meant: "", ...(description === undefined ? {} : { fix: `${where}: ${description}` }) };
}

/** The keys of values that stand in a closed map and that no part of the schema knows. */
export function unknownKeys(schema: ValuesSchema, values: Values, path: readonly string[] = []): string[][] {
    const schemas = schemasAt(schema, path);
    const closed = schemas.some(({ additionalProperties }) => additionalProperties === false);
    return Object.entries(values).flatMap(([key, value]) => {
        const inner = [...path, key];
        if (closed && schemas.every((one) => below(one, key).length === 0)) return [inner];
        return isValues(value) ? unknownKeys(schema, value, inner) : [];
    });
}

/** Every part of a schema that speaks of the value at a path. */
function schemasAt(root: ValuesSchema, path: readonly string[]): ValuesSchema[] {
    const step = (schemas: readonly ValuesSchema[], key: string) =>
        schemas.flatMap((schema) => below(schema, key)).flatMap((schema) => parts(root, schema));
    return path.reduce(step, parts(root, root));
}

/** A schema and all that it refers to for the same value. */
function parts(root: ValuesSchema, schema: ValuesSchema, seen: readonly ValuesSchema[] = []): ValuesSchema[] {
    if (seen.includes(schema)) return [];
    const { $ref, allOf = [], anyOf = [], oneOf = [], then: met, else: unmet } = schema;
    const more = [$ref === undefined ? undefined : resolve(root, $ref), ...allOf, ...anyOf, ...oneOf, met, unmet];
    return [schema, ...more.flatMap((part) => (part === undefined ? [] : parts(root, part, [...seen, schema])))];
}

/** What one schema itself says of the value under a key. */
function below(schema: ValuesSchema, key: string): ValuesSchema[] {
    const { properties = {}, patternProperties = {}, additionalProperties, items } = schema;
    const named = Object.hasOwn(properties, key) ? properties[key] : undefined;
    const matching = Object.entries(patternProperties).filter(([pattern]) => matches(pattern, key));
    const found = [...(named === undefined ? [] : [named]), ...matching.map(([, inner]) => inner)];
    if (found.length > 0) return found;
    if (typeof additionalProperties === "object") return [additionalProperties];
    if (!/^[0-9]+$/.test(key) || items === undefined) return [];
    return "length" in items ? [...items] : [items];
}

/** Helm's patterns are Go's; one that JavaScript does not know may match. */
function matches(pattern: string, key: string): boolean {
    try {
        return new RegExp(pattern, "u").test(key);
    } catch {
        return true;
    }
}

/** `#/definitions/name`; anything that is not inside this schema is Helm's business. */
function resolve(root: ValuesSchema, ref: string): ValuesSchema | undefined {
    if (!ref.startsWith("#/")) return undefined;
    const found = ref
        .slice(2)
        .split("/")
        .map((token) => decodeURIComponent(token).replaceAll("~1", "/").replaceAll("~0", "~"))
        .reduce<unknown>((node, token) => (node as Record<string, unknown> | undefined)?.[token], root);
    return found as ValuesSchema | undefined;
}

/** The dotted paths of all keys of a name. */
function pathsNamed(root: ValuesSchema, key: string): string[] {
    const walk = (schemas: readonly ValuesSchema[], path: readonly string[]): string[] => {
        if (path.length > 8) return [];
        return [...new Set(schemas.flatMap(({ properties = {} }) => Object.keys(properties)))].flatMap((name) => {
            const inner = schemas.flatMap((schema) => below(schema, name)).flatMap((schema) => parts(root, schema));
            const here = [...path, name];
            return [...(name === key ? [here.join(".")] : []), ...walk(inner, here)];
        });
    };
    return walk(parts(root, root), []);
}
