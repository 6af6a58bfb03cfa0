/** An HTTPS server with one model, as kind or as nasty as a test wants, that counts what it sends. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { selfSigned } from "./certificate";

export interface Asked {
    readonly path: string;
    readonly range: string | undefined;
}

/** Answers one request; what it sends through `send` is counted. */
export type Behaviour = (
    request: IncomingMessage,
    response: ServerResponse,
    send: (part: Buffer) => void,
) => Promise<void> | void;

export interface ModelServer {
    readonly url: string;
    /** The certificate that a client must trust. */
    readonly cert: string;
    readonly asked: Asked[];
    /** Bytes of bodies that were handed to the network. */
    sent: number;
    behaviour: Behaviour;
    close(): Promise<void>;
}

export async function serveModels(address = "127.0.0.1"): Promise<ModelServer> {
    const { key, cert } = selfSigned(address);
    const https = createServer({ key, cert }, (request, response) => {
        server.asked.push({ path: request.url ?? "", range: request.headers.range });
        const send = (part: Buffer): void => {
            server.sent += part.length;
            response.write(part);
        };
        response.on("error", () => undefined);
        void Promise.resolve(server.behaviour(request, response, send)).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => https.listen(0, address, resolve));
    const server: ModelServer = {
        url: `https://${address}:${(https.address() as AddressInfo).port}`,
        cert,
        asked: [],
        sent: 0,
        behaviour: status(404),
        close: () =>
            new Promise((resolve) => {
                https.close(() => {
                    resolve();
                });
                https.closeAllConnections();
            }),
    };
    return server;
}

/** All of it, or from where it was asked to go on when `etag` is given. */
export function gives(model: Buffer, { etag }: { etag?: string } = {}): Behaviour {
    return (request, response, send) => {
        const start = offsetOf(request, etag);
        response.writeHead(start === 0 ? 200 : 206, headers(model, start, etag));
        send(model.subarray(start));
        response.end();
    };
}

/** Half of what is asked for; then the connection is cut, `times` times, before all is given. */
export function cutsAtHalf(model: Buffer, { etag, times }: { etag?: string; times: number }): Behaviour {
    let left = times;
    return async (request, response, send) => {
        if (left-- <= 0) {
            await gives(model, etag === undefined ? {} : { etag })(request, response, send);
            return;
        }
        const start = offsetOf(request, etag);
        response.writeHead(start === 0 ? 200 : 206, headers(model, start, etag));
        send(model.subarray(start, start + Math.floor((model.length - start) / 2)));
        await sleep(200);
        response.destroy();
    };
}

/** Half of it, and the rest once `go` is there. */
export function waitsAtHalf(model: Buffer, go: Promise<unknown>): Behaviour {
    return async (_, response, send) => {
        response.writeHead(200, headers(model, 0));
        send(model.subarray(0, model.length / 2));
        await go;
        send(model.subarray(model.length / 2));
        response.end();
    };
}

export function status(code: number, more: Record<string, string> = {}): Behaviour {
    return (_, response) => {
        response.writeHead(code, more).end("the server's own words");
    };
}

/** Each in turn; the last one stays. */
export function inTurn(...behaviours: readonly Behaviour[]): Behaviour {
    let next = 0;
    return (...all) => behaviours[Math.min(next++, behaviours.length - 1)]?.(...all);
}

function headers(model: Buffer, start: number, etag?: string): Record<string, string> {
    return {
        "content-length": String(model.length - start),
        ...(etag === undefined ? {} : { etag }),
        ...(start === 0 ? {} : { "content-range": `bytes ${start}-${model.length - 1}/${model.length}` }),
    };
}

function offsetOf(request: IncomingMessage, etag?: string): number {
    const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
    return start === undefined || etag === undefined || request.headers["if-range"] !== etag ? 0 : Number(start);
}
