import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { BlockList, isIP } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { didYouMean } from "./nearest";
import { visible } from "./visible";

// This room is loaded by the command `ml-api` as well, so nothing here loads the Pulumi SDK.

/** How to reach an API server; certificates and keys as PEM text. */
export interface ApiAccess {
    readonly server: string;
    readonly ca?: string | undefined;
    readonly clientCertificate?: string | undefined;
    readonly clientKey?: string | undefined;
    /** Value of the Authorization header. */
    readonly authorization?: string | undefined;
    readonly insecure?: boolean;
    /** Name in the server's certificate, when it is not the host of the URL. */
    readonly serverName?: string | undefined;
    /** An http:// proxy that the connection goes through. */
    readonly proxy?: string | undefined;
}

/** Trouble with a kubeconfig that a person can put right. */
export class KubeconfigProblem extends Error {
    constructor(
        /** The file, or the list of files. */
        readonly where: string,
        readonly what: string,
        readonly fix: string,
    ) {
        super(visible(`${where}: ${what}`));
        // Names of a kubeconfig stand in it, and go to a terminal.
        this.what = visible(what);
    }
}

type Settings = Readonly<Record<string, unknown>>;

/** One named entry of a kubeconfig. */
export interface Entry {
    readonly settings: Settings;
    /** Folder that relative paths in this entry start from. */
    readonly folder: string;
}

/** One or more kubeconfig files, merged as kubectl merges them: the first mention of a name wins. */
export interface Kubeconfig {
    /** The files that exist; for messages. */
    readonly where: string;
    readonly currentContext: string | undefined;
    readonly contexts: ReadonlyMap<string, Entry>;
    readonly clusters: ReadonlyMap<string, Entry>;
    readonly users: ReadonlyMap<string, Entry>;
}

/** A context with the cluster and the user that it names. */
export interface Target {
    readonly context: string;
    readonly cluster: Entry;
    readonly user: Entry;
    readonly userName: string;
    readonly server: string;
    readonly where: string;
}

/** How a user proves who they are. */
export type Credential =
    | {
          readonly kind: "program";
          /** A bare name to look up on PATH, or an absolute path. */
          readonly command: string;
          /** The program as the kubeconfig names it. */
          readonly named: string;
          readonly args: readonly string[];
          readonly settings: Settings;
      }
    | { readonly kind: "auth provider"; readonly name: string }
    | { readonly kind: "token" | "user name and password"; readonly authorization: string }
    | { readonly kind: "client certificate" };

const LOG_IN = "log in to the cluster again with the tool that wrote this kubeconfig";

/** Where kubectl looks: the list in `KUBECONFIG` (`named`), else `~/.kube/config`. Absolute paths; they need not exist. */
export function kubeconfigFiles(env: NodeJS.ProcessEnv): {
    readonly files: readonly string[];
    readonly named: boolean;
} {
    const named = (env["KUBECONFIG"] ?? "").split(path.delimiter).filter((file) => file !== "");
    if (named.length > 0) return { files: named.map((file) => path.resolve(file)), named: true };
    return { files: [path.join(text(env["HOME"]) ?? os.homedir(), ".kube", "config")], named: false };
}

/**
 * Reads and merges the kubeconfig files.
 *
 * @returns undefined when none of them exists
 * @throws KubeconfigProblem when one is not a kubeconfig
 */
export function readKubeconfig(env: NodeJS.ProcessEnv): Kubeconfig | undefined {
    const files = kubeconfigFiles(env).files.filter((file) => fs.existsSync(file));
    if (files.length === 0) return undefined;
    const documents = files.map((file) => ({ folder: path.dirname(file), content: readDocument(file) }));
    const merged = (list: string, key: string): ReadonlyMap<string, Entry> => {
        const found = new Map<string, Entry>();
        for (const { folder, content } of documents) {
            const items: unknown = content[list];
            for (const item of Array.isArray(items) ? (items as unknown[]) : []) {
                if (!isRecord(item) || typeof item["name"] !== "string" || found.has(item["name"])) continue;
                const settings = item[key];
                found.set(item["name"], { settings: isRecord(settings) ? settings : {}, folder });
            }
        }
        return found;
    };
    return {
        where: files.join(path.delimiter),
        currentContext: documents.map(({ content }) => text(content["current-context"])).find(Boolean),
        contexts: merged("contexts", "context"),
        clusters: merged("clusters", "cluster"),
        users: merged("users", "user"),
    };
}

