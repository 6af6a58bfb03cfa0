import * as fs from "node:fs";
import * as path from "node:path";
import { setValues } from "../branching/values-edit";
import { didYouMean } from "../components/config/nearest";
import { readProject } from "../components/config/project-file";
import { readStackFile, stackNames } from "../components/config/stack-file";
import { isValues, readValuesFile } from "../components/config/values";
import { findValuesFile } from "../components/config/values-file";
import { type ClusterContext, clusterContext, type ClusterInfo } from "../local/clusters/cluster";
import { buildImage } from "../local/image/build";
import { contentTag } from "../local/image/content-tag";
import { loadImage } from "../local/image/load";
import { type CheckoutImage, checkoutImages } from "../local/image/sources";
import { checkoutRoot } from "../local/paths";

/** One values file that runs an image of this checkout. */
interface ImageUse {
    readonly file: string;
    readonly line: string;
    readonly tag: string;
}

/** Builds images of the checkout, or only compares their content tags with the values files. */
export async function imageCommand(
    names: readonly string[],
    options: { write?: boolean; check?: boolean },
): Promise<void> {
    const images = chooseImages(checkoutRoot, names);
    const states = await Promise.all(images.map((image) => stateOf(checkoutRoot, image)));
    const problems = states.flatMap(({ image, tag, stale }) =>
        stale.length === 0 ? [] : [staleMessage(image, tag, stale)],
    );
    if (options.check === true && problems.length > 0) throw new Error(problems.join("\n"));
    for (const { image, tag, stale } of states) {
        if (options.check === true) {
            process.stdout.write(`${image.repository}:${tag} is what the values files run\n`);
            continue;
        }
        if (options.write === true) for (const use of stale) writeTag(use, tag);
        const { file } = await buildImage(clusterContext(), sourceOf(checkoutRoot, image));
        process.stdout.write(`${image.repository}:${tag}\n${file}\n`);
    }
}

function chooseImages(root: string, names: readonly string[]): readonly CheckoutImage[] {
    const all = checkoutImages(root);
    const known = all.map(({ name }) => name);
    const unknown = names.find((name) => !known.includes(name));
    if (unknown !== undefined)
        throw new Error(
            `no image of "${unknown}" is built here${didYouMean(unknown, known)}; those of ${known.join(", ")} are`,
        );
    return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}

/**
 * Puts the image of a stack where the cluster's pods find it, when it is built from this checkout.
 *
 * @param stack the stack that is deployed
 */
export async function provideImage(context: ClusterContext, cluster: ClusterInfo, stack: string): Promise<void> {
    if (!cluster.podsServe) return;
    const file = valuesFileOf(checkoutRoot, stack);
    const repository = file === undefined ? "" : imageIn(checkoutRoot, file).repository;
    const image = checkoutImages(checkoutRoot).find((one) => one.repository === repository);
    if (image === undefined) return;
    const { tag, stale } = await stateOf(checkoutRoot, image);
    if (stale.length > 0) throw new Error(staleMessage(image, tag, stale));
    if (cluster.kind === "current") {
        const reference = `${image.repository}:${tag}`;
        context.log(
            `image    ${reference} is known on this machine only. Give it to your cluster, e.g. on kind or minikube:`,
        );
        context.log(`           docker build --tag ${reference} ${image.folder}`);
        context.log(`           kind load docker-image ${reference}    or    minikube image load ${reference}`);
        return;
    }
    await loadImage(context, await buildImage(context, sourceOf(checkoutRoot, image)));
}

function sourceOf(root: string, { name, folder }: CheckoutImage): { folder: string; name: string } {
    return { folder: path.join(root, folder), name };
}

async function stateOf(
    root: string,
    image: CheckoutImage,
): Promise<{ image: CheckoutImage; tag: string; stale: ImageUse[] }> {
    const tag = await contentTag(path.join(root, image.folder));
    return { image, tag, stale: usesOf(root, image).filter((use) => use.tag !== tag) };
}

function staleMessage(image: CheckoutImage, tag: string, stale: readonly ImageUse[]): string {
    const places = stale.map(({ line, tag: old }) => `  ${line}: tag ${old}`).join("\n");
    return `${image.folder} has changed: its content tag is ${tag}, but\n${places}\n→ npx --no ml-api image --write`;
}

/** The values files, of whichever stack, that run an image. */
function usesOf(root: string, image: CheckoutImage): ImageUse[] {
    const files = new Set(stackNames(root).flatMap((stack) => valuesFileOf(root, stack) ?? []));
    return [...files].flatMap((file) => {
        const { repository, tag, line } = imageIn(root, file);
        return repository === image.repository ? [{ file, line, tag }] : [];
    });
}

function imageIn(root: string, file: string): { repository: string; tag: string; line: string } {
    const { values, places } = readValuesFile(path.join(root, file), file);
    const image = isValues(values["image"]) ? values["image"] : {};
    const text = (key: string): string => (typeof image[key] === "string" ? image[key] : "");
    return { repository: text("repository"), tag: text("tag"), line: places.get("image.tag") ?? file };
}

/** The values file that a stack file names; undefined when there is none, which is for `ml-api check` to say. */
function valuesFileOf(root: string, stack: string): string | undefined {
    const { name: project, defaults } = readProject(root);
    const { config } = readStackFile(root, stack, project);
    const text = (key: string): string => {
        const value = config[`${project}:${key}`] ?? defaults[`${project}:${key}`];
        return typeof value === "string" ? value : "";
    };
    return findValuesFile(root, text("valuesDir"), text("environment"));
}

/** Replaces the tag where it stands, so that every other byte of the file stays as it is. */
function writeTag({ file, line, tag: old }: ImageUse, tag: string): void {
    const absolute = path.join(checkoutRoot, file);
    fs.writeFileSync(absolute, setValues(fs.readFileSync(absolute, "utf8"), [["image.tag", tag]], file));
    process.stdout.write(`${line}: ${old} → ${tag}\n`);
}
