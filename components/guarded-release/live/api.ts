import { request as plainRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { type Agent, request as secureRequest } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectSecurely } from "node:tls";
import type { ApiAccess } from "../../config/kubeconfig";

export interface ApiRequest {
    /** Default `GET`. */
    readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
    /** Path on the server, without query: `/api/v1/namespaces/demo/secrets`. */
    readonly path: string;
    readonly query?: Readonly<Record<string, string>>;
    readonly body?: string;
    /** Default `application/json`; a patch names its kind here. */
    readonly contentType?: string;
    /** Media types of the answer. Default `application/json`. */
    readonly accept?: string;
    /** Milliseconds until a whole answer must be there. */
    readonly timeoutMs: number;
    /** Bytes of body that are read at most; a longer answer is an error. Default 32 MiB. */
    readonly limit?: number;
    /** Keeps connections for more requests to come; who makes it destroys it. Without one, nothing stays open after the answer. */
    readonly agent?: Agent;
}

export interface ApiAnswer {
    readonly status: number;
    readonly body: string;
    /** What the server wants a person to know beyond the answer, e.g. that an API is deprecated. */
    readonly warnings: readonly string[];
}

/** Bytes. A Secret holds 1 MiB and a release keeps ten or eleven of them, each half as long again in its JSON. */
const ANSWER_LIMIT = 32 << 20;

/** Asks the API server one thing. Any HTTP status is an answer; rejects with {@link connectionProblem}'s errors when none comes. */
export async function request(access: ApiAccess, asked: ApiRequest): Promise<ApiAnswer> {
    const base = access.server.endsWith("/") ? access.server : `${access.server}/`;
    const url = new URL(asked.path.replace(/^\//, ""), base);
    for (const [name, value] of Object.entries(asked.query ?? {})) url.searchParams.set(name, value);
    const signal = AbortSignal.timeout(asked.timeoutMs);
    const headers = {
        accept: asked.accept ?? "application/json",
        ...(access.authorization === undefined ? {} : { authorization: access.authorization }),
        ...(asked.body === undefined
            ? {}
            : {
                  "content-type": asked.contentType ?? "application/json",
                  "content-length": Buffer.byteLength(asked.body),
              }),
    };
    const security = {
        ca: access.ca,
        cert: access.clientCertificate,
        key: access.clientKey,
        rejectUnauthorized: access.insecure !== true,
        ...(access.serverName === undefined ? {} : { servername: access.serverName }),
    };
    const options: RequestOptions = { method: asked.method ?? "GET", headers, signal };
    const answer = (client: ClientRequest) => answerTo(client, asked);
    if (url.protocol === "http:") return answer(plainRequest(url, { ...options, agent: false }));
    if (access.proxy === undefined)
        return answer(secureRequest(url, { ...options, agent: asked.agent ?? false, ...security }));
    const socket = await tunnel(access.proxy, url, signal);
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    // An address is no server name in TLS.
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const createConnection = (): Duplex => connectSecurely({ socket, host, ...servername, ...security });
    // Without a word about an agent, or Node would make a connection of its own.
    return answer(plainRequest({ ...options, host: url.hostname, path: url.pathname + url.search, createConnection }));
}

function answerTo(client: ClientRequest, { body, limit = ANSWER_LIMIT }: ApiRequest): Promise<ApiAnswer> {
    return new Promise((resolve, reject) => {
        client.once("error", reject);
        client.once("response", (response: IncomingMessage) => {
            const chunks: Buffer[] = [];
            let length = 0;
            response.on("data", (chunk: Buffer) => {
                length += chunk.length;
                if (length > limit)
                    response.destroy(new Error(`its answer is longer than ${Math.ceil(limit / (1 << 20))} MiB`));
                else chunks.push(chunk);
            });
            response.once("error", reject);
            response.once("end", () => {
                const warnings = (response.headersDistinct["warning"] ?? []).map(warningText);
                resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8"), warnings });
            });
        });
        client.end(body);
    });
}

/** `299 - "the text, with \\" for quotes"` → the text */
function warningText(header: string): string {
    return (/^\d{3} \S+ "(.*)"/s.exec(header)?.[1] ?? header).replace(/\\(.)/g, "$1");
}

function tunnel(proxy: string, target: URL, signal: AbortSignal): Promise<Duplex> {
    const { protocol, hostname, port, username, password } = new URL(proxy);
    if (protocol !== "http:")
        return Promise.reject(
            new Error(`the proxy ${hostname} speaks ${protocol.slice(0, -1)}, and only http is known here`),
        );
    const authority = `${target.hostname}:${target.port === "" ? "443" : target.port}`;
    const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString(
        "base64",
    );
    return new Promise((resolve, reject) => {
        const client = plainRequest({
            method: "CONNECT",
            host: hostname,
            port: port === "" ? 80 : Number(port),
            path: authority,
            headers: { host: authority, ...(username === "" ? {} : { "proxy-authorization": `Basic ${credentials}` }) },
            agent: false,
            signal,
        });
        client.once("error", reject);
        client.once("connect", (response: IncomingMessage, socket: Duplex) => {
            if (response.statusCode === 200) resolve(socket);
            else reject(new Error(`the proxy ${hostname} answers ${response.statusCode ?? "nothing"}`));
        });
        client.end();
    });
}

/** The API server's own words about what it did not do, which stand in a `Status` object; "" where there are none. */
export function statusMessage(body: string): string {
    try {
        const { message } = JSON.parse(body) as { message?: unknown };
        return typeof message === "string" ? message : "";
    } catch {
        return "";
    }
}

/** Why no answer came, as the end of a sentence that starts with the server. */
export function connectionProblem(error: unknown, timeoutMs: number): string {
    if (!(error instanceof Error)) return "could not be reached";
    const code = "code" in error ? String(error.code) : "";
    if (error.name === "TimeoutError" || error.name === "AbortError" || code === "ABORT_ERR")
        return `does not answer within ${timeoutMs / 1000} s`;
    if (code === "ECONNREFUSED") return "refuses connections";
    if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "is a name that this machine cannot resolve";
    if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "cannot be reached from this network";
    return `could not be reached: ${error.message}`;
}
