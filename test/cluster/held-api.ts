import {
    createServer,
    type IncomingMessage,
    request as plainRequest,
    type Server,
    type ServerResponse,
} from "node:http";
import { request as secureRequest } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { ApiAccess } from "../../components/config/kubeconfig";

/** A request as a test may wait for it. */
export interface Seen {
    readonly method: string;
    /** With query. */
    readonly path: string;
    /** Whose client it is: `Helm/3…`, `kubectl/…`, empty for Node. */
    readonly agent: string;
    readonly body: string;
}

/**
 * The API server behind a door: everything passes, until a test closes it at a request that it names. So a run stands still exactly
 * there, for as long as it takes to kill it.
 */
export class HeldApi {
    private readonly server: Server;
    private readonly sockets = new Set<Socket>();
    private closedAt: ((seen: Seen) => boolean) | undefined;
    private reached: ((seen: Seen) => void) | undefined;
    private held: (() => void)[] | undefined;
    private also: (seen: Seen) => boolean = () => true;

    constructor(private readonly access: ApiAccess) {
        this.server = createServer((incoming, outgoing) => void this.serve(incoming, outgoing));
        this.server.on("connection", (socket) => {
            this.sockets.add(socket);
            socket.once("close", () => this.sockets.delete(socket));
        });
    }

    async start(): Promise<void> {
        await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    }

    /** A kubeconfig with one context, which leads through the door. */
    kubeconfig(context: string): string {
        const server = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
        return JSON.stringify({
            "current-context": context,
            contexts: [{ name: context, context: { cluster: "held", user: "held" } }],
            clusters: [{ name: "held", cluster: { server } }],
            users: [{ name: "held", user: { token: "held" } }],
        });
    }

    /**
     * Holds the first such request, and of those after it all that are named. Resolves when it has come.
     *
     * @param also default: every one
     */
    holdAt(wanted: (seen: Seen) => boolean, also: (seen: Seen) => boolean = () => true): Promise<Seen> {
        this.closedAt = wanted;
        this.also = also;
        return new Promise((resolve) => {
            this.reached = resolve;
        });
    }

    /** What was held goes on. */
    open(): void {
        this.closedAt = undefined;
        const held = this.held ?? [];
        this.held = undefined;
        for (const go of held) go();
    }

    /** What was held is lost, with the connections; from now on everything passes. */
    drop(): void {
        this.closedAt = undefined;
        this.held = undefined;
        for (const socket of this.sockets) socket.destroy();
    }

    stop(): void {
        this.drop();
        this.server.close();
    }

    private async serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
        const chunks: Buffer[] = [];
        for await (const chunk of incoming) chunks.push(chunk as Buffer);
        const body = Buffer.concat(chunks);
        const { method = "GET", url = "/", headers } = incoming;
        const seen = { method, path: url, agent: headers["user-agent"] ?? "", body: body.toString("utf8") };
        if (this.closedAt?.(seen) === true && this.held === undefined) {
            this.held = [];
            this.reached?.(seen);
        }
        const { held } = this;
        if (held !== undefined && this.also(seen)) await new Promise<void>((resolve) => held.push(resolve));
        if (outgoing.destroyed) return;
        this.forward(incoming, outgoing, body);
    }

    private forward({ method, url, headers }: IncomingMessage, outgoing: ServerResponse, body: Buffer): void {
        const { server, ca, clientCertificate: cert, clientKey: key } = this.access;
        const target = new URL(url ?? "/", server);
        const send = target.protocol === "http:" ? plainRequest : secureRequest;
        const own = ["authorization", "host"];
        const passed = Object.fromEntries(Object.entries(headers).filter(([name]) => !own.includes(name)));
        const onward = send(target, { method, headers: passed, ca, cert, key }, (answer) => {
            outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
            answer.pipe(outgoing);
        });
        onward.on("error", () => outgoing.destroy());
        outgoing.on("close", () => onward.destroy());
        onward.end(body);
    }
}
