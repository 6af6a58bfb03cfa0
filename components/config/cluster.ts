import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { didYouMean } from "./nearest";
import { InputError } from "./problem";

/** The cluster that `kubectl` and the Kubernetes provider would talk to, as far as the kubeconfig tells. */
export interface Cluster {
    readonly context: string;
    /** Address of the API server. */
    readonly server: string;
    /** The command that gives a person access to it. */
    readonly access: string;
    /** The context was named by the stack or by the environment, instead of being whatever happened to be current. */
    readonly pinned: boolean;
}

interface Named<T> {
    readonly name?: string;
    readonly value: T;
}
interface User {
    readonly exec?: { readonly command?: string; readonly args?: readonly string[] };
    readonly [credential: string]: unknown;
}
interface Kubeconfig {
    readonly current: string | undefined;
    readonly contexts: readonly Named<{ readonly cluster?: string; readonly user?: string }>[];
    readonly clusters: readonly Named<{ readonly server?: string }>[];
    readonly users: readonly Named<User>[];
}

const CREDENTIALS = [
    "token",
    "tokenFile",
    "client-certificate",
    "client-certificate-data",
    "username",
    "exec",
    "auth-provider",
];

/**
 * Finds the cluster of a stack.
 *
 * @param wanted the stack's `kubernetes:context`; without it `ML_API_CONTEXT` (set by `ml-api env`), else the current one
 * @returns undefined when there is no kubeconfig: a preview needs none
 * @throws InputError when the context does not exist, or its user has no credential: the Kubernetes provider would then
 *   ask for a user name at a prompt that nobody sees, and wait for ever
 */
export function findCluster(wanted: string | undefined, env: NodeJS.ProcessEnv = process.env): Cluster | undefined {
    const files = kubeconfigFiles(env);
    if (files.length === 0) return undefined;
    const config = readKubeconfig(files);
    const named = wanted ?? nonEmpty(env["ML_API_CONTEXT"]);
    const context = named ?? config.current;
    const shown = files.join(path.delimiter);
    if (context === undefined) return undefined;
    const fail = (what: string, fix: string): never => {
        throw new InputError("cluster", [{ where: shown, what, fix }]);
    };

    const entry = config.contexts.find(({ name }) => name === context)?.value;
    const names = config.contexts.flatMap(({ name }) => (name === undefined ? [] : [name]));
    if (entry === undefined)
        return fail(`there is no context "${context}"${didYouMean(context, names)}`, "kubectl config get-contexts");
    const user = config.users.find(({ name }) => name === entry.user)?.value;
    if (user === undefined || !CREDENTIALS.some((key) => user[key] !== undefined && user[key] !== "")) {
        fail(
            `the user "${entry.user ?? ""}" of context "${context}" has no credential (token, client certificate or exec)`,
            "log in to the cluster again, so that the kubeconfig gets one",
        );
    }
    const server = config.clusters.find(({ name }) => name === entry.cluster)?.value.server ?? "";
    const access = env["ML_API_CONTEXT"] === context ? 'eval "$(npx --no ml-api env)"' : accessCommand(context, user);
    return { context, server, access, pinned: named !== undefined };
}

/** The cloud's own log-in command where the kubeconfig shows which cloud it is. */
function accessCommand(context: string, user: User | undefined): string {
    const args = user?.exec?.args ?? [];
    const option = (name: string) => args[args.indexOf(name) + 1] ?? "";
    if (user?.exec?.command === "aws" && args.includes("--cluster-name")) {
        const region = args.includes("--region") ? ` --region ${option("--region")}` : "";
        return `aws eks update-kubeconfig --name ${option("--cluster-name")}${region} --alias ${context}`;
    }
    const gke = /^gke_([^_]+)_([^_]+)_(.+)$/.exec(context);
    if (gke !== null)
        return `gcloud container clusters get-credentials ${gke[3]} --location ${gke[2]} --project ${gke[1]}`;
    return `kubectl config use-context ${context}`;
}

function kubeconfigFiles(env: NodeJS.ProcessEnv): string[] {
    const named = nonEmpty(env["KUBECONFIG"]);
    const files =
        named === undefined
            ? [path.join(os.homedir(), ".kube", "config")]
            : named.split(path.delimiter).filter((file) => file !== "");
    return files.filter((file) => fs.existsSync(file));
}

/** Reads and merges kubeconfig files as kubectl does: the first mention of a name wins. */
function readKubeconfig(files: readonly string[]): Kubeconfig {
    const documents = files.map((file) => {
        try {
            return (parse(fs.readFileSync(file, "utf8")) ?? {}) as Record<string, unknown>;
        } catch {
            throw new InputError("cluster", [{ where: file, what: "this kubeconfig cannot be read as YAML" }]);
        }
    });
    const list = <T>(plural: string, singular: string): Named<T>[] =>
        documents.flatMap((document) => {
            const items = Array.isArray(document[plural]) ? (document[plural] as Record<string, unknown>[]) : [];
            return items.map((item) => ({ name: item["name"] as string, value: (item[singular] ?? {}) as T }));
        });
    const current = documents
        .map((document) => document["current-context"])
        .find((name) => typeof name === "string" && name !== "");
    return {
        current: current as string | undefined,
        contexts: list("contexts", "context"),
        clusters: list("clusters", "cluster"),
        users: list("users", "user"),
    };
}

function nonEmpty(text: string | undefined): string | undefined {
    return text === "" ? undefined : text;
}
