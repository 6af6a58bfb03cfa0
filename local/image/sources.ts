import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";

/** An image that is built from a folder of the checkout. */
export interface CheckoutImage {
    /** Name of the API; the image is `localhost/<name>`. */
    readonly name: string;
    /** Folder with a Dockerfile, relative to the checkout's root. */
    readonly folder: string;
    readonly repository: string;
}

/** Where `ml-api new` puts the server of an API. */
export function serverFolder(name: string): string {
    return `apis/${name}/server`;
}

/** The images of a checkout: those that the branch map lists, and every `apis/<name>/server` with a Dockerfile. */
export function checkoutImages(root: string): readonly CheckoutImage[] {
    const apis = path.join(root, "apis");
    const found = (fs.existsSync(apis) ? fs.readdirSync(apis) : [])
        .map((name): [string, string] => [name, serverFolder(name)])
        .filter(([, folder]) => fs.existsSync(path.join(root, folder, "Dockerfile")));
    const folders = { ...Object.fromEntries(found), ...listed(root) };
    return Object.entries(folders)
        .sort(([one], [other]) => one.localeCompare(other, "en"))
        .map(([name, folder]) => ({ name, folder, repository: `localhost/${name}` }));
}

function listed(root: string): Record<string, string> {
    const file = path.join(root, "branching", "branches.yaml");
    if (!fs.existsSync(file)) return {};
    const { images = {} } = (parse(fs.readFileSync(file, "utf8")) ?? {}) as { images?: Record<string, string> };
    return images;
}
