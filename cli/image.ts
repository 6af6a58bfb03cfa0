import * as fs from "node:fs";
import * as path from "node:path";
import { readValuesFile, isValues } from "../components/config/values";
import { environmentsIn, findValuesFile } from "../components/config/values-file";
import { type ClusterContext, clusterContext, type ClusterInfo } from "../local/clusters/cluster";
import { buildImage } from "../local/image/build";
import { contentTag } from "../local/image/content-tag";
import { loadImage } from "../local/image/load";
import { checkoutRoot } from "../local/paths";

const SAMPLE = "examples/mf-demo";
const VALUES_DIR = "chart/environment";
const REPOSITORY = "localhost/mf-demo";

/** One values file that runs the sample image. */
interface SampleUse {
    readonly file: string;
    readonly line: string;
    readonly tag: string;
}

export async function imageCommand(options: { write?: boolean; check?: boolean }): Promise<void> {
    const tag = await contentTag(path.join(checkoutRoot, SAMPLE));
    const stale = sampleUses().filter((use) => use.tag !== tag);
    if (options.check === true) {
        if (stale.length > 0) throw new Error(staleMessage(tag, stale));
        process.stdout.write(`${REPOSITORY}:${tag} is what the values files run\n`);
        return;
    }
    if (options.write === true) for (const use of stale) writeTag(use, tag);
    const { file } = await buildImage(clusterContext());
    process.stdout.write(`${REPOSITORY}:${tag}\n${file}\n`);
}

/** Puts the sample image where the cluster's pods find it, when a values file runs it. */
export async function provideImage(context: ClusterContext, cluster: ClusterInfo): Promise<void> {
    const uses = sampleUses();
    if (uses.length === 0 || !cluster.podsServe) return;
    const tag = await contentTag(path.join(checkoutRoot, SAMPLE));
    const stale = uses.filter((use) => use.tag !== tag);
    if (stale.length > 0) throw new Error(staleMessage(tag, stale));
    if (cluster.kind === "current") {
        const reference = `${REPOSITORY}:${tag}`;
        context.log(
            `image    ${reference} is known on this machine only. Give it to your cluster, e.g. on kind or minikube:`,
        );
        context.log(`           docker build --tag ${reference} ${SAMPLE}`);
        context.log(`           kind load docker-image ${reference}    or    minikube image load ${reference}`);
        return;
    }
    await loadImage(context, await buildImage(context));
}

function staleMessage(tag: string, stale: readonly SampleUse[]): string {
    const places = stale.map(({ line, tag: old }) => `  ${line}: tag ${old}`).join("\n");
    return `${SAMPLE} has changed: its content tag is ${tag}, but\n${places}\n→ npx --no ml-api image --write`;
}

function sampleUses(): SampleUse[] {
    return environmentsIn(checkoutRoot, VALUES_DIR).flatMap((environment) => {
        const file = findValuesFile(checkoutRoot, VALUES_DIR, environment);
        if (file === undefined) return [];
        const { values, places } = readValuesFile(path.join(checkoutRoot, file), file);
        const image = isValues(values["image"]) ? values["image"] : {};
        if (image["repository"] !== REPOSITORY) return [];
        const tag = typeof image["tag"] === "string" ? image["tag"] : "";
        return [{ file, line: places.get("image.tag") ?? file, tag }];
    });
}

/** Replaces the tag where it stands, so that every other byte of the file stays as it is. */
function writeTag({ file, line, tag: old }: SampleUse, tag: string): void {
    const absolute = path.join(checkoutRoot, file);
    const lines = fs.readFileSync(absolute, "utf8").split("\n");
    const index = Number(line.split(":").at(-1)) - 1;
    lines[index] = (lines[index] ?? "").replace(old, tag);
    fs.writeFileSync(absolute, lines.join("\n"));
    process.stdout.write(`${line}: ${old} → ${tag}\n`);
}
