import { createHash } from "node:crypto";
import { createServer } from "node:net";

/**
 * Below the range from which systems take ports for outgoing connections, and below the NodePorts:
 * what is free here now is not taken by chance a second later.
 */
const firstPort = 18_000;
const lastPort = 29_999;

/** Finds ports that nothing listens to on loopback. `seed` spreads the start, so that two searches seldom meet. */
export async function freePorts(count: number, seed: string): Promise<readonly number[]> {
    const span = lastPort - firstPort + 1;
    const start = createHash("sha256").update(seed).digest().readUInt32BE() % span;
    const found: number[] = [];
    for (let step = 0; step < span && found.length < count; step += 1) {
        const port = firstPort + ((start + step) % span);
        if (await isFree(port)) found.push(port);
    }
    if (found.length < count)
        throw new Error(
            `Of the ports ${firstPort} to ${lastPort} on 127.0.0.1, ${count} must be free; only ${found.length} are.`,
        );
    return found;
}

export function isFree(port: number): Promise<boolean> {
    return new Promise((resolve) => {
        const server = createServer();
        server.once("error", () => {
            resolve(false);
        });
        server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
            server.close(() => {
                resolve(true);
            });
        });
    });
}