function readDocument(file: string): Settings {
    let content: unknown;
    try {
        content = parse(fs.readFileSync(file, "utf8"), { logLevel: "error" });
    } catch (error) {
        const why = error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error);
        throw new KubeconfigProblem(file, `this kubeconfig cannot be read as YAML: ${why}`, LOG_IN);
    }
    if (content === null || content === undefined) return {};
    if (isRecord(content)) return content;
    throw new KubeconfigProblem(
        file,
        "this kubeconfig holds no settings",
        'write it with kubectl or your cloud\'s tool; such a file starts with "apiVersion: v1"',
    );
}

/** The context's cluster and user. @throws KubeconfigProblem when one of the three is not defined, or the server is no URL */
export function findTarget(kubeconfig: Kubeconfig, context: string): Target {
    const { where, contexts, clusters, users } = kubeconfig;
    const chosen = contexts.get(context)?.settings;
    if (chosen === undefined) {
        const near = didYouMean(context, [...contexts.keys()]);
        throw new KubeconfigProblem(
            where,
            `there is no context "${context}"${near === "" ? listed(contexts) : near}`,
            "choose another: kubectl config use-context NAME",
        );
    }
    const pick = (entries: ReadonlyMap<string, Entry>, key: "cluster" | "user"): Entry => {
        const found = entries.get(text(chosen[key]) ?? "");
        if (found !== undefined) return found;
        const name = JSON.stringify(chosen[key] ?? "");
        const what = `context "${context}" names ${key} ${name}, which is not defined there${listed(entries)}`;
        throw new KubeconfigProblem(where, what, LOG_IN);
    };
    const cluster = pick(clusters, "cluster");
    const user = pick(users, "user");
    const server = text(cluster.settings["server"]) ?? "";
    if (!/^https?:\/\/./.test(server) || !URL.canParse(server)) {
        const what = `the cluster of context "${context}" has no "server" with an https:// URL`;
        throw new KubeconfigProblem(where, what, LOG_IN);
    }
    return { context, cluster, user, userName: text(chosen["user"]) ?? "", server, where };
}

/**
 * How the user of a context proves who they are; files that the entry names are read.
 *
 * @throws KubeconfigProblem when a file cannot be read, or the user has no credential: Helm and the Kubernetes provider would
 *   then ask for a user name at a prompt that nobody sees, and wait for ever
 */
export function credentialOf(target: Target): Credential {
    const { user, context, where, userName } = target;
    const { settings, folder } = user;
    const { exec, "auth-provider": provider } = settings;
    if (isRecord(exec)) {
        const named = text(exec["command"]) ?? "";
        const args = Array.isArray(exec["args"]) ? exec["args"].map(String) : [];
        // As in kubectl: a bare name is looked up on PATH, a relative path starts at the kubeconfig's folder.
        const command = named.includes("/") ? path.resolve(folder, named) : named;
        return { kind: "program", command, named, args, settings: exec };
    }
    if (isRecord(provider)) return { kind: "auth provider", name: text(provider["name"]) ?? "" };
    const token = text(readNamed(target, user, "tokenFile")?.trim()) ?? text(settings["token"]);
    if (token !== undefined) return { kind: "token", authorization: `Bearer ${token}` };
    if (pem(target, user, "client-certificate") !== undefined && pem(target, user, "client-key") !== undefined)
        return { kind: "client certificate" };
    const name = text(settings["username"]);
    const password = text(settings["password"]);
    if (name !== undefined && password !== undefined) {
        const pair = Buffer.from(`${name}:${password}`).toString("base64");
        return { kind: "user name and password", authorization: `Basic ${pair}` };
    }
    throw new KubeconfigProblem(
        where,
        `the user "${userName}" of context "${context}" has no credential (no token, client certificate with key, exec program or auth provider)`,
        LOG_IN,
    );
}

/** What HTTPS needs, as far as the files tell it: a credential that a program gives is missing. */
export function staticAccess(target: Target, credential: Credential, env: NodeJS.ProcessEnv): ApiAccess {
    const { cluster, user, server } = target;
    return {
        server,
        ca: pem(target, cluster, "certificate-authority"),
        insecure: cluster.settings["insecure-skip-tls-verify"] === true,
        serverName: text(cluster.settings["tls-server-name"]),
        proxy: text(cluster.settings["proxy-url"]) ?? proxyFor(server, env),
        clientCertificate: pem(target, user, "client-certificate"),
        clientKey: pem(target, user, "client-key"),
        ...("authorization" in credential ? { authorization: credential.authorization } : {}),
    };
}

