/**
 * Reads a .dockerignore: one pattern a line, `#` comments, `*` and `?` within a name, `**` over any number of folders,
 * `!` takes something back in, the last pattern that fits wins, and what fits a folder fits all below it.
 */
export function parseIgnore(text: string): (place: string) => boolean {
    const rules = text
        .replace(/^\uFEFF/, "")
        .split(/\r?\n/)
        .map((line) => line.trim())
        .filter((line) => line !== "" && !line.startsWith("#"))
        .map((line) => {
            const keeps = line.startsWith("!");
            const pattern = (keeps ? line.slice(1).trim() : line).replace(/^(\.?\/)+/, "").replace(/\/+$/, "");
            return { keeps, expression: new RegExp(`^${expression(pattern)}(/.*)?$`, "s") };
        });
    return (place) => rules.reduce((ignored, rule) => (rule.expression.test(place) ? !rule.keeps : ignored), false);
}

function expression(pattern: string): string {
    return pattern.replace(/\*\*\/|\*\*|\*|\?|\\.|\[[^\]]*\]|[^*?\\[]+|./gs, (part) => {
        if (part === "**/") return "(?:.*/)?";
        if (part === "**") return ".*";
        if (part === "*") return "[^/]*";
        if (part === "?") return "[^/]";
        if (part.startsWith("[") && part.endsWith("]")) return part;
        return literal(part.startsWith("\\") && part.length > 1 ? part.slice(1) : part);
    });
}

function literal(text: string): string {
    return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
