import type { Readable } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import { AnalyzerClient, AnalyzerService } from "@pulumi/pulumi/proto/analyzer_grpc_pb";
import type { AnalyzerStackConfigureRequest } from "@pulumi/pulumi/proto/analyzer_pb";
import { AnalyzerHandshakeResponse, AnalyzerStackConfigureResponse } from "@pulumi/pulumi/proto/analyzer_pb";
import { listen, unary } from "./rpc/serve";

type Callback = (error: grpc.ServiceError | null, response: unknown) => void;
type Method = (request: unknown, callback: Callback) => void;

/**
 * Stands between the engine and a policy pack. The pack reads the stack's configuration from its environment, and the
 * engine sends that configuration only to a pack that is running already: so the proxy runs first, takes it, and
 * forwards everything else once the pack runs.
 */
export class PolicyProxy {
    readonly configuration: Promise<AnalyzerStackConfigureRequest | undefined>;
    private configured: (request: AnalyzerStackConfigureRequest | undefined) => void = () => undefined;
    private readonly pack: Promise<AnalyzerClient>;
    private attached: (client: AnalyzerClient) => void = () => undefined;
    private failed: (error: Error) => void = () => undefined;
    private server: grpc.Server | undefined;

    constructor() {
        this.configuration = new Promise((resolve) => (this.configured = resolve));
        this.pack = new Promise((resolve, reject) => {
            this.attached = resolve;
            this.failed = reject;
        });
        // Somebody may never ask for a pack that failed.
        this.pack.catch(() => undefined);
    }

    async start(): Promise<number> {
        const implementation: grpc.UntypedServiceImplementation = {};
        for (const name of Object.keys(AnalyzerService)) implementation[name] = this.forward(name);
        implementation.handshake = unary(() => new AnalyzerHandshakeResponse());
        implementation.configureStack = unary((request: AnalyzerStackConfigureRequest) => {
            this.configured(request);
            return new AnalyzerStackConfigureResponse();
        });
        const { port, server } = await listen(AnalyzerService, implementation);
        this.server = server;
        return port;
    }

    /** Connects to the pack, whose first line of output is its port, and gives the rest of its output to `print`. */
    attach(output: Readable, print: (text: Buffer) => void): void {
        let first = Buffer.alloc(0);
        let connected = false;
        output.on("data", (chunk: Buffer) => {
            if (connected) {
                print(chunk);
                return;
            }
            first = Buffer.concat([first, chunk]);
            const end = first.indexOf("\n");
            if (end < 0) return;
            connected = true;
            if (end + 1 < first.length) print(first.subarray(end + 1));
            void this.connect(Number(first.subarray(0, end).toString()));
        });
        output.once("end", () => {
            this.failed(new Error("policy pack not started: it ended before it named its port"));
        });
    }

    close(): void {
        this.server?.forceShutdown();
    }

    private async connect(port: number): Promise<void> {
        const client = new AnalyzerClient(`127.0.0.1:${String(port)}`, grpc.credentials.createInsecure());
        const configuration = await this.configuration;
        if (configuration === undefined) {
            this.attached(client);
            return;
        }
        client.configureStack(configuration, (error) => {
            // A pack of an older SDK does not know the method and needs no configuration.
            if (error === null || error.code === grpc.status.UNIMPLEMENTED) this.attached(client);
            else this.failed(new Error(`policy pack configuration failed: ${error.details}`));
        });
    }

    private forward(name: string): grpc.handleUnaryCall<unknown, unknown> {
        return unary(async (request) => {
            // Some requests come without a stack, as for publishing: then there is no configuration to wait for.
            this.configured(undefined);
            const client = await this.pack;
            const method = (client as unknown as Record<string, Method>)[name];
            return new Promise<unknown>((resolve, reject) => {
                method?.call(client, request, (error, response) => {
                    if (error === null) resolve(response);
                    else reject(new Error(error.details));
                });
            });
        });
    }
}
