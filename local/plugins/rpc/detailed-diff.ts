import { isDeepStrictEqual } from "node:util";
import type { Properties, Value } from "./properties";
import { isObject, unknown } from "./properties";

export interface Change {
    kind: "add" | "update" | "delete";
    /** The resource has to be replaced because of this change. */
    replaces: boolean;
    /** Found by comparing inputs with inputs, rather than inputs with the recorded state. */
    betweenInputs: boolean;
}

/** Changes by property path, as previews print them. */
export type DetailedDiff = Map<string, Change>;

export type PathPart = string | number;

export function isReplacement(change: Change): boolean {
    return change.replaces;
}

/** `spec.containers[0]["a.b"]`, the engine's spelling of a property path. */
export function pathText(path: readonly PathPart[]): string {
    return path.reduce<string>((text, part) => {
        if (typeof part === "number") return `${text}[${String(part)}]`;
        if (/[."[\]]/.test(part)) return `${text}["${part.replaceAll('"', '\\"')}"]`;
        return text === "" ? part : `${text}.${part}`;
    }, "");
}

/**
 * What has to change in `recorded` so that it becomes as `wanted`. A key that is only in `recorded` was filled in by
 * somebody else and stays, unless the previous inputs had it.
 */
export function detailedDiff(
    wanted: Properties,
    recorded: Properties,
    previous: Properties,
    forcesReplacement: (path: readonly PathPart[]) => boolean,
): DetailedDiff {
    const changes: DetailedDiff = new Map();

    const add = (path: readonly PathPart[], kind: Change["kind"]): void => {
        changes.set(pathText(path), { kind, replaces: forcesReplacement(path), betweenInputs: kind === "delete" });
    };
    const compareMaps = (path: readonly PathPart[], want: Properties, have: Properties, before: Properties): void => {
        for (const [key, value] of Object.entries(want)) compare([...path, key], value, have[key], before[key]);
        for (const key of Object.keys(before)) {
            if (!(key in want) && key in have) add([...path, key], "delete");
        }
    };
    const compareLists = (path: readonly PathPart[], want: Value[], have: Value[], before: Value[]): void => {
        for (let index = 0; index < Math.max(want.length, have.length); index++) {
            const item = want[index];
            if (item === undefined) add([...path, index], "delete");
            else compare([...path, index], item, have[index], before[index]);
        }
    };
    const compare = (
        path: readonly PathPart[],
        want: Value,
        have: Value | undefined,
        before: Value | undefined,
    ): void => {
        if (have === undefined) add(path, "add");
        else if (want === unknown) add(path, "update");
        else if (isObject(want) && isObject(have)) compareMaps(path, want, have, isObject(before) ? before : {});
        else if (Array.isArray(want) && Array.isArray(have)) {
            compareLists(path, want, have, Array.isArray(before) ? before : []);
        } else if (!isDeepStrictEqual(want, have)) add(path, "update");
    };

    compareMaps([], wanted, recorded, previous);
    return changes;
}
