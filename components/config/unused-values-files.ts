import * as fs from "node:fs";
import * as path from "node:path";
import { didYouMean } from "./nearest";
import type { Problem } from "./problem";
import { readProject } from "./project-file";
import { readStackFile, stackFileName, stackNames } from "./stack-file";
import { findValuesFile } from "./values-file";

/** What a stack file says of the values file that it uses. */
interface Use {
    readonly stack: string;
    readonly valuesDir: string;
    readonly environment: string;
    /** Where the stack file says its environment. */
    readonly place: string;
    /** Relative to the project's root; undefined when there is no such file. */
    readonly valuesFile: string | undefined;
}

/**
 * Values files that no stack uses: somebody edits such a file, and nothing happens. Looked at are the folders that stack files
 * name as `valuesDir`, the default one and those below `apis/`.
 *
 * @param alsoUsed values files that are in use whatever the stack files say, relative to the project's root
 */
export function unusedValuesFiles(root: string, alsoUsed: readonly string[] = []): Problem[] {
    const { name: project, defaults } = readProject(root);
    const uses = stackNames(root).map((stack): Use => {
        const { config, places } = readStackFile(root, stack, project);
        const text = (key: string, byDefault: string): string => {
            const value = config[`${project}:${key}`] ?? defaults[`${project}:${key}`];
            return typeof value === "string" && value !== "" ? value : byDefault;
        };
        const valuesDir = path.posix.normalize(text("valuesDir", DEFAULT_VALUES_DIR)).replace(/\/$/, "");
        const environment = text("environment", "");
        const place = places.get(`${project}:environment`) ?? stackFileName(stack);
        return { stack, valuesDir, environment, place, valuesFile: findValuesFile(root, valuesDir, environment) };
    });
    const used = new Set([...alsoUsed, ...uses.flatMap(({ valuesFile }) => valuesFile ?? [])]);
    const apis = foldersIn(root, "apis");
    const valuesDirs = new Set([DEFAULT_VALUES_DIR, ...apis, ...uses.map(({ valuesDir }) => valuesDir)]);
    return [...valuesDirs]
        .sort()
        .flatMap((valuesDir) => valuesFilesIn(root, valuesDir).map((file) => ({ valuesDir, file })))
        .filter(({ file }) => !used.has(file))
        .map(({ valuesDir, file }) => ({ where: `${file}:1`, ...explainUnused(valuesDir, file, uses) }));
}

const DEFAULT_VALUES_DIR = "chart/environment";

function explainUnused(valuesDir: string, file: string, uses: readonly Use[]): { what: string; fix: string } {
    const base = path.posix.basename(file);
    const folder = path.posix.dirname(file);
    const environment = /^values-(.+)\.yaml$/.exec(base)?.[1];
    const inOwnFolder = folder === valuesDir || folder === path.posix.join(valuesDir, environment ?? "");
    if (environment === undefined || !inOwnFolder) {
        const wanted =
            folder === valuesDir
                ? uses.filter((use) => use.valuesDir === valuesDir).map((use) => `values-${use.environment}.yaml`)
                : [`values-${path.posix.basename(folder)}.yaml`];
        return {
            what: `no stack finds a values file of this name${didYouMean(base, wanted)}`,
            fix: `call it ${wanted.length > 0 ? wanted.join(" or ") : "values-<environment>.yaml"}, or remove it`,
        };
    }
    const winner = uses.find((use) => use.valuesDir === valuesDir && use.environment === environment)?.valuesFile;
    if (winner !== undefined) return { what: `${winner} wins over this values file`, fix: "remove one of the two" };
    const lost = uses.filter((use) => use.valuesDir === valuesDir && use.valuesFile === undefined);
    const slip = lost.find((use) => didYouMean(use.environment, [environment]) !== "");
    if (slip !== undefined) {
        return {
            what: `no stack uses this values file, but ${slip.place} asks for the environment "${slip.environment}"`,
            fix: `did you mean "${environment}" there?`,
        };
    }
    const dir = valuesDir === DEFAULT_VALUES_DIR ? "" : ` and \`valuesDir: ${valuesDir}\``;
    return {
        what: "no stack uses this values file",
        fix: `write a stack file with \`environment: ${environment}\`${dir}, or remove the values file`,
    };
}

/** Values files below a folder, and one folder further down; relative to the project's root. */
function valuesFilesIn(root: string, valuesDir: string): string[] {
    return [valuesDir, ...foldersIn(root, valuesDir)].flatMap((folder) =>
        entriesIn(root, folder)
            .filter((entry) => entry.isFile() && /^values.*\.ya?ml$/i.test(entry.name))
            .map((entry) => path.posix.join(folder, entry.name)),
    );
}

function foldersIn(root: string, folder: string): string[] {
    return entriesIn(root, folder)
        .filter((entry) => entry.isDirectory())
        .map((entry) => path.posix.join(folder, entry.name));
}

function entriesIn(root: string, folder: string): fs.Dirent[] {
    const full = path.join(root, folder);
    return fs.existsSync(full) ? fs.readdirSync(full, { withFileTypes: true }) : [];
}
