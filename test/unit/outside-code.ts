/** A code span as the comment writes it, in which only entities stand for anything but plain words. */
const CODE = "<code>(?:[A-Za-z0-9 /,()-]|&#\\d+;)*</code>";
const WORDS = `(?:${CODE}|[A-Za-z0-9 ,;.:·-])*`;
/** What a line of the comment may be outside of code. */
export const OURS = new RegExp(
    `^(?:<!-- ml-api diff [A-Za-z0-9._, -]* -->|### ${WORDS}|\\|(?:${WORDS}\\|)+|<details><summary>${WORDS}</summary>|</details>|${WORDS}|The rest is cut: \`npx --no ml-api diff\` shows all of it\\.)$`,
);

/** The lines of a Markdown text that are not in a fenced block, by the rules of CommonMark. */
export function outsideCode(markdown: string): string[] {
    let fence: string | undefined;
    return markdown.split("\n").filter((line) => {
        const [, run = "", info = ""] = /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line) ?? [];
        if (fence !== undefined) {
            if (run !== "" && run[0] === fence[0] && run.length >= fence.length && info.trim() === "")
                fence = undefined;
            return false;
        }
        if (run === "" || (run.startsWith("`") && info.includes("`"))) return true;
        fence = run;
        return false;
    });
}
