import * as fs from "node:fs";
import { didYouMean } from "../components/config/nearest";
import { checkoutRoot } from "../local/paths";
import { ensureTools } from "../local/tools";
import { checkMarkdown } from "./check-markdown";
import { checkedOf, type Outcome, type Step, STEPS, textOf } from "./check-steps";
import { visible } from "./diff-lines";
import { paint } from "./diff-terminal";
import { logToStderr } from "./rendered-stack";

export interface CheckOptions {
    readonly base?: string;
    readonly only?: readonly string[];
    readonly skip?: readonly string[];
    readonly json?: boolean;
    /** File to write a comment of a pull request into. */
    readonly markdown?: string;
}

export interface StepResult extends Outcome {
    readonly name: string;
    readonly seconds: number;
}

/** Runs every step, also after one that failed. */
export async function checkCommand(options: CheckOptions): Promise<void> {
    const quiet = options.json === true;
    const steps = choose(options);
    // Now, so that no line about a tool stands among the results. What cannot be had fails the step that needs it.
    const tools = steps.flatMap((step) => step.tools ?? []);
    await ensureTools(tools, { log: logToStderr }).catch(() => undefined);
    const results = await runSteps(steps, checkoutRoot, options.base, {
        begin: (name) => {
            if (!quiet) process.stdout.write(`${name.padEnd(WIDTH)} `);
        },
        end: (result) => {
            if (!quiet) process.stdout.write(resultText(result));
        },
    });
    if (quiet) process.stdout.write(resultsJson(results));
    else process.stdout.write(`\n${totals(results)}\n`);
    if (options.markdown !== undefined) fs.writeFileSync(options.markdown, checkMarkdown(results));
    if (results.some(({ status }) => status === "failed")) process.exitCode = 1;
}

const WIDTH = Math.max(...STEPS.map(({ name }) => name.length));

/** The steps that are asked for. @throws an error for a name that no step has */
export function choose({ only, skip }: Pick<CheckOptions, "only" | "skip">): readonly Step[] {
    const names = STEPS.map(({ name }) => name);
    for (const name of [...(only ?? []), ...(skip ?? [])]) {
        if (!names.includes(name))
            throw new Error(`there is no step "${name}"${didYouMean(name, names)}; the steps are ${names.join(", ")}`);
    }
    return STEPS.filter(({ name }) => only?.includes(name) !== false && skip?.includes(name) !== true);
}

export async function runSteps(
    steps: readonly Step[],
    root: string,
    base: string | undefined,
    show: { readonly begin: (name: string) => void; readonly end: (result: StepResult) => void },
): Promise<readonly StepResult[]> {
    const checked = checkedOf(root, base);
    const results: StepResult[] = [];
    for (const { name, run } of steps) {
        show.begin(name);
        const began = performance.now();
        const outcome = await run(checked).catch((error: unknown): Outcome => {
            return { status: "failed", details: textOf(error) };
        });
        const result = { name, seconds: Math.round((performance.now() - began) / 100) / 10, ...outcome };
        results.push(result);
        show.end(result);
    }
    return results;
}

function resultsJson(results: readonly StepResult[]): string {
    const ok = results.every(({ status }) => status !== "failed");
    // `ml-api diff --json` has the report.
    const steps = results.map((result) => ({ ...result, report: undefined }));
    return `${JSON.stringify({ version: 1, ok, steps }, undefined, 2)}\n`;
}

/** Lines of a failed program that are shown; the last ones, where most programs sum up. */
const LONGEST_DETAILS = 100;

function resultText({ status, seconds, says, details }: StepResult): string {
    const color = { ok: "green", failed: "red", skipped: "yellow" } as const;
    const [first = "", ...more] = (says ?? "").split("\n");
    const lines = (details ?? "").split("\n").map(visible);
    const shown =
        lines.length <= LONGEST_DETAILS
            ? lines
            : [`… ${lines.length - LONGEST_DETAILS} lines before`, ...lines.slice(-LONGEST_DETAILS)];
    return [
        `${paint(color[status], status.padEnd("skipped".length))} ${`${seconds.toFixed(1)} s`.padStart(8)}  ${visible(first)}`.trimEnd(),
        ...more.map((line) => `${" ".repeat(WIDTH + 20)}${visible(line)}`),
        ...(details === undefined ? [] : shown.map((line) => `    ${line}`.trimEnd())),
        "",
    ].join("\n");
}

function totals(results: readonly StepResult[]): string {
    const count = (status: Outcome["status"]) => results.filter((result) => result.status === status).length;
    const failed = results.filter(({ status }) => status === "failed").map(({ name }) => name);
    const skipped = count("skipped") === 0 ? "" : `, ${count("skipped")} skipped`;
    return `${count("ok")} ok, ${failed.length} failed${failed.length === 0 ? "" : ` (${failed.join(", ")})`}${skipped}`;
}
