import type { Document, Node } from "yaml";

/**
 * What a YAML document, or a part of it, holds as data.
 *
 * @returns or why it holds none, as a part of a sentence: an alias leads nowhere, or there are so many that they would fill the memory
 */
export function dataOf(document: Document, part?: Node): { readonly value: unknown } | { readonly what: string } {
    try {
        return { value: part === undefined ? (document.toJS() as unknown) : (part.toJS(document) as unknown) };
    } catch (error) {
        if (!(error instanceof Error)) throw error;
        return { what: error.message.split("\n", 1)[0] ?? "" };
    }
}
