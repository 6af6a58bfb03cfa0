import * as fs from "node:fs";
import * as path from "node:path";
import { createInterface } from "node:readline/promises";
import { imagePatterns, parseImageReference } from "../branching/image-reference";
import { didYouMean } from "../components/config/nearest";
import type { Problem } from "../components/config/problem";
import { readProject } from "../components/config/project-file";
import { readStackFile, stackFileName, stackNames } from "../components/config/stack-file";
import { checkoutImages } from "../local/image/sources";
import { type ModelKind, modelKind } from "../local/image/model-server";

/** What a person said of a new API, by flags or answers. */
export interface NewOptions {
    readonly image?: string;
    readonly model?: string;
    readonly owner?: string;
    /** JSON, or `@file` with it. */
    readonly sample?: string;
    /** Separated by commas. */
    readonly environments?: string;
    readonly port?: string;
    readonly memory?: string;
}

/** An image by its name; `digest` is "" where only a tag was given. */
export interface ImageName {
    readonly repository: string;
    readonly tag: string;
    readonly digest: string;
}

/** What is known of a new API once its flags were read and checked, without asking a registry or the model. */
export interface NewRequest {
    readonly name: string;
    readonly environments: readonly string[];
    readonly owner: string;
    readonly port: number;
    /** As Kubernetes writes it, such as 512Mi; undefined: what fits. */
    readonly memory: string | undefined;
    readonly sample: object | undefined;
    readonly source:
        { readonly image: ImageName } | { readonly model: { readonly file: string; readonly kind: ModelKind } };
}

export const ENVIRONMENTS = ["dev", "staging", "production"] as const;
export const DEFAULT_PORT = 8080;
/** Helm's 53 characters, less what the API keys' names add; as the settings of a stack ask for. */
const LONGEST_NAME = 53 - "-key-00-with-00".length;
/** Git hosts refuse files from 100 MB on. */
const LARGEST_MODEL_MEGABYTES = 95;

/** Asks one question; the answer is the default when nothing is typed. */
export type Ask = (question: string, byDefault: string) => Promise<string>;

/** The options with answers for what matters and was not said. */
export async function askMissing(name: string, options: NewOptions, ask: Ask): Promise<NewOptions> {
    const said: { -readonly [Key in keyof NewOptions]: NewOptions[Key] } = { ...options };
    if (said.image === undefined && said.model === undefined) {
        const source = await ask("Image reference, or model file (.joblib, .pkl, .onnx)", "");
        if (modelKind(source) === undefined) said.image = source;
        else said.model = source;
    }
    said.owner ??= await ask("Who owns it (label owner)", ownerOf(name));
    said.environments ??= await ask("Environments", ENVIRONMENTS.join(","));
    if (said.sample === undefined) {
        const question = "Body of one prediction that must work: JSON, or @file (empty: none)";
        const sample = await ask(said.model === undefined ? question : "One input: JSON, or @file (empty: zeros)", "");
        if (sample !== "") said.sample = sample;
    }
    return said;
}

/** {@link Ask} at this terminal. */
export const askAtTerminal: Ask = async (question, byDefault) => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const shown = byDefault === "" ? "" : ` [${byDefault}]`;
    const answer = await terminal.question(`${question}${shown}: `).finally(() => {
        terminal.close();
    });
    return answer.trim() === "" ? byDefault : answer.trim();
};

/** Checks what was said. @returns the request, or everything that is wrong with it */
export function readRequest(root: string, name: string, options: NewOptions): NewRequest | readonly Problem[] {
    const problems: Problem[] = [];
    const report = (where: string, what: string, fix?: string): void =>
        void problems.push({ where, what, ...(fix === undefined ? {} : { fix }) });

    const environments = [
        ...new Set((options.environments ?? ENVIRONMENTS.join(",")).split(",").map((one) => one.trim())),
    ];
    for (const environment of environments) {
        if ((ENVIRONMENTS as readonly string[]).includes(environment)) continue;
        report(
            "--environments",
            `there is no environment "${environment}"${didYouMean(environment, ENVIRONMENTS)}`,
            `the environments are ${ENVIRONMENTS.join(", ")}`,
        );
    }
    problems.push(...nameProblems(root, name, environments));

    const owner = options.owner ?? ownerOf(name);
    if (!/^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(owner))
        report("--owner", `"${owner}" cannot be a label's value`, "letters, digits and - _ . between them, at most 63");
    const port = Number(options.port ?? DEFAULT_PORT);
    if (!/^[0-9]+$/.test(options.port ?? "1") || port < 1024 || port > 65535)
        report(
            "--port",
            `"${options.port ?? ""}" is no port from 1024 to 65535`,
            "an image that does not run as root takes these only",
        );
    const { memory } = options;
    if (memory !== undefined && !/^[1-9][0-9]{0,11}(?:\.[0-9]{1,3})?(?:Ki|Mi|Gi|Ti|k|M|G|T)$/.test(memory))
        report("--memory", `"${memory}" is no amount of memory`, "write it with a unit, such as 512Mi or 2Gi");
    const sample = readSample(options.sample, options.model !== undefined, report);
    const source = readSource(root, options, report);
    if (problems.length > 0 || source === undefined) return problems;
    return { name, environments, owner, port, memory, sample, source };
}

type Report = (where: string, what: string, fix?: string) => void;

export function ownerOf(name: string): string {
    return `${name}-team`;
}

