/** What is measured of a chart, whoever made it: by real Helm, on values as a person writes them, without a look at its templates. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { type Value, isValues, mergeValues } from "../components/config/values";
import { at, helmBinary, type Outcome, outcomeOf, type Values } from "../test/chart/helm";
import { misspellings } from "../test/chart/misspellings";

export interface Chart {
    readonly name: string;
    readonly folder: string;
    /** Values of the API that every chart is given. */
    readonly values: Values;
}

/** So many of so many. */
export interface Share {
    readonly found: number;
    readonly of: number;
}

export interface Measures {
    /** Misspellings by one letter that are refused: of keys at the top, and of keys in sections. */
    readonly rootSlips: Share;
    readonly sectionSlips: Share;
    /** Values whose change changes nothing. */
    readonly withoutEffect: Share;
    /** null, 0, false and "" in a key's place that end in an error of a template. */
    readonly crashes: Share;
}

interface Key {
    readonly path: readonly string[];
    readonly value: Value;
}

const mergedDefaults = ({ folder, values }: Chart): Values =>
    mergeValues((parse(readFileSync(join(folder, "values.yaml"), "utf8")) ?? {}) as Values, values);

/** Every key of the chart's values.yaml and of the given values. */
function keysOf(values: Values, above: readonly string[] = []): readonly Key[] {
    return Object.entries(values).flatMap(([name, value]) => {
        const path = [...above, name];
        return [{ path, value }, ...(isValues(value) ? keysOf(value, path) : [])];
    });
}

/** Evenly over all of them, the same ones in each run. */
function sample<T>(all: readonly T[], most: number): readonly T[] {
    const step = Math.max(1, all.length / most);
    return all.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
}

/** `helm template` of the chart; two may run at the same time. */
export function renderOf({ folder }: Chart, values: Values): Promise<Outcome> {
    const own = mkdtempSync(join(tmpdir(), "ml-api-bench-"));
    const file = join(own, "values.json");
    writeFileSync(file, JSON.stringify(values));
    const args = ["template", "churn", folder, "-n", "churn", "--kube-version", "1.34.0", "-f", file];
    return new Promise((resolve) => {
        execFile(helmBinary(), args, { maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
            rmSync(own, { recursive: true });
            resolve(outcomeOf({ status: error === null ? 0 : 1, stdout, stderr }));
        });
    });
}

async function outcomesOf(chart: Chart, sets: readonly Values[]): Promise<readonly Outcome[]> {
    const results: Outcome[] = [];
    const waiting = [...sets.entries()];
    const work = async (): Promise<void> => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
            results[next[0]] = await renderOf(chart, next[1]);
    };
    await Promise.all([work(), work()]);
    return results;
}

/** @param most of the chart's keys that each sweep tries */
export async function measure(chart: Chart, most: number): Promise<Measures> {
    const base = await renderOf(chart, chart.values);
    if (base.kind !== "rendered") throw new Error(`${chart.name} does not render: ${base.message}`);
    const keys = keysOf(mergedDefaults(chart));
    const slips = async (some: readonly Key[]): Promise<Share> => {
        const tried = sample(some, most);
        const sets = tried.map(({ path, value }, index) => {
            const own = path.at(-1) ?? "";
            const all = misspellings(own).filter((slip) => !has(keys, [...path.slice(0, -1), slip]));
            // Another kind of slip for each key.
            const slip = all[(index * 977) % all.length] ?? "";
            return mergeValues(chart.values, at([...path.slice(0, -1), slip], value ?? "x"));
        });
        const outcomes = await outcomesOf(chart, sets);
        const taken = tried.filter((_, index) => outcomes[index]?.kind === "rendered");
        tell(chart, "a misspelling is taken", taken);
        return { found: tried.length - taken.length, of: tried.length };
    };
    return {
        rootSlips: await slips(keys.filter(({ path }) => path.length === 1)),
        sectionSlips: await slips(keys.filter(({ path }) => path.length > 1)),
        withoutEffect: await withoutEffect(chart, keys, most),
        crashes: await crashes(chart, sample(keys, most)),
    };
}

function has(keys: readonly Key[], path: readonly string[]): boolean {
    return keys.some((key) => key.path.join("\n") === path.join("\n"));
}

/** With --names, which keys a number stands for. */
function tell({ name }: Chart, what: string, keys: readonly Key[]): void {
    if (!process.argv.includes("--names")) return;
    for (const { path } of keys) process.stderr.write(`${name}: ${what} of ${path.join(".")}\n`);
}

async function crashes(chart: Chart, keys: readonly Key[]): Promise<Share> {
    const sets = keys.flatMap(({ path }) =>
        [null, 0, false, ""].map((value) => mergeValues(chart.values, at(path, value))),
    );
    const crashed = (await outcomesOf(chart, sets)).filter(({ kind }) => kind === "crashed");
    return { found: crashed.length, of: sets.length };
}

/**
 * Texts, numbers and switches of values.yaml, each changed in up to four surroundings: the given values, those with every section around the
 * key switched on, and the chart's own examples (ci/) that say something in the same part of the values.
 */
async function withoutEffect(chart: Chart, keys: readonly Key[], most: number): Promise<Share> {
    const scalars = keys.filter(({ value }) => ["string", "number", "boolean"].includes(typeof value));
    const tried = sample(scalars, most);
    const folder = join(chart.folder, "ci");
    const examples = (existsSync(folder) ? readdirSync(folder) : [])
        .filter((file) => file.endsWith(".yaml"))
        .map((file) => (parse(readFileSync(join(folder, file), "utf8")) ?? {}) as Values);
    const dead: Key[] = [];
    const waiting = [...tried];
    const known = new Map<string, Promise<Outcome>>();
    const rendered = (values: Values): Promise<Outcome> => {
        const text = JSON.stringify(values);
        const outcome = known.get(text) ?? renderOf(chart, values);
        known.set(text, outcome);
        return outcome;
    };
    const hasEffect = async ({ path, value }: Key): Promise<boolean> => {
        const [root = ""] = path;
        const near = examples.filter((example) => root in example).slice(0, 2);
        const around = [
            chart.values,
            switchedOn(chart.values, keys, path),
            ...near.map((one) => mergeValues(chart.values, one)),
        ];
        for (const surroundings of around) {
            const before = await rendered(surroundings);
            if (before.kind !== "rendered") continue;
            for (const other of othersThan(value)) {
                const after = await renderOf(chart, mergeValues(surroundings, at(path, other)));
                if (after.kind !== "rendered" || after.manifests !== before.manifests) return true;
            }
        }
        return false;
    };
    const work = async (): Promise<void> => {
        for (let key = waiting.shift(); key !== undefined; key = waiting.shift()) {
            if (!(await hasEffect(key))) dead.push(key);
        }
    };
    await Promise.all([work(), work()]);
    tell(chart, "no effect seen", dead);
    return { found: dead.length, of: tried.length };
}

function switchedOn(values: Values, keys: readonly Key[], path: readonly string[]): Values {
    return path.reduce((result, _, depth) => {
        const section = path.slice(0, depth);
        return ["enabled", "create"].reduce((so, word) => {
            const place = [...section, word];
            return has(keys, place) && place.length < path.length + 1 ? mergeValues(so, at(place, true)) : so;
        }, result);
    }, values);
}

function othersThan(value: Value): readonly Value[] {
    if (typeof value === "boolean") return [!value];
    if (typeof value === "number") return [value + 1, value + 7];
    return ["other", "17"].filter((text) => text !== value);
}
