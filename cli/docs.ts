import type { Command } from "commander";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ComponentSchema, componentReference } from "../distribution/component-reference";
import { madeBy, withMadePart } from "../distribution/made-part";
import { settingsReference } from "../distribution/settings-reference";
import { checkoutRoot } from "../local/paths";
import { commandReference } from "./command-reference";

const read = (file: string): Promise<string> => readFile(join(checkoutRoot, file), "utf8");

/** Brings the references up to date that are made from code: of the commands, the stack files and the component. */
export async function docsGenerateCommand({ check = false }: { check?: boolean }, command: Command): Promise<void> {
    const stale: string[] = [];
    for (const [file, wanted] of Object.entries(await references(rootOf(command)))) {
        if ((await read(file).catch(() => "")) === wanted) continue;
        stale.push(file);
        if (check) continue;
        await mkdir(dirname(join(checkoutRoot, file)), { recursive: true });
        await writeFile(join(checkoutRoot, file), wanted);
    }
    const names = stale.join(" and ");
    if (stale.length === 0) process.stdout.write("every reference is up to date\n");
    else if (!check) process.stdout.write(`wrote ${names}\n`);
    else throw new Error(`${names} is not what the code makes it now → npx --no ml-api docs generate, and commit it`);
}

/** Every page that holds a reference, as the code makes it now. */
export async function references(program: Command): Promise<Readonly<Record<string, string>>> {
    const schema = JSON.parse(await read("components/plugin/schema.json")) as ComponentSchema;
    const settings = madeBy("ml-api docs generate", "Pulumi.yaml");
    return {
        "docs/reference/commands.md": commandReference(program),
        "docs/reference/component.md": componentReference(schema),
        "README.md": withMadePart(
            await read("README.md"),
            "README.md",
            settings,
            settingsReference(await read("Pulumi.yaml")),
        ),
    };
}

function rootOf(command: Command): Command {
    return command.parent === null ? command : rootOf(command.parent);
}
