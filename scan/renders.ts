import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { lastLines, run } from "../local/run";
import { chartFolder, environments, environmentValues, type KubernetesObject, objectsIn } from "../test/chart/helm";

/** What the chart makes of one values file. */
export interface Render {
    /** Of the environment or of the file in chart/ci; also the release's name, so that all objects of a scan differ. */
    readonly name: string;
    /** The manifests. */
    readonly file: string;
    readonly text: string;
    readonly objects: readonly KubernetesObject[];
}

export interface RenderOptions {
    /** Path of Helm. */
    readonly helm: string;
    readonly namespace: string;
    /** Where the manifests go, one file per render and nothing else. */
    readonly folder: string;
}

/** The version of Kubernetes that the manifests are for. */
export const kubernetesVersion = "1.34.0";

/** Renders every environment and every file of chart/ci. */
export async function renderAll(options: RenderOptions): Promise<readonly Render[]> {
    const features = join(chartFolder, "ci");
    const waiting = [
        ...environments.map((name) => ({ name, values: JSON.stringify(environmentValues(name)) })),
        ...readdirSync(features).map((file) => ({
            name: basename(file, ".yaml").replace(/-values$/, ""),
            values: readFileSync(join(features, file), "utf8"),
        })),
    ].sort((one, other) => (one.name < other.name ? -1 : 1));
    const inputs = `${options.folder}-values`;
    for (const folder of [options.folder, inputs]) mkdirSync(folder, { recursive: true });
    const renders: Render[] = [];
    // Two at a time: one would leave a core idle.
    const work = async (): Promise<void> => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
            const valuesFile = join(inputs, `${next.name}.yaml`);
            writeFileSync(valuesFile, next.values);
            renders.push(await render(next.name, valuesFile, options));
        }
    };
    await Promise.all([work(), work()]);
    return renders.sort((one, other) => (one.name < other.name ? -1 : 1));
}

async function render(name: string, valuesFile: string, { helm, namespace, folder }: RenderOptions): Promise<Render> {
    const args = ["template", name, chartFolder, "-n", namespace, "--kube-version", kubernetesVersion];
    const result = await run(helm, [...args, "-f", valuesFile], { variables: process.env, timeLimit: 60_000 });
    if (result.failure !== undefined) {
        throw new Error(`helm template with the values of ${name} ${result.failure}:\n${lastLines(result.stderr, 10)}`);
    }
    const file = join(folder, `${name}.yaml`);
    writeFileSync(file, result.stdout);
    return { name, file, text: result.stdout, objects: objectsIn(result.stdout) };
}

/** "Deployment/mf-demo" */
export function objectName({ kind, metadata }: KubernetesObject): string {
    return `${kind}/${metadata.name}`;
}

/** The render that an object is from. */
export function renderOf(renders: readonly Render[], object: string): string {
    const found = renders.filter(({ objects }) => objects.some((one) => objectName(one) === object));
    if (found.length !== 1 || found[0] === undefined) {
        throw new Error(
            `${object} is in ${found.length} renders (${found.map(({ name }) => name).join(", ")}), not in one`,
        );
    }
    return found[0].name;
}
