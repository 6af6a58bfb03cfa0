import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { detailedDiff } from "../rpc/detailed-diff";
import type { EngineLog } from "../rpc/engine";
import { InitFailure, Unimplemented } from "../rpc/failure";
import type { Properties, Value } from "../rpc/properties";
import {
    containsUnknown,
    isAsset,
    isObject,
    isSecret,
    isUnknown,
    keepSecrets,
    reveal,
    secret,
    textOf,
    unknown,
} from "../rpc/properties";
import type { CheckInput, Diff, Existing, Failure } from "../rpc/provider";
import type { ChartMetadata } from "./chart";
import { loadChart } from "./chart";
import type { Helm } from "./helm";
import { HelmError } from "./helm";
import type { Target } from "./kubeconfig";
import { readYaml, resourceNames } from "./manifest";

export const releaseType = "kubernetes:helm.sh/v3:Release";

const defaultTimeoutSeconds = 300;

/** Every argument of a Release that has an empty value of its own. The published provider records that value. */
const emptyArguments: Properties = {
    allowNullValues: false,
    atomic: false,
    chart: "",
    cleanupOnFail: false,
    createNamespace: false,
    dependencyUpdate: false,
    description: "",
    devel: false,
    disableCRDHooks: false,
    disableOpenapiValidation: false,
    disableWebhooks: false,
    forceUpdate: false,
    keyring: "",
    lint: false,
    name: "",
    namespace: "",
    postrender: "",
    recreatePods: false,
    renderSubchartNotes: false,
    replace: false,
    resetValues: false,
    reuseValues: false,
    skipAwait: false,
    skipCrds: false,
    timeout: 0,
    verify: false,
    version: "",
    waitForJobs: false,
};
const emptyRepository: Properties = { repo: "", caFile: "", certFile: "", keyFile: "", password: "", username: "" };

function timeoutOf(release: Properties): string {
    const seconds =
        typeof release.timeout === "number" && release.timeout > 0 ? release.timeout : defaultTimeoutSeconds;
    return `${String(seconds)}s`;
}

/** Maps merge, everything else is replaced; a null stays, so that Helm deletes the chart's default. */
export function mergeValues(base: Value, over: Value): Value {
    if (isSecret(base) || isSecret(over)) {
        const merged = mergeValues(isSecret(base) ? base.value : base, isSecret(over) ? over.value : over);
        return isObject(base) && isObject(over) ? secret(merged) : over;
    }
    if (!isObject(base) || !isObject(over)) return over;
    const merged = { ...base };
    for (const [key, value] of Object.entries(over)) {
        const present = merged[key];
        merged[key] = present === undefined ? value : mergeValues(present, value);
    }
    return merged;
}

function readAsset(asset: Value): Properties {
    const plain = reveal(asset);
    if (!isAsset(plain)) throw new Error("unsupported type for 'valueYamlFiles' arg: expected an asset");
    const { path, text: literal } = plain;
    if (plain.uri !== undefined) {
        throw new Unimplemented("the stand-in for the Kubernetes provider reads no remote valueYamlFiles");
    }
    const source = typeof path === "string" ? readFileSync(path, "utf8") : textOf(literal);
    const [values] = readYaml(source);
    if (values === null || values === undefined) return {};
    if (!isObject(values)) throw new Error(`${textOf(path) || "a values file"} holds no map`);
    return values;
}

/** `valueYamlFiles` in their order, and `values` over them. */
function mergedValues(news: Properties): Value {
    const files = isUnknown(news.valueYamlFiles) ? null : reveal(news.valueYamlFiles ?? null);
    const base = (Array.isArray(files) ? files : []).map(readAsset).reduce<Value>(mergeValues, {});
    return mergeValues(base, news.values ?? {});
}

function wrongType(key: string, value: Value, empty: Value): string | undefined {
    if (isUnknown(value) || value === null) return undefined;
    const plain = reveal(value);
    if (typeof plain === typeof empty) return undefined;
    return `decoding failure: '${key}' expected type '${typeof empty}', got '${typeof plain}'`;
}

interface HistoryEntry {
    revision: number;
    updated: string;
}

/** A release in Helm's own JSON, as `install`, `upgrade` and `status` print it. */
interface HelmRelease {
    info: { status: string };
    config?: Properties;
    manifest?: string;
    version: number;
}

/** Where a release is recorded by Helm, and what the record says of it. */
interface Found {
    config: Properties;
    manifest: string;
    revision: number;
    status: string;
    chart: ChartMetadata;
}

/** `kubernetes:helm.sh/v3:Release`, done by the `helm` program. */
export class Releases {
    constructor(
        private readonly helm: Helm,
        private readonly target: Target | undefined,
        private readonly defaultNamespace: string,
        private readonly unreachable: () => Promise<string | undefined>,
        private readonly log: EngineLog,
    ) {}

