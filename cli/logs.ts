import { checkoutRoot } from "../local/paths";
import { ensureTools } from "../local/tools";
import { ExitCode } from "./exit-code";
import { foreground } from "./process";
import { deployedStack } from "./release-status";
import { logToStderr } from "./rendered-stack";
import { findStack } from "./stacks";

export interface LogsOptions {
    /** Of the run of each container before the present one; not followed. */
    readonly previous?: boolean;
    /** A duration as kubectl takes it: `10m`, `2h`. */
    readonly since?: string;
}

/** Follows the logs of all pods of a release, each line with its pod's name before it. */
export async function logsCommand(name: string, options: LogsOptions): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const { cluster, namespace, release, env } = await deployedStack(checkoutRoot, stack);
    const { kubectl } = await ensureTools(["kubectl"], { log: logToStderr });
    const args = ["--context", cluster, "--namespace", namespace, ...logsArguments(release, options)];
    // Ctrl-C is how one leaves it, and kubectl calls that a failure.
    let left = false as boolean;
    const leave = (): void => void (left = true);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, leave);
    const code = await foreground(kubectl.path, args, { env, cwd: checkoutRoot, harmless: true });
    if (code !== 0 && !left) throw new ExitCode(code, `kubectl logs ended with exit code ${code}`);
}

/** Arguments of kubectl, which follows five pods unless it is told more. */
export function logsArguments(release: string, { previous = false, since }: LogsOptions): string[] {
    return [
        "logs",
        "--selector",
        `app.kubernetes.io/instance=${release},app.kubernetes.io/component=api`,
        ...["--prefix", "--max-log-requests", "100"],
        // A pod without a run before this one is no reason to show nothing of the others.
        ...(previous ? ["--previous", "--ignore-errors"] : ["--follow"]),
        ...(since === undefined ? ["--tail", previous ? "-1" : "100"] : ["--since", since, "--tail", "-1"]),
    ];
}
