import { lastLines, run, type RunResult } from "../../run";
import type { Variables } from "../../paths";

export interface ProgramOptions {
    /** Milliseconds after which the program and its children are killed. */
    readonly timeLimit: number;
    readonly variables?: Variables;
    readonly cwd?: string;
    readonly signal?: AbortSignal | undefined;
    readonly onErrorLine?: (line: string) => void;
}

/** A program that could not be started, did not end in time, or ended with another code than 0. */
export class ProgramError extends Error {
    constructor(
        line: string,
        readonly failure: string,
        readonly result: RunResult,
    ) {
        const said = lastLines(result.stderr.trim() === "" ? result.stdout : result.stderr, 12);
        super(
            `\`${line.length > 160 ? `${line.slice(0, 157)}...` : line}\` ${failure}${said === "" ? "." : `:\n${indent(said)}`}`,
        );
    }

    /** The program is not on this machine. */
    get missing(): boolean {
        return this.failure.includes("(ENOENT)");
    }
}

/** Runs a program to its end and gives back what it printed; throws ProgramError when it fails. */
export async function execute(program: string, args: readonly string[], options: ProgramOptions): Promise<RunResult> {
    const result = await run(program, args, { variables: process.env, ...options });
    if (result.failure !== undefined) {
        throw new ProgramError([program, ...args].join(" "), result.failure, result);
    }
    return result;
}

export function indent(text: string): string {
    return text.replace(/^/gm, "    ");
}