    async check({ urn, name, olds, news }: CheckInput): Promise<{ inputs: Properties; failures: Failure[] }> {
        const inputs: Properties = {};
        for (const [key, empty] of Object.entries(emptyArguments)) {
            const given = news[key] ?? empty;
            const problem = wrongType(key, given, empty);
            if (problem !== undefined) throw new Error(problem);
            inputs[key] = given;
        }
        if (news.maxHistory !== undefined) inputs.maxHistory = news.maxHistory;
        if (news.repositoryOpts !== undefined && isObject(news.repositoryOpts)) {
            inputs.repositoryOpts = { ...emptyRepository, ...news.repositoryOpts };
        }
        if (inputs.name === "") inputs.name = textOf(reveal(olds).name) || `${name}-${randomBytes(4).toString("hex")}`;
        if (inputs.namespace === "") inputs.namespace = this.defaultNamespace;
        if (news.timeout === undefined && inputs.skipAwait !== true) inputs.timeout = defaultTimeoutSeconds;
        inputs.values = mergedValues(news);
        if (inputs.allowNullValues === true) {
            this.log.warn(urn, "`allowNullValues` has no effect: nulls in values are always kept");
        }
        // What is not known yet may be part of the chart's place.
        if (containsUnknown(news)) return { inputs, failures: [] };
        try {
            return { inputs: { ...inputs, version: (await this.chartOf(reveal(inputs))).version }, failures: [] };
        } catch (error) {
            if (!(error instanceof HelmError)) throw error;
            const reason = `${error.message}; check the chart name and repository configuration.`;
            return { inputs, failures: [{ property: "chart", reason }] };
        }
    }

    diff({ state, news, ignoreChanges }: Existing & { news: Properties; ignoreChanges: string[] }): Diff {
        const recorded = reveal(state);
        const wanted = reveal(news);
        if (ignoreChanges.includes("version") && recorded.version !== undefined) wanted.version = recorded.version;
        const previous = isObject(recorded.__inputs) ? recorded.__inputs : {};
        const changes = detailedDiff(wanted, recorded, previous, ([first, ...rest]) => {
            return rest.length === 0 && (first === "name" || first === "namespace");
        });
        return { changes };
    }

    async create(input: {
        urn: string;
        news: Properties;
        preview: boolean;
    }): Promise<{ id: string; state: Properties }> {
        const { urn, news, preview } = input;
        if (preview) return { id: "", state: this.stateOf(news, undefined) };
        const reason = await this.unreachable();
        if (reason !== undefined) throw new Error(`can't create Helm Release with unreachable cluster: ${reason}`);
        const release = reveal(news);
        const id = this.idOf(release);
        const chart = await this.chartOf(release);
        if (chart.type !== "" && chart.type !== "application")
            throw new Error(`${chart.type} charts are not installable`);

        const started = Date.now();
        try {
            const installed = await this.operate("install", release, this.installFlags(release));
            return { id, state: this.stateOf(news, this.found(installed, chart)) };
        } catch (error) {
            const revision = await this.revisionSince(release, started);
            if (!(error instanceof Error) || revision === undefined) throw error;
            this.log.warn(
                urn,
                `Helm release "${textOf(release.name)}" was created but has a failed status. Look at it with the \`helm\` ` +
                    `command, correct the cause, and try again. Reason: ${error.message}`,
            );
            throw new InitFailure(
                `Helm release "${id}" was created, but failed to initialize completely. Use Helm CLI to investigate: ` +
                    this.notAvailable(id, error),
                id,
                this.stateOf(news, await this.find(release, revision, chart)),
            );
        }
    }

    async update(input: Existing & { news: Properties; preview: boolean }): Promise<Properties> {
        const { news, preview, state } = input;
        if (preview) return this.stateOf(news, undefined);
        const reason = await this.unreachable();
        if (reason !== undefined) throw new Error(`can't update Helm Release with unreachable cluster: ${reason}`);
        const release: Properties = { ...reveal(news), namespace: reveal(state).namespace ?? "" };
        const id = this.idOf(release);
        const chart = await this.chartOf(release);
        if (release.lint === true) await this.lint(release);

        const started = Date.now();
        try {
            return this.stateOf(
                news,
                this.found(await this.operate("upgrade", release, this.upgradeFlags(release)), chart),
            );
        } catch (error) {
            const revision = await this.revisionSince(release, started);
            // Helm refused before it did anything: what is recorded stays true.
            if (!(error instanceof Error) || revision === undefined) throw error;
            throw new InitFailure(
                `Helm release "${id}" failed to initialize completely. Use Helm CLI to investigate: ` +
                    this.notAvailable(id, error),
                id,
                this.stateOf(news, await this.find(release, revision, chart)),
            );
        }
    }

