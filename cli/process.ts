import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { visibleLines } from "../components/config/visible";

/** A command that ended with an exit code other than 0, or by a signal. What it printed stands in the message. */
export class CommandError extends Error {
    constructor(
        command: string,
        readonly exitCode: number,
        readonly stderr: string,
        readonly stdout = "",
    ) {
        super(`${command} ended with exit code ${exitCode}${stderr === "" ? "" : `:\n${stderr.trimEnd()}`}`);
    }
}

/**
 * Runs a command in the foreground: it shares our terminal, and decides itself how to end when somebody presses Ctrl-C.
 * A SIGTERM to us becomes a SIGINT to it, which Pulumi and Helm answer by undoing what they began.
 *
 * @param options `interrupt`: when it is aborted, the command gets a SIGINT, too; `harmless`: what it prints is text of others, of which a
 * terminal is to obey nothing
 * @returns its exit code; 130 when a signal ended it
 */
export async function foreground(
    file: string,
    args: readonly string[],
    {
        interrupt: told,
        harmless = false,
        ...options
    }: { env: NodeJS.ProcessEnv; cwd: string; interrupt?: AbortSignal; harmless?: boolean },
): Promise<number> {
    const child = spawn(file, args, { ...options, stdio: ["inherit", harmless ? "pipe" : "inherit", "inherit"] });
    const shown = child.stdout === null ? undefined : passHarmless(child.stdout, process.stdout);
    const wait = (): void => undefined;
    const interrupt = (): void => {
        child.kill("SIGINT");
    };
    process.on("SIGINT", wait);
    process.on("SIGTERM", interrupt);
    told?.addEventListener("abort", interrupt);
    try {
        return await new Promise<number>((resolve, reject) => {
            child.on("error", reject);
            child.on("exit", (code) => {
                void (shown ?? Promise.resolve()).then(() => {
                    resolve(code ?? 130);
                }, reject);
            });
        });
    } finally {
        process.off("SIGINT", wait);
        process.off("SIGTERM", interrupt);
        told?.removeEventListener("abort", interrupt);
    }
}

/** Passes text on as it comes, with every character that a terminal would obey written as its code. */
export async function passHarmless(from: Readable, to: Writable): Promise<void> {
    for await (const text of from.setEncoding("utf8")) to.write(visibleLines(String(text).replaceAll("\r\n", "\n")));
}

/**
 * Runs a command and answers what it printed on stdout.
 *
 * @param options `input`: what the command reads from stdin; nothing by default
 * @throws CommandError
 */
export async function capture(
    file: string,
    args: readonly string[],
    { input = "", ...options }: { env: NodeJS.ProcessEnv; cwd: string; input?: string },
): Promise<string> {
    const child = spawn(file, args, { ...options, stdio: ["pipe", "pipe", "pipe"] });
    // A command may end before it has read all of it.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const code = await new Promise<number>((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (exit) => {
            resolve(exit ?? 130);
        });
    });
    if (code !== 0) throw new CommandError([file, ...args].join(" "), code, stderr, stdout);
    return stdout;
}
