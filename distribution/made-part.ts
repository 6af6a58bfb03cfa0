/** Two lines of a page between which everything is made. */
export interface MadePart {
    readonly begin: string;
    readonly end: string;
}

/** The marks around what a command makes from a source. */
export function madeBy(command: string, source: string): MadePart {
    return { begin: `<!-- Made by \`${command}\` from ${source}. -->`, end: "<!-- End of what is made. -->" };
}

/** A page with its part made anew. @throws an error when the page has no place for it */
export function withMadePart(page: string, name: string, { begin, end }: MadePart, table: string): string {
    const [before, rest] = page.split(begin);
    const after = rest?.split(end)[1];
    if (before === undefined || after === undefined) throw new Error(`${name} has no place for "${begin}" … "${end}"`);
    // Columns that are padded to their widest cell would make the file three times as long.
    return `${before}${begin}\n\n<!-- prettier-ignore -->\n${table}\n\n${end}${after}`;
}
