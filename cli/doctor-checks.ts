import { styleText } from "node:util";
import { visible } from "../components/config/visible";

/** One line of the image contract, and whether it is kept. */
export interface Check {
    readonly name: string;
    readonly status: "ok" | "failed" | "not checked";
    /** What was seen, or why nothing was. */
    readonly says: string;
    /** What to change. */
    readonly fix?: string;
}

export function ok(name: string, says: string): Check {
    return { name, status: "ok", says };
}

export function failed(name: string, says: string, fix: string): Check {
    return { name, status: "failed", says, fix };
}

export function unchecked(name: string, says: string): Check {
    return { name, status: "not checked", says };
}

const MARKS = { ok: ["✓", "green"], failed: ["✗", "red"], "not checked": ["–", "dim"] } as const;

/** A table, with what to do below each line that needs it. */
export function checkTable(checks: readonly Check[]): string {
    const width = Math.max(...checks.map(({ name }) => name.length));
    const lines = checks.flatMap(({ name, status, says, fix }) => {
        const [mark, colour] = MARKS[status];
        const line = `${styleText(colour, mark)} ${name.padEnd(width)}  ${status === "not checked" ? "not checked: " : ""}${visible(says)}`;
        return fix === undefined ? [line] : [line, `  ${" ".repeat(width)}  → ${visible(fix)}`];
    });
    const count = (status: Check["status"]): number => checks.filter((check) => check.status === status).length;
    return `${lines.join("\n")}\n${count("ok")} ok, ${count("failed")} failed, ${count("not checked")} not checked\n`;
}
