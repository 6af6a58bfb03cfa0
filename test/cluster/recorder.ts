import { createServer, request, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { openAccess } from "../../components/config/kubeconfig";
import { loopbackIdentity } from "../unit/certificate";

/** What somebody asked of an API server, as RBAC sees it. */
export interface Asked {
    readonly group: string;
    /** With its subresource: `pods/log`. */
    readonly resource: string;
    readonly verb: string;
    readonly namespace: string | undefined;
    readonly name: string | undefined;
    readonly status: number;
    /** Whoever asked. */
    readonly token: string;
}

/** Stands between programs and an API server, passes everything on as it is, and writes down what was asked. */
export class Recorder {
    readonly asked: Asked[] = [];

    private constructor(
        private readonly server: Server,
        private readonly certificate: string,
    ) {}

    static async start(kubeconfig: string): Promise<Recorder> {
        const to = await openAccess(undefined, { KUBECONFIG: kubeconfig }, 5000);
        const identity = loopbackIdentity();
        const server = createServer({ cert: identity.certificate, key: identity.key });
        const recorder = new Recorder(server, identity.certificate);
        server.on("request", (incoming, outgoing) => {
            const url = new URL(incoming.url ?? "/", to.server);
            const token = (incoming.headers.authorization ?? "").replace(/^Bearer /, "");
            const onward = request(
                url,
                {
                    method: incoming.method ?? "GET",
                    // Told to close, the server hangs up on a request that it refuses without having read all of it.
                    headers: { ...incoming.headers, host: url.host, connection: "keep-alive" },
                    ca: to.ca,
                    agent: false,
                },
                (answer) => {
                    const asked = asRbac(incoming.method ?? "GET", url);
                    if (asked !== undefined) recorder.asked.push({ ...asked, status: answer.statusCode ?? 0, token });
                    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
                    answer.pipe(outgoing);
                },
            );
            onward.on("error", () => outgoing.destroy());
            outgoing.on("close", () => onward.destroy());
            incoming.pipe(onward);
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        return recorder;
    }

    /** A kubeconfig for a token, through this server. */
    kubeconfig(token: string): string {
        const { port } = this.server.address() as AddressInfo;
        return JSON.stringify({
            apiVersion: "v1",
            kind: "Config",
            "current-context": "recorded",
            contexts: [{ name: "recorded", context: { cluster: "recorded", user: "recorded" } }],
            clusters: [
                {
                    name: "recorded",
                    cluster: {
                        server: `https://127.0.0.1:${port}`,
                        "certificate-authority-data": Buffer.from(this.certificate).toString("base64"),
                    },
                },
            ],
            users: [{ name: "recorded", user: { token } }],
        });
    }

    stop(): void {
        this.server.close();
        this.server.closeAllConnections();
    }
}

/** The attributes of a request; undefined for what is about no object, such as discovery. */
function asRbac(method: string, url: URL): Omit<Asked, "status" | "token"> | undefined {
    const parts = url.pathname.split("/").filter((part) => part !== "");
    const group = parts[0] === "apis" ? (parts[1] ?? "") : "";
    const rest = parts.slice(parts[0] === "apis" ? 3 : 2);
    if (rest.length === 0 || !["api", "apis"].includes(parts[0] ?? "")) return undefined;
    const isNamespace = rest[0] === "namespaces" && rest.length <= 2;
    const namespace = rest[0] === "namespaces" ? rest[1] : undefined;
    const [resource = "", name, ...sub] = rest[0] === "namespaces" && !isNamespace ? rest.slice(2) : rest;
    const selected = /^metadata\.name=(.+)$/.exec(url.searchParams.get("fieldSelector") ?? "")?.[1];
    const reading =
        name === undefined ? (["1", "true"].includes(url.searchParams.get("watch") ?? "") ? "watch" : "list") : "get";
    const verbs: Readonly<Record<string, string>> = {
        GET: reading,
        POST: "create",
        PUT: "update",
        PATCH: "patch",
        DELETE: name === undefined ? "deletecollection" : "delete",
    };
    return {
        group,
        resource: [resource, ...sub].join("/"),
        verb: verbs[method] ?? method,
        namespace,
        name: name ?? selected,
    };
}
