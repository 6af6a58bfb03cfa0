import { styleText } from "node:util";
import { type Line, noiseLine, objectLines, tellingObjects, visible } from "./diff-lines";
import { byEnvironment, type DiffReport, problemText, type StackDiff, summaryOf } from "./diff-report";

export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string;

/** Colours where stdout is a terminal, and nobody set NO_COLOR. */
export const paint: Paint = (format, text) => styleText(format, text, { stream: process.stdout });

/** The report for people at a terminal. */
export function reportText({ stacks }: DiffReport, color: Paint): string {
    return byEnvironment(stacks)
        .map((stack) => stackText(stack, color))
        .join("\n");
}

function stackText(stack: StackDiff, color: Paint): string {
    const title = `${stack.stack} (${visible(stack.release)} in ${visible(stack.namespace)})`;
    const noise = noiseLine(stack);
    const lines = [
        `${color("bold", title)}, compared with ${visible(stack.against)}`,
        ...[...stack.notes, ...stack.problems.map(problemText)].map((note) => indent(color("yellow", noteText(note)))),
        ...tellingObjects(stack).flatMap((object) => objectLines(object).map((line) => indent(lineText(line, color)))),
        ...(noise === undefined ? [] : [indent(color("dim", noise))]),
        indent(visible(summaryOf(stack))),
    ];
    return `${lines.join("\n")}\n`;
}

function noteText(note: string): string {
    return `! ${note.split("\n").map(visible).join("\n  ")}`;
}

const COLORS = { "+": "green", "-": "red", "~": "yellow", " ": "dim" } as const;

function lineText({ sign, text, change }: Line, color: Paint): string {
    const values = change === undefined ? "" : `${change.before} → ${change.after}`;
    return color(COLORS[sign], `${sign} ${text}${values}`);
}

function indent(text: string): string {
    return text.replaceAll(/^/gm, "  ");
}