    async read(input: Existing): Promise<{ id: string; state: Properties; inputs: Properties } | undefined> {
        const recorded = reveal(input.state);
        const imported = Object.keys(recorded).length === 0;
        const [importedName = "", importedNamespace = this.defaultNamespace] = input.id.split("/").reverse();
        const release: Properties = imported ? { name: importedName, namespace: importedNamespace } : recorded;
        let found: Found;
        try {
            found = await this.find(release);
        } catch (error) {
            if (error instanceof HelmError && error.message.includes("release: not found")) return undefined;
            throw error;
        }
        if (imported) {
            const inputs: Properties = {
                ...emptyArguments,
                ...release,
                chart: found.chart.name,
                version: found.chart.version,
                timeout: defaultTimeoutSeconds,
                values: found.config,
            };
            return { id: input.id, state: this.stateOf(inputs, found), inputs };
        }
        const { __inputs: kept, ...rest } = input.state;
        const inputs = isSecret(kept) && isObject(kept.value) ? kept.value : {};
        // The record starts from the last state, not from the inputs: a value that somebody took back shows as a change.
        const state = { ...this.stateOf(rest, found), __inputs: secret(inputs) };
        return { id: input.id, state: keepSecrets(state, inputs), inputs };
    }

    async delete(input: Existing): Promise<void> {
        const reason = await this.unreachable();
        if (reason !== undefined) {
            throw new Error(`can't delete Helm Release with unreachable cluster. Reason: ${JSON.stringify(reason)}`);
        }
        const release = reveal(input.state);
        const wait = release.atomic === true || release.skipAwait !== true;
        const output = await this.helm.run({
            args: [
                ...["uninstall", textOf(release.name), "--namespace", textOf(release.namespace)],
                ...(wait ? ["--wait", "--timeout", timeoutOf(release)] : []),
            ],
            ...this.cluster(),
        });
        // Helm speaks of objects that it was told to keep.
        const kept = output.split("\n").filter((line) => line !== "" && !/^release ".*" uninstalled$/.test(line));
        if (kept.length > 0)
            this.log.warn(input.urn, `Helm uninstall returned information: ${JSON.stringify(kept.join("\n"))}`);
    }

    private cluster(): { target?: Target } {
        return this.target === undefined ? {} : { target: this.target };
    }

    private idOf(release: Properties): string {
        return `${textOf(release.namespace)}/${textOf(release.name)}`;
    }

    private valuesOf(release: Properties): Properties {
        return isObject(release.values) ? release.values : {};
    }

    private notAvailable(id: string, error: Error): string {
        return `failed to become available within allocated timeout. Error: Helm Release ${id}: ${error.message}`;
    }

    private chartFlags(release: Properties): string[] {
        const repository = isObject(release.repositoryOpts) ? release.repositoryOpts : {};
        if (textOf(repository.password) !== "") {
            throw new Unimplemented(
                "the stand-in for the Kubernetes provider passes no repository password: its helm would show it to every " +
                    "user of this machine. Log in with helm, use a local chart, or use the published plugin",
            );
        }
        const flags: [string, Value | undefined][] = [
            ["--repo", repository.repo],
            ["--ca-file", repository.caFile],
            ["--cert-file", repository.certFile],
            ["--key-file", repository.keyFile],
            ["--username", repository.username],
            ["--version", release.version],
            ["--keyring", release.verify === true ? release.keyring : ""],
        ];
        const given = flags.flatMap(([flag, value]) => (textOf(value) === "" ? [] : [flag, textOf(value)]));
        return [
            ...given,
            ...(release.devel === true ? ["--devel"] : []),
            ...(release.verify === true ? ["--verify"] : []),
        ];
    }

    private commonFlags(release: Properties): string[] {
        const switches: [string, boolean][] = [
            ["--atomic", release.atomic === true],
            ["--wait", release.skipAwait !== true],
            ["--wait-for-jobs", release.skipAwait !== true && release.waitForJobs === true],
            ["--dependency-update", release.dependencyUpdate === true],
            ["--render-subchart-notes", release.renderSubchartNotes === true],
        ];
        const texts: [string, string][] = [
            ["--description", textOf(release.description)],
            ["--post-renderer", textOf(release.postrender)],
        ];
        return [
            ...["--namespace", textOf(release.namespace), "--timeout", timeoutOf(release), "--values", "-"],
            ...this.chartFlags(release),
            ...switches.filter(([, on]) => on).map(([flag]) => flag),
            ...texts.flatMap(([flag, value]) => (value === "" ? [] : [flag, value])),
        ];
    }

