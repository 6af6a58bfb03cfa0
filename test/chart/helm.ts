/** The real `helm` as the tests of the chart use it. Nothing here needs a cluster. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse, parseAllDocuments, stringify } from "yaml";

export const chartFolder = resolve(__dirname, "../../chart");
export const environments = ["dev", "staging", "production"] as const;
export type Environment = (typeof environments)[number];

/** A tree of chart values. `null` is a value of its own: Helm reads it as "take the default away". */
export interface Values {
    [key: string]: Value;
}
export type Value = string | number | boolean | null | Value[] | Values;

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
}

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

/** As Helm merges two values files: maps key by key, everything else is replaced. */
export function merged(base: Values, over: Values): Values {
    const result: Values = { ...base };
    for (const [key, value] of Object.entries(over)) {
        const below = result[key];
        result[key] = isMap(below) && isMap(value) ? merged(below, value) : value;
    }
    return result;
}

export function isMap(value: Value | undefined): value is Values {
    return typeof value === "object" && value !== null && !Array.isArray(value);
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
    const { chart = chartFolder, release = "mf-demo", namespace = "mf-demo-dev" } = options;
    // A fixed version of Kubernetes: the default is whatever this build of Helm was made with.
    const args = ["template", release, chart, "-n", namespace, "--kube-version", "1.34.0", "-f", "-"];
    return helm(args, JSON.stringify(values));
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
    // Kubernetes reads YAML 1.1, in which an unquoted on, no or y is a boolean.
    return parseAllDocuments(manifests, { version: "1.1" })
        .map((document) => document.toJS() as KubernetesObject | null)
        .filter((object) => object !== null);
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

export function only(objects: readonly KubernetesObject[], kind: string): KubernetesObject {
    const found = objects.filter((object) => object.kind === kind);
    if (found.length !== 1 || found[0] === undefined) {
        throw new Error(`expected one ${kind}, found ${found.length}`);
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

/**
 * Renders many sets of values in one run of Helm: a parent chart depends on this chart once for each of them, under
 * another alias. Helm checks all of them against the schema before it renders any, so refusals come together, too.
 */
export function templateMany(sets: readonly Values[]): { run: Run; objects: (index: number) => KubernetesObject[] } {
    return inTemporaryFolder((folder) => {
        const alias = (index: number): string => `case${index}`;
        const dependencies = sets.map((_, index) => ({ name: "ml-api", version: "*", alias: alias(index) }));
        mkdirSync(join(folder, "charts"));
        cpSync(chartFolder, join(folder, "charts/ml-api"), { recursive: true });
        writeFileSync(
            join(folder, "Chart.yaml"),
            stringify(
                { apiVersion: "v2", name: "many", version: "0.0.0", dependencies },
                { aliasDuplicateObjects: false },
            ),
        );
        const run = template(Object.fromEntries(sets.map((set, index) => [alias(index), set])), { chart: folder });
        const documents = new Map<string, string[]>();
        for (const document of run.stdout.split(/^---$/m)) {
            const source = /^# Source: many\/charts\/(case\d+)\//m.exec(document)?.[1];
            if (source !== undefined) {
                documents.set(source, [...(documents.get(source) ?? []), document]);
            }
        }
        return { run, objects: (index) => objectsIn((documents.get(alias(index)) ?? []).join("---")) };
    });
}

/** The schema errors of one set out of `templateMany`. */
export function schemaErrorsOf(run: Run, index: number): string[] {
    const lines = run.stderr.split("\n");
    const start = lines.indexOf(`case${index}:`);
    if (start === -1) {
        return [];
    }
    const errors: string[] = [];
    for (const line of lines.slice(start + 1)) {
        if (!line.startsWith("- ")) {
            break;
        }
        errors.push(line.slice(2));
    }
    return errors;
}
