import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { Properties } from "../rpc/properties";
import { objectsIn, textOf } from "../rpc/properties";
import type { Connection, Options } from "./connection";
import { connect } from "./connection";
import type { Target } from "./kubeconfig";
import { writeYaml } from "./manifest";
import { metadataOf } from "./object";

/** The API server's refusal. */
export class ApiError extends Error {
    constructor(
        readonly code: number,
        readonly reason: string,
        message: string,
        readonly status: Properties,
    ) {
        super(message);
        this.name = "ApiError";
    }
}

/** The API server does not know such objects. */
export class NoSuchKind extends Error {
    override readonly name = "NoSuchKind";
}

/** Where objects of a kind live in the API. */
export interface Mapping {
    path: string;
    resource: string;
    namespaced: boolean;
}

export interface Request {
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
    path: string;
    query?: Record<string, string>;
    body?: Properties | Properties[];
    contentType?: string;
    accept?: string;
    timeoutSeconds?: number;
}

interface Answer {
    code: number;
    text: string;
    retryAfter: number;
}

const probeSeconds = 5;

function explain(error: NodeJS.ErrnoException): string {
    const known: Record<string, string> = { ECONNREFUSED: "connection refused", ENOTFOUND: "no such host" };
    const [, , , address] = error.message.split(" ");
    const meaning = known[error.code ?? ""];
    return meaning === undefined ? error.message : `${meaning}${address === undefined ? "" : ` (${address})`}`;
}

/**
 * The API server, spoken to in plain JSON: an object comes back exactly as the server has it. The typed calls of the
 * Kubernetes client drop fields that they do not know and turn times into dates, which would show as differences.
 */
export class Cluster {
    private connection: Promise<Connection> | undefined;
    private probe: Promise<string | undefined> | undefined;
    private readonly groups = new Map<string, Promise<Properties[]>>();

    constructor(
        private readonly target: Target,
        private readonly timeoutSeconds: number,
    ) {}

    /** Undefined when the cluster answers, else the reason why it is taken to be out of reach. Asked once. */
    unreachable(): Promise<string | undefined> {
        this.probe ??= this.request({ method: "GET", path: "/api", timeoutSeconds: probeSeconds }).then(
            () => undefined,
            (error: unknown) => (error instanceof Error ? error.message : String(error)),
        );
        return this.probe;
    }

    async serverVersion(): Promise<string> {
        const { gitVersion } = await this.request({ method: "GET", path: "/version" });
        return typeof gitVersion === "string" ? gitVersion : "";
    }

    /** Every "group/version" and "group/version/Kind" that the server knows, as Helm's `.Capabilities.APIVersions`. */
    async apiVersions(): Promise<string[]> {
        const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        const lists = await Promise.all(["/api", "/apis"].map((path) => this.request({ method: "GET", path, accept })));
        return lists.flatMap((list) =>
            objectsIn(list.items).flatMap((group) =>
                objectsIn(group.versions).flatMap(({ version, resources }) => {
                    const name = [textOf(metadataOf(group).name), textOf(version)]
                        .filter((part) => part !== "")
                        .join("/");
                    const kinds = objectsIn(resources).flatMap(({ responseKind }) => objectsIn([responseKind ?? null]));
                    return [name, ...kinds.map(({ kind }) => `${name}/${textOf(kind)}`)];
                }),
            ),
        );
    }

    async mapping(apiVersion: string, kind: string): Promise<Mapping> {
        const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
        let resources = this.groups.get(path);
        if (resources === undefined) {
            resources = this.request({ method: "GET", path }).then(({ resources: list }) => objectsIn(list));
            this.groups.set(path, resources);
            // A definition may be added while this process lives: only what was found is remembered.
            resources.catch(() => this.groups.delete(path));
        }
        try {
            // "deployments/status" and the like are not kinds of their own.
            const found = (await resources).find((entry) => entry.kind === kind && !textOf(entry.name).includes("/"));
            if (found !== undefined) {
                return { path, resource: textOf(found.name), namespaced: found.namespaced === true };
            }
            this.groups.delete(path);
        } catch (error) {
            if (!(error instanceof ApiError) || error.code !== 404) throw error;
        }
        throw new NoSuchKind(`no matches for kind "${kind}" in version "${apiVersion}"`);
    }

    async request(request: Request): Promise<Properties> {
        for (let attempt = 1; ; attempt++) {
            const { code, text, retryAfter } = await this.send(request);
            // The server sheds load; it says when to come back.
            if (code === 429 && attempt < 5) {
                await sleep(1000 * Math.max(1, retryAfter));
                continue;
            }
            if (code < 400) return text === "" ? {} : (JSON.parse(text) as Properties);
            let status: Properties = {};
            try {
                status = JSON.parse(text) as Properties;
            } catch {
                // Not the API server's own answer: some proxy in between.
            }
            const reason = textOf(status.reason);
            const message = typeof status.message === "string" ? status.message : text.slice(0, 500);
            const explained =
                code === 401 ? "the server does not accept the credential of the kubeconfig (Unauthorized)" : message;
            throw new ApiError(code, reason, explained, status);
        }
    }

    private async send(request: Request): Promise<Answer> {
        // A server behind a prefix (https://host/k8s/clusters/x) keeps it.
        const url = new URL(`${this.target.server.replace(/\/$/, "")}${request.path}`);
        for (const [key, value] of Object.entries(request.query ?? {})) url.searchParams.set(key, value);
        const body = request.body === undefined ? undefined : writeYaml(request.body);
        const options: Options = {
            method: request.method,
            headers: {
                accept: request.accept ?? "application/json",
                "user-agent": "pulumi-kubernetes-stand-in",
                ...(body !== undefined && {
                    "content-type": request.contentType ?? "application/json",
                    "content-length": Buffer.byteLength(body),
                }),
            },
        };
        this.connection ??= connect(this.target);
        const authorize = await this.connection;
        await authorize(options);
        return this.exchange(url, options, body, request.timeoutSeconds ?? this.timeoutSeconds);
    }

    private exchange(url: URL, options: Options, body: string | undefined, seconds: number): Promise<Answer> {
        const start = url.protocol === "http:" ? httpRequest : httpsRequest;
        return new Promise((resolve, reject) => {
            const message = start(url, options, (response) => {
                const chunks: Buffer[] = [];
                response.on("data", (chunk: Buffer) => chunks.push(chunk));
                response.once("error", fail);
                response.once("end", () => {
                    clearTimeout(timer);
                    resolve({
                        code: response.statusCode ?? 0,
                        text: Buffer.concat(chunks).toString(),
                        retryAfter: Number(response.headers["retry-after"] ?? 1),
                    });
                });
            });
            const timer = setTimeout(() => {
                message.destroy(new Error(`no answer within ${String(seconds)} s`));
            }, seconds * 1000);
            const fail = (error: NodeJS.ErrnoException): void => {
                clearTimeout(timer);
                // A connection that was kept open and that the server has closed meanwhile: nothing was sent.
                if (message.reusedSocket && error.code === "ECONNRESET") {
                    resolve(this.exchange(url, options, body, seconds));
                } else reject(new Error(`${String(options.method)} ${url.origin}${url.pathname}: ${explain(error)}`));
            };
            message.once("error", fail);
            message.end(body);
        });
    }
}
