/** A picture of what a command has printed, colours included, for the docs: text stays text, and can be searched. */

interface Style {
    readonly bold: boolean;
    readonly dim: boolean;
    readonly color: string | undefined;
}
interface Run extends Style {
    /** In characters from the left. */
    readonly column: number;
    readonly text: string;
}

const PLAIN: Style = { bold: false, dim: false, color: undefined };
/** By the number that a terminal is given. Readable on the dark ground that is drawn below. */
const COLORS: Readonly<Record<number, string>> = {
    ...{ 30: "#6e7681", 31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd" },
    ...{ 37: "#e6edf3", 90: "#8b949e" },
};
const GROUND = "#0d1117";
const INK = "#e6edf3";
const CELL = { width: 8.4, height: 19 } as const;
const MARGIN = 16;

/**
 * Draws what a terminal would show.
 *
 * @param command what was typed, for the first line
 * @param output with the escape sequences of colours; others are left out
 */
export function terminalPicture(command: string, output: string): string {
    const lines = [
        [{ ...PLAIN, color: COLORS[90], column: 0, text: `$ ${command}` }],
        ...styledLines(output.trimEnd()),
    ];
    const columns = Math.max(...lines.map((line) => lengthOf(line)));
    const width = Math.ceil(columns * CELL.width + 2 * MARGIN);
    const height = lines.length * CELL.height + 2 * MARGIN;
    const rows = lines.map((line, row) => {
        const y = MARGIN + (row + 0.75) * CELL.height;
        return line.map((run) => textElement(run, y)).join("");
    });
    return `${[
        `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
        `<title>${escaped(command)}</title>`,
        `<rect width="${width}" height="${height}" rx="8" fill="${GROUND}"/>`,
        `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="${INK}" xml:space="preserve">`,
        ...rows.filter((row) => row !== ""),
        "</g>",
        "</svg>",
    ].join("\n")}\n`;
}

function styledLines(output: string): Run[][] {
    let style = PLAIN;
    return output.split("\n").map((line) => {
        let column = 0;
        const runs: Run[] = [];
        for (const part of line.split(/(\u001b\[[\d;]*m)/)) {
            const codes = part.startsWith("\u001b[") ? part.slice(2, -1) : undefined;
            if (codes !== undefined) style = codes.split(";").map(Number).reduce(styledBy, style);
            else if (part !== "") {
                runs.push({ ...style, column, text: part });
                column += part.length;
            }
        }
        return runs;
    });
}

function styledBy(style: Style, code: number): Style {
    if (code === 0) return PLAIN;
    if (code === 1) return { ...style, bold: true };
    if (code === 2) return { ...style, dim: true };
    if (code === 22) return { ...style, bold: false, dim: false };
    return code === 39 || code in COLORS ? { ...style, color: COLORS[code] } : style;
}

function lengthOf(line: readonly Run[]): number {
    const last = line.at(-1);
    return last === undefined ? 0 : last.column + last.text.length;
}

/** Placed by its column, and as long as its characters, so that columns stand under each other in any font. */
function textElement({ column, text, bold, dim, color }: Run, y: number): string {
    const shown = text.trimEnd();
    if (shown === "") return "";
    const x = MARGIN + column * CELL.width;
    const attributes = [
        `x="${x.toFixed(1)}" y="${y.toFixed(1)}" textLength="${(shown.length * CELL.width).toFixed(1)}"`,
        ...(color === undefined ? [] : [`fill="${color}"`]),
        ...(bold ? ['font-weight="bold"'] : []),
        ...(dim ? ['opacity="0.6"'] : []),
    ];
    return `<text ${attributes.join(" ")}>${escaped(shown)}</text>`;
}

function escaped(text: string): string {
    return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
