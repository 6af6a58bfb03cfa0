import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { helmBinary } from "./helm";

/** Helm with settings and caches of its own; answers what it printed. */
export function helmWithHome(home: string): (...args: string[]) => Promise<string> {
    const own = { HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home, NO_PROXY: "127.0.0.1" };
    return async (...args) =>
        (await promisify(execFile)(helmBinary(), args, { env: { ...process.env, ...own } })).stdout;
}

/** Shows a folder's files under /charts/. */
export async function webServer(folder: string): Promise<{ url: string; close: () => void }> {
    const server = createServer((request, response) => {
        const name = /^\/charts\/([\w.-]+)$/.exec(request.url ?? "")?.[1];
        try {
            response.end(readFileSync(join(folder, name ?? "none")));
        } catch {
            response.writeHead(404).end();
        }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/charts`,
        close: () => void server.close(),
    };
}

/** A registry for images that keeps what it is given in memory. */
export async function imageRegistry(crane: string): Promise<{ process: ChildProcess; address: string }> {
    const child = spawn(crane, ["registry", "serve", "--address", "127.0.0.1:0"], {
        stdio: ["ignore", "ignore", "pipe"],
    });
    const port = await new Promise<string>((resolve, reject) => {
        createInterface({ input: child.stderr }).on("line", (line) => {
            const found = /serving on port (\d+)/.exec(line)?.[1];
            if (found !== undefined) resolve(found);
        });
        child.on("error", reject);
        child.on("exit", (code) => {
            reject(new Error(`the registry ended with code ${String(code)}`));
        });
    });
    return { process: child, address: `127.0.0.1:${port}` };
}