    private installFlags(release: Properties): string[] {
        const switches: [string, boolean][] = [
            ["--no-hooks", release.disableWebhooks === true],
            ["--skip-crds", release.skipCrds === true],
            ["--disable-openapi-validation", release.disableOpenapiValidation === true],
            ["--replace", release.replace === true],
            ["--create-namespace", release.createNamespace === true],
        ];
        return [...this.commonFlags(release), ...switches.filter(([, on]) => on).map(([flag]) => flag)];
    }

    private upgradeFlags(release: Properties): string[] {
        const switches: [string, boolean][] = [
            // Not `disableWebhooks`: the published provider reads the other one here.
            ["--no-hooks", release.disableCRDHooks === true],
            ["--force", release.forceUpdate === true],
            ["--recreate-pods", release.recreatePods === true],
            ["--reset-values", release.resetValues === true],
            ["--reuse-values", release.reuseValues === true],
            ["--cleanup-on-fail", release.cleanupOnFail === true],
        ];
        const maxHistory = typeof release.maxHistory === "number" ? release.maxHistory : 0;
        return [
            ...this.commonFlags(release),
            ...["--history-max", String(maxHistory)],
            ...switches.filter(([, on]) => on).map(([flag]) => flag),
        ];
    }

    private async lint(release: Properties): Promise<void> {
        try {
            await this.helm.run({
                args: ["lint", textOf(release.chart), "--quiet", "--values", "-"],
                values: this.valuesOf(release),
            });
        } catch (error) {
            throw new Error(`malformed chart or values: ${(error as Error).message}`, { cause: error });
        }
    }

    private chartOf(release: Properties): Promise<ChartMetadata> {
        return loadChart(this.helm, textOf(release.chart), this.chartFlags(release), release.dependencyUpdate === true);
    }

    private async history(release: Properties): Promise<HistoryEntry[]> {
        const args = ["history", textOf(release.name), "--namespace", textOf(release.namespace), "--max", "256"];
        return (await this.helm.json({ args, ...this.cluster() })) as unknown as HistoryEntry[];
    }

    /** The revision that an operation made which began at `started`; undefined when it made none, or took it back. */
    private async revisionSince(release: Properties, started: number): Promise<number | undefined> {
        try {
            const entries = await this.history(release);
            return entries.filter(({ updated }) => Date.parse(updated) >= started).at(0)?.revision;
        } catch {
            return undefined;
        }
    }

    private async operate(verb: "install" | "upgrade", release: Properties, flags: string[]): Promise<HelmRelease> {
        const printed = await this.helm.json({
            args: [verb, textOf(release.name), textOf(release.chart), ...flags],
            values: this.valuesOf(release),
            cancellable: true,
            ...this.cluster(),
        });
        return printed as unknown as HelmRelease;
    }

    private found({ config = {}, manifest = "", version, info }: HelmRelease, chart: ChartMetadata): Found {
        return { config, manifest, revision: version, status: info.status, chart };
    }

    /** A release as Helm has recorded it: its newest revision, or the given one. */
    private async find(release: Properties, revision?: number, known?: ChartMetadata): Promise<Found> {
        const place = [textOf(release.name), "--namespace", textOf(release.namespace)];
        const which = revision === undefined ? [] : ["--revision", String(revision)];
        const ask = (args: string[]): Promise<Value> => this.helm.json({ args, ...this.cluster() });
        const status = (await ask(["status", ...place, ...which])) as unknown as HelmRelease;
        if (known !== undefined) return this.found(status, known);
        const { chart, version, appVersion } = (await ask(["get", "metadata", ...place, ...which])) as Record<
            "chart" | "version" | "appVersion",
            string
        >;
        return this.found(status, { name: chart, version, appVersion, type: "" });
    }

    /** The record of a release. Without a finding, as in previews, its outputs are unknown. */
    private stateOf(inputs: Properties, found: Found | undefined): Properties {
        const outputs: Properties =
            found === undefined
                ? { resourceNames: unknown, status: unknown }
                : {
                      values: mergeValues(reveal(inputs.values ?? {}), found.config),
                      version: found.chart.version,
                      resourceNames: resourceNames(found.manifest),
                      status: {
                          appVersion: found.chart.appVersion,
                          chart: found.chart.name,
                          name: inputs.name ?? "",
                          namespace: inputs.namespace ?? "",
                          revision: found.revision,
                          status: found.status,
                          version: found.chart.version,
                      },
                  };
        return { ...keepSecrets({ ...inputs, ...outputs }, inputs), __inputs: secret(inputs) };
    }
}
