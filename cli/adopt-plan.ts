import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { InputError, type Problem } from "../components/config/problem";
import { stackFileName } from "../components/config/stack-file";
import { readValuesSchema } from "../components/config/values-schema";
import { isValues, readValuesFile, type Values } from "../components/config/values";
import { RELEASE_NAME } from "../components/guarded-release/live/owner";
import { at } from "../components/guarded-release/safety/patch";
import { readYaml } from "../components/guarded-release/render/manifest";
import type { ObjectChange } from "../components/guarded-release/changes/changes";
import { redactedText } from "../components/guarded-release/changes/redaction";
import { type Met, type TakeOver, compareTakeOver } from "./adopt-compare";
import type { Found } from "./adopt-found";
import { type OwnedByChart, valuesOfObjects } from "./adopt-objects";
import { stackOf, stackProblems, stackText } from "./adopt-stack";
import { valuesOfRelease } from "./adopt-values";
import { toYaml } from "./new-files";
import { allowRegistry, POLICY } from "./new-plan";
import { renderStack } from "./rendered-stack";

/** What a person wants taken over, and as what. */
export interface AdoptRequest {
    /** Of the Helm release, or of the Deployment. */
    readonly name: string;
    readonly namespace: string;
    /** Name of a new release beside the old objects, which stay. */
    readonly as: string | undefined;
    readonly environment: string | undefined;
    /** kubectl context for the stack file; undefined for the cluster of this checkout. */
    readonly context: string | undefined;
    /** A values file to take instead of what is derived from the live objects. */
    readonly values: string | undefined;
}

/** Everything about a take-over that can be known before anything is written. */
export interface AdoptPlan {
    readonly stack: string;
    readonly environment: string;
    readonly release: string;
    readonly namespace: string;
    /**
     * `release`: Helm has it. `objects`: Helm gets a record of what is there. `beside`: a new release next to it, and a switch by hand.
     */
    readonly mode: "release" | "objects" | "beside";
    /** New files; none where the stack has its files already. */
    readonly files: ReadonlyMap<string, string>;
    /** Files that are there and get another text. */
    readonly edits: ReadonlyMap<string, string>;
    /** What could not be carried over, and what a person should know. */
    readonly notes: readonly string[];
    /** What has to be put right first. */
    readonly problems: readonly Problem[];
    /** What the first update changes in the cluster, without secrets. */
    readonly changes: readonly ObjectChange[];
    /** Live objects that become the release's. */
    readonly met: readonly Met[];
    readonly protect: boolean;
}

/** Decides everything about a take-over; asks the cluster by dry run, and writes nothing. @throws InputError for a wrong request */
export async function planAdoption(
    root: string,
    request: AdoptRequest,
    found: Found,
    helm: string,
): Promise<AdoptPlan> {
    const { name, namespace, as } = request;
    const release = as ?? name;
    const { values, notes } = carriedOver(root, request, found);
    const environment = environmentOf(request, values);
    const there = stackOf(root, release, namespace, environment);
    const isNew = there === undefined;
    const stack = there ?? `${release}-${environment}`;
    const mode = as !== undefined ? "beside" : found.running.kind;
    const files = new Map(
        isNew
            ? [
                  [`apis/${release}/values-${environment}.yaml`, valuesText(request, environment, values)],
                  [stackFileName(stack), stackText(root, request, release, environment)],
              ]
            : [],
    );
    const policy = isNew ? registryOf(root, values) : undefined;
    const edits = new Map(policy === undefined ? [] : [[POLICY, policy.text]]);
    const base = { stack, environment, release, namespace, mode, files, edits } as const;
    const said = [
        ...(isNew ? notes : [`${stackFileName(stack)} is there: its files stay as they are`]),
        ...(policy === undefined ? [] : [`${POLICY} will allow images from ${policy.prefix}: have that reviewed`]),
        ...writerNotes(found),
    ];
    const problems = isNew ? [] : await stackProblems(root, stack, release, namespace, found);
    if (problems.length > 0) return { ...base, notes: said, problems, changes: [], met: [], protect: false };
    try {
        const { objects, settings } = await inFolder(root, files, (folder) => renderStack(folder, stack, helm));
        const recorded =
            mode === "release" && found.running.kind === "release" ? found.running.record.objects : undefined;
        const taken = await compareTakeOver(found.access, { release, namespace }, recorded, objects);
        const against = [...faultsOf(taken, request), ...foreignFaults(taken, mode, release, recorded !== undefined)];
        return {
            ...base,
            notes: said,
            problems: against,
            changes: taken.changes,
            met: taken.met,
            protect: settings.protect,
        };
    } catch (error) {
        if (!(error instanceof InputError)) throw error;
        return { ...base, notes: said, problems: error.problems, changes: [], met: [], protect: false };
    }
}

