import * as fs from "node:fs";
import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { canonicalJson } from "../guarded-release/render/digest";
import { didYouMean } from "./nearest";
import { InputError, type Problem } from "./problem";
import { isValues, leaves, type Value, type Values } from "./values";

/** Who may differ: any two environments, or dev from all the others. */
export const GROUPS = ["sizes", "dev"] as const;
export type Group = (typeof GROUPS)[number];

export interface Declaration {
    /** Dotted path of a value, or `path.*` for everything below it. */
    readonly path: string;
    readonly group: Group;
    /** Why, in the words of whoever declared it. */
    readonly reason: string;
    /** `file:line` */
    readonly place: string;
}

export type DeclaredDifferences = readonly Declaration[];

/** A value that is not the same in all environments. */
export interface Difference {
    readonly path: string;
    /** By environment; undefined = not set there. */
    readonly values: Readonly<Record<string, Value | undefined>>;
    /** Why they may differ; undefined when nobody declared it. */
    readonly reason: string | undefined;
}

/** What differs by its nature: the environment's name, and the image that is promoted from one to the next. */
const ALWAYS: ReadonlyMap<string, string> = new Map([
    ["environment", "its own name"],
    ["image.tag", "promoted"],
    ["image.digest", "promoted"],
]);

/**
 * Reads the file in which the environments' differences are declared: the groups `sizes` and `dev`, each a map of path →
 * reason. A file that is missing declares nothing.
 *
 * @param shown the name that stands in messages
 * @throws InputError with every problem of the file
 */
export function readDifferences(file: string, shown = file): DeclaredDifferences {
    if (!fs.existsSync(file)) return [];
    const lines = new LineCounter();
    const problems: Problem[] = [];
    const declared: Declaration[] = [];
    const document = parseDocument(fs.readFileSync(file, "utf8"), { lineCounter: lines, prettyErrors: false });
    const at = (offset = 0) => `${shown}:${lines.linePos(offset).line}`;
    const report = (where: string, what: string, fix?: string) =>
        problems.push({ where, what, ...(fix === undefined ? {} : { fix }) });

    for (const error of document.errors) report(at(error.pos[0]), error.message);
    const root = document.contents;
    if (root !== null && !isMap(root)) report(at(0), `expected the groups ${GROUPS.join(" and ")}, each a map`);
    for (const { key, value } of isMap(root) && problems.length === 0 ? root.items : []) {
        const group = isScalar(key) ? String(key.value) : "";
        const place = at(isScalar(key) ? key.range[0] : undefined);
        if (!isGroup(group)) {
            report(
                place,
                `there is no group "${group}"${didYouMean(group, GROUPS)}`,
                `the groups are ${GROUPS.join(" and ")}`,
            );
        } else if (isMap(value)) {
            for (const item of value.items) declare(group, item.key, item.value);
        } else if (!isScalar(value) || value.value !== null) {
            report(place, `the group "${group}" is a map of path → reason`);
        }
    }
    if (problems.length > 0) throw new InputError("differences", problems);
    return declared;

    function declare(group: Group, key: unknown, value: unknown): void {
        const path = isScalar(key) ? String(key.value) : "";
        const place = at(isScalar(key) ? key.range?.[0] : undefined);
        const reason = isScalar(value) && typeof value.value === "string" ? value.value.trim() : "";
        const twice = declared.find((other) => other.path === path);
        if (!/^[^.*]+(?:\.[^.*]+)*(?:\.\*)?$/.test(path)) {
            report(
                place,
                `"${path}" is no path of a value`,
                "write a path such as `replicas` or `resources.requests.*`",
            );
        } else if (reason === "") {
            report(place, `${path} has no reason`, "say in a sentence why it differs");
        } else if (twice !== undefined) {
            report(place, `${path} is declared already at ${twice.place}`, "remove one of the two");
        } else {
            declared.push({ path, group, reason, place });
        }
    }
}

function isGroup(name: string): name is Group {
    return (GROUPS as readonly string[]).includes(name);
}

