import { join, relative } from "node:path";
import { chartFolder, generate } from "../distribution/generated";
import { digestOf, packageChart, writeRepository } from "../distribution/package";
import { checkoutRoot } from "../local/paths";
import { ensureTools } from "../local/tools";

/** Writes the chart's package and its index into a folder: a chart repository, once a web server shows it. */
export async function chartPackageCommand(folder: string): Promise<void> {
    const { helm } = await ensureTools(["helm"]);
    const made = await packageChart(helm.path, chartFolder);
    await writeRepository(made, folder);
    process.stdout.write(`${join(folder, made.name)}\nsha256:${digestOf(made.content)}\n`);
}

/** Brings what is made from the chart up to date: the table of values in its README, and its index. */
export async function chartGenerateCommand(options: { check?: boolean }): Promise<void> {
    const { helm } = await ensureTools(["helm"]);
    const check = options.check === true;
    const stale = await generate(helm.path, { check });
    const names = stale.join(" and ");
    if (stale.length === 0)
        process.stdout.write(`${relative(checkoutRoot, chartFolder)}: everything made is up to date\n`);
    else if (!check) process.stdout.write(`wrote ${names}\n`);
    else throw new Error(`${names} is not what the chart makes it now → ml-api chart generate, and commit it`);
}
