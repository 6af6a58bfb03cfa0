import { spawn } from "node:child_process";
import { onInterrupt } from "./interrupt";
import type { Variables } from "./paths";

export interface RunOptions {
    readonly cwd?: string;
    readonly variables: Variables;
    /** Milliseconds after which the program and its children are killed. */
    readonly timeLimit: number;
    /** Each line of standard error, as it comes. */
    readonly onErrorLine?: (line: string) => void;
    readonly signal?: AbortSignal | undefined;
}

export interface RunResult {
    readonly stdout: string;
    readonly stderr: string;
    /** Why it did not end well, as the end of a sentence that starts with the program; absent when it ended with code 0. */
    readonly failure?: string;
    /** It was ended because its caller, or this whole program, was told to stop. */
    readonly interrupted?: true;
}

export type Run = (program: string, args: readonly string[], options: RunOptions) => Promise<RunResult>;

const interruptedText = "was interrupted";

/** Only the end of long outputs is kept: a build may print for an hour. */
const keptCharacters = 1_000_000;

/**
 * Runs a program in a process group of its own, so that the time limit, an abort and the end of this process
 * take its children with it. Never rejects: the caller reads `failure`.
 */
export const run: Run = (program, args, options) =>
    new Promise((resolve) => {
        const child = spawn(program, args, {
            cwd: options.cwd,
            env: { ...options.variables },
            stdio: ["ignore", "pipe", "pipe"],
            detached: true,
        });
        let stdout = "";
        let stderr = "";
        let line = "";
        let ended: string | undefined;

        const killGroup = (): void => {
            if (child.pid === undefined) return;
            try {
                process.kill(-child.pid, "SIGKILL");
            } catch {
                // It is gone already.
            }
        };
        const end = (why: string): void => {
            ended ??= why;
            killGroup();
        };
        const aborted = (): void => {
            end(interruptedText);
        };
        const release = onInterrupt(aborted);
        const timer = setTimeout(() => {
            end(`did not end within ${options.timeLimit / 1000} s`);
        }, options.timeLimit);
        if (options.signal?.aborted === true) aborted();
        options.signal?.addEventListener("abort", aborted, { once: true });

        child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
            stdout = (stdout + chunk).slice(-keptCharacters);
        });
        child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
            stderr = (stderr + chunk).slice(-keptCharacters);
            const lines = (line + chunk).split("\n");
            line = lines.pop() ?? "";
            for (const whole of lines) options.onErrorLine?.(whole);
        });

        const settle = (failure: string | undefined): void => {
            clearTimeout(timer);
            release();
            options.signal?.removeEventListener("abort", aborted);
            if (failure === undefined) resolve({ stdout, stderr });
            else resolve({ stdout, stderr, failure, ...(failure === interruptedText ? { interrupted: true } : {}) });
        };
        child.once("error", (error: NodeJS.ErrnoException) => {
            settle(ended ?? `could not be started (${error.code ?? error.message})`);
        });
        child.once("close", (code, signal) => {
            if (ended !== undefined) settle(ended);
            else if (code === 0) settle(undefined);
            else settle(code === null ? `was ended by ${signal ?? "a signal"}` : `ended with code ${code}`);
        });
    });

/** The last lines of an output, for an error message. */
export function lastLines(text: string, count: number): string {
    return text.trimEnd().split("\n").slice(-count).join("\n");
}
