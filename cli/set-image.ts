import * as fs from "node:fs";
import * as path from "node:path";
import { blockedIn, blockedText, readBlocked } from "../components/config/blocked";
import { type ImageReference, imagePatterns, parseImageReference } from "../branching/image-reference";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { lookUp, setValues } from "../branching/values-edit";
import { InputError, type Problem } from "../components/config/problem";
import { readStack } from "../components/config/stack";
import { readValuesFile, type Values } from "../components/config/values";
import { checkoutRoot } from "../local/paths";
import { evaluate, readSettings } from "../policy/evaluate";
import { RULES } from "../policy/rules";
import { visible } from "./diff-lines";
import { findStack } from "./stacks";

export interface SetImageResult {
    readonly version: 1;
    readonly stack: string;
    readonly environment: string;
    /** The values file, relative to the project's root. */
    readonly file: string;
    /** False when the file said so already. */
    readonly changed: boolean;
    readonly before: ImageReference;
    readonly after: ImageReference;
    /** What is allowed, and worth knowing. */
    readonly warnings: readonly string[];
}

export function setImageCommand(
    name: string,
    reference: string,
    options: { readonly api?: string; readonly json?: boolean },
): void {
    const result = setImage(checkoutRoot, findStack(checkoutRoot, name, options.api), reference);
    process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : inWords(result));
}

/**
 * Writes an image into the values file of a stack; nothing else of the file changes.
 *
 * @param root the project's folder
 * @throws InputError with everything that speaks against it; the file is then as it was
 */
export function setImage(root: string, stack: string, reference: string): SetImageResult {
    const { environment, valuesFile, places } = readStack(root, stack);
    const policy = readSettings(path.join(root, "policy"));
    const parsed = parseImageReference(reference, imagePatterns(root), policy.registries);
    if (isProblems(parsed)) throw new InputError("image", parsed);

    const { problems, warnings } = judge(root, environment, parsed);
    for (const key of ["image.repository", "image.tag", "image.digest"]) {
        const place = places.get(key);
        if (place?.startsWith("Pulumi.") === true)
            problems.push({
                where: place,
                what: `the stack file sets ${key}, and wins over ${valuesFile}`,
                fix: "remove the line",
            });
    }
    if (problems.length > 0) throw new InputError("image", problems);

    const file = path.join(root, valuesFile);
    const text = fs.readFileSync(file, "utf8");
    const before = imageIn(readValuesFile(file, valuesFile).values);
    const edited = setValues(text, imageChanges(before, parsed), valuesFile);
    if (edited !== text) fs.writeFileSync(file, edited);
    const promotion = loadBranchMap(root, stacksByEnvironment(root)).promotion?.[environment];
    if (promotion !== undefined && edited !== text)
        warnings.push(
            `${environment} deploys only what ${promotion.from} has run and verified; ml-api promote ${promotion.from} ${environment} checks that`,
        );
    return {
        version: 1,
        stack,
        environment,
        file: valuesFile,
        changed: edited !== text,
        before,
        after: parsed,
        warnings,
    };
}

/** A tag of another image would lie; one that was never there need not come. */
function imageChanges(before: ImageReference, after: ImageReference): readonly (readonly [string, string])[] {
    return [
        ["image.repository", after.repository],
        ...(after.tag === "" && before.tag === "" ? [] : [["image.tag", after.tag] as const]),
        ["image.digest", after.digest],
    ];
}

/** What the policy pack and the block list say of it. */
function judge(root: string, environment: string, image: ImageReference): { problems: Problem[]; warnings: string[] } {
    const name = `${image.repository}@${image.digest}`;
    const object = {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "api" },
        spec: { template: { spec: { containers: [{ name: "api", image: name }] } } },
    };
    const rules = RULES.filter(({ name: rule }) => rule === "image-registry" || rule === "image-pinned");
    const findings = evaluate(
        { environment, objects: [object] },
        readSettings(path.join(root, "policy")),
        rules,
    ).filter(({ exemption }) => exemption === undefined);
    const mandatory = findings.filter(({ level }) => level === "mandatory");
    return {
        problems: [
            ...mandatory.map(({ what, fix }) => ({ where: environment, what, fix })),
            ...blockedIn(readBlocked(root), name).map((one) => ({
                where: environment,
                what: blockedText(one),
                fix: "use another image",
            })),
        ],
        warnings: findings.filter(({ level }) => level !== "mandatory").map(({ what, fix }) => `${what} → ${fix}`),
    };
}

function imageIn(values: Values): ImageReference {
    const text = (key: string): string => {
        const value = lookUp(values, `image.${key}`);
        return typeof value === "string" ? value : "";
    };
    return { repository: text("repository"), tag: text("tag"), digest: text("digest") };
}

function isProblems(found: ImageReference | readonly Problem[]): found is readonly Problem[] {
    return Array.isArray(found);
}

function inWords({ file, changed, before, after, warnings }: SetImageResult): string {
    const name = ({ repository, tag, digest }: ImageReference): string =>
        visible(`${repository}${tag === "" ? "" : `:${tag}`}${digest === "" ? "" : `@${digest}`}`);
    const said = changed ? `${file}: ${name(before)} → ${name(after)}` : `${file} runs ${name(after)} already`;
    return [said, ...warnings.map((text) => `warning: ${visible(text)}`), ""].join("\n");
}
