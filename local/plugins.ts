import {
    copyFileSync,
    existsSync,
    linkSync,
    mkdirSync,
    readdirSync,
    readlinkSync,
    realpathSync,
    rmSync,
    statSync,
    symlinkSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { isRecord, privateFolder, readJson, writePrivate } from "./files";
import { checkoutRoot, type Variables } from "./paths";
import { askPluginVersion, type PluginKind } from "./plugin-version";
import { lastLines, run as runProgram, type Run } from "./run";
import { onPath, type Tool } from "./tools";
import { originsOfThisRun, type Origins } from "./tools/origins";
import { fits, readableRange } from "./tools/version";

/** The plugins the program needs, with the versions of the SDKs in package.json. */
export const pluginPins = {
    "pulumi-language-nodejs": { kind: "language", version: "3.259.0", accepts: ">=3.259.0 <4.0.0-0" },
    "pulumi-resource-kubernetes": { kind: "resource", version: "4.32.0", accepts: ">=4.32.0 <5.0.0-0" },
    "pulumi-resource-random": { kind: "resource", version: "4.21.1", accepts: ">=4.21.1 <5.0.0-0" },
} as const satisfies Readonly<Record<string, { kind: PluginKind; version: string; accepts: string }>>;
export type PluginName = keyof typeof pluginPins;

export interface PluginChoice {
    /** `published`: the real ones. `stand-in`: those of local/plugins. */
    readonly kind: "published" | "stand-in";
    /** One line for people: which, and why. */
    readonly line: string;
    /** Folders to put first on PATH. */
    readonly path: readonly string[];
    readonly variables: Readonly<Record<string, string>>;
}

export interface PluginOptions {
    readonly pulumi: Tool;
    readonly helm: Tool;
    readonly stateDir: string;
    readonly cacheDir: string;
    readonly checkout?: string;
    readonly variables?: Variables;
    readonly log?: (line: string) => void;
    readonly signal?: AbortSignal | undefined;
    readonly origins?: Origins;
    readonly run?: Run;
    readonly askVersion?: typeof askPluginVersion;
}

type Settings = Required<Omit<PluginOptions, "signal">> & { readonly signal: AbortSignal | undefined };

/** Milliseconds: some plugins are large and start slowly. */
const versionLimit = 15_000;
const installLimit = 5 * 60_000;

/** Where `pulumi` itself looks for plugins; the first that answers is enough. */
const pluginOrigins = ["https://api.github.com", "https://get.pulumi.com"] as const;

/**
 * Decides where the Pulumi plugins come from and prints it: on PATH, else what `pulumi` can download, else the
 * stand-ins. All three come from one side. The choice holds until `make down`: a stack written by one side is not
 * handed to the other by chance. ML_API_PLUGINS=published or =stand-in forces one.
 */
export async function choosePlugins(options: PluginOptions): Promise<PluginChoice> {
    const settings: Settings = {
        checkout: checkoutRoot,
        variables: process.env,
        log: (line) => {
            process.stdout.write(`${line}\n`);
        },
        origins: originsOfThisRun,
        run: runProgram,
        askVersion: askPluginVersion,
        signal: undefined,
        ...options,
    };
    const wish = wishOf(settings.variables);
    const kept = rememberedPlugins(settings);
    const choice =
        kept !== undefined && (wish === undefined || wish === kept.kind) ? kept : await decide(wish, settings);
    writePrivate(
        choiceFile(settings.stateDir),
        JSON.stringify({ kind: choice.kind, line: choice.line, ambient: isAmbient(choice) }),
    );
    settings.log(choice.line);
    return choice;
}

/** The choice made before for this state, when it still holds; asks nobody. */
export function rememberedPlugins(
    options: Pick<PluginOptions, "pulumi" | "helm" | "stateDir" | "checkout">,
): PluginChoice | undefined {
    const found = readJson(choiceFile(options.stateDir));
    if (!isRecord(found) || typeof found["line"] !== "string") return undefined;
    const { kind, line } = found;
    if (kind === "published") return published(line, found["ambient"] === true);
    if (kind !== "stand-in" || !hasStandIns(options.checkout ?? checkoutRoot)) return undefined;
    return standIns(line, options);
}

/**
 * Folder for PULUMI_HOME. Its plugins are the stand-ins, or those that `pulumi` downloaded: they lie in the cache, so that
 * `make down` does not cost a download.
 */
export function pulumiHome(stateDir: string, cacheDir: string, kind: PluginChoice["kind"] = "published"): string {
    const home = privateFolder(join(stateDir, "pulumi-home"));
    const folder = kind === "stand-in" ? join(stateDir, placed, "plugins") : join(cacheDir, "pulumi-plugins");
    mkdirSync(folder, { recursive: true });
    link(folder, join(home, "plugins"));
    return home;
}

async function decide(wish: PluginChoice["kind"] | undefined, settings: Settings): Promise<PluginChoice> {
    const found = wish === "stand-in" ? "asked for by ML_API_PLUGINS" : await findPublished(settings);
    if (typeof found !== "string") return found;
    if (wish === "published") {
        throw new Error(
            `ML_API_PLUGINS asks for the published Pulumi plugins, which cannot be had: ${found}.\nUnset it to use the stand-ins of local/plugins, or install pulumi ${pluginPins["pulumi-language-nodejs"].version} as published.`,
        );
    }
    if (!hasStandIns(settings.checkout)) {
        throw new Error(
            `The published Pulumi plugins cannot be had (${found}), and the stand-ins are missing from ${standInFolder(settings.checkout)}. Is the checkout whole?`,
        );
    }
    const why = wish === "stand-in" ? found : `the published ones cannot be had: ${found}`;
    return standIns(`plugins  stand-ins of local/plugins (${why})`, settings);
}

/** The published plugins, or why they cannot be used. */
async function findPublished(settings: Settings): Promise<PluginChoice | string> {
    const language = await languageHost(settings);
    if (language !== undefined) return language;
    const onPathProblems = await Promise.all(resourcePlugins().map((name) => onPathProblem(name, settings)));
    if (onPathProblems.every((problem) => problem === undefined))
        return published("plugins  published ones, on PATH", true);
    const refused = await downloadPlugins(settings);
    if (refused !== undefined) return refused;
    // What is on PATH but does not fit would win over what was downloaded.
    return published("plugins  published ones, downloaded by pulumi", false);
}

/** The language host is released with `pulumi` and lies beside it; alone it cannot be downloaded. */
async function languageHost(settings: Settings): Promise<string | undefined> {
    const name: PluginName = "pulumi-language-nodejs";
    const beside = join(dirname(realpathSync(settings.pulumi.path)), name);
    if (existsSync(beside) && !isStandIn(beside)) return undefined;
    const problem = await onPathProblem(name, settings);
    if (problem === undefined) return undefined;
    return `${problem}, nor beside this pulumi (${settings.pulumi.source === "path" ? settings.pulumi.path : "built from source, it comes alone"})`;
}

async function onPathProblem(name: PluginName, settings: Settings): Promise<string | undefined> {
    const { kind, accepts } = pluginPins[name];
    const program = onPath(name, settings.variables, [standInFolder(settings.checkout)]);
    if (program === undefined) return `${name} is not on PATH`;
    // A shell may have been prepared for another checkout.
    if (isStandIn(program)) return `${program} is a stand-in, too`;
    const version = await settings.askVersion(program, kind, settings.variables, versionLimit);
    if (version === undefined) return `${program} does not tell its version`;
    return fits(version, accepts) ? undefined : `${program} is ${version}, not ${readableRange(accepts)}`;
}

/** Lets `pulumi` fetch what is not in its plugin folder yet; returns why it could not. */
async function downloadPlugins(settings: Settings): Promise<string | undefined> {
    const home = pulumiHome(settings.stateDir, settings.cacheDir);
    const have = existsSync(join(home, "plugins")) ? readdirSync(join(home, "plugins")) : [];
    const missing = resourcePlugins().filter(
        (name) => !have.includes(`${name.replace("pulumi-", "")}-v${pluginPins[name].version}`),
    );
    if (missing.length === 0) return undefined;
    const problems = await Promise.all(pluginOrigins.map((origin) => settings.origins.problem(origin)));
    if (problems.every((problem) => problem !== undefined)) return problems.join(", ");
    for (const name of missing) {
        const args = ["plugin", "install", "resource", name.replace("pulumi-resource-", ""), pluginPins[name].version];
        const result = await settings.run(settings.pulumi.path, args, {
            variables: { ...settings.variables, PULUMI_HOME: home, PULUMI_SKIP_UPDATE_CHECK: "true" },
            timeLimit: installLimit,
            signal: settings.signal,
        });
        if (result.failure !== undefined)
            return `"pulumi ${args.join(" ")}" ${result.failure}: ${lastLines(result.stderr, 1)}`;
    }
    return undefined;
}

function published(line: string, ambient: boolean): PluginChoice {
    return { kind: "published", line, path: [], variables: ambient ? {} : { PULUMI_IGNORE_AMBIENT_PLUGINS: "true" } };
}

function isAmbient(choice: PluginChoice): boolean {
    return choice.kind === "published" && !("PULUMI_IGNORE_AMBIENT_PLUGINS" in choice.variables);
}

/** Folder of a state where the stand-ins lie as published plugins would. */
const placed = "stand-ins";

function standIns(
    line: string,
    options: Pick<PluginOptions, "pulumi" | "helm" | "stateDir" | "checkout">,
): PluginChoice {
    return {
        kind: "stand-in",
        line,
        path: [placeStandIns(options)],
        variables: { PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true", ML_API_HELM: options.helm.path },
    };
}

/**
 * Puts the stand-ins where `pulumi` looks for its own: the providers into its plugin folder, the language host beside the
 * CLI. Found on PATH, each of them would cost a warning or two at every run.
 *
 * @returns the folder with the CLI, to put first on PATH
 */
function placeStandIns({
    pulumi,
    stateDir,
    checkout,
}: Pick<PluginOptions, "pulumi" | "stateDir" | "checkout">): string {
    const bin = join(stateDir, placed, "bin");
    const plugins = join(stateDir, placed, "plugins");
    for (const folder of [bin, plugins]) mkdirSync(folder, { recursive: true });
    for (const name of resourcePlugins()) {
        // A folder of its own: pulumi passes over one that is a link.
        const folder = join(plugins, `${name.replace("pulumi-", "")}-v${pluginPins[name].version}`);
        mkdirSync(folder, { recursive: true });
        link(join(standInFolder(checkout), name), join(folder, name));
    }
    link(join(standInFolder(checkout), "pulumi-language-nodejs"), join(bin, "pulumi-language-nodejs"));
    const cli = join(bin, "pulumi");
    if (pulumi.path === cli) return bin;
    // A symbolic link will not do: pulumi follows it before it looks around.
    if (!isSameFile(pulumi.path, cli)) {
        rmSync(cli, { force: true });
        try {
            linkSync(realpathSync(pulumi.path), cli);
        } catch {
            // Another file system.
            copyFileSync(pulumi.path, cli);
        }
    }
    return bin;
}

/** The same program: one file under two names, or a copy of it. */
function isSameFile(one: string, other: string): boolean {
    if (!existsSync(other)) return false;
    const [a, b] = [statSync(one), statSync(other)];
    return a.ino === b.ino || (a.size === b.size && a.mtimeMs <= b.mtimeMs);
}

function resourcePlugins(): readonly PluginName[] {
    return (Object.keys(pluginPins) as PluginName[]).filter((name) => pluginPins[name].kind === "resource");
}

function wishOf(variables: Variables): PluginChoice["kind"] | undefined {
    const wish = variables["ML_API_PLUGINS"];
    if (wish === undefined || wish === "") return undefined;
    if (wish === "published" || wish === "stand-in") return wish;
    throw new Error(`ML_API_PLUGINS is "${wish}"; it can be "published" or "stand-in", or unset.`);
}

export function standInFolder(checkout: string = checkoutRoot): string {
    return join(checkout, "local", "plugins", "bin");
}

function hasStandIns(checkout: string): boolean {
    return Object.keys(pluginPins).every((name) => existsSync(join(standInFolder(checkout), basename(name))));
}

function choiceFile(stateDir: string): string {
    return join(stateDir, "plugins.json");
}

/** Whether this program is one of local/plugins, of whichever checkout. */
function isStandIn(program: string): boolean {
    return dirname(realpathSync(program)).endsWith(join("local", "plugins", "bin"));
}

/** Makes `path` a symbolic link to `target`, whatever it was. */
function link(target: string, path: string): void {
    if (linkTarget(path) === target) return;
    rmSync(path, { recursive: true, force: true });
    symlinkSync(target, path);
}

function linkTarget(path: string): string | undefined {
    try {
        return readlinkSync(path);
    } catch {
        return undefined;
    }
}
