import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parse } from "yaml";
import { checkoutRoot } from "../local/paths";
import { madeBy, withMadePart } from "./made-part";
import { packageChart } from "./package";
import { type Schema, valueReference } from "./value-reference";

export const chartFolder = join(checkoutRoot, "chart");

/** What is made from the rest of the chart and checked in with it. */
interface GeneratedFile {
    readonly path: string;
    readonly wanted: string;
}

/**
 * Brings chart/README.md (its table of values) and then chart/index.yaml (the package holds the README) up to date.
 *
 * @returns the files that were not, from the root of the checkout; under `check` they are left as they are
 */
export async function generate(helm: string, options: { readonly check: boolean }): Promise<readonly string[]> {
    const stale: string[] = [];
    for (const make of [readme, () => index(helm)]) {
        const { path, wanted } = await make();
        if ((await readFile(path, "utf8").catch(() => "")) === wanted) continue;
        stale.push(relative(checkoutRoot, path));
        if (!options.check) await writeFile(path, wanted);
    }
    return stale;
}

async function index(helm: string): Promise<GeneratedFile> {
    return { path: join(chartFolder, "index.yaml"), wanted: (await packageChart(helm, chartFolder)).index };
}

const MADE = madeBy("ml-api chart generate", "values.schema.json and values.yaml");

async function readme(): Promise<GeneratedFile> {
    const path = join(chartFolder, "README.md");
    const text = await readFile(path, "utf8");
    const schema = JSON.parse(await readFile(join(chartFolder, "values.schema.json"), "utf8")) as Schema;
    const table = valueReference(schema, parse(await readFile(join(chartFolder, "values.yaml"), "utf8")));
    return { path, wanted: withMadePart(text, relative(checkoutRoot, path), MADE, table) };
}
