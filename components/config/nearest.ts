import { closest, distance } from "fastest-levenshtein";

/** `, did you mean "…"?` when one of the names is close enough to be a slip of the fingers, else nothing. */
export function didYouMean(found: string, names: readonly string[]): string {
    if (names.length === 0) return "";
    const name = closest(found, names);
    return distance(found, name) <= Math.min(name.length - 1, Math.max(2, Math.floor(name.length / 3)))
        ? `, did you mean "${name}"?`
        : "";
}
