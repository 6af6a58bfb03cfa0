import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { InputError } from "../components/config/problem";
import { readStack } from "../components/config/stack";
import { stackNames } from "../components/config/stack-file";
import type { Value, Values } from "../components/config/values";
import type { Git } from "./git";
import { lookUp } from "./values-edit";

/** The three things that are promoted together: what has run side by side, and nothing else, is proven. */
export interface Artifacts {
    /** `sha256:…`; an image without a digest by its name, which proves as much as the name does. */
    readonly image: string;
    /** `sha256:…` of the model's file or image, or where else it comes from. */
    readonly model: string;
    /** `sha256:…` of the chart's templates, files, defaults and schema. */
    readonly chart: string;
}

/** What decides over what the chart makes of values. Its version and its documentation decide nothing. */
const CHART_SOURCES = ["templates", "files", "charts", "values.yaml", "values.schema.json"].map(
    (name) => `chart/${name}`,
);

/** The values that name image and model; a promotion copies them, and nothing else. */
export const ARTIFACT_VALUES = [
    "image.repository",
    "image.tag",
    "image.digest",
    "model.download.url",
    "model.download.urlSecret",
    "model.download.sha256",
    "model.download.file",
    "model.download.unpack",
    "model.volume.claim",
    "model.volume.path",
    "model.image.reference",
] as const;

/** @param chart see {@link chartDigest} */
export function artifactsOf(values: Values, chart: string): Artifacts {
    return { image: imageOf(values), model: modelOf(values), chart };
}

export function sameArtifacts(one: Artifacts | undefined, other: Artifacts | undefined): boolean {
    return (
        one !== undefined &&
        other !== undefined &&
        one.image === other.image &&
        one.model === other.model &&
        one.chart === other.chart
    );
}

/** Why these can become others under the same names; nothing to say of artifacts that cannot. */
export function unpinned({ image, model }: Artifacts): string[] {
    // An image that no registry has can only be put onto the nodes anew, under a tag made of its content.
    const fixed = image.startsWith("sha256:") || /^localhost\/.*:(?!latest$)/.test(image);
    return [
        ...(fixed ? [] : [`the image ${image} has no digest, so nobody can say what ran`]),
        ...(model.startsWith("https:") || model.startsWith("http:")
            ? [`the model ${model} has no sha256, so nobody can say what ran`]
            : []),
    ];
}

function imageOf(values: Values): string {
    const digest = text(lookUp(values, "image.digest"));
    const tag = text(lookUp(values, "image.tag"));
    return digest !== "" ? digest : `${text(lookUp(values, "image.repository"))}:${tag === "" ? "latest" : tag}`;
}

function modelOf(values: Values): string {
    const of = (key: string): string => text(lookUp(values, `model.${key}`));
    const image = of("image.reference");
    if (image !== "") return image.slice(image.lastIndexOf("@") + 1);
    if (of("download.sha256") !== "") return `sha256:${of("download.sha256")}`;
    const url = of("download.url");
    // Without what follows a "?", which may give access.
    if (url !== "") return url.replace(/\?.*$/, "");
    if (of("download.urlSecret") !== "") return `secret ${of("download.urlSecret")}`;
    if (of("volume.claim") !== "") return `volume ${of("volume.claim")}/${of("volume.path")}`;
    return "in the image";
}

function text(value: Value | undefined): string {
    return typeof value === "string" ? value : "";
}

/** Digest of the chart's sources in a commit. @returns `sha256:` and 64 hexadecimal digits */
export async function chartDigest(git: Git, commit: string): Promise<string> {
    return chartDigestIn(await filesOf(git, commit));
}

/** @param files see {@link filesOf} */
function chartDigestIn(files: readonly string[]): string {
    const lines = files.filter((line) => {
        const file = nameOf(line);
        return CHART_SOURCES.some((source) => file === source || file.startsWith(`${source}/`));
    });
    return `sha256:${crypto.createHash("sha256").update(lines.sort().join("\n")).digest("hex")}`;
}

/** All files of a commit, as `<mode> blob <id>\t<path>`. */
async function filesOf(git: Git, commit: string): Promise<string[]> {
    return (await git.run(["ls-tree", "-r", "-z", "--full-tree", commit])).split("\0").filter((line) => line !== "");
}

function nameOf(line: string): string {
    return line.slice(line.indexOf("\t") + 1);
}

/** What a commit says of a stack. */
export interface StackAt {
    readonly environment: string;
    readonly api: string;
    /** Relative to the project's root. */
    readonly valuesFile: string;
    readonly values: Values;
    /** `file:line` of each value. */
    readonly places: ReadonlyMap<string, string>;
    readonly artifacts: Artifacts;
    /** The stacks of this API, by environment. */
    readonly siblings: ReadonlyMap<string, string>;
}

/** Reads a stack as a commit has it, from a clone or a bare repository. @throws InputError */
export async function stackAt(git: Git, commit: string, stack: string): Promise<StackAt> {
    const files = await filesOf(git, commit);
    const names = files.map(nameOf).filter((name) => CONFIG_FILE.test(name));
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-config-"));
    try {
        for (const [name, text] of await git.texts(names.map((one) => `${commit}:${one}`))) {
            const file = path.join(root, name.slice(commit.length + 1));
            fs.mkdirSync(path.dirname(file), { recursive: true });
            fs.writeFileSync(file, text);
        }
        const { environment, name: api, valuesFile, values, places } = readStack(root, stack);
        const artifacts = artifactsOf(values, chartDigestIn(files));
        return { environment, api, valuesFile, values, places, artifacts, siblings: siblingsOf(root, api) };
    } finally {
        fs.rmSync(root, { recursive: true, force: true });
    }
}

/** Stack files and values files. */
const CONFIG_FILE = /^Pulumi(?:\.[^/]+)?\.yaml$|(?:^|\/)values-[^/]+\.yaml$/;

function siblingsOf(root: string, api: string): Map<string, string> {
    const found = new Map<string, string>();
    for (const stack of stackNames(root)) {
        try {
            const { environment, name } = readStack(root, stack);
            if (name === api && !found.has(environment)) found.set(environment, stack);
        } catch (error) {
            // What is wrong with another stack stops that one, not this.
            if (!(error instanceof InputError)) throw error;
        }
    }
    return found;
}
