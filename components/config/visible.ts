/** Characters that move the cursor, colour the text, turn its direction or are not seen at all. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** A text from outside on one line, with every character that a terminal would obey written as its code. */
export function visible(text: string): string {
    return text.replace(UNSEEN, codeOf);
}

/** The same for a text of several lines, which stay. */
export function visibleLines(text: string): string {
    return text.replace(UNSEEN, (character) =>
        character === "\n" || character === "\t" ? character : codeOf(character),
    );
}

function codeOf(character: string): string {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
