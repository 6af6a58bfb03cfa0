/** The real `helm` as the tests of the chart use it. Nothing here needs a cluster. */
import Ajv, { type ErrorObject } from "ajv";
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DUMP_SCHEMA, loadAll } from "js-yaml";
import { parse } from "yaml";
import { isValues as isMap, mergeValues as merged, type Value, type Values } from "../../components/config/values";

// Merging as Helm merges two values files is the product's own, and tested against Helm.
export { isMap, merged, type Value, type Values };

export const chartFolder = resolve(__dirname, "../../chart");
export const environments = ["dev", "staging", "production"] as const;
export type Environment = (typeof environments)[number];

export interface Metadata {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
}

export interface KubernetesObject {
    apiVersion: string;
    kind: string;
    metadata: Metadata;
    spec?: { template?: PodTemplate };
}

export interface Deployment extends KubernetesObject {
    spec: {
        replicas: number;
        progressDeadlineSeconds: number;
        minReadySeconds: number;
        selector: { matchLabels: Record<string, string> };
        template: PodTemplate;
    };
}

export interface PodTemplate {
    metadata: Partial<Metadata>;
    spec: {
        serviceAccountName?: string;
        automountServiceAccountToken?: boolean;
        enableServiceLinks?: boolean;
        hostNetwork?: boolean;
        hostPID?: boolean;
        hostIPC?: boolean;
        terminationGracePeriodSeconds?: number;
        securityContext?: {
            runAsNonRoot?: boolean;
            runAsUser?: number;
            runAsGroup?: number;
            fsGroup?: number;
            seccompProfile?: { type: string };
        };
        containers: Container[];
        initContainers?: Container[];
        volumes?: {
            name: string;
            emptyDir?: { sizeLimit?: string };
            secret?: { secretName: string; items?: object[] };
        }[];
    };
}

export interface Container {
    name: string;
    image: string;
    imagePullPolicy: string;
    command?: string[];
    env?: { name: string; value: string }[];
    resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
    securityContext?: {
        privileged?: boolean;
        allowPrivilegeEscalation?: boolean;
        readOnlyRootFilesystem?: boolean;
        capabilities?: { drop?: string[]; add?: string[] };
    };
    lifecycle?: { preStop: { sleep: { seconds: number } } };
    startupProbe?: Probe;
    readinessProbe?: Probe;
    livenessProbe?: Probe;
}

export interface Probe {
    httpGet: { path: string; port: string };
    periodSeconds: number;
    timeoutSeconds: number;
    failureThreshold: number;
}

export interface Run {
    status: number;
    stdout: string;
    stderr: string;
}

export interface RenderOptions {
    chart?: string;
    release?: string;
    namespace?: string;
    /** Further arguments of Helm. */
    args?: readonly string[];
}

/** Of random values: another one in each run. SEED=… repeats a run that failed. */
export const seed = Number(process.env["SEED"] ?? Date.now());

/** The smallest values with which the chart renders; tests change one thing on top. */
export const smallest: Values = {
    environment: "dev",
    image: { repository: "registry.example.org/team/churn", tag: "1.4.2" },
    apiKey: { existingSecret: "churn-key" },
};

/** What the program adds to each environment's values file. The tag stands for whatever the demo image is today. */
export const addedByProgram: Values = {
    image: { tag: "0000000000000000" },
    apiKey: { existingSecret: "mf-demo-key-1", generation: 1 },
};

export function valuesFile(environment: Environment): string {
    return join(chartFolder, "environment", environment, `values-${environment}.yaml`);
}

export function environmentValues(environment: Environment): Values {
    return merged(parse(readFileSync(valuesFile(environment), "utf8")) as Values, addedByProgram);
}

export function defaultValues(): Values {
    return parse(readFileSync(join(chartFolder, "values.yaml"), "utf8")) as Values;
}

