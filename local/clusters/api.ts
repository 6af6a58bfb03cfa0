import { request as plainRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as secureRequest } from "node:https";
import type { Duplex } from "node:stream";
import { connect as connectSecurely } from "node:tls";

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

export interface ApiAnswer {
    readonly status: number;
    readonly body: string;
}

/** One GET; rejects with an error that names the reason when no answer comes in time (milliseconds). */
export async function apiGet(access: ApiAccess, path: string, timeLimit: number): Promise<ApiAnswer> {
    const url = new URL(path.replace(/^\//, ""), access.server.endsWith("/") ? access.server : `${access.server}/`);
    const signal = AbortSignal.timeout(timeLimit);
    const headers = {
        accept: "application/json",
        ...(access.authorization === undefined ? {} : { authorization: access.authorization }),
    };
    const security = {
        ca: access.ca,
        cert: access.clientCertificate,
        key: access.clientKey,
        rejectUnauthorized: access.insecure !== true,
        ...(access.serverName === undefined ? {} : { servername: access.serverName }),
    };
    // An agent of its own per request: nothing stays open after the answer.
    const options: RequestOptions = { method: "GET", headers, agent: false, signal };
    if (url.protocol === "http:") return answerTo(plainRequest(url, options));
    if (access.proxy === undefined) return answerTo(secureRequest(url, { ...options, ...security }));
    const socket = await tunnel(access.proxy, url, signal);
    const createConnection = (): Duplex =>
        connectSecurely({ socket, host: url.hostname, servername: url.hostname, ...security });
    return answerTo(
        plainRequest({ ...options, host: url.hostname, path: url.pathname + url.search, createConnection }),
    );
}

function answerTo(request: ClientRequest): Promise<ApiAnswer> {
    return new Promise((resolve, reject) => {
        request.once("error", reject);
        request.once("response", (response: IncomingMessage) => {
            let body = "";
            response.setEncoding("utf8").on("data", (chunk: string) => {
                body += chunk;
            });
            response.once("error", reject);
            response.once("end", () => {
                resolve({ status: response.statusCode ?? 0, body });
            });
        });
        request.end();
    });
}

function tunnel(proxy: string, target: URL, signal: AbortSignal): Promise<Duplex> {
    const { hostname, port, username, password } = new URL(proxy);
    const authority = `${target.hostname}:${target.port === "" ? "443" : target.port}`;
    const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString(
        "base64",
    );
    return new Promise((resolve, reject) => {
        const request = plainRequest({
            method: "CONNECT",
            host: hostname,
            port: port === "" ? 80 : Number(port),
            path: authority,
            headers: { host: authority, ...(username === "" ? {} : { "proxy-authorization": `Basic ${credentials}` }) },
            agent: false,
            signal,
        });
        request.once("error", reject);
        request.once("connect", (response: IncomingMessage, socket: Duplex) => {
            if (response.statusCode === 200) resolve(socket);
            else reject(new Error(`the proxy ${hostname} answers ${response.statusCode ?? "nothing"}`));
        });
        request.end();
    });
}

/** Why no answer came, as the end of a sentence that starts with the server. */
export function connectionProblem(error: unknown, timeLimit: number): string {
    if (!(error instanceof Error)) return "could not be reached";
    const code = "code" in error ? String(error.code) : "";
    if (error.name === "TimeoutError" || error.name === "AbortError" || code === "ABORT_ERR")
        return `does not answer within ${timeLimit / 1000} s`;
    if (code === "ECONNREFUSED") return "refuses connections";
    if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "is a name that this machine cannot resolve";
    if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "cannot be reached from this network";
    return `could not be reached: ${error.message}`;
}
