import { isAlias, isMap, isScalar, type Pair, parseDocument, Scalar, type YAMLMap } from "yaml";
import { InputError } from "../components/config/problem";
import { isValues, leaves, mergeValues, parseValues, type Value, type Values } from "../components/config/values";

/** Dotted path of a leaf, and what it is to be. */
export type Change = readonly [path: string, value: string | boolean | number];

/**
 * Sets single values in the text of a values file. Every other byte stays: comments, order, quotes, line ends. What stands there
 * already is not touched, and what is missing is added beside its neighbours.
 *
 * @param file named in problems
 * @throws InputError when the file is wrong, or holds an alias, an anchor or a block text where a value is to be set
 */
export function setValues(text: string, changes: readonly Change[], file: string): string {
    const before = parseValues(text, file).values;
    let edited = text;
    for (const [path, value] of changes) {
        if (lookUp(parseValues(edited, file).values, path) !== value) edited = setOne(edited, path, value, file);
    }
    // A last look, with the reader that decides what is deployed.
    const wanted = changes.reduce<Values>((values, [path, value]) => mergeValues(values, nested(path, value)), before);
    const same = (values: Values): string => JSON.stringify(leaves(values).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (same(parseValues(edited, file).values) !== same(wanted))
        throw problem(
            file,
            `${changes.map(([path]) => path).join(", ")} cannot be set without changing something else`,
        );
    return edited;
}

/** The value at a dotted path; undefined when it is not there. */
export function lookUp(values: Values, path: string): Value | undefined {
    return path
        .split(".")
        .reduce<Value | undefined>(
            (below, key) => (isValues(below) && Object.hasOwn(below, key) ? below[key] : undefined),
            values,
        );
}

function nested(path: string, value: Value): Values {
    const [key = "", ...rest] = path.split(".");
    return { [key]: rest.length === 0 ? value : nested(rest.join("."), value) };
}

function setOne(text: string, path: string, value: string | boolean | number, file: string): string {
    const document = parseDocument(text);
    const newLine = text.includes("\r\n") ? "\r\n" : "\n";
    const splice = (from: number, to: number, put: string): string => text.slice(0, from) + put + text.slice(to);
    const endOfLine = (offset: number): number => {
        const end = text.indexOf("\n", offset);
        return end < 0 ? text.length : end + 1;
    };
    /** A whole new line at the beginning of a line, or behind a last line that has no end. */
    const addLine = (offset: number, line: string): string =>
        offset > 0 && text[offset - 1] !== "\n"
            ? splice(offset, offset, `${newLine}${line}`)
            : splice(offset, offset, `${line}${newLine}`);
    const lines = (keys: readonly string[], indent: string): string => {
        const [key = "", ...rest] = keys;
        return rest.length === 0
            ? `${indent}${key}: ${written(value)}`
            : `${indent}${key}:${newLine}${lines(rest, `${indent}  `)}`;
    };
    const flow = (keys: readonly string[]): string => {
        const [key = "", ...rest] = keys;
        return `${key}: ${rest.length === 0 ? written(value) : `{ ${flow(rest)} }`}`;
    };
    const keys = path.split(".");
    if (document.contents === null) return addLine(text.length, lines(keys, ""));
    let map = document.contents as unknown;
    for (const [depth, key] of keys.entries()) {
        if (!isMap(map)) throw problem(file, `${keys.slice(0, depth).join(".")} is no map`);
        const pair = map.items.find((item) => isScalar(item.key) && item.key.value === key);
        const rest = keys.slice(depth);
        if (pair === undefined) return added(map, rest);
        const node = pair.value;
        if (isAlias(node)) throw problem(file, `${keys.slice(0, depth + 1).join(".")} is an alias`, "write it out");
        const last = depth === keys.length - 1;
        if (isScalar(node) && node.value === null && !last) {
            const from = endOfLine((pair.key as Scalar).range?.[1] ?? 0);
            const own = (pair.key as Scalar).range?.[0] ?? 0;
            if ((node.source ?? "") !== "") throw problem(file, `${rest[0] ?? ""} is null`, "remove the line");
            return addLine(from, lines(rest.slice(1), `${indentOf(own)}  `));
        }
        if (last) return replaced(node, pair);
        map = node;
    }
    return text;

    function added(map: YAMLMap, rest: readonly string[]): string {
        const start = map.range?.[0] ?? 0;
        if (map.flow === true)
            return splice(start, start + 1, map.items.length === 0 ? `{ ${flow(rest)} ` : `{ ${flow(rest)}, `);
        const first = keyOffset(map.items[0]);
        const neighbour = map.items.findLast(
            ({ value: node }) =>
                isScalar(node) && node.type !== Scalar.BLOCK_FOLDED && node.type !== Scalar.BLOCK_LITERAL,
        );
        const offset =
            neighbour === undefined
                ? first - indentOf(first).length
                : endOfLine((neighbour.value as Scalar).range?.[1] ?? 0);
        return addLine(offset, lines(rest, indentOf(first)));
    }

    function replaced(node: unknown, pair: Pair): string {
        if (!isScalar(node) || !node.range) throw problem(file, `${path} is no single value`);
        if (node.anchor !== undefined) throw problem(file, `${path} has the anchor &${node.anchor}`, "write it out");
        if (node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.BLOCK_LITERAL)
            throw problem(file, `${path} is a block of text`, "write it on one line");
        const [from, to] = node.range;
        if (from !== to) return splice(from, to, written(value, node.type));
        const colon = text.indexOf(":", (pair.key as Scalar).range?.[1] ?? 0) + 1;
        return splice(colon, colon, ` ${written(value)}`);
    }

    function indentOf(offset: number): string {
        return /[^\n]*$/.exec(text.slice(0, offset))?.[0] ?? "";
    }
}

function keyOffset(pair: Pair | undefined): number {
    return isScalar(pair?.key) ? (pair.key.range?.[0] ?? 0) : 0;
}

/** In the quotes that were there; a text that could be taken for something else gets some. */
function written(value: string | boolean | number, before?: string | null): string {
    if (typeof value !== "string") return String(value);
    if (before === Scalar.QUOTE_SINGLE) return `'${value.replaceAll("'", "''")}'`;
    return before === Scalar.PLAIN && isPlain(value) ? value : JSON.stringify(value);
}

function isPlain(value: string): boolean {
    if (!/^[A-Za-z0-9][\w./:@-]*$/.test(value)) return false;
    try {
        return parseValues(`key: ${value}\n`, "").values["key"] === value;
    } catch {
        return false;
    }
}

function problem(file: string, what: string, fix?: string): InputError {
    return new InputError("values", [{ where: file, what, ...(fix === undefined ? {} : { fix }) }]);
}