/**
 * Everything that a request to the API server needs; runs the user's credential program where there is one.
 *
 * @param context the wanted one; without it `ML_API_CONTEXT` (set by `ml-api env`), else the current one
 * @param timeoutMs milliseconds that the credential program may take
 * @throws KubeconfigProblem with the reason in words
 */
export async function openAccess(
    context: string | undefined,
    env: NodeJS.ProcessEnv,
    timeoutMs: number,
): Promise<ApiAccess> {
    const kubeconfig = readKubeconfig(env);
    if (kubeconfig === undefined) {
        const { files } = kubeconfigFiles(env);
        throw new KubeconfigProblem(files.join(path.delimiter), "there is no kubeconfig", "set KUBECONFIG");
    }
    const name = wantedContext(context, env) ?? kubeconfig.currentContext;
    if (name === undefined)
        throw new KubeconfigProblem(kubeconfig.where, "there is no current context", "kubectl config use-context NAME");
    const target = findTarget(kubeconfig, name);
    const credential = credentialOf(target);
    const access = staticAccess(target, credential, env);
    if (credential.kind === "auth provider") {
        const what = `the auth provider "${credential.name}" of context "${name}" is not supported here (nor by kubectl since 1.26)`;
        throw new KubeconfigProblem(target.where, what, LOG_IN);
    }
    if (credential.kind !== "program") return access;
    const given = await runProgram(target, credential, access, env, timeoutMs);
    return {
        ...access,
        ...(given.token === undefined ? {} : { authorization: `Bearer ${given.token}` }),
        ...(given.certificate === undefined ? {} : { clientCertificate: given.certificate, clientKey: given.key }),
    };
}

/** The context that the stack or the environment names; undefined leaves it to the kubeconfig. */
export function wantedContext(context: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
    return context ?? text(env["ML_API_CONTEXT"]);
}

interface Given {
    readonly token: string | undefined;
    readonly certificate: string | undefined;
    readonly key: string | undefined;
}

/** Bytes. A token and a certificate are a few thousand. */
const CREDENTIAL_LIMIT = 1 << 20;

/** Runs a kubeconfig's credential program by the protocol `client.authentication.k8s.io`; it is not asked at a terminal. */
async function runProgram(
    target: Target,
    { command, named, args, settings }: Credential & { kind: "program" },
    access: ApiAccess,
    env: NodeJS.ProcessEnv,
    timeoutMs: number,
): Promise<Given> {
    const fail = (what: string): never => {
        throw new KubeconfigProblem(target.where, `the credential program "${named}" ${what}`, LOG_IN);
    };
    if (settings["interactiveMode"] === "Always") return fail("asks at a terminal, and here is none");
    const spec = {
        interactive: false,
        ...(settings["provideClusterInfo"] === true ? { cluster: clusterInfo(target, access) } : {}),
    };
    const asked = { apiVersion: settings["apiVersion"], kind: "ExecCredential", spec };
    const own = Array.isArray(settings["env"]) ? settings["env"].filter(isRecord) : [];
    const variables = {
        ...env,
        ...Object.fromEntries(own.map(({ name, value }) => [String(name), String(value)])),
        KUBERNETES_EXEC_INFO: JSON.stringify(asked),
    };
    const ended = await runToEnd(command, args, variables, timeoutMs);
    if (ended.problem !== undefined) return fail(ended.problem);
    let status: unknown;
    try {
        const answer: unknown = JSON.parse(ended.output);
        status = isRecord(answer) && answer["kind"] === "ExecCredential" ? answer["status"] : undefined;
    } catch {
        status = undefined;
    }
    if (!isRecord(status)) return fail("printed no ExecCredential with a status");
    const token = text(status["token"]);
    const certificate = text(status["clientCertificateData"]);
    const key = text(status["clientKeyData"]);
    if (token === undefined && (certificate === undefined || key === undefined))
        return fail("gave neither a token nor a certificate with its key");
    return { token, certificate, key };
}

