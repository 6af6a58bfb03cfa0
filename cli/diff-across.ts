import * as fs from "node:fs";
import * as path from "node:path";
import {
    type Declaration,
    type Difference,
    differences,
    readDifferences,
    sameEverywhere,
    staleDeclarations,
} from "../components/config/differences";
import type { Settings } from "../components/config/settings";
import { readStack } from "../components/config/stack";
import { stackNames } from "../components/config/stack-file";
import { mergeValues, readValuesFile, type Value } from "../components/config/values";
import { redactedValue } from "../components/guarded-release/changes/redaction";
import { inline, visible } from "./diff-lines";
import { bounded, code, codeBlock, commentMarker } from "./diff-markdown";
import { byEnvironment } from "./diff-report";
import type { Paint } from "./diff-terminal";

/** The environments of one API, side by side; without secrets. */
export interface Across {
    readonly api: string;
    /** In the order of promotion. */
    readonly stacks: readonly string[];
    readonly differences: readonly PlacedDifference[];
    /** Values that every stack sets, to the same. */
    readonly same: readonly string[];
    /** Declarations that no difference needs. */
    readonly stale: readonly Declaration[];
    /** Where differences are declared, relative to the project's root. */
    readonly declaredIn: string;
}

/** The values are those by stack. */
export interface PlacedDifference extends Difference {
    /** Where each stack sets it, as `file:line`. */
    readonly places: Readonly<Record<string, string>>;
}

interface StackValues {
    readonly stack: string;
    readonly environment: string;
    readonly settings: Settings;
}

/** Compares the values of all stacks of each API. @throws InputError when stacks, values or declarations cannot be read */
export function compareEnvironments(root: string): readonly Across[] {
    const stacks = stackNames(root).map((stack): StackValues => {
        const settings = readStack(root, stack);
        return { stack, environment: settings.environment, settings };
    });
    const apis = [...new Set(stacks.map(({ settings }) => settings.name))];
    return apis.map((api) =>
        compareApi(root, api, byEnvironment(stacks.filter(({ settings }) => settings.name === api))),
    );
}

function compareApi(root: string, api: string, stacks: readonly StackValues[]): Across {
    const defaults = readValuesFile(path.join(root, "chart", "values.yaml"), "chart/values.yaml").values;
    const values = Object.fromEntries(
        stacks.map(({ stack, settings }) => [stack, mergeValues(defaults, settings.values)]),
    );
    const own = `${valuesFolder(stacks)}/differences.yaml`;
    const declaredIn = fs.existsSync(path.join(root, own)) ? own : "chart/environment/differences.yaml";
    const declared = readDifferences(path.join(root, declaredIn), declaredIn);
    return {
        api,
        stacks: stacks.map(({ stack }) => stack),
        differences: differences(values, declared).map((difference) => placed(difference, stacks)),
        same: sameEverywhere(Object.fromEntries(stacks.map(({ stack, settings }) => [stack, settings.values]))),
        // What another API declared may be needed there, and one stack alone differs from nothing.
        stale: own === declaredIn && stacks.length > 1 ? staleDeclarations(values, declared) : [],
        declaredIn,
    };
}

/** The folder that holds the values files of an API. */
function valuesFolder([first]: readonly StackValues[]): string {
    if (first === undefined) return "";
    const folder = path.posix.dirname(first.settings.valuesFile);
    return path.posix.basename(folder) === first.environment ? path.posix.dirname(folder) : folder;
}

function placed(difference: Difference, stacks: readonly StackValues[]): PlacedDifference {
    const keys = difference.path.split(".");
    const values = Object.entries(difference.values).map(([stack, value]) => [
        stack,
        redactedValue(keys, value, "values") as Value | undefined,
    ]);
    const places = stacks.flatMap(({ stack, settings }) => {
        const place = settings.places.get(difference.path);
        return place === undefined ? [] : [[stack, place]];
    });
    return {
        ...difference,
        values: Object.fromEntries(values) as PlacedDifference["values"],
        places: Object.fromEntries(places) as PlacedDifference["places"],
    };
}

