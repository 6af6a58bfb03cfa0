import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import type { Properties, Value } from "../rpc/properties";
import { writeYaml } from "./manifest";
import type { Target } from "./kubeconfig";

/** What `helm` printed as its error, without the words that only its command line puts before it. */
export class HelmError extends Error {
    override readonly name = "HelmError";
}

export interface HelmSettings {
    /** Where releases are recorded: secret, configmap, memory or sql. */
    driver: string;
    pluginsPath: string;
    registryConfigPath: string;
    repositoryConfigPath: string;
    repositoryCache: string;
}

export interface HelmCall {
    args: string[];
    /** Given to `-f -`. */
    values?: Properties;
    /** Absent for what needs no cluster. */
    target?: Target;
    /** The operation ends in an orderly manner when it is told to; anything else is left to end by itself. */
    cancellable?: boolean;
}

function messageOf(output: string): string {
    // Before it come warnings about the kubeconfig's permissions and the like.
    const start = output.lastIndexOf("\nError: ");
    const error = output.startsWith("Error: ") && start < 0 ? output : output.slice(start + 1);
    return error
        .replace(/^Error: /, "")
        .replace(/^(?:INSTALLATION|UPGRADE) FAILED: /, "")
        .replace(/\s*Use --debug flag to render out invalid YAML\s*$/, "")
        .trim();
}

function environment(settings: HelmSettings, target: Target | undefined): NodeJS.ProcessEnv {
    const env: NodeJS.ProcessEnv = { ...process.env, HELM_DRIVER: settings.driver };
    const paths = {
        HELM_PLUGINS: settings.pluginsPath,
        HELM_REGISTRY_CONFIG: settings.registryConfigPath,
        HELM_REPOSITORY_CONFIG: settings.repositoryConfigPath,
        HELM_REPOSITORY_CACHE: settings.repositoryCache,
    };
    for (const [name, path] of Object.entries(paths)) if (path !== "") env[name] = path;
    // These would lead helm somewhere else than the provider's settings say.
    for (const name of ["HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_DEBUG"]) Reflect.deleteProperty(env, name);
    if (target?.helmKubeconfig !== undefined) env.KUBECONFIG = target.helmKubeconfig;
    return env;
}

/** Runs the `helm` program, and knows which of its processes are alive. */
export class Helm {
    private readonly running = new Map<ChildProcess, { cancellable: boolean; ended: Promise<void> }>();
    private cancelled = false;

    constructor(private readonly settings: HelmSettings) {}

    /** Tells every operation that can be told, and waits until all have ended. */
    async cancel(): Promise<void> {
        this.cancelled = true;
        for (const [child, { cancellable }] of this.running) if (cancellable) child.kill("SIGTERM");
        await Promise.all([...this.running.values()].map(({ ended }) => ended));
    }

    async run({ args, values, target, cancellable = false }: HelmCall): Promise<string> {
        if (this.cancelled) throw new HelmError("context canceled");
        const program = process.env.ML_API_HELM ?? "helm";
        // Helm stays in this plugin's process group, so that whoever ends the group ends Helm too.
        const child = spawn(program, [...args, ...(target?.helmFlags ?? [])], {
            env: environment(this.settings, target),
            stdio: ["pipe", "pipe", "pipe"],
        });
        const result = new Promise<string>((resolve, reject) => {
            const output: Buffer[] = [];
            const errors: Buffer[] = [];
            child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
            child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
            child.once("error", (error: NodeJS.ErrnoException) => {
                const hint = error.code === "ENOENT" ? "put helm 3 on PATH or name it in ML_API_HELM" : error.message;
                reject(new HelmError(`cannot run ${program}: ${hint}`));
            });
            child.once("close", (code, signal) => {
                if (code === 0) resolve(Buffer.concat(output).toString());
                else if (signal !== null) reject(new HelmError(`${program} ${args[0] ?? ""} was killed by ${signal}`));
                else reject(new HelmError(messageOf(Buffer.concat(errors).toString())));
            });
        });
        const ended = result.then(
            () => undefined,
            () => undefined,
        );
        this.running.set(child, { cancellable, ended });
        void ended.finally(() => this.running.delete(child));
        // A chart error may end helm before it has read its values.
        child.stdin.on("error", () => undefined);
        child.stdin.end(values === undefined ? "" : writeYaml(values));
        return result;
    }

    async json(call: HelmCall): Promise<Value> {
        return JSON.parse(await this.run({ ...call, args: [...call.args, "--output", "json"] })) as Value;
    }
}
