import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parse } from "yaml";
import { checkoutRoot } from "../local/paths";
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

const begin = "<!-- Made by `ml-api chart generate` from values.schema.json and values.yaml. -->";
const end = "<!-- End of what is made. -->";

async function readme(): Promise<GeneratedFile> {
    const path = join(chartFolder, "README.md");
    const text = await readFile(path, "utf8");
    const [before, rest] = text.split(begin);
    const after = rest?.split(end)[1];
    if (before === undefined || after === undefined) {
        throw new Error(`${relative(checkoutRoot, path)} has no place for the table of values: "${begin}" … "${end}"`);
    }
    const schema = JSON.parse(await readFile(join(chartFolder, "values.schema.json"), "utf8")) as Schema;
    const table = valueReference(schema, parse(await readFile(join(chartFolder, "values.yaml"), "utf8")));
    // Columns that are padded to their widest cell would make the file three times as long.
    return { path, wanted: `${before}${begin}\n\n<!-- prettier-ignore -->\n${table}\n\n${end}${after}` };
}