function carriedOver(
    root: string,
    { values: file }: AdoptRequest,
    { running }: Found,
): { readonly values: Values; readonly notes: readonly string[] } {
    if (file !== undefined) return { values: readValuesFile(path.resolve(file), file).values, notes: [] };
    if (running.kind === "objects") {
        const owned = readYaml(fs.readFileSync(path.join(root, "chart/files/owned.yaml"), "utf8"))[0] as OwnedByChart;
        return valuesOfObjects(running, "", owned);
    }
    const { values, dropped } = valuesOfRelease(
        running.record.values,
        readValuesSchema(path.join(root, "chart")) ?? {},
    );
    return {
        values,
        notes: dropped.map(({ key, advice }) => `${key} was left out${advice === "" ? "" : `: ${advice}`}`),
    };
}

const ENVIRONMENTS = ["dev", "staging", "production"];

function environmentOf({ environment, name }: AdoptRequest, values: Values): string {
    const said = environment ?? values["environment"];
    if (typeof said === "string" && ENVIRONMENTS.includes(said)) return said;
    const what =
        environment === undefined
            ? `what runs as ${name} does not say which environment it is`
            : `there is no environment "${environment}"`;
    throw new InputError("adopt", [{ where: "--environment", what, fix: `one of ${ENVIRONMENTS.join(", ")}` }]);
}

function valuesText({ name, namespace, values: given }: AdoptRequest, environment: string, values: Values): string {
    const from =
        given === undefined
            ? `as ${name} ran in namespace ${namespace} when it was adopted`
            : "as given at its adoption";
    const rest = Object.entries(values).filter(([key]) => key !== "environment");
    const blocks = [["environment", environment] as const, ...rest].map(([key, value]) => toYaml({ [key]: value }));
    return `# ${environment}, ${from}.\n${blocks.join("\n")}`;
}

function faultsOf({ faults }: TakeOver, { name, as, namespace, environment }: AdoptRequest): Problem[] {
    const told = faults.map(({ name: where, what, fix }) => ({ where, what: redactedText(what), fix }));
    const selector = told.find(({ where }) => /^Deployment\/\S+ spec\.selector/.test(where));
    if (selector === undefined || as !== undefined) return told;
    const command = `npx --no ml-api adopt ${name} --namespace ${namespace} --as ${name}-api${environment === undefined ? "" : ` --environment ${environment}`}`;
    return told.map((one) =>
        one === selector
            ? {
                  ...one,
                  fix: `a Deployment with another selector can only be replaced, and nothing would answer meanwhile. Beside it, without a gap: ${command}`,
              }
            : one,
    );
}

/** Objects in the way that are not what is taken over. */
function foreignFaults({ met }: TakeOver, mode: AdoptPlan["mode"], release: string, hasRecord: boolean): Problem[] {
    if (mode === "beside")
        return met.map(({ name }) => ({
            where: name,
            what: "is there already",
            fix: `another name: --as; or a stack that deployed it before: npx --no ml-api up`,
        }));
    return met
        .filter(({ owner }) => (owner !== "" || hasRecord) && owner !== release)
        .map(({ name, owner }) => ({
            where: name,
            what:
                owner === ""
                    ? `is there already and is not of release ${release}`
                    : `belongs to the Helm release ${owner}`,
            fix: "remove it, or switch it off in the values",
        }));
}

/** The list of registries with that of the image, unless it is allowed already. */
function registryOf(root: string, { image }: Values): ReturnType<typeof allowRegistry> {
    const repository = isValues(image) ? image["repository"] : undefined;
    return typeof repository === "string" && repository.includes("/") ? allowRegistry(root, repository) : undefined;
}

function writerNotes({ running, writers }: Found): string[] {
    const lost =
        running.kind === "objects" &&
        !running.begun &&
        at(running.deployment, ["metadata", "annotations", RELEASE_NAME]) !== undefined;
    return [
        ...(lost
            ? [
                  "Helm has marked these objects, and the namespace has no record of their release: it was lost, or Helm keeps its records " +
                      "elsewhere (HELM_DRIVER); if elsewhere, stop here",
              ]
            : []),
        ...writers.map((writer) => `${writer} has marked these objects: take them out there, or it will set them back`),
    ];
}

/** The project as it would be with new files; the chart is shared, nothing else is needed to render. */
async function inFolder<T>(
    root: string,
    files: ReadonlyMap<string, string>,
    use: (folder: string) => Promise<T>,
): Promise<T> {
    if (files.size === 0) return use(root);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-adopt-"));
    try {
        for (const shared of ["chart", "Pulumi.yaml"])
            fs.symlinkSync(path.join(root, shared), path.join(folder, shared));
        for (const [file, text] of files) {
            fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
            fs.writeFileSync(path.join(folder, file), text);
        }
        return await use(folder);
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}
