import * as pulumi from "@pulumi/pulumi";
import { visibleLines } from "./visible";

/** One thing that is wrong with what a person wrote: where it stands, what was found, and what to do about it. */
export interface Problem {
    /** `file:line:column`, `file:line`, or the name of a config key. */
    readonly where: string;
    /** What was found and what was expected. */
    readonly what: string;
    /** What to type or change. */
    readonly fix?: string;
}

/**
 * Everything that is wrong with the input, told at once. It is a `RunError`, so Pulumi prints the message alone,
 * without the stack trace that would suggest a fault of the program.
 */
export class InputError extends pulumi.RunError {
    constructor(
        subject: string,
        readonly problems: readonly Problem[],
    ) {
        super(describe(subject, problems));
    }
}

function describe(subject: string, problems: readonly Problem[]): string {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    const lines = problems.map(
        ({ where, what, fix }) => `  ${where}: ${what}` + (fix === undefined ? "" : `\n      → ${fix}`),
    );
    // What a person wrote stands in it, and goes to a terminal.
    return visibleLines([`${subject}: ${count}`, ...lines].join("\n"));
}