/** For people at a terminal. */
export function acrossText(across: readonly Across[], color: Paint): string {
    return across
        .map((api) => {
            const declared = api.differences.filter(({ reason }) => reason !== undefined);
            const undeclared = api.differences.filter(({ reason }) => reason === undefined);
            return [
                `${color("bold", visible(api.api))}: ${api.stacks.join(", ")}`,
                ...undeclared.flatMap((difference) => differenceLines(difference, (text) => color("red", text))),
                ...declared.flatMap((difference) => differenceLines(difference, (text) => color("dim", text))),
                ...api.same.map((value) => color("dim", `  the same everywhere: ${visible(value)}`)),
                ...api.stale.map(({ path, place }) => color("yellow", `  ! ${staleText(path, place)}`)),
                `  ${countsOf(api)}`,
                "",
            ].join("\n");
        })
        .join("\n");
}

function differenceLines(difference: PlacedDifference, label: (text: string) => string): readonly string[] {
    const { path, values, reason, places } = difference;
    const said = reason === undefined ? "undeclared" : `declared: ${visible(reason)}`;
    const width = Math.max(...Object.keys(values).map((stack) => stack.length));
    return [
        `  ${visible(path)}  ${label(said)}`,
        ...Object.entries(values).map(([stack, value]) => {
            const place = value === undefined ? "" : (places[stack] ?? "the chart's default");
            return `    ${stack.padEnd(width)}  ${valueText(value)}  ${label(place)}`.trimEnd();
        }),
    ];
}

function valueText(value: Value | undefined): string {
    if (value === undefined) return "not set";
    const text = inline(typeof value === "string" && value.includes("\n") ? JSON.stringify(value) : value);
    return text.length <= 120 ? text : `${text.slice(0, 120)}…`;
}

function staleText(path: string, place: string): string {
    return `${place}: ${visible(path)} is declared, but differs nowhere → remove the line`;
}

function countsOf({ differences, declaredIn }: Across): string {
    const undeclared = differences.filter(({ reason }) => reason === undefined).length;
    const declared = differences.length - undeclared;
    if (undeclared === 0) return `no undeclared difference (${declared} declared)`;
    return `${undeclared} undeclared ${undeclared === 1 ? "difference" : "differences"} (${declared} declared) → make them equal, or say why in ${declaredIn}`;
}

/** As a comment of a pull request. */
export function acrossMarkdown(across: readonly Across[]): string {
    const sections = across.map((api) => {
        const undeclared = api.differences.filter(({ reason }) => reason === undefined);
        const declared = api.differences.filter(({ reason }) => reason !== undefined);
        const block = (list: readonly PlacedDifference[]) =>
            codeBlock(
                list.flatMap((difference) => differenceLines(difference, (text) => text)),
                "",
                LONGEST_BLOCK,
            );
        const fold = (title: string, text: string) => `\n<details><summary>${title}</summary>\n${text}\n</details>\n`;
        return [
            `\n#### ${code(api.api)}\n\n${countsOf(api)}\n`,
            undeclared.length === 0 ? "" : block(undeclared),
            declared.length === 0 ? "" : fold(`${declared.length} declared`, block(declared)),
            api.same.length === 0 ? "" : fold("the same everywhere", codeBlock(api.same, "", LONGEST_BLOCK)),
            ...api.stale.map(({ path, place }) => `\n${code(staleText(path, place))}\n`),
        ].join("");
    });
    return bounded(`${commentMarker("diff across")}\n### The environments side by side\n${sections.join("")}`);
}

/** Characters of one block of the comment. */
const LONGEST_BLOCK = 15_000;

/** The comparison as JSON; its shape is described in the command's help. */
export function acrossJson(across: readonly Across[]): string {
    const apis = across.map(({ differences, ...api }) => ({
        ...api,
        differences: differences.map(({ path, values, reason, places }) => ({
            path,
            declared: reason !== undefined,
            ...(reason === undefined ? {} : { reason }),
            values,
            places,
        })),
    }));
    return `${JSON.stringify({ version: 1, apis }, undefined, 2)}\n`;
}
