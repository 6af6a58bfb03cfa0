import type { RenderedObject } from "../render/render";
import { type Shape, shapeOf } from "./merge-keys";
import { type Fields, isMap } from "./patch";

/**
 * What Helm may have recorded of a live object before its record was lost: the new version, but with the live items in lists that
 * merge by a key. Without those, Helm would only add to such a list, and a port that got another number would be there twice.
 * Of maps nobody knows which other keys were the release's; they stay.
 */
export function assumedRecord(next: RenderedObject, live: Fields): RenderedObject {
    const shape = shapeOf(next);
    if (shape === undefined) return next;
    const { metadata, ...fields } = next;
    return { metadata, ...withLiveItems(fields, live, shape) } as RenderedObject;
}

function withLiveItems(next: Fields, live: Fields, shape: Shape): Fields {
    const entries = Object.entries(next).map(([key, value]): [string, unknown] => {
        const there = live[key];
        const inner = shape.fields?.[key];
        if (inner === undefined) return [key, value];
        if (isMap(value) && isMap(there)) return [key, withLiveItems(value, there, inner)];
        const { mergeKey } = inner;
        if (mergeKey === undefined || mergeKey === "" || !Array.isArray(value) || !Array.isArray(there))
            return [key, value];
        const items = value.filter(isMap);
        return [
            key,
            there.filter(isMap).map((item) => {
                const same = items.find((one) => one[mergeKey] === item[mergeKey]);
                return same === undefined ? item : withLiveItems(same, item, inner);
            }),
        ];
    });
    return Object.fromEntries(entries);
}
