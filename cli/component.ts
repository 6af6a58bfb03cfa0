import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { schemaText } from "../distribution/component-schema";
import { chartFolder } from "../distribution/generated";
import { packNpm, readManifest } from "../distribution/npm-package";
import { checkoutRoot } from "../local/paths";
import { ensureTools } from "../local/tools";

const SCHEMA = join(checkoutRoot, "components", "plugin", "schema.json");

/** Writes the component's npm package into a folder. */
export async function componentPackageCommand(folder: string): Promise<void> {
    const { helm } = await ensureTools(["helm"]);
    process.stdout.write(`${await packNpm(helm.path, chartFolder, folder)}\n`);
}

/** Brings the schema up to date from which Pulumi makes libraries for its other languages. */
export async function componentGenerateCommand({ check = false }: { check?: boolean }): Promise<void> {
    const wanted = schemaText(await readManifest());
    const name = relative(checkoutRoot, SCHEMA);
    if ((await readFile(SCHEMA, "utf8").catch(() => "")) === wanted) {
        process.stdout.write(`${name}: up to date\n`);
        return;
    }
    if (check)
        throw new Error(
            `${name} is not what the component's types make it now → npx --no ml-api component generate, and commit it`,
        );
    await writeFile(SCHEMA, wanted);
    process.stdout.write(`wrote ${name}\n`);
}
