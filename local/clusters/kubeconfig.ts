import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, isAbsolute, join, resolve } from "node:path";
import { homedir } from "node:os";
import { parse } from "yaml";
import { isRecord } from "../files";
import type { Variables } from "../paths";
import { onPath } from "../tools";
import type { ApiAccess } from "./api";

/** The cluster that a kubeconfig points at, with what is needed to ask it something. */
export interface KubeconfigTarget {
    /** What KUBECONFIG should hold: the file, or the list of files. */
    readonly kubeconfig: string;
    readonly context: string;
    readonly access: ApiAccess;
    /** How the user proves who they are, for people. */
    readonly credential: string;
}

/** Any trouble a person can put right; the message says how. */
export class KubeconfigProblem extends Error {}

type Entry = Readonly<Record<string, unknown>>;
interface Named {
    readonly entry: Entry;
    /** Folder that relative paths in this entry start from. */
    readonly folder: string;
}

const ownCluster =
    "or let this repository start a cluster: CLUSTER=simulated make up (anywhere), CLUSTER=node make up (Linux, root).";

/** Reads the current context of the user's kubeconfig and checks all of it that can be checked without the cluster. */
export function readTarget(variables: Variables): KubeconfigTarget {
    const { files, source } = kubeconfigFiles(variables);
    const present = files.filter((file) => existsSync(file));
    if (present.length === 0) {
        throw new KubeconfigProblem(
            `There is no kubeconfig: ${files.join(", ")} does not exist (${source}).\n` +
                `CLUSTER=current uses the cluster that your kubeconfig points at. Write one (\`kind create cluster\`, \`aws eks update-kubeconfig\`, …), ${ownCluster}`,
        );
    }
    const documents = present.map((file) => ({ file, content: readDocument(file) }));
    const where = present.join(", ");
    const context = documents
        .map(({ content }) => content["current-context"])
        .find((name) => typeof name === "string" && name !== "");
    const contexts = namedEntries(documents, "contexts", "context");
    if (typeof context !== "string") {
        throw new KubeconfigProblem(
            `${where} has no current context. Choose one: \`kubectl config use-context NAME\`${listed(contexts)}; ${ownCluster}`,
        );
    }
    const chosen = contexts.get(context)?.entry;
    if (chosen === undefined) {
        throw new KubeconfigProblem(
            `The current context of ${where} is "${context}", which it does not define. Choose another: \`kubectl config use-context NAME\`${listed(contexts)}.`,
        );
    }
    const cluster = pick(namedEntries(documents, "clusters", "cluster"), chosen["cluster"], "cluster", context, where);
    const user = pick(namedEntries(documents, "users", "user"), chosen["user"], "user", context, where);
    const server = cluster.entry["server"];
    if (typeof server !== "string" || !/^https?:\/\/./.test(server)) {
        throw new KubeconfigProblem(
            `Context "${context}" in ${where}: its cluster has no "server" with an https:// URL.`,
        );
    }
    const credential = credentialOf(user, context, where, variables);
    return {
        kubeconfig: source === "KUBECONFIG" ? files.join(delimiter) : present.join(delimiter),
        context,
        credential: credential.text,
        access: {
            server,
            ca: pem(cluster, "certificate-authority", context),
            insecure: cluster.entry["insecure-skip-tls-verify"] === true,
            serverName: text(cluster.entry["tls-server-name"]),
            proxy: text(cluster.entry["proxy-url"]) ?? proxyFor(server, variables),
            ...credential.access,
        },
    };
}

function kubeconfigFiles(variables: Variables): { readonly files: readonly string[]; readonly source: string } {
    const given = (variables["KUBECONFIG"] ?? "").split(delimiter).filter((file) => file !== "");
    if (given.length > 0) return { files: given.map((file) => resolve(file)), source: "KUBECONFIG" };
    return { files: [join(variables["HOME"] ?? homedir(), ".kube", "config")], source: "KUBECONFIG is not set" };
}

