import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A folder for one test; `remove` takes it away with all in it. */
export interface Scratch {
    readonly path: string;
    /** Writes a file and makes the folders above it; returns its path. */
    readonly file: (name: string, content: string, mode?: number) => string;
    /** Writes a shell script that can be run; returns its path. */
    readonly script: (name: string, body: string) => string;
    readonly remove: () => void;
}

export function scratch(): Scratch {
    const path = mkdtempSync(join(tmpdir(), "ml-api-test-"));
    const file = (name: string, content: string, mode = 0o644): string => {
        const target = join(path, name);
        mkdirSync(dirname(target), { recursive: true });
        writeFileSync(target, content);
        chmodSync(target, mode);
        return target;
    };
    return {
        path,
        file,
        script: (name, body) => file(name, `#!/bin/sh\n${body}\n`, 0o755),
        remove: () => {
            rmSync(path, { recursive: true, force: true });
        },
    };
}

/** An HTTP server on loopback. */
export interface FakeOrigin {
    readonly url: string;
    /** "METHOD path" of every request, in order. */
    readonly requests: readonly string[];
    readonly close: () => Promise<void>;
}

export async function fakeOrigin(answer: RequestListener): Promise<FakeOrigin> {
    const requests: string[] = [];
    const server: Server = createServer((request, response) => {
        requests.push(`${request.method ?? ""} ${request.url ?? ""}`);
        answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("the server has no port");
    return {
        url: `http://127.0.0.1:${address.port}`,
        requests,
        close: () =>
            new Promise((resolve) => {
                server.closeAllConnections();
                server.close(() => {
                    resolve();
                });
            }),
    };
}

/** What a promise was rejected with, in words; an error when it was not. */
export async function failure(promise: Promise<unknown>): Promise<string> {
    try {
        await promise;
    } catch (error) {
        return error instanceof Error ? error.message : String(error);
    }
    throw new Error("it did not fail");
}
