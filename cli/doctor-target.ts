import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { readStack } from "../components/config/stack";
import { stackNames } from "../components/config/stack-file";
import { isValues, mergeValues, readValuesFile, type Values } from "../components/config/values";
import { openImage, type OpenImage } from "../local/image/unpack";
import { cacheDir } from "../local/paths";
import { run } from "../local/run";
import { ensureTools } from "../local/tools";
import { WANTED_FILES } from "./doctor-image";
import { refusal } from "./new-image";
import { logToStderr } from "./rendered-stack";

/** What a person wants to have looked at. */
export type Target =
    | { readonly kind: "url"; readonly url: string }
    | { readonly kind: "image"; readonly reference: string; readonly values: Values; readonly valuesFile?: string };

/** A URL, a stack, an image's file, or an image's name. */
export function findTarget(root: string, text: string): Target {
    const defaults = readValuesFile(path.join(root, "chart", "values.yaml"), "chart/values.yaml").values;
    if (/^https?:\/\//.test(text)) return { kind: "url", url: text };
    if (!stackNames(root).includes(text)) return { kind: "image", reference: text, values: defaults };
    const { values: own, valuesFile } = readStack(root, text);
    const values = mergeValues(defaults, own);
    const image = isValues(values["image"]) ? values["image"] : {};
    const part = (key: string): string => (typeof image[key] === "string" ? image[key] : "");
    const version = part("digest") === "" ? (part("tag") === "" ? "" : `:${part("tag")}`) : `@${part("digest")}`;
    return { kind: "image", reference: `${part("repository")}${version}`, values, valuesFile };
}

/**
 * Opens an image for as long as `use` runs: a file as it is, `localhost/…` as `ml-api image` built it, any other from its registry.
 *
 * @throws Error when it cannot be had
 */
export async function withImage<T>(reference: string, use: (image: OpenImage) => Promise<T>): Promise<T> {
    if (reference.endsWith(".tar")) {
        if (!fs.existsSync(reference)) throw new Error(`there is no file ${reference}`);
        return use(await openImage(reference, WANTED_FILES));
    }
    if (reference.startsWith("localhost/")) {
        const [name = "", tag = ""] = reference.slice("localhost/".length).split(":");
        const file = path.join(cacheDir(), "images", `${name}-${tag}.tar`);
        if (!/^[a-z0-9-]+$/.test(name) || !fs.existsSync(file))
            throw new Error(
                `${reference} is not built on this machine → npx --no ml-api image ${name}, or docker save ${reference} -o FILE.tar`,
            );
        return use(await openImage(file, WANTED_FILES));
    }
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-pull-"));
    try {
        const file = path.join(folder, "image.tar");
        const { crane } = await ensureTools(["crane"], { log: logToStderr });
        const platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
        const { failure, stderr } = await run(crane.path, ["pull", "--platform", platform, "--", reference, file], {
            variables: process.env,
            timeLimit: 600_000,
        });
        if (failure !== undefined) {
            const why = refusal(stderr);
            throw new Error(
                `${reference}: ${"refused" in why ? why.refused : `the registry does not answer (${why.unreachable})`}`,
            );
        }
        return await use(await openImage(file, WANTED_FILES));
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}
