import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { onInterrupt } from "./interrupt";
import type { Variables } from "./paths";

export type PluginKind = "language" | "resource";

/**
 * Asks a Pulumi plugin for its version in the only way all of them answer: by starting it as the engine does.
 * Returns undefined when it does not tell.
 */
export async function askPluginVersion(
    program: string,
    kind: PluginKind,
    variables: Variables,
    timeLimit: number,
): Promise<string | undefined> {
    // The engine's address: a plugin calls it only when it is given work.
    const child = spawn(program, ["127.0.0.1:1"], {
        env: { ...variables },
        stdio: ["ignore", "pipe", "ignore"],
        detached: true,
    });
    const end = (): void => {
        if (child.pid === undefined) return;
        try {
            process.kill(-child.pid, "SIGKILL");
        } catch {
            // It is gone already.
        }
    };
    const release = onInterrupt(end);
    const deadline = Date.now() + timeLimit;
    try {
        const port = await new Promise<number | undefined>((resolve) => {
            const late = setTimeout(resolve, timeLimit, undefined);
            let said = "";
            const done = (value: number | undefined): void => {
                clearTimeout(late);
                resolve(value);
            };
            child.once("error", () => {
                done(undefined);
            });
            child.once("close", () => {
                done(undefined);
            });
            child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
                said += chunk;
                const match = /^(\d+)\s*\n/.exec(said);
                if (match !== null) done(Number(match[1]));
            });
        });
        return port === undefined ? undefined : await askAt(port, kind, deadline);
    } finally {
        release();
        end();
    }
}

/** The gRPC library is loaded here and not above: it takes longer to load than all else in this folder. */
async function askAt(port: number, kind: PluginKind, deadline: number): Promise<string | undefined> {
    const load = createRequire(__filename);
    const { credentials, Metadata } = load("@grpc/grpc-js") as typeof import("@grpc/grpc-js");
    const { Empty } = load(
        "google-protobuf/google/protobuf/empty_pb.js",
    ) as typeof import("google-protobuf/google/protobuf/empty_pb.js");
    const { ResourceProviderClient } = load(
        "@pulumi/pulumi/proto/provider_grpc_pb.js",
    ) as typeof import("@pulumi/pulumi/proto/provider_grpc_pb.js");
    const { LanguageRuntimeClient } = load(
        "@pulumi/pulumi/proto/language_grpc_pb.js",
    ) as typeof import("@pulumi/pulumi/proto/language_grpc_pb.js");
    const address = `127.0.0.1:${port}`;
    const client =
        kind === "language"
            ? new LanguageRuntimeClient(address, credentials.createInsecure())
            : new ResourceProviderClient(address, credentials.createInsecure());
    try {
        return await new Promise<string | undefined>((resolve) => {
            client.getPluginInfo(new Empty(), new Metadata(), { deadline }, (error, info) => {
                const version = error === null ? info.getVersion() : "";
                resolve(version === "" ? undefined : version.replace(/^v/, ""));
            });
        });
    } finally {
        client.close();
    }
}
