import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { capture } from "./process";

/** An API that runs, and how to run commands against its cluster. */
export interface Target {
    readonly release: string;
    readonly namespace: string;
    readonly context: string;
    readonly env: NodeJS.ProcessEnv;
    readonly cwd: string;
}

export interface Prediction {
    readonly status: number;
    readonly body: string;
    readonly milliseconds: number;
    /** What was asked. */
    readonly sample: string;
}

/** The release's values as Helm merged them, as far as a prediction needs them. */
interface ReleaseValues {
    readonly apiKey?: { readonly enabled?: boolean; readonly existingSecret?: string };
    readonly verify?: { readonly sample?: unknown; readonly path?: string };
}

/** Sends the values' `verify.sample` to the API through its Service, with its key. Ends by itself within 20 s. */
export async function predict(target: Target): Promise<Prediction> {
    const { env, cwd } = target;
    const kubectl = ["--context", target.context, "--namespace", target.namespace];
    const helm = [
        "get",
        "values",
        target.release,
        "--all",
        "--output",
        "json",
        "--namespace",
        target.namespace,
        "--kube-context",
        target.context,
    ];
    const values = JSON.parse(await capture("helm", helm, { env, cwd })) as ReleaseValues;
    const sample =
        typeof values.verify?.sample === "string" ? values.verify.sample : JSON.stringify(values.verify?.sample ?? {});

    const headers: Record<string, string> = { "content-type": "application/json" };
    const secret = values.apiKey?.existingSecret ?? "";
    if (values.apiKey?.enabled !== false && secret !== "") {
        const key = await capture(
            "kubectl",
            [...kubectl, "get", "secret", secret, "--output", "go-template={{.data.key | base64decode}}"],
            { env, cwd },
        );
        headers["authorization"] = `Bearer ${key}`;
    }

    return forwarded(target, kubectl, async (address) => {
        const began = performance.now();
        const request = { method: "POST", headers, body: sample, signal: AbortSignal.timeout(10_000) };
        const response = await fetch(`${address}${values.verify?.path ?? "/predict"}`, request).catch(
            (error: unknown) => {
                const reason = error instanceof Error ? (error.cause ?? error) : error;
                const words = reason instanceof Error ? reason.message : String(reason);
                throw new Error(
                    `no pod of ${target.release} answered through its Service (${words}) → kubectl ${kubectl.join(" ")} get pods`,
                );
            },
        );
        const body = await response.text();
        return { status: response.status, body, milliseconds: Math.round(performance.now() - began), sample };
    });
}

/**
 * Opens a port-forward to the Service on a loopback port for as long as `use` runs.
 *
 * @param kubectl arguments that lead to the namespace
 * @param use gets the address, and what rejects when the forwarding has ended by itself
 * @param options `program`: default the kubectl on PATH; `port`: default any that is free
 */
export async function forwarded<T>(
    target: Pick<Target, "env" | "release" | "cwd">,
    kubectl: readonly string[],
    use: (address: string, ended: Promise<never>) => Promise<T>,
    { program = "kubectl", port = 0 }: { readonly program?: string; readonly port?: number } = {},
): Promise<T> {
    const args = [...kubectl, "port-forward", "--address", "127.0.0.1", `service/${target.release}`];
    const child = spawn(program, [...args, `${port === 0 ? "" : port}:http`], {
        env: target.env,
        cwd: target.cwd,
        stdio: ["ignore", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const ended = new Promise<never>((_, reject) => {
        child.on("error", reject);
        child.on("exit", () => {
            reject(new Error(`kubectl port-forward ended:\n${stderr.trimEnd()}`));
        });
    });
    // Whoever does not wait for it any more has ended it.
    ended.catch(() => undefined);
    let late: NodeJS.Timeout | undefined;
    try {
        const opened = new Promise<string>((resolve, reject) => {
            late = setTimeout(() => {
                reject(new Error(`kubectl port-forward did not open a port within 10 s\n${stderr}`));
            }, 10_000);
            createInterface({ input: child.stdout }).on("line", (line) => {
                const local = /^Forwarding from 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
                if (local !== undefined) resolve(`http://127.0.0.1:${local}`);
            });
        });
        const address = await Promise.race([opened, ended]);
        clearTimeout(late);
        return await use(address, ended);
    } finally {
        clearTimeout(late);
        child.kill();
    }
}
