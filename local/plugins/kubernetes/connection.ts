import { readFileSync } from "node:fs";
import type { OutgoingHttpHeaders } from "node:http";
import type { RequestOptions } from "node:https";
import { Agent } from "node:https";
import type { Properties } from "../rpc/properties";
import { isObject, objectsIn, textOf } from "../rpc/properties";
import type { Target } from "./kubeconfig";

export type Options = RequestOptions & { headers: OutgoingHttpHeaders };

/** Adds to a request what the cluster of a kubeconfig asks for: certificates, credentials, a proxy. */
export type Connection = (options: Options) => Promise<void>;

/** A field `name-data` in base64, or a file named by `name`. */
function content(entry: Properties, name: string): Buffer | undefined {
    const data = textOf(entry[`${name}-data`]);
    if (data !== "") return Buffer.from(data, "base64");
    const file = textOf(entry[name]);
    return file === "" ? undefined : readFileSync(file);
}

function only(list: Properties, field: string, name: string): Properties {
    const [entry] = objectsIn(list[field]);
    return isObject(entry?.[name]) ? entry[name] : {};
}

function authorization(user: Properties): string | undefined {
    const file = textOf(user.tokenFile);
    const token = file === "" ? textOf(user.token) : readFileSync(file, "utf8").trim();
    if (token !== "") return `Bearer ${token}`;
    const name = textOf(user.username);
    return name === "" ? undefined : `Basic ${Buffer.from(`${name}:${textOf(user.password)}`).toString("base64")}`;
}

function plainConnection(cluster: Properties, user: Properties): Connection {
    const server = textOf(cluster["tls-server-name"]);
    const [ca, cert, key] = [
        content(cluster, "certificate-authority"),
        content(user, "client-certificate"),
        content(user, "client-key"),
    ];
    const agent = new Agent({
        keepAlive: true,
        rejectUnauthorized: cluster["insecure-skip-tls-verify"] !== true,
        ...(ca !== undefined && { ca }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
        ...(server !== "" && { servername: server }),
    });
    const header = authorization(user);
    return (options) => {
        if (header !== undefined) options.headers.authorization = header;
        if (textOf(cluster.server).startsWith("https:")) options.agent = agent;
        return Promise.resolve();
    };
}

/**
 * The credentials that stand in a kubeconfig are used as they are. Those that come from a program or an identity
 * provider, and proxies, are the Kubernetes client's business: it is loaded then and only then, because that takes four
 * times as long as the whole start of this plugin.
 */
export async function connect({ kubeconfig }: Target): Promise<Connection> {
    const cluster = only(kubeconfig, "clusters", "cluster");
    const user = only(kubeconfig, "users", "user");
    const isPlain = [user.exec, user["auth-provider"], user.as, cluster["proxy-url"]].every(
        (field) => field === undefined,
    );
    if (isPlain) return plainConnection(cluster, user);
    const { KubeConfig } = await import("@kubernetes/client-node");
    const config = new KubeConfig();
    config.loadFromString(JSON.stringify(kubeconfig));
    return (options) => config.applyToHTTPSOptions(options);
}
