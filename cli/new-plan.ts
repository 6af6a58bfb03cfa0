import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isSeq, parseDocument } from "yaml";
import type { Problem } from "../components/config/problem";
import { readProject } from "../components/config/project-file";
import { contentTag } from "../local/image/content-tag";
import { modelServerFiles, type ModelDescription, type ModelKind } from "../local/image/model-server";
import { serverFolder } from "../local/image/sources";
import { type Deployed, memoryFor, stackFile, valuesFile } from "./new-files";
import type { RegistryAnswer } from "./new-image";
import type { ModelAnswer } from "./new-model";
import type { ImageName, NewRequest } from "./new-request";

/** What is written for a new API, and what to say of it. Paths are relative to the project's root. */
export interface NewPlan {
    readonly stacks: readonly string[];
    /** New files: their text, or the file that is copied. */
    readonly files: ReadonlyMap<string, string | { readonly copyOf: string }>;
    /** Files that are there and get another text. */
    readonly edits: ReadonlyMap<string, string>;
    readonly notes: readonly string[];
    /** Commands to type next, each with what it does. */
    readonly next: readonly (readonly [command: string, does: string])[];
}

/** How the world outside the checkout is asked. */
export interface Oracles {
    readonly registry: (image: ImageName) => Promise<RegistryAnswer>;
    readonly model: (file: string, kind: ModelKind, sample: object | undefined) => Promise<ModelAnswer>;
}

export const POLICY = "policy/settings.yaml";
const MEMORY = "256Mi";

/** Decides everything about a new API and writes nothing. @returns the plan, or what is against it */
export async function planApi(
    root: string,
    request: NewRequest,
    oracles: Oracles,
): Promise<NewPlan | readonly Problem[]> {
    return "image" in request.source
        ? planImage(root, request, request.source.image, oracles)
        : planModel(root, request, request.source.model, oracles);
}

async function planImage(
    root: string,
    request: NewRequest,
    image: ImageName,
    oracles: Oracles,
): Promise<NewPlan | readonly Problem[]> {
    const { name } = request;
    const local = image.repository.startsWith("localhost/");
    const shown = `${image.repository}${image.tag === "" ? "" : `:${image.tag}`}`;
    const answer: RegistryAnswer = local ? { digest: image.digest } : await oracles.registry(image);
    if ("refused" in answer) {
        return [{ where: "--image", what: `${shown}: ${answer.refused}`, fix: "push it first, or correct the name" }];
    }
    const pinned = { ...image, digest: "digest" in answer ? answer.digest : image.digest };
    const canLeaveDev = local || pinned.digest !== "";
    const environments = canLeaveDev ? request.environments : request.environments.filter((one) => one === "dev");
    const left = request.environments.filter((one) => !environments.includes(one));
    const why =
        "unreachable" in answer ? `${image.repository.split("/")[0] ?? ""} does not answer: ${answer.unreachable}` : "";
    if (environments.length === 0 || (!canLeaveDev && image.tag === "")) {
        const what = `the digest of ${shown} is not known (${why}), and ${left.join(" and ") || "dev"} cannot do without`;
        return [{ where: "--image", what, fix: "name it as repository@sha256:…" }];
    }
    const withoutAnswer = why === "" ? [] : [`the image was not looked at: ${why}`];
    const waiting: NewPlan["next"] =
        left.length === 0
            ? []
            : [
                  [
                      `npx --no ml-api new ${name} --image ${image.repository}@sha256:… --environments ${left.join(",")}`,
                      "once you know the digest; with the same --owner, --sample, --port and --memory",
                  ],
              ];
    const deployed = { image: pinned, memory: request.memory ?? MEMORY, sample: request.sample };
    const policy = allowRegistry(root, image.repository);
    return {
        ...common(root, request, environments, deployed),
        edits: policy === undefined ? new Map() : new Map([[POLICY, policy.text]]),
        notes: [
            ...withoutAnswer,
            ...(left.length === 0 ? [] : [`only dev was made: ${left.join(" and ")} need the image's digest`]),
            ...(policy === undefined ? [] : [`${POLICY} now allows images from ${policy.prefix}: have that reviewed`]),
            ...(request.sample === undefined
                ? ["without verify.sample a deploy only asks whether the API is ready"]
                : []),
        ],
        next: [...nextOf(name, environments), ...waiting],
    };
}