/**
 * Every value in which environments differ, in alphabetical order, with the reason where it is declared.
 *
 * @param values by environment (or stack), complete with the chart's defaults
 */
export function differences(
    values: Readonly<Record<string, Values>>,
    declared: DeclaredDifferences,
): readonly Difference[] {
    return differingPaths(values).map((difference) => ({
        ...difference,
        reason: reasonFor(difference, values, declared),
    }));
}

/** The {@link differences} that nobody declared. */
export function undeclaredDifferences(
    values: Readonly<Record<string, Values>>,
    declared: DeclaredDifferences,
): readonly Difference[] {
    return differences(values, declared).filter(({ reason }) => reason === undefined);
}

/** The declarations that no difference needs any more. */
export function staleDeclarations(
    values: Readonly<Record<string, Values>>,
    declared: DeclaredDifferences,
): readonly Declaration[] {
    const differing = differingPaths(values);
    return declared.filter(({ path }) => !differing.some((difference) => covers(path, difference.path)));
}

/**
 * The values that every environment sets, and sets to the same: one place would do for them. A map that is the same as a
 * whole is one path.
 *
 * @param values by environment, as the values files have them, without the chart's defaults
 */
export function sameEverywhere(values: Readonly<Record<string, Values>>): readonly string[] {
    const [first, ...others] = Object.values(values);
    if (first === undefined || others.length === 0) return [];
    const walk = (value: Value, rest: readonly (Value | undefined)[], path: readonly string[]): string[] => {
        if (rest.some((other) => other === undefined)) return [];
        if (rest.every((other) => other !== undefined && canonicalJson(other) === canonicalJson(value)))
            return [path.join(".")];
        if (!isValues(value) || !rest.every(isValues)) return [];
        return Object.entries(value).flatMap(([key, inner]) =>
            walk(
                inner,
                rest.map((other) => (Object.hasOwn(other, key) ? other[key] : undefined)),
                [...path, key],
            ),
        );
    };
    // The root itself is no path, even where nothing at all differs.
    return Object.entries(first).flatMap(([key, value]) =>
        walk(
            value,
            others.map((other) => other[key]),
            [key],
        ),
    );
}

type Differing = Omit<Difference, "reason">;

function differingPaths(values: Readonly<Record<string, Values>>): readonly Differing[] {
    const names = Object.keys(values);
    const found = names.map((name) => new Map(leaves(values[name] ?? {}).filter(([, value]) => !isNothing(value))));
    const paths = [...new Set(found.flatMap((one) => [...one.keys()]))].sort();
    return paths.flatMap((path): Differing[] => {
        const here = found.map((one) => one.get(path));
        if (new Set(here.map((value) => (value === undefined ? "" : canonicalJson(value)))).size === 1) return [];
        return [{ path, values: Object.fromEntries(names.map((name, index) => [name, here[index]])) }];
    });
}

/** To Helm, an absent key, `null` and an empty map change nothing below a default that is not there. */
function isNothing(value: Value): boolean {
    return value === null || (isValues(value) && Object.keys(value).length === 0);
}

function reasonFor(
    { path, values: here }: Differing,
    values: Readonly<Record<string, Values>>,
    declared: DeclaredDifferences,
): string | undefined {
    const always = ALWAYS.get(path);
    if (always !== undefined) return always;
    return declared.find((declaration) => {
        if (!covers(declaration.path, path)) return false;
        if (declaration.group === "sizes") return true;
        const others = Object.keys(values).filter((name) => environmentOf(name, values) !== "dev");
        const texts = others.map((name) => (here[name] === undefined ? "" : canonicalJson(here[name])));
        return new Set(texts).size <= 1;
    })?.reason;
}

function environmentOf(name: string, values: Readonly<Record<string, Values>>): string {
    const said = values[name]?.["environment"];
    return typeof said === "string" ? said : name;
}

function covers(declared: string, path: string): boolean {
    return declared.endsWith(".*") ? path.startsWith(declared.slice(0, -1)) : path === declared;
}
