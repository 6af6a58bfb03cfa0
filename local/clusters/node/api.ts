import * as fs from "node:fs/promises";
import * as https from "node:https";
import * as path from "node:path";

export interface ApiAnswer {
    readonly status: number;
    readonly text: string;
}

/** Plain requests to the node's API server as its administrator, for the few questions that starting it asks. */
export class ApiServer {
    private constructor(
        readonly url: string,
        private readonly credentials: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer },
    ) {}

    static async of(url: string, pki: string): Promise<ApiServer> {
        const read = (file: string): Promise<Buffer> => fs.readFile(path.join(pki, file));
        return new ApiServer(url, {
            ca: await read("ca.crt"),
            cert: await read("admin.crt"),
            key: await read("admin.key"),
        });
    }

    request(method: "GET" | "POST" | "PUT", place: string, body?: unknown, timeoutMs = 3000): Promise<ApiAnswer> {
        return new Promise((resolve, reject) => {
            const headers = body === undefined ? {} : { "content-type": "application/json" };
            const request = https.request(
                new URL(place, this.url),
                // A connection of its own each time: nothing stays open that would keep this program from ending.
                { ...this.credentials, method, headers, agent: false, timeout: timeoutMs },
                (response) => {
                    const chunks: Buffer[] = [];
                    response.on("data", (chunk: Buffer) => chunks.push(chunk));
                    response.on("error", reject);
                    response.on("end", () => {
                        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
                    });
                },
            );
            request.on("timeout", () =>
                request.destroy(new Error(`${this.url} did not answer within ${timeoutMs} ms`)),
            );
            request.on("error", reject);
            request.end(body === undefined ? undefined : JSON.stringify(body));
        });
    }

    isReady(): Promise<boolean> {
        return this.has("/readyz");
    }

    /** Whether there is such a thing; an API server that does not answer has none. */
    has(place: string): Promise<boolean> {
        return this.request("GET", place).then(
            ({ status }) => status === 200,
            () => false,
        );
    }

    /** The node's Ready condition, or in words why there is none. */
    async nodeReadiness(node: string): Promise<Readiness> {
        const answer = await this.request("GET", `/api/v1/nodes/${node}`).catch((error: unknown) => String(error));
        if (typeof answer === "string") {
            return { ready: false, why: answer, heartbeat: 0 };
        }
        if (answer.status !== 200) {
            return {
                ready: false,
                why: answer.status === 404 ? "the kubelet has not registered it yet" : `status ${answer.status}`,
                heartbeat: 0,
            };
        }
        const { status } = JSON.parse(answer.text) as { status?: { conditions?: readonly NodeCondition[] } };
        const condition = status?.conditions?.find(({ type }) => type === "Ready");
        const heartbeat = Date.parse(condition?.lastHeartbeatTime ?? "") || 0;
        return { ready: condition?.status === "True", why: condition?.message ?? "no Ready condition yet", heartbeat };
    }

    /** Creates an object, or leaves the one of that name. */
    async ensure(collection: string, object: unknown): Promise<void> {
        const { status, text } = await this.request("POST", collection, object);
        if (status !== 201 && status !== 409) {
            throw new Error(
                `The local node's API server refused an object in ${collection} (status ${status}): ${text.slice(0, 400)}`,
            );
        }
    }
}

/** What the API server knows of a node. */
export interface Readiness {
    readonly ready: boolean;
    /** In words, when it is not. */
    readonly why: string;
    /** When the kubelet last said so, in milliseconds of Unix time. */
    readonly heartbeat: number;
}

interface NodeCondition {
    readonly type: string;
    readonly status: string;
    readonly message?: string;
    readonly lastHeartbeatTime?: string;
}
