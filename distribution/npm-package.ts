import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { checkoutRoot } from "../local/paths";
import { lastLines, run } from "../local/run";
import { npmFolder } from "./component-schema";
import { packageChart } from "./package";

/** As much of package.json as says what the package is. */
export interface Manifest {
    readonly name: string;
    readonly version: string;
    readonly description: string;
    readonly engines: object;
    readonly dependencies: Readonly<Record<string, string>>;
}

/** What the compiled components load; the rest of our dependencies belongs to the command or to TypeScript. */
const LIBRARIES = ["fastest-levenshtein", "yaml"];
/** A program has these itself, once: two copies of the SDK would not know each other's resources. */
const SHARED = ["@pulumi/kubernetes", "@pulumi/pulumi", "@pulumi/random"];

export async function readManifest(): Promise<Manifest> {
    return JSON.parse(await readFile(join(checkoutRoot, "package.json"), "utf8")) as Manifest;
}

/**
 * Makes the npm package of the component: compiled JavaScript with its types, the chart beside it as `helm package` would pack it, and
 * the folder that Pulumi starts as a plugin for other languages.
 *
 * @param helm path of Helm
 * @param chart folder of the chart
 * @param folder where the package goes
 * @returns the package's file
 */
export async function packNpm(helm: string, chart: string, folder: string): Promise<string> {
    const staged = await mkdtemp(join(tmpdir(), "ml-api-npm-"));
    try {
        await compile(join(staged, "components"));
        for (const file of ["PulumiPlugin.yaml", "package.json", "schema.json"])
            await cp(join(checkoutRoot, "components", "plugin", file), join(staged, "components", "plugin", file));
        await unpackChart(helm, chart, join(staged, "chart"));
        await cp(join(npmFolder, "README.md"), join(staged, "README.md"));
        const manifest = publishedManifest(await readManifest());
        await writeFile(join(staged, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
        await mkdir(folder, { recursive: true });
        const packed = ["pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", resolve(folder)];
        await ask("npm", packed, staged);
        return join(folder, `${manifest.name}-${manifest.version}.tgz`);
    } finally {
        await rm(staged, { recursive: true, force: true });
    }
}

function publishedManifest({ name, version, description, engines, dependencies }: Manifest) {
    const pick = (names: readonly string[], range: string): object =>
        Object.fromEntries(names.map((one) => [one, `${range}${dependencies[one] ?? ""}`]));
    return {
        ...{ name, version, description, engines },
        main: "components/index.js",
        types: "components/index.d.ts",
        files: ["components", "chart"],
        dependencies: pick(LIBRARIES, ""),
        peerDependencies: pick(SHARED, "^"),
    };
}

/** Node takes no TypeScript from a package. */
async function compile(folder: string): Promise<void> {
    const compiler = join(checkoutRoot, "node_modules", "typescript", "bin", "tsc");
    await ask(process.execPath, [compiler, "--project", npmFolder, "--outDir", folder], checkoutRoot);
}

/** Helm decides what belongs to a chart. */
async function unpackChart(helm: string, chart: string, folder: string): Promise<void> {
    const { content } = await packageChart(helm, chart);
    await mkdir(folder, { recursive: true });
    const archive = join(folder, ".chart.tgz");
    await writeFile(archive, content);
    await ask("tar", ["--extract", "--gzip", "--file", archive, "--strip-components", "1"], folder);
    await rm(archive);
}

async function ask(program: string, args: readonly string[], cwd: string): Promise<void> {
    const { failure, stdout, stderr } = await run(program, args, { cwd, variables: process.env, timeLimit: 300_000 });
    if (failure !== undefined) throw new Error(`${program} ${failure}:\n${lastLines(`${stdout}${stderr}`, 12)}`);
}