/** The values as Helm hands them to schema and templates: over the chart's defaults, of which null takes one away. */
export function withDefaults(values: Values, defaults: Values = defaultValues()): Values {
    const result: Record<string, Value> = { ...defaults };
    for (const [key, value] of Object.entries(values)) {
        const below = defaults[key];
        if (value === null && below !== undefined) {
            // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a plain record of values
            delete result[key];
        } else {
            result[key] = isMap(below) && isMap(value) ? withDefaults(value, below) : value;
        }
    }
    return result;
}

/** `{a: {b: value}}` for the path `["a", "b"]`. */
export function at(path: readonly string[], value: Value): Values {
    const [first, ...rest] = path;
    if (first === undefined) {
        throw new Error("at: the path is empty");
    }
    return { [first]: rest.length === 0 ? value : at(rest, value) };
}

let checkedBinary: string | undefined;

/** $ML_API_HELM or the `helm` on PATH, checked once. */
export function helmBinary(): string {
    if (checkedBinary === undefined) {
        const binary = process.env.ML_API_HELM ?? "helm";
        const { error, status, stderr } = spawnSync(binary, ["version", "--short"], { encoding: "utf8" });
        if (error !== undefined || status !== 0) {
            throw new Error(
                `The chart's tests need Helm 3.20; "${binary}" does not run (${error?.message ?? stderr.trim()}). ` +
                    "Put helm on PATH, or its path into ML_API_HELM.",
            );
        }
        checkedBinary = binary;
    }
    return checkedBinary;
}

export function helm(args: readonly string[], stdin = ""): Run {
    const { error, status, stdout, stderr } = spawnSync(helmBinary(), args, {
        encoding: "utf8",
        input: stdin,
        maxBuffer: 256 * 1024 * 1024,
    });
    if (error !== undefined) {
        throw error;
    }
    return { status: status ?? 1, stdout, stderr };
}

export function template(values: Values, options: RenderOptions = {}): Run {
    return helm(templateArguments(options), JSON.stringify(values));
}

function templateArguments(options: RenderOptions): string[] {
    const { chart = chartFolder, release = "mf-demo", namespace = "mf-demo-dev", args = [] } = options;
    // A fixed version of Kubernetes: the default is whatever this build of Helm was made with.
    return ["template", release, chart, "-n", namespace, "--kube-version", "1.34.0", "-f", "-", ...args];
}

/** The manifests as text; a refusal is an error. */
export function render(values: Values, options: RenderOptions = {}): string {
    const { status, stdout, stderr } = template(values, options);
    if (status !== 0) {
        throw new Error(`helm template failed:\n${stderr}`);
    }
    return stdout;
}

/** What Helm says when it refuses the values; a render is an error. */
export function refusal(values: Values, options: RenderOptions = {}): string {
    const { status, stdout, stderr } = template(values, options);
    if (status === 0) {
        throw new Error(`expected a refusal, got manifests:\n${stdout.slice(0, 500)}`);
    }
    return stderr;
}

export function renderObjects(values: Values, options: RenderOptions = {}): KubernetesObject[] {
    return objectsIn(render(values, options));
}

export function objectsIn(manifests: string): KubernetesObject[] {
    // Kubernetes reads YAML 1.1, in which an unquoted on, no or y is a boolean; this schema has the numbers of 1.2, too.
    return loadAll(manifests, { schema: DUMP_SCHEMA }).filter(isObject);
}

function isObject(document: unknown): document is KubernetesObject {
    return typeof document === "object" && document !== null;
}

export function deploymentIn(objects: readonly KubernetesObject[]): Deployment {
    return only(objects, "Deployment") as Deployment;
}

/** The one container of a pod. */
export function containerIn(template: PodTemplate | undefined): Container {
    const [container, ...others] = template?.spec.containers ?? [];
    if (container === undefined || others.length > 0) {
        throw new Error(`expected one container, found ${others.length + (container === undefined ? 0 : 1)}`);
    }
    return container;
}

export function environmentOf(container: Container): Record<string, string> {
    return Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value]));
}

/** The one object of a kind, or of a kind and a name. */
export function only(objects: readonly KubernetesObject[], kind: string, name?: string): KubernetesObject {
    const found = objects.filter((one) => one.kind === kind && (name === undefined || one.metadata.name === name));
    if (found.length !== 1 || found[0] === undefined) {
        throw new Error(`expected one ${kind} ${name ?? ""}, found ${found.length}`);
    }
    return found[0];
}

