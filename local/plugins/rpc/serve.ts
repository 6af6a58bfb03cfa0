import { fstatSync } from "node:fs";
import * as grpc from "@grpc/grpc-js";
import { serviceError } from "./failure";

/** As in Pulumi's own programs: large stacks send large messages, and a busy plugin may let a request wait. */
const channelOptions = {
    "grpc.max_receive_message_length": 400 * 1024 * 1024,
    "grpc.max_send_message_length": 400 * 1024 * 1024,
    "grpc.server_max_unrequested_time_in_server": 30 * 60,
};

/** A gRPC method made of an asynchronous function. */
export function unary<Request, Response>(
    handle: (request: Request, call: grpc.ServerUnaryCall<Request, Response>) => Promise<Response> | Response,
): grpc.handleUnaryCall<Request, Response> {
    return (call, callback) => {
        Promise.resolve()
            .then(() => handle(call.request, call))
            .then(
                (response) => {
                    callback(null, response);
                },
                (error: unknown) => {
                    callback(serviceError(error));
                },
            );
    };
}

export async function listen(
    service: grpc.ServiceDefinition,
    implementation: grpc.UntypedServiceImplementation,
): Promise<{ port: number; server: grpc.Server }> {
    const server = new grpc.Server(channelOptions);
    server.addService(service, implementation);
    const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
            if (error === null) resolve(bound);
            else reject(error);
        });
    });
    return { port, server };
}

/** The engine's address: the last argument, after logging and tracing flags. */
export function engineAddress(args: readonly string[]): string {
    return args.at(-1) ?? "";
}

/**
 * Serves until the engine ends the plugin, by a signal or by its own death (then the pipe to our standard input closes).
 * `stop` ends what is under way and is waited for.
 */
export async function servePlugin(
    service: grpc.ServiceDefinition,
    implementation: grpc.UntypedServiceImplementation,
    stop: () => Promise<void>,
): Promise<void> {
    const end = (): void => {
        void stop().finally(() => process.exit(0));
    };
    process.once("SIGINT", end);
    process.once("SIGTERM", end);
    const input = fstatSync(0);
    if (input.isFIFO() || input.isSocket()) process.stdin.on("end", end).on("error", end).resume();

    const { port } = await listen(service, implementation);
    // Not by the console, which paints a number where FORCE_COLOR is set: the engine reads this.
    process.stdout.write(`${port}\n`);
}
