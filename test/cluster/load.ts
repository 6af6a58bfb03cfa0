/**
 * A constant load on an API, as a program of its own, to be run beside the API: `… load.ts SETTINGS` (JSON). Requests begin
 * when their time has come, however many are still unanswered, and none is tried again. Half of them come on new connections, half
 * on kept ones; among both are short ones and long ones. It prints one line of JSON for each request that has ended. When its
 * standard input ends, no more begin, and the program ends with the last answer.
 *
 * undici, because it hands over each connection's state: a request never goes to a connection that was seen closed, and nothing is
 * repeated behind our back (Node's own fetch is the same library, with one pool for all).
 */
import { setImmediate } from "node:timers/promises";
import { Client } from "undici";

export interface LoadSettings {
    /** http://HOST:PORT of the API. */
    readonly url: string;
    readonly path: string;
    readonly key: string;
    readonly short: Share;
    readonly long: Share;
}
interface Share {
    readonly perSecond: number;
    /** What is sent, in turn. */
    readonly bodies: readonly string[];
    /** Longer without an answer is a failure. */
    readonly seconds: number;
}

export interface Ended {
    readonly share: "short" | "long";
    readonly connection: "new" | "kept";
    /** Milliseconds since 1970: when it was to begin, and when it was answered or failed. */
    readonly began: number;
    readonly ended: number;
    /** Who answered. */
    readonly pod?: string;
    /** Its kind, in the words of the client or as the status. */
    readonly failure?: string;
}

const connectMilliseconds = 10_000;
/** Longer than a server keeps an idle connection, so that it is never the client that closes one. */
const idleMilliseconds = 600_000;

/** Connections of one share: each request takes the one that rested longest, or a new one when all are busy. */
class Connections {
    private readonly resting: Client[] = [];

    constructor(
        private readonly url: string,
        private readonly kept: boolean,
        atLeast: number,
    ) {
        if (kept) for (let index = 0; index < atLeast; index++) this.resting.push(this.open());
    }

    private open(): Client {
        return new Client(this.url, {
            pipelining: this.kept ? 1 : 0,
            keepAliveTimeout: idleMilliseconds,
            keepAliveMaxTimeout: idleMilliseconds,
            connect: { timeout: connectMilliseconds },
            headersTimeout: 0,
            bodyTimeout: 0,
        });
    }

    async use<T>(work: (client: Client) => Promise<T>): Promise<T> {
        // What has reached this machine is seen before anything is sent: on a busy one, the end of a connection can lie there for
        // long, and a client that has not looked would take it for open. Twice, as a router in this process needs a turn, too.
        await setImmediate();
        await setImmediate();
        const client = this.resting.shift() ?? this.open();
        try {
            return await work(client);
        } finally {
            if (this.kept) this.resting.push(client);
            else void client.destroy();
        }
    }

    async close(): Promise<void> {
        await Promise.all(this.resting.map((client) => client.destroy()));
    }
}

async function ask(client: Client, settings: LoadSettings, share: Share, body: string): Promise<string> {
    const answer = await client.request({
        method: "POST",
        path: settings.path,
        headers: { "content-type": "application/json", authorization: `Bearer ${settings.key}` },
        body,
        signal: AbortSignal.timeout(share.seconds * 1000),
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
    return (JSON.parse(text) as { model: { name: string } }).model.name;
}

/** "UND_ERR_SOCKET other side closed", "ECONNREFUSED", "status 503". */
function kindOf(error: unknown): string {
    if (!(error instanceof Error)) return String(error);
    if (error.name === "TimeoutError") return "no answer in time";
    const code = "code" in error && typeof error.code === "string" ? error.code : "";
    return code.startsWith("E") ? code : `${code} ${error.message}`.trim();
}

/**
 * Begins it.
 *
 * @param onEnded told of every request that has ended
 * @returns ends it: no more begin, and the last has ended
 */
export function applyLoad(settings: LoadSettings, onEnded: (ended: Ended) => void): () => Promise<void> {
    const open = new Set<Promise<void>>();
    const pools: Connections[] = [];
    const timers: NodeJS.Timeout[] = [];
    for (const name of ["short", "long"] as const) {
        const share = settings[name];
        // Enough that some lead to each pod all the time; long requests open more as they need them.
        const atLeast = name === "short" ? 16 : 4;
        const pool = {
            new: new Connections(settings.url, false, 0),
            kept: new Connections(settings.url, true, atLeast),
        };
        pools.push(pool.new, pool.kept);
        const start = Date.now();
        const due = (count: number): number => start + (count / share.perSecond) * 1000;
        const begin = (count: number): void => {
            const connection = count % 2 === 0 ? "new" : "kept";
            const body = share.bodies[(count >> 1) % share.bodies.length] ?? "";
            const request = pool[connection]
                .use((client) => ask(client, settings, share, body))
                .then(
                    (pod) => ({ pod }),
                    (error: unknown) => ({ failure: kindOf(error) }),
                )
                .then((outcome) => {
                    onEnded({ share: name, connection, began: due(count), ended: Date.now(), ...outcome });
                    open.delete(request);
                });
            open.add(request);
        };
        let count = 0;
        timers.push(
            setInterval(() => {
                while (due(count) <= Date.now()) begin(count++);
            }, 2),
        );
    }
    return async () => {
        for (const timer of timers) clearInterval(timer);
        await Promise.all(open);
        await Promise.all(pools.map((pool) => pool.close()));
    };
}

async function main(settings: LoadSettings): Promise<void> {
    const end = applyLoad(settings, (ended) => {
        process.stdout.write(`${JSON.stringify(ended)}\n`);
    });
    await new Promise((resolve) => process.stdin.resume().on("end", resolve));
    await end();
}

if (require.main === module) void main(JSON.parse(process.argv[2] ?? "") as LoadSettings);
