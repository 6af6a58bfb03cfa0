import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import type { Properties, Value } from "../rpc/properties";
import { isObject, objectsIn, textOf } from "../rpc/properties";
import { readYaml } from "./manifest";

interface Named {
    name: string;
    content: Properties;
}

interface Kubeconfig {
    clusters: Named[];
    users: Named[];
    contexts: Named[];
    currentContext: string;
}

/** The cluster, user and context that the provider works with. */
export interface Target {
    context: string;
    namespace: string;
    server: string;
    /** A kubeconfig with exactly this cluster, user and context; paths in it are absolute. */
    kubeconfig: Properties;
    /** Flags that lead `helm` to the same place, and the value of KUBECONFIG that goes with them. */
    helmFlags: string[];
    helmKubeconfig?: string;
}

export interface Settings {
    /** A path, or the content of a kubeconfig. Empty: KUBECONFIG, else ~/.kube/config. */
    kubeconfig: string;
    context: string;
    cluster: string;
    namespace: string;
}

const pathFields = ["certificate-authority", "client-certificate", "client-key", "tokenFile"];

function named(list: Value | undefined, key: string, directory: string): Named[] {
    return objectsIn(list).map((entry) => {
        const content = isObject(entry[key]) ? { ...entry[key] } : {};
        for (const field of pathFields) {
            const path = textOf(content[field]);
            if (path !== "" && !isAbsolute(path)) content[field] = join(directory, path);
        }
        return { name: textOf(entry.name), content };
    });
}

function parse(source: string, directory: string): Kubeconfig {
    const [content] = readYaml(source);
    if (!isObject(content)) return { clusters: [], users: [], contexts: [], currentContext: "" };
    return {
        clusters: named(content.clusters, "cluster", directory),
        users: named(content.users, "user", directory),
        contexts: named(content.contexts, "context", directory),
        currentContext: textOf(content["current-context"]),
    };
}

/** Several files count as one: of entries with the same name the first one wins. */
function merge(files: Kubeconfig[]): Kubeconfig {
    const first = (entries: Named[]): Named[] => [...new Map([...entries].reverse().map((e) => [e.name, e])).values()];
    return {
        clusters: first(files.flatMap((file) => file.clusters)),
        users: first(files.flatMap((file) => file.users)),
        contexts: first(files.flatMap((file) => file.contexts)),
        currentContext: files.map((file) => file.currentContext).find((name) => name !== "") ?? "",
    };
}

function expandHome(path: string): string {
    return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

/** Where the kubeconfig was looked for, for messages, and what was found there. */
function load(setting: string): { origin: string; inline: boolean; files: Kubeconfig[] } {
    const path = expandHome(setting);
    if (setting !== "" && !existsSync(path)) {
        const origin = "the provider's setting `kubeconfig`";
        return { origin, inline: true, files: [parse(setting, process.cwd())] };
    }
    const ambient = (process.env.KUBECONFIG ?? "").split(delimiter).filter((file) => file !== "");
    const fallback = ambient.length > 0 ? ambient : [join(homedir(), ".kube", "config")];
    const paths = setting !== "" ? [path] : fallback;
    const existing = paths.filter((file) => existsSync(file));
    const files = existing.map((file) => parse(readFileSync(file, "utf8"), dirname(file)));
    return { origin: paths.join(delimiter), inline: false, files };
}

function find(entries: Named[], name: string): Properties | undefined {
    return entries.find((entry) => entry.name === name)?.content;
}

const credentials = [
    "token",
    "tokenFile",
    "client-certificate",
    "client-certificate-data",
    "username",
    "auth-provider",
    "exec",
];

function hasCredential(user: Properties): boolean {
    return credentials.some((field) => user[field] !== undefined && user[field] !== "" && user[field] !== null);
}

/** Writes a kubeconfig for `helm` that only this user can read and that ends with this process. */
function temporaryFile(content: Properties): string {
    const directory = mkdtempSync(join(tmpdir(), "pulumi-kubernetes-"));
    chmodSync(directory, 0o700);
    process.once("exit", () => {
        rmSync(directory, { recursive: true, force: true });
    });
    const file = join(directory, "kubeconfig");
    writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
    return file;
}

/** No cluster can be named with these settings. Previews go on without one. */
export class NoCluster extends Error {
    override readonly name = "NoCluster";
}

/** Finds the cluster that the settings mean. Throws `NoCluster` when they mean none. */
export function resolveTarget(settings: Settings): Target {
    let loaded: ReturnType<typeof load>;
    try {
        loaded = load(settings.kubeconfig);
    } catch (error) {
        throw new NoCluster(`failed to parse the kubeconfig: ${(error as Error).message}`);
    }
    const { origin, inline, files } = loaded;
    const config = merge(files);
    const name = settings.context !== "" ? settings.context : config.currentContext;
    const context = find(config.contexts, name);
    if (context === undefined) {
        const known = config.contexts.map((entry) => entry.name).join(", ");
        const found = known === "" ? "it has no context" : `it has ${known}`;
        throw new NoCluster(
            files.length === 0
                ? `no kubeconfig at ${origin}: set KUBECONFIG to the file of a cluster`
                : `the context "${name}" does not exist in ${origin}: ${found}`,
        );
    }
    const clusterName = settings.cluster !== "" ? settings.cluster : textOf(context.cluster);
    const cluster = find(config.clusters, clusterName);
    if (cluster === undefined) throw new NoCluster(`the cluster "${clusterName}" does not exist in ${origin}`);
    const userName = textOf(context.user);
    const user = find(config.users, userName) ?? {};
    const server = textOf(cluster.server);
    if (server.startsWith("https:") && !hasCredential(user)) {
        throw new Error(
            `the user "${userName}" of the context "${name}" in ${origin} has no credential (token, client certificate, ` +
                "exec plugin or user name): nobody could answer a question for one here. Give that user a credential, " +
                "or choose another context with: pulumi config set kubernetes:context NAME",
        );
    }
    const namespace = [settings.namespace, textOf(context.namespace), "default"].find((value) => value !== "") ?? "";
    const kubeconfig: Properties = {
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: clusterName, cluster }],
        users: [{ name: userName, user }],
        contexts: [{ name, context: { ...context, cluster: clusterName, user: userName } }],
        "current-context": name,
    };
    const own = inline || settings.cluster !== "" ? temporaryFile(kubeconfig) : undefined;
    const helmKubeconfig = own ?? (settings.kubeconfig === "" ? undefined : expandHome(settings.kubeconfig));
    return {
        context: name,
        namespace,
        server,
        kubeconfig,
        helmFlags: ["--kube-context", name],
        ...(helmKubeconfig !== undefined && { helmKubeconfig }),
    };
}
