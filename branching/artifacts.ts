import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
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
    const listing = await git.run(["ls-tree", "-r", "--full-tree", commit, "--", ...CHART_SOURCES]);
    const lines = listing.split("\n").filter((line) => line !== "");
    return `sha256:${crypto.createHash("sha256").update(lines.sort().join("\n")).digest("hex")}`;
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
}

/** Reads a stack as a commit has it, from a clone or a bare repository. @throws InputError */
export async function stackAt(git: Git, commit: string, stack: string): Promise<StackAt> {
    const chart = await chartDigest(git, commit);
    return withConfig(git, commit, (root) => {
        const { environment, name, valuesFile, values, places } = readStack(root, stack);
        return { environment, api: name, valuesFile, values, places, artifacts: artifactsOf(values, chart) };
    });
}

/** The stack of an environment that has an API; undefined when it has none. */
export async function stackOf(git: Git, commit: string, environment: string, api: string): Promise<string | undefined> {
    return withConfig(git, commit, (root) =>
        stackNames(root).find((stack) => {
            const settings = readStack(root, stack);
            return settings.environment === environment && settings.name === api;
        }),
    );
}

/** Puts the stack files and values files of a commit into a folder for as long as `use` runs. */
async function withConfig<T>(git: Git, commit: string, use: (root: string) => T): Promise<T> {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-config-"));
    try {
        const names = (await git.run(["ls-tree", "-r", "-z", "--full-tree", "--name-only", commit]))
            .split("\0")
            .filter((name) => /^Pulumi(?:\.[^/]+)?\.yaml$|(?:^|\/)values-[^/]+\.yaml$/.test(name));
        for (const [name, text] of await git.texts(names.map((name) => `${commit}:${name}`))) {
            const file = path.join(root, name.slice(commit.length + 1));
            fs.mkdirSync(path.dirname(file), { recursive: true });
            fs.writeFileSync(file, text);
        }
        return use(root);
    } finally {
        fs.rmSync(root, { recursive: true, force: true });
    }
}
