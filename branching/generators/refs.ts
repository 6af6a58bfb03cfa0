import type { BranchMap } from "../map";
import { isLiteral, placeholderOf } from "../pattern";

/** Every spelling of a branch: its name and its alias. */
export function spellings(map: BranchMap, name: string): string[] {
    const alias = map.branches[name]?.alias;
    return alias === undefined ? [name] : [name, alias];
}

/**
 * A branch of the map as GitHub's workflow filters write it, where `+` repeats what stands before it. They may let more names
 * through than the map knows; the first step of every workflow asks the map itself.
 */
export function workflowFilter(pattern: string): string {
    const prefix = pattern.replace(/<[a-z]+>$/, "");
    if (isLiteral(pattern)) return pattern;
    return placeholderOf(pattern) === "version" ? `${prefix}[0-9]+.[0-9]+.[0-9]+` : `${prefix}*`;
}

/** A branch of the map as GitHub's rulesets and environments write it, in the language of Ruby's File.fnmatch. */
export function rulesetFilter(pattern: string): string {
    const prefix = pattern.replace(/<[a-z]+>$/, "");
    if (isLiteral(pattern)) return pattern;
    return placeholderOf(pattern) === "version" ? `${prefix}[0-9]*.[0-9]*.[0-9]*` : `${prefix}*`;
}
