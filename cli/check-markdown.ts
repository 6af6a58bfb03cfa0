import type { StepResult } from "./check";
import { bounded, code, codeBlock, commentMarker, LONGEST_COMMENT, reportBody } from "./diff-markdown";

/** Characters of what a step said. */
const LONGEST_DETAILS = 3000;

/** The results as one comment of a pull request: every step in a line, and what the change does to each environment. */
export function checkMarkdown(results: readonly StepResult[]): string {
    const steps = [
        commentMarker("check"),
        "### Checks",
        "",
        "| step | | seconds | |",
        "| --- | --- | ---: | --- |",
        ...results.map(tableRow),
        "",
        ...results.flatMap(detailsOf),
        "",
    ].join("\n");
    const report = results.find((result) => result.report !== undefined)?.report;
    return bounded(report === undefined ? steps : steps + reportBody(report, LONGEST_COMMENT - steps.length));
}

function tableRow({ name, status, seconds, says = "", report }: StepResult): string {
    // What the step diff says stands below, in full.
    const words = report === undefined && says !== "" ? code(says.split("\n").join("; ").slice(0, 500)) : "";
    return `| ${name} | ${status === "failed" ? "**failed**" : status} | ${seconds.toFixed(1)} | ${words} |`;
}

/** The end of what a failed step said, where most programs sum up. */
function detailsOf({ name, details }: StepResult): readonly string[] {
    if (details === undefined) return [];
    let left = LONGEST_DETAILS;
    const lines = details.split("\n");
    const shown = [...lines].reverse().filter((line) => {
        left = line.length < left ? left - line.length - 1 : 0;
        return left > 0;
    });
    const cut = lines.length - shown.length;
    const before = cut === 0 ? [] : [`… ${cut} lines before are cut`];
    return [
        `<details><summary>${name} failed</summary>`,
        codeBlock([...before, ...shown.reverse()], ""),
        "</details>",
        "",
    ];
}
