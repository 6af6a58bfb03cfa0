import type { ObjectChange } from "../components/guarded-release/changes/changes";
import { type Line, noiseLine, objectLines, tellingObjects, visible } from "./diff-lines";
import { byEnvironment, countsOf, type DiffReport, problemText, restartsOf, type StackDiff } from "./diff-report";

/** Characters; GitHub refuses a comment of more than 65 536. */
export const LONGEST_COMMENT = 60_000;
/** What a table, its notes and the sentences about what was cut may take of it. */
const LONGEST_NOTE = 2000;

/**
 * The report as one comment of a pull request. Its first line is a marker that no reader sees, by which a later run finds the
 * comment to replace. No value can end a code block, add Markdown or HTML, or mention anybody.
 *
 * @param subject what the comment is about, for the marker: a stack, or `all`
 */
export function reportMarkdown(report: DiffReport, subject: string): string {
    const marker = `${commentMarker(`diff ${subject}`)}\n`;
    return bounded(marker + reportBody(report, LONGEST_COMMENT - marker.length));
}

/** The report as a part of a comment, in `room` characters if it can be. */
export function reportBody(report: DiffReport, room: number): string {
    const stacks = byEnvironment(report.stacks);
    const against = new Set(stacks.map((stack) => stack.against));
    const head = [
        "### What this changes in the clusters",
        "",
        against.size === 1 ? `Compared with ${code([...against][0] ?? "")}.` : "",
        "",
        "| environment | stack | | pods that restart |",
        "| --- | --- | --- | --- |",
        ...stacks.map(tableRow),
        "",
    ].join("\n");
    let left = room - head.length - 1;
    const sections = stacks.map((stack, index) => {
        // A stack that needs less than its share leaves the rest to those after it.
        const text = section(stack, Math.floor(left / (stacks.length - index)), against.size > 1);
        left -= text.length;
        return text;
    });
    return `${head}${sections.join("")}\n`;
}

/** The hidden first line of a comment. */
export function commentMarker(subject: string): string {
    return `<!-- ml-api ${subject.replaceAll(/[^A-Za-z0-9._, ]+/g, "-")} -->`;
}

/** A last resort, for hundreds of stacks: what is cut here has been promised to nobody. */
export function bounded(text: string): string {
    if (text.length <= LONGEST_COMMENT) return text;
    const sentence = "\n\nThe rest is cut: `npx --no ml-api diff` shows all of it.\n";
    const cut = text.slice(0, LONGEST_COMMENT - sentence.length);
    return cut.slice(0, cut.lastIndexOf("\n")) + sentence;
}

function tableRow(stack: StackDiff): string {
    const cells = [code(stack.environment), code(stack.stack), countsOf(stack), few(restartsOf(stack).map(code))];
    return `| ${cells.join(" | ")} |`;
}

function few(names: readonly string[]): string {
    return names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`;
}

/** The details of one stack, folded. */
function section(stack: StackDiff, room: number, saysAgainst: boolean): string {
    if (room < 0) return "";
    const objects = tellingObjects(stack);
    const noise = noiseLine(stack);
    const notes = [...stack.notes, ...stack.problems.map(problemText)]
        .map((note) => codeBlock(note.split("\n"), "", LONGEST_NOTE))
        .join("");
    if (objects.length === 0 && noise === undefined && notes === "") return "";
    const title = `${code(stack.environment)} · ${code(stack.stack)}: ${countsOf(stack)}`;
    const begin = [
        `\n<details><summary>${title}</summary>\n`,
        saysAgainst ? `\nCompared with ${code(stack.against)}.\n` : "",
        notes,
    ].join("");
    const end = [noise === undefined ? "" : `\n${code(noise.slice(0, LONGEST_NOTE))}\n`, "\n</details>\n"].join("");
    return begin + objectsBlock(objects, stack, room - begin.length - end.length) + end;
}

/** All names, and as many of the details as there is room for. */
function objectsBlock(objects: readonly ObjectChange[], { stack }: StackDiff, room: number): string {
    if (objects.length === 0) return "";
    const all = objects.map((object) => {
        const [heading = "", ...details] = objectLines(object).flatMap(diffLine);
        return { heading, details };
    });
    // For the fences, and for the sentence about what was cut.
    let left = room - 400;
    const named = all.filter(({ heading }) => {
        left -= heading.length + LONGEST_CUT;
        return left > 0;
    });
    let cut = 0;
    const lines = named.flatMap(({ heading, details }) => {
        const fitting = details.filter((line) => {
            // Once a line has no room, none behind it has.
            left = line.length < left ? left - line.length - 1 : 0;
            return left > 0;
        });
        const missing = details.length - fitting.length;
        if (missing === 0) return [heading, ...details];
        cut += missing;
        return [heading, ...fitting, `      … ${missing} lines are cut`];
    });
    const block = lines.length === 0 ? "" : codeBlock(lines, "diff");
    const missing = [
        ...(cut === 0 ? [] : [`${cut} lines`]),
        ...(named.length === all.length ? [] : [`${all.length - named.length} of ${all.length} objects`]),
    ].join(" and ");
    if (missing === "") return block;
    const command = code(`npx --no ml-api diff ${stack}`);
    return `${block}\n${missing} are cut here, because a comment has no more room: ${command} shows all.\n`;
}

/** Characters of a line that says what was cut, with its line break and that of the heading. */
const LONGEST_CUT = 40;

/** In the colours of a diff: what changes is taken away and added. */
function diffLine({ sign, text, change }: Line): readonly string[] {
    if (change !== undefined) return [`- ${text}${change.before}`, `+ ${text}${change.after}`];
    return [`${sign === "~" ? "!" : sign} ${text}`];
}

/** A block that no line of it can end, of at most `limit` characters and the fences. */
export function codeBlock(lines: readonly string[], language: string, limit = Infinity): string {
    let left = limit;
    const fitting = lines.map(visible).filter((line) => {
        left = line.length < left ? left - line.length - 1 : 0;
        return left > 0;
    });
    const cut = lines.length - fitting.length;
    const text = [...fitting, ...(cut === 0 ? [] : [`… ${cut} lines are cut`])].join("\n");
    const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
    const fence = "`".repeat(longest + 1);
    return `\n${fence}${language}\n${text}\n${fence}\n`;
}

/** Text of a chart or a branch, as text: inside `<code>` nobody is mentioned, and entities are neither Markdown nor links. */
export function code(text: string): string {
    return `<code>${visible(text).replaceAll(/[^A-Za-z0-9 /,()-]/gu, (character) => `&#${character.codePointAt(0) ?? 0};`)}</code>`;
}