async function planModel(
    root: string,
    request: NewRequest,
    model: { readonly file: string; readonly kind: ModelKind },
    oracles: Oracles,
): Promise<NewPlan | readonly Problem[]> {
    const { name } = request;
    const description = await oracles.model(model.file, model.kind, request.sample);
    if ("problem" in description)
        return [{ where: path.basename(model.file), what: description.problem, fix: description.fix }];
    const server = await serverFiles(root, request, model, description);
    const deployed = {
        image: { repository: `localhost/${name}`, tag: server.tag, digest: "" },
        memory: request.memory ?? memoryFor(description.peakBytes),
        sample: { inputs: description.sample.input },
    };
    const plan = common(root, request, request.environments, deployed);
    const folder = serverFolder(name);
    const files = new Map([
        ...plan.files,
        ...[...server.files].map(([file, text]) => [`${folder}/${file}`, text] as const),
    ]);
    const megabytes = Math.round(description.peakBytes / (1 << 20));
    return {
        ...plan,
        files,
        edits: new Map(),
        notes: [
            `${path.basename(model.file)}: ${description.library}, ${description.features.length} features, answers ${ANSWERS[description.answers]}; ` +
                `loaded and asked in ${description.seconds} s with ${megabytes} MiB`,
            ...(request.sample === undefined
                ? ["the sample is all zeros: put a real input into verify.sample and model/model.json"]
                : []),
            ...(model.kind === "sklearn" ? ["a pickle runs code when it is loaded: this one was loaded just now"] : []),
            `outside this machine localhost/${name} is known to nobody: push the image to a registry before staging is a real cluster`,
        ],
        next: nextOf(name, request.environments),
    };
}

const ANSWERS: Readonly<Record<ModelDescription["answers"], string>> = {
    probabilities: "classes with probabilities",
    label: "classes",
    value: "a number",
};

/** The server's files, and the content tag that its image will have: reckoned from the files themselves. */
async function serverFiles(
    root: string,
    { name }: NewRequest,
    { file, kind }: { readonly file: string; readonly kind: ModelKind },
    description: ModelDescription,
): Promise<{ files: ReadonlyMap<string, string | { copyOf: string }>; tag: string }> {
    const texts = modelServerFiles(root, { name, kind, modelFile: file, description });
    const laidOut = await Promise.all(
        [...texts].map(async ([place, text]) => [place, await laidOutText(place, text)] as const),
    );
    const files = new Map<string, string | { copyOf: string }>([
        ...laidOut,
        [`model/${path.basename(file)}`, { copyOf: file }],
    ]);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-new-"));
    try {
        for (const [place, text] of files) {
            fs.mkdirSync(path.dirname(path.join(folder, place)), { recursive: true });
            if (typeof text === "string") fs.writeFileSync(path.join(folder, place), text);
            else fs.copyFileSync(text.copyOf, path.join(folder, place));
            fs.chmodSync(path.join(folder, place), FILE_MODE);
        }
        return { files, tag: await contentTag(folder) };
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

export const FILE_MODE = 0o644;

/** As `ml-api check` wants it. */
async function laidOutText(file: string, text: string): Promise<string> {
    if (!/\.(?:md|json|yaml)$/.test(file)) return text;
    const prettier = await import("prettier");
    return prettier.format(text, { filepath: file, printWidth: 120, tabWidth: 2 });
}

function common(
    root: string,
    request: NewRequest,
    environments: readonly string[],
    deployed: Deployed,
): Pick<NewPlan, "stacks" | "files"> {
    const { name } = request;
    const { name: project } = readProject(root);
    return {
        stacks: environments.map((environment) => `${name}-${environment}`),
        files: new Map(
            environments.flatMap((environment): [string, string][] => [
                [`apis/${name}/values-${environment}.yaml`, valuesFile(request, environment, deployed)],
                [`Pulumi.${name}-${environment}.yaml`, stackFile(project, name, environment)],
            ]),
        ),
    };
}

function nextOf(name: string, environments: readonly string[]): NewPlan["next"] {
    const first = `${name}-${environments[0] ?? ""}`;
    return [
        [`npx --no ml-api up ${first}`, "deploy it to the cluster of this machine, and ask it once"],
        ["npx --no ml-api check --skip unit", "what a pull request has to pass"],
    ];
}

/** `policy/settings.yaml` with the registry of an image; undefined when it allows it already, or when there is none. */
export function allowRegistry(root: string, repository: string): { text: string; prefix: string } | undefined {
    const file = path.join(root, POLICY);
    if (!fs.existsSync(file)) return undefined;
    const source = fs.readFileSync(file, "utf8");
    const list = parseDocument(source).get("registries");
    if (!isSeq(list)) return undefined;
    const allowed = list.toJSON() as string[];
    if (allowed.some((registry) => repository.startsWith(`${registry.replace(/\/$/, "")}/`))) return undefined;
    const prefix = repository.slice(0, repository.lastIndexOf("/"));
    const last = list.items.at(-1) as { range?: [number, number, number] } | undefined;
    const end = last?.range?.[1];
    if (end === undefined) return undefined;
    return { text: `${source.slice(0, end)}\n  - ${prefix}${source.slice(end)}`, prefix };
}
