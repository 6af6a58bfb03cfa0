import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import { checkoutRoot } from "../local/paths";
import { ensureHelm, type RenderedStack, renderStack } from "./rendered-stack";
import { findStack } from "./stacks";
import { byName } from "../components/guarded-release/render/object-names";

/** Prints what a stack would install, or writes it, one file per object. Nothing is left out or hidden. */
export async function renderCommand(name: string, options: { json?: boolean; out?: string }): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const rendered = await renderStack(checkoutRoot, stack, await ensureHelm());
    if (options.out !== undefined) {
        const files = writeObjects(rendered, options.out);
        process.stdout.write(files.map((file) => `${file}\n`).join(""));
    } else {
        process.stdout.write(options.json === true ? renderJson(rendered) : rendered.manifest);
    }
}

/** `{stack, environment, release, namespace, digest, objects}` */
function renderJson({ stack, settings, digest, objects }: RenderedStack): string {
    const { environment, name, namespace } = settings;
    return `${JSON.stringify({ stack, environment, release: name, namespace, digest, objects }, undefined, 2)}\n`;
}

/** Objects of an earlier render would pass for ones of this, so the folder has to be new or empty. */
function writeObjects({ objects }: RenderedStack, folder: string): string[] {
    fs.mkdirSync(folder, { recursive: true });
    if (fs.readdirSync(folder).length > 0) throw new Error(`${folder} is not empty → name a new folder`);
    return Object.entries(byName(objects)).map(([name, object]) => {
        const file = path.join(folder, `${name.toLowerCase().replaceAll(/[^a-z0-9.-]+/g, "-")}.yaml`);
        fs.writeFileSync(file, stringify(object, { lineWidth: 0, version: "1.1" }), { flag: "wx" });
        return file;
    });
}