function readDocument(file: string): Entry {
    let value: unknown;
    try {
        value = parse(readFileSync(file, "utf8"));
    } catch (error) {
        throw new KubeconfigProblem(
            `The kubeconfig ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
        );
    }
    if (!isRecord(value))
        throw new KubeconfigProblem(
            `The kubeconfig ${file} holds no settings; a file written by kubectl starts with "apiVersion: v1".`,
        );
    return value;
}

/** Entries of all files by name; the first file that defines one wins, as with kubectl. */
function namedEntries(
    documents: readonly { readonly file: string; readonly content: Entry }[],
    list: string,
    key: string,
): ReadonlyMap<string, Named> {
    const found = new Map<string, Named>();
    for (const { file, content } of documents) {
        const entries: unknown = content[list];
        for (const item of Array.isArray(entries) ? (entries as unknown[]) : []) {
            if (!isRecord(item) || typeof item["name"] !== "string" || found.has(item["name"])) continue;
            const entry = item[key];
            found.set(item["name"], { entry: isRecord(entry) ? entry : {}, folder: dirname(file) });
        }
    }
    return found;
}

function pick(entries: ReadonlyMap<string, Named>, name: unknown, what: string, context: string, where: string): Named {
    const found = typeof name === "string" ? entries.get(name) : undefined;
    if (found !== undefined) return found;
    throw new KubeconfigProblem(
        `Context "${context}" in ${where} names ${what} ${JSON.stringify(name ?? "")}, which is not defined there${listed(entries)}.`,
    );
}

interface Credential {
    readonly text: string;
    readonly access: Pick<ApiAccess, "authorization" | "clientCertificate" | "clientKey">;
}

/**
 * A user without any credential must be caught here: Helm and the Kubernetes provider would ask for a user name on a
 * terminal nobody sees, and wait for ever.
 */
function credentialOf(user: Named, context: string, where: string, variables: Variables): Credential {
    const { entry } = user;
    const exec = entry["exec"];
    if (isRecord(exec)) {
        const command = text(exec["command"]) ?? "";
        if (!isThere(command, user.folder, variables)) {
            throw new KubeconfigProblem(
                `Context "${context}" in ${where} gets its credential from the program "${command}", which is not on PATH. Install it, then try again.`,
            );
        }
        return { text: `program ${command}`, access: {} };
    }
    if (isRecord(entry["auth-provider"]))
        return { text: `auth provider ${text(entry["auth-provider"]["name"]) ?? ""}`, access: {} };
    const tokenFile = text(entry["tokenFile"]);
    const token =
        tokenFile === undefined ? text(entry["token"]) : readNamed(user, "tokenFile", tokenFile, context).trim();
    if (token !== undefined && token !== "") return { text: "token", access: { authorization: `Bearer ${token}` } };
    const clientCertificate = pem(user, "client-certificate", context);
    const clientKey = pem(user, "client-key", context);
    if (clientCertificate !== undefined && clientKey !== undefined)
        return { text: "client certificate", access: { clientCertificate, clientKey } };
    const name = text(entry["username"]);
    const password = text(entry["password"]);
    if (name !== undefined && password !== undefined) {
        return {
            text: "user name and password",
            access: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` },
        };
    }
    throw new KubeconfigProblem(
        `The user of context "${context}" in ${where} has no credential: no token, client certificate with key, exec program or auth provider.\n` +
            `Log in to the cluster again with the tool that wrote this kubeconfig, choose another context, ${ownCluster}`,
    );
}

/** `NAME-data` (base64) or the file that `NAME` points at. */
function pem(from: Named, name: string, context: string): string | undefined {
    const data = text(from.entry[`${name}-data`]);
    if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
    const file = text(from.entry[name]);
    return file === undefined ? undefined : readNamed(from, name, file, context);
}

function readNamed(from: Named, name: string, file: string, context: string): string {
    const path = resolve(from.folder, file);
    try {
        return readFileSync(path, "utf8");
    } catch {
        throw new KubeconfigProblem(
            `Context "${context}": its ${name} ${path} cannot be read. Log in to the cluster again with the tool that wrote this kubeconfig.`,
        );
    }
}

/** As in kubectl: a bare name is looked up on PATH, a relative path starts at the kubeconfig's folder. */
function isThere(command: string, folder: string, variables: Variables): boolean {
    if (command === "") return false;
    if (command.includes("/")) return existsSync(isAbsolute(command) ? command : join(folder, command));
    return onPath(command, variables) !== undefined;
}

/** The proxy that kubectl would use for this server. */
export function proxyFor(server: string, variables: Variables): string | undefined {
    const { hostname, protocol } = new URL(server);
    if (protocol !== "https:" || hostname === "localhost" || hostname.startsWith("127.") || hostname === "[::1]")
        return undefined;
    const proxy = text(variables["HTTPS_PROXY"] ?? variables["https_proxy"]);
    const except = (variables["NO_PROXY"] ?? variables["no_proxy"] ?? "")
        .split(",")
        .map((name) => name.trim().replace(/^\*?\./, ""));
    const excepted = except.some(
        (name) => name === "*" || (name !== "" && (hostname === name || hostname.endsWith(`.${name}`))),
    );
    return proxy === undefined || excepted ? undefined : proxy;
}

function text(value: unknown): string | undefined {
    return typeof value === "string" && value !== "" ? value : undefined;
}

function listed(entries: ReadonlyMap<string, Named>): string {
    return entries.size === 0 ? "" : ` (there are: ${[...entries.keys()].join(", ")})`;
}
