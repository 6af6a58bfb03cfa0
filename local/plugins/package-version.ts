import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** The version of an installed npm package. A plugin is published under the version of its npm package. */
export function packageVersion(name: string): string {
    const manifest = createRequire(__filename).resolve(`${name}/package.json`);
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
    return version;
}
