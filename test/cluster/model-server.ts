/**
 * A model server as a program, to be run inside the local node's namespaces, where pods reach it:
 * `… model-server.ts ADDRESS FILE`. The first part of a URL's path says how it behaves. It prints one line of JSON with its
 * URL and certificate, and ends with its standard input.
 */
import { readFileSync } from "node:fs";
import { type Behaviour, gives, type ModelServer, serveModels, waitsAtHalf } from "../chart/model-server";

export interface ServerLine {
    readonly url: string;
    readonly cert: string;
}

/** What any other path answers. After /go none waits at half. */
export interface Told {
    /** The models that were asked for, in turn. */
    readonly asked: readonly string[];
}

async function main(address: string, file: string): Promise<void> {
    const model = readFileSync(file);
    const damaged = Buffer.from(model);
    damaged[model.length / 2] = (damaged[model.length / 2] ?? 0) ^ 1;
    let waits = true;
    const half = waitsAtHalf(model, new Promise(() => undefined));
    const behaviours: Readonly<Record<string, Behaviour>> = {
        whole: gives(model),
        half: (...all) => (waits ? half : gives(model))(...all),
        damaged: gives(damaged),
    };
    const server: ModelServer = await serveModels(address);
    server.behaviour = (request, response, send) => {
        const name = request.url?.split("/")[1] ?? "";
        if (name in behaviours) return behaviours[name]?.(request, response, send);
        waits &&= name !== "go";
        const asked = server.asked.map(({ path }) => path).filter((path) => path.endsWith(".tar"));
        response.end(JSON.stringify({ asked } satisfies Told));
    };
    const { url, cert } = server;
    process.stdout.write(`${JSON.stringify({ url, cert } satisfies ServerLine)}\n`);
    process.stdin.resume().on("end", () => process.exit());
}

if (require.main === module) void main(process.argv[2] ?? "", process.argv[3] ?? "");
