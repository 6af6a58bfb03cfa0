import * as fs from "node:fs";
import * as path from "node:path";

/** The two places where the values file of an environment may stand below `valuesDir`, in the order they are tried. */
function candidates(valuesDir: string, environment: string): string[] {
    const file = `values-${environment}.yaml`;
    return [path.posix.join(valuesDir, environment, file), path.posix.join(valuesDir, file)];
}

/** The values file of an environment, relative to the project's root; undefined when there is none. */
export function findValuesFile(root: string, valuesDir: string, environment: string): string | undefined {
    return candidates(valuesDir, environment).find((file) => fs.existsSync(path.join(root, file)));
}

/** The environments that have a values file below `valuesDir`, in alphabetical order. */
export function environmentsIn(root: string, valuesDir: string): string[] {
    const folder = path.join(root, valuesDir);
    if (!fs.existsSync(folder)) return [];
    const names = fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        if (entry.isDirectory()) return [entry.name];
        const name = /^values-(.+)\.yaml$/.exec(entry.name)?.[1];
        return name === undefined ? [] : [name];
    });
    return [...new Set(names)].filter((name) => findValuesFile(root, valuesDir, name) !== undefined).sort();
}
