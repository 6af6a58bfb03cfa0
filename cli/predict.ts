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

/** Opens a port-forward to the Service on a free loopback port for as long as `use` runs. */
async function forwarded<T>(
    target: Target,
    kubectl: readonly string[],
    use: (address: string) => Promise<T>,
): Promise<T> {
    const args = [...kubectl, "port-forward", "--address", "127.0.0.1", `service/${target.release}`, ":http"];
    const child = spawn("kubectl", args, { env: target.env, cwd: target.cwd, stdio: ["ignore", "pipe", "pipe"] });
    try {
        const address = await new Promise<string>((resolve, reject) => {
            let stderr = "";
            const late = setTimeout(() => {
                reject(new Error(`kubectl port-forward did not open a port within 10 s\n${stderr}`));
            }, 10_000);
            createInterface({ input: child.stdout }).on("line", (line) => {
                const port = /^Forwarding from 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
                if (port === undefined) return;
                clearTimeout(late);
                resolve(`http://127.0.0.1:${port}`);
            });
            child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
            child.on("error", reject);
            child.on("exit", () => {
                clearTimeout(late);
                reject(new Error(`kubectl port-forward ended:\n${stderr.trimEnd()}`));
            });
        });
        return await use(address);
    } finally {
        child.kill();
    }
}
