import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import type { ClusterInfo } from "./clusters/cluster";
import { rememberedCluster } from "./clusters/remembered";
import { privateFolder, writePrivate } from "./files";
import { cacheDir, checkoutRoot, stateDir, type Variables } from "./paths";
import { type PluginChoice, pulumiHome, rememberedPlugins } from "./plugins";
import { findTools, type Tool, type ToolName } from "./tools";

/** What a person types in a shell after `make up`. */
const shellTools = ["pulumi", "helm", "kubectl"] as const satisfies readonly ToolName[];

export interface EnvironmentOptions {
    readonly checkout?: string;
    readonly stateDir?: string;
    readonly cacheDir?: string;
    readonly variables?: Variables;
    /** Given by a caller who has just got them; otherwise what is there already is found. */
    readonly tools?: Partial<Record<ToolName, Tool>>;
    readonly plugins?: PluginChoice;
    /** By default the one that is up. */
    readonly cluster?: ClusterInfo;
}

/** Cleared unless set here: one would make Pulumi ignore the passphrase file, the others may be of an earlier choice of plugins. */
export const unsetVariables: readonly string[] = [
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION",
    "PULUMI_IGNORE_AMBIENT_PLUGINS",
    "ML_API_HELM",
];

/**
 * The variables with which `pulumi`, `helm` and `kubectl` work on this checkout's cluster and state. Changes no more
 * than it must: the passphrase and the folders are made when they are missing.
 */
export async function environment(options: EnvironmentOptions = {}): Promise<Record<string, string>> {
    const checkout = options.checkout ?? checkoutRoot;
    const variables = options.variables ?? process.env;
    const state = options.stateDir ?? stateDir(checkout, variables);
    const cache = options.cacheDir ?? cacheDir(variables);
    const tools = options.tools ?? (await findTools(shellTools, { variables, cache }));
    const { pulumi, helm } = tools;
    if (pulumi === undefined || helm === undefined) {
        throw new Error(
            "pulumi and helm are not there yet. Run `make up` once; it gets them, starts the cluster and deploys.",
        );
    }
    const plugins = options.plugins ?? rememberedPlugins({ pulumi, helm, stateDir: state, checkout });
    if (plugins === undefined) throw new Error("The Pulumi plugins are not chosen yet. Run `make up` once.");
    const cluster = options.cluster ?? rememberedCluster(state)?.info;

    const ownFolders = [
        join(checkout, "node_modules", ".bin"),
        ...plugins.path,
        ...Object.values(tools).flatMap(({ source, path }) => (source === "path" ? [] : [dirname(path)])),
    ];
    return {
        PATH: pathWith(ownFolders, variables["PATH"] ?? "", [cache, state]),
        ...(cluster === undefined ? {} : clusterVariables(cluster)),
        // kubectl keeps what it learns of a cluster; that ends with the cluster.
        KUBECACHEDIR: join(state, "kube-cache"),
        PULUMI_HOME: pulumiHome(state, cache, plugins.kind),
        PULUMI_BACKEND_URL: `file://${privateFolder(join(state, "pulumi"))}`,
        PULUMI_CONFIG_PASSPHRASE_FILE: passphraseFile(state),
        PULUMI_SKIP_UPDATE_CHECK: "true",
        PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER: "true",
        ...plugins.variables,
    };
}

/** The context is named only where no other cluster can be meant: a user's own has to be named by the stack. */
function clusterVariables({ kind, kubeconfig, context }: ClusterInfo): Record<string, string> {
    return { KUBECONFIG: kubeconfig, ...(kind === "current" ? {} : { ML_API_CONTEXT: context }) };
}

/** A copy of `base` in which `values` hold; for starting a program. */
export function withEnvironment(
    base: Variables,
    values: Readonly<Record<string, string>>,
): Record<string, string | undefined> {
    const cleared = Object.fromEntries(unsetVariables.map((name) => [name, undefined]));
    return { ...base, ...cleared, ...values };
}

/** Lines for `eval` in any POSIX shell. */
export function toShell(values: Readonly<Record<string, string>>): string {
    const unset = unsetVariables.filter((name) => !(name in values)).map((name) => `unset ${name}\n`);
    const set = Object.entries(values).map(([name, value]) => {
        if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new Error(`"${name}" cannot be the name of a variable.`);
        return `export ${name}=${quote(value)}\n`;
    });
    return [...unset, ...set].join("");
}

/** Single quotes keep every character but the single quote itself. */
export function quote(value: string): string {
    if (value.includes("\0")) throw new Error("A variable cannot hold a zero byte.");
    return `'${value.replaceAll("'", `'\\''`)}'`;
}

/** Own folders first, each once, without those an earlier call put there. */
function pathWith(first: readonly string[], path: string, own: readonly string[]): string {
    const rest = path
        .split(delimiter)
        .filter(
            (folder) =>
                folder !== "" &&
                !first.includes(folder) &&
                !own.some((one) => folder === one || folder.startsWith(`${one}/`)),
        );
    return [...new Set([...first, ...rest])].join(delimiter);
}

/** Made once per state: the secrets in it can only be read with it. */
function passphraseFile(state: string): string {
    const file = join(state, "passphrase");
    if (!existsSync(file)) writePrivate(file, randomBytes(32).toString("base64url"));
    return file;
}