/** Everything against a name: no DNS label, reserved, or taken. */
export function nameProblems(root: string, name: string, environments: readonly string[]): Problem[] {
    const where = `"${name}"`;
    if (!/^[a-z](?:[-a-z0-9]*[a-z0-9])?$/.test(name) || name.length > LONGEST_NAME) {
        const rule = `lower-case letters, digits and "-", beginning with a letter, at most ${LONGEST_NAME} characters`;
        return [{ where, what: `it cannot be the name of an API: ${rule}` }];
    }
    if (/^kube-/.test(name) || ["default", "ml-api", ...ENVIRONMENTS].includes(name))
        return [{ where, what: "the name is reserved: it means something else already", fix: "choose another name" }];
    const taken = takenBy(root, name, environments);
    return taken.map((what) => ({ where, what, fix: "choose another name, or remove that first" }));
}

function takenBy(root: string, name: string, environments: readonly string[]): string[] {
    const { name: project, defaults } = readProject(root);
    const stacks = stackNames(root).map((stack) => {
        const { config } = readStackFile(root, stack, project);
        const text = (key: string): string => {
            const value = config[`${project}:${key}`] ?? defaults[`${project}:${key}`];
            return typeof value === "string" ? value : "";
        };
        const api = text("name");
        return { stack, api, namespace: text("namespace") === "" ? `${api}-${stack}` : text("namespace") };
    });
    const wanted = environments.map((environment) => `${name}-${environment}`);
    // Another environment of an API that `ml-api new` has made is welcome.
    const others = ENVIRONMENTS.map((environment) => `${name}-${environment}`).filter((one) => !wanted.includes(one));
    const adds = stacks.some(({ stack, api }) => api === name && others.includes(stack));
    const image = checkoutImages(root).some((one) => one.name === name);
    return [
        ...(fs.existsSync(path.join(root, "apis", name)) && !adds ? [`there is apis/${name} already`] : []),
        ...stacks.flatMap(({ stack, api, namespace }) => [
            ...(api === name && !others.includes(stack) ? [`the stack ${stack} deploys an API of this name`] : []),
            ...(wanted.includes(stack) && api !== name ? [`there is ${stackFileName(stack)} already`] : []),
            ...(wanted.includes(namespace) && api !== name && !wanted.includes(stack)
                ? [`the stack ${stack} uses the namespace ${namespace}`]
                : []),
        ]),
        ...(image && !adds ? [`the image localhost/${name} is built here`] : []),
    ];
}

function readSample(text: string | undefined, forModel: boolean, report: Report): object | undefined {
    if (text === undefined) return undefined;
    let json = text;
    if (text.startsWith("@")) {
        try {
            json = fs.readFileSync(text.slice(1), "utf8");
        } catch (error) {
            report("--sample", `${text.slice(1)} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"})`);
            return undefined;
        }
    }
    try {
        const parsed: unknown = JSON.parse(json);
        // A model also takes the bare numbers; a body is an object.
        if (typeof parsed === "object" && parsed !== null && (forModel || !Array.isArray(parsed))) return parsed;
        report("--sample", "it is no JSON object", 'write the whole body of one prediction, such as {"inputs": …}');
    } catch (error) {
        report(
            "--sample",
            `it is no JSON (${error instanceof Error ? error.message : ""})`,
            "quote it for the shell, or give @file",
        );
    }
    return undefined;
}

function readSource(root: string, { image, model }: NewOptions, report: Report): NewRequest["source"] | undefined {
    if ((image === undefined || image === "") === (model === undefined || model === "")) {
        const what =
            image === undefined || image === ""
                ? "neither an image nor a model is named"
                : "an image and a model are both named";
        report(
            "--image, --model",
            what,
            "--image REF for an image that you have, or --model FILE to get a server for a model",
        );
        return undefined;
    }
    return model === undefined ? readImage(root, image ?? "", report) : readModel(model, report);
}

function readModel(file: string, report: Report): NewRequest["source"] | undefined {
    const kind = modelKind(file);
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat?.isFile() !== true) {
        report("--model", `there is no file ${file}`);
    } else if (stat.size > LARGEST_MODEL_MEGABYTES * 1e6) {
        report(
            "--model",
            `${file} has ${Math.round(stat.size / 1e6)} MB, which git hosts refuse`,
            "keep it outside: docs/image-contract.md, a model that is not in the image",
        );
    }
    if (kind === undefined)
        report(
            "--model",
            `nothing is known of "${path.extname(file)}" files`,
            ".joblib, .pkl and .pickle hold a model of scikit-learn, .onnx any",
        );
    return kind === undefined ? undefined : { model: { file: path.resolve(file), kind } };
}

const NO_DIGEST = `sha256:${"0".repeat(64)}`;

function readImage(root: string, reference: string, report: Report): NewRequest["source"] | undefined {
    const pinned = reference.includes("@");
    const parsed = parseImageReference(
        pinned || reference === "" ? reference : `${reference}@${NO_DIGEST}`,
        imagePatterns(root),
    );
    if (!("repository" in parsed)) {
        for (const { what, fix } of parsed) report("--image", what, fix);
        return undefined;
    }
    const { repository, tag } = parsed;
    const digest = pinned ? parsed.digest : "";
    if (!repository.includes("/"))
        report(
            "--image",
            `"${repository}" does not say where it comes from`,
            `write it in full: docker.io/library/${repository}`,
        );
    const local = repository.startsWith("localhost/");
    if (digest === "" && (tag === "latest" || (tag === "" && local)))
        report("--image", `${reference} means another image every day`, "name a version, or a digest");
    return { image: { repository, tag, digest } };
}