function clusterInfo({ cluster, server }: Target, access: ApiAccess): Settings {
    const extensions: unknown = cluster.settings["extensions"];
    const own = (Array.isArray(extensions) ? (extensions as unknown[]) : [])
        .filter(isRecord)
        .find(({ name }) => name === "client.authentication.k8s.io/exec");
    return {
        server,
        "tls-server-name": access.serverName,
        "insecure-skip-tls-verify": access.insecure === true ? true : undefined,
        "certificate-authority-data": access.ca === undefined ? undefined : Buffer.from(access.ca).toString("base64"),
        "proxy-url": text(cluster.settings["proxy-url"]),
        config: own?.["extension"],
    };
}

/** What a program printed, or why it printed nothing of use. It and everything it started are gone after the time limit. */
function runToEnd(
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    timeoutMs: number,
): Promise<{ readonly output: string; readonly problem?: string }> {
    return new Promise((resolve) => {
        // A process group of its own, because such programs are often shell scripts around a slow one.
        const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
        let output = "";
        let errors = "";
        const end = (problem?: string) => {
            clearTimeout(timer);
            resolve({ output, ...(problem === undefined ? {} : { problem }) });
        };
        const stop = (problem: string) => {
            try {
                if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
            } catch {
                child.kill("SIGKILL");
            }
            child.stdout.destroy();
            child.stderr.destroy();
            end(problem);
        };
        const timer = setTimeout(() => {
            stop(`does not answer within ${Math.round(timeoutMs / 100) / 10} s`);
        }, timeoutMs);
        child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
            output += chunk;
            if (output.length > CREDENTIAL_LIMIT) stop("prints without end");
        });
        child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
            errors = (errors + chunk).slice(0, 300);
        });
        child.once("error", (error: NodeJS.ErrnoException) => {
            end(error.code === "ENOENT" ? "is not there" : `cannot be run: ${error.message}`);
        });
        child.once("close", (code) => {
            end(code === 0 ? undefined : `failed: ${errors.trim().split("\n", 1)[0] ?? ""}`);
        });
    });
}

/** `NAME-data` (base64) or the file that `NAME` points at. */
function pem(target: Target, from: Entry, name: string): string | undefined {
    const data = text(from.settings[`${name}-data`]);
    return data === undefined ? readNamed(target, from, name) : Buffer.from(data, "base64").toString("utf8");
}

function readNamed({ where, context }: Target, from: Entry, name: string): string | undefined {
    const named = text(from.settings[name]);
    if (named === undefined) return undefined;
    const file = path.resolve(from.folder, named);
    try {
        return fs.readFileSync(file, "utf8");
    } catch {
        throw new KubeconfigProblem(where, `context "${context}": its ${name} ${file} cannot be read`, LOG_IN);
    }
}

/** The proxy that kubectl would use for this server. */
export function proxyFor(server: string, env: NodeJS.ProcessEnv): string | undefined {
    const { protocol, hostname, port } = new URL(server);
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const family = isIP(host) === 6 ? "ipv6" : "ipv4";
    if (
        protocol !== "https:" ||
        host === "localhost" ||
        host === "::1" ||
        (isIP(host) === 4 && host.startsWith("127."))
    )
        return undefined;
    const proxy = text(env["HTTPS_PROXY"] ?? env["https_proxy"]);
    const excepted = (env["NO_PROXY"] ?? env["no_proxy"] ?? "").split(",").some((entry) => {
        const name = entry.trim().toLowerCase();
        const [network = "", bits = ""] = name.split("/");
        if (isIP(network) !== 0 && bits !== "") {
            const networks = new BlockList();
            networks.addSubnet(network, Number(bits), isIP(network) === 6 ? "ipv6" : "ipv4");
            return isIP(host) !== 0 && networks.check(host, family);
        }
        const bare = name.endsWith(`:${port === "" ? "443" : port}`) ? name.slice(0, name.lastIndexOf(":")) : name;
        const domain = bare.replace(/^\*?\./, "");
        return name === "*" || (domain !== "" && (host === domain || host.endsWith(`.${domain}`)));
    });
    if (proxy === undefined || excepted) return undefined;
    return proxy.includes("://") ? proxy : `http://${proxy}`;
}

function isRecord(value: unknown): value is Settings {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
    return typeof value === "string" && value !== "" ? value : undefined;
}

function listed(entries: ReadonlyMap<string, Entry>): string {
    return entries.size === 0 ? "" : ` (there are: ${[...entries.keys()].join(", ")})`;
}