/** The pod templates of whatever makes pods. */
export function podTemplatesIn(objects: readonly KubernetesObject[]): PodTemplate[] {
    return objects.flatMap(({ spec }) => (spec?.template === undefined ? [] : [spec.template]));
}

/** A copy of the chart that `change` may edit, gone afterwards. */
export function withChartCopy<T>(change: (folder: string) => void, use: (folder: string) => T): T {
    return inTemporaryFolder((folder) => {
        const copy = join(folder, "chart");
        cpSync(chartFolder, copy, { recursive: true });
        change(copy);
        return use(copy);
    });
}

export function inTemporaryFolder<T>(use: (folder: string) => T): T {
    const folder = mkdtempSync(join(tmpdir(), "ml-api-chart-"));
    try {
        return use(folder);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/** The name under which a batch knows one set of values: exactly as long as the chart's own, which it stands for in a render. */
const aliasOf = (index: number): string => `c${String(index).padStart(5, "0")}`;
const chartName = "ml-api";

/** A chart that depends on this one once for each set of values, under another alias. */
function writeParent(folder: string, count: number, chart: string): void {
    const dependencies = Array.from({ length: count }, (_, index) => ({
        name: chartName,
        version: "*",
        alias: aliasOf(index),
    }));
    mkdirSync(join(folder, "charts"), { recursive: true });
    cpSync(chart, join(folder, "charts", chartName), { recursive: true });
    writeFileSync(
        join(folder, "Chart.yaml"),
        JSON.stringify({ apiVersion: "v2", name: "many", version: "0.0.0", dependencies }),
    );
}

const byAlias = (sets: readonly Values[]): Values =>
    Object.fromEntries(sets.map((set, index) => [aliasOf(index), set]));

/** The text without the hash of the pods' template, which knows under what name a batch renders it. */
export function withoutVersion(text: string): string {
    return text.replaceAll(/(ml-api\/pod-version"?: ?"?)v[0-9a-f]{15}/g, "$1of-this-template");
}

/** The manifests of each set, as a render of that set alone would print them, `withoutVersion`. */
function manifestsBySet(stdout: string, count: number): string[] {
    const manifests = Array.from({ length: count }, () => "");
    for (const document of stdout.split(/^---\n/m)) {
        const alias = /^# Source: many\/charts\/c(\d{5})\//.exec(document);
        if (alias !== null) {
            const index = Number(alias[1]);
            const own = document
                .replaceAll(`many/charts/${aliasOf(index)}/`, `${chartName}/`)
                .replaceAll(aliasOf(index), chartName);
            manifests[index] = `${manifests[index] ?? ""}---\n${withoutVersion(own)}`;
        }
    }
    return manifests;
}

/**
 * Renders many sets of values in one run of Helm: a parent chart depends on this chart once for each of them, under
 * another alias. Helm checks all of them against the schema before it renders any, so refusals come together, too.
 */
export function templateMany(
    sets: readonly Values[],
    chart = chartFolder,
): {
    run: Run;
    manifests: (index: number) => string;
    objects: (index: number) => KubernetesObject[];
} {
    return inTemporaryFolder((folder) => {
        writeParent(folder, sets.length, chart);
        const run = template(byAlias(sets), { chart: folder });
        const texts = manifestsBySet(run.stdout, sets.length);
        const manifests = (index: number): string => texts[index] ?? "";
        return { run, manifests, objects: (index) => objectsIn(manifests(index)) };
    });
}

/** The schema errors of one set out of `templateMany`. */
export function schemaErrorsOf(run: Run, index: number): string[] {
    const lines = run.stderr.split("\n");
    const start = lines.indexOf(`${aliasOf(index)}:`);
    if (start === -1) {
        return [];
    }
    const errors: string[] = [];
    for (const line of lines.slice(start + 1)) {
        if (!/^\s*- /.test(line)) {
            break;
        }
        errors.push(line.replace(/^- /, ""));
    }
    return errors;
}

/**
 * What Helm's own validator says about thousands of sets in one run: a chart without templates, whose values are the sets
 * and whose schema is the chart's for each of them. The defaults are laid under each set here (see `withDefaults`).
 */
export function schemaErrors(sets: readonly Values[]): string[][] {
    return inTemporaryFolder((folder) => {
        const schema = JSON.parse(readFileSync(join(chartFolder, "values.schema.json"), "utf8")) as Values;
        const id = "https://example.org/ml-api.json";
        writeFileSync(join(folder, "Chart.yaml"), 'apiVersion: v2\nname: many\nversion: "0.0.0"\n');
        writeFileSync(
            join(folder, "values.schema.json"),
            JSON.stringify({
                $schema: schema["$schema"] ?? null,
                definitions: { chart: { ...schema, $id: id } },
                properties: { global: {} },
                additionalProperties: { $ref: id },
            }),
        );
        const defaults = defaultValues();
        const run = template(byAlias(sets.map((set) => withDefaults(set, defaults))), { chart: folder });
        const errors = sets.map((): string[] => []);
        for (const line of run.stderr.split("\n")) {
            const place = /^\s*- at '\/c(\d{5})/.exec(line);
            if (place !== null) {
                errors[Number(place[1])]?.push(line.replace(`/${place[1] ?? ""}`, "").replace(/\/c\d{5}/, ""));
            }
        }
        if ((run.status !== 0) !== errors.some((found) => found.length > 0)) {
            throw new Error(`Helm says something else than which values are wrong:\n${run.stderr.slice(0, 2000)}`);
        }
        return errors;
    });
}

const chartSchema = JSON.parse(readFileSync(join(chartFolder, "values.schema.json"), "utf8")) as object;
const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(chartSchema);
const defaults = defaultValues();

/** The schema's verdict in this process, on the values as Helm would lay them over the defaults. */
export function errorsOf(values: Values): ErrorObject[] {
    return errorsOfWhole(withDefaults(values, defaults));
}

/** The same for values that have the defaults below them. */
export function errorsOfWhole(values: Values): ErrorObject[] {
    return validate(values) ? [] : [...(validate.errors ?? [])];
}

/** Schema errors in the words of Helm's validator. */
export function errorText(errors: readonly ErrorObject[]): string {
    return errors
        .map(({ instancePath, message = "", params }) => {
            const named = [params["additionalProperty"], params["missingProperty"]] as (string | undefined)[];
            return `at '${instancePath}': ${message} ${named.map((name) => (name === undefined ? "" : `'${name}'`)).join("")}`;
        })
        .join("\n");
}

/** What Helm makes of one set of values. A crash is every failure that no schema and no rule of the chart announced. */
export type Outcome =
    | { readonly kind: "rendered"; readonly manifests: string }
    | { readonly kind: "refused"; readonly by: "schema" | "rule"; readonly message: string }
    | { readonly kind: "crashed"; readonly message: string };

const crash =
    /nil pointer|executing "|can't evaluate|wrong type|interface conversion|error calling|runtime error|YAML parse error|index out of range|goroutine/;

/** One run of Helm for one set. */
export function outcome(values: Values): Outcome {
    return outcomeOf(template(values));
}

/** What a run of `helm template` came to, of any chart. */
export function outcomeOf({ status, stdout, stderr }: Run): Outcome {
    if (status === 0) {
        return { kind: "rendered", manifests: stdout };
    }
    if (crash.test(stderr)) {
        return { kind: "crashed", message: stderr };
    }
    const by = stderr.includes("values don't meet the specifications of the schema") ? "schema" : "rule";
    return { kind: "refused", by, message: stderr };
}

/** Large enough that Helm's start does not count, small enough that one crash does not repeat much. */
const batchSize = 100;

/**
 * What Helm makes of each of many sets, in few runs. A chart's `fail` ends a whole run, so in the copy that a batch
 * renders it prints what it would have failed with. A set that stops a batch for any other reason is tried alone, with the
 * chart as it is, so a batch never decides about a crash. The schema's verdict is the one of this process, which agrees with
 * Helm's (bad-values.test.ts).
 */
export async function outcomes(sets: readonly Values[]): Promise<Outcome[]> {
    const results: Outcome[] = [];
    const accepted: number[] = [];
    sets.forEach((set, index) => {
        const errors = errorsOf(set);
        if (errors.length === 0) {
            accepted.push(index);
        } else {
            results[index] = { kind: "refused", by: "schema", message: errorText(errors) };
        }
    });
    const pending: number[][] = [];
    for (let from = 0; from < accepted.length; from += batchSize) {
        pending.push(accepted.slice(from, from + batchSize));
    }
    let crashes = 0;
    const work = async (): Promise<void> => {
        for (let batch = pending.shift(); batch !== undefined; batch = pending.shift()) {
            const indexes = batch;
            const answer = await renderBatch(indexes.map((index) => sets[index] ?? {}));
            if (Array.isArray(answer)) {
                answer.forEach((one, place) => (results[indexes[place] ?? 0] = one));
                continue;
            }
            const stopped = indexes[answer.stopped] ?? 0;
            const alone = outcome(sets[stopped] ?? {});
            if (alone.kind === "rendered") {
                throw new Error(`a set renders alone and stops a batch:\n${answer.stderr.slice(0, 2000)}`);
            }
            results[stopped] = alone;
            crashes += alone.kind === "crashed" ? 1 : 0;
            if (crashes > 20) {
                throw new Error(`more than 20 of ${sets.length} sets crash, the last one so:\n${alone.message}`);
            }
            const rest = indexes.filter((index) => index !== stopped);
            const middle = Math.ceil(rest.length / 2);
            pending.push(...[rest.slice(0, middle), rest.slice(middle)].filter((half) => half.length > 0));
        }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, work));
    return results;
}

/** All outcomes, or the place of the set that stopped the batch. */
async function renderBatch(sets: readonly Values[]): Promise<Outcome[] | { stopped: number; stderr: string }> {
    const folder = mkdtempSync(join(tmpdir(), "ml-api-chart-"));
    try {
        writeParent(folder, sets.length, chartFolder);
        const templates = join(folder, "charts", chartName, "templates");
        for (const file of readdirSync(templates, { recursive: true, encoding: "utf8" })) {
            if (/[.](tpl|yaml)$/.test(file)) {
                const source = readFileSync(join(templates, file), "utf8");
                writeFileSync(
                    join(templates, file),
                    source.replace(/({{-?\s*)fail (?=[($])/g, '$1include "test.refusal" '),
                );
            }
        }
        writeFileSync(
            join(templates, "_refusal.tpl"),
            '{{ define "test.refusal" }}{{ printf "\\nrefusal: %s" (toJson .) }}{{ end }}',
        );
        const args = templateArguments({ chart: folder, args: ["--skip-schema-validation"] });
        const { status, stdout, stderr } = await helmAside(args, JSON.stringify(byAlias(sets)));
        if (status !== 0) {
            const stopped = /many\/charts\/c(\d{5})\//.exec(stderr)?.[1];
            if (stopped === undefined) {
                throw new Error(`a batch of ${sets.length} failed as a whole:\n${stderr.slice(0, 2000)}`);
            }
            return { stopped: Number(stopped), stderr };
        }
        return manifestsBySet(stdout, sets.length).map((manifests): Outcome => {
            const refusal = /^refusal: (".*")$/m.exec(manifests)?.[1];
            return refusal === undefined
                ? { kind: "rendered", manifests }
                : { kind: "refused", by: "rule", message: JSON.parse(refusal) as string };
        });
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/** Helm beside this process, so that as many run as there are cores. */
async function helmAside(args: readonly string[], stdin: string): Promise<Run> {
    // A batch needs memory for a second or two: collecting it less often saves a fifth of the time.
    const child = spawn(helmBinary(), args, { stdio: "pipe", env: { ...process.env, GOGC: "400" } });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdin.end(stdin);
    const status = await new Promise<number>((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code) => {
            resolve(code ?? 1);
        });
    });
    return { status, stdout, stderr };
}
