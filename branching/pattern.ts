/**
 * Names of branches as `branches.yaml` writes them: a literal name, or a prefix and one placeholder at the end. Nothing else,
 * because three systems with three pattern languages get their rules from it.
 */

const WORD = "[A-Za-z0-9]+(?:(?:[-_]+|[.])[A-Za-z0-9]+)*";
const NUMBER = "(?:0|[1-9][0-9]{0,5})";
/** What a placeholder stands for, and what any beginning of that looks like. */
const PLACEHOLDERS: Readonly<Record<string, { readonly whole: string; readonly beginning: RegExp }>> = {
    name: { whole: WORD, beginning: /^(?:[A-Za-z0-9][-_.A-Za-z0-9]*)?$/ },
    issue: { whole: WORD, beginning: /^(?:[A-Za-z0-9][-_.A-Za-z0-9]*)?$/ },
    version: { whole: `${NUMBER}[.]${NUMBER}[.]${NUMBER}`, beginning: /^[0-9.]*$/ },
};
/** Longer names cannot be stored as files by git on common systems. */
const LONGEST = 200;

interface Parts {
    readonly prefix: string;
    readonly placeholder: string | undefined;
}

function partsOf(pattern: string): Parts {
    const match = /^(.*)<([a-z]+)>$/.exec(pattern);
    return match === null
        ? { prefix: pattern, placeholder: undefined }
        : { prefix: match[1] ?? "", placeholder: match[2] };
}

export function isLiteral(pattern: string): boolean {
    return partsOf(pattern).placeholder === undefined;
}

/** The placeholder of a pattern: `version` of `release-<version>`; undefined for a literal name. */
export function placeholderOf(pattern: string): string | undefined {
    return partsOf(pattern).placeholder;
}

/** Whether a branch's name is the literal, or is the prefix and something that the placeholder stands for. */
export function matches(pattern: string, branch: string): boolean {
    const { prefix, placeholder } = partsOf(pattern);
    if (placeholder === undefined) return branch === pattern;
    const whole = PLACEHOLDERS[placeholder]?.whole;
    return (
        whole !== undefined &&
        branch.length <= LONGEST &&
        branch.startsWith(prefix) &&
        // `$` alone would allow a line break at the end.
        new RegExp(`^(?:${whole})$(?![\\s\\S])`).test(branch.slice(prefix.length)) &&
        !branch.endsWith(".lock")
    );
}

/** Whether some branch could match both. Rather says so once too often: an overlap is a fault of the map. */
export function overlap(one: string, other: string): boolean {
    if (isLiteral(one)) return matches(other, one);
    if (isLiteral(other)) return matches(one, other);
    const [short, long] = [partsOf(one), partsOf(other)].sort((a, b) => a.prefix.length - b.prefix.length) as [
        Parts,
        Parts,
    ];
    if (!long.prefix.startsWith(short.prefix)) return false;
    return PLACEHOLDERS[short.placeholder ?? ""]?.beginning.test(long.prefix.slice(short.prefix.length)) ?? true;
}
