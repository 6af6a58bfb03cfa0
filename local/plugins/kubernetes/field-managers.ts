import type { Properties } from "../rpc/properties";
import { isObject } from "../rpc/properties";
import { metadataOf } from "./object";

/** The manager of a new object's fields. Server-side apply takes them over at the first update. */
export const creator = "pulumi-kubernetes";

interface ManagedFields extends Properties {
    manager: string;
    operation: string;
}

function mergeFields(a: Properties, b: Properties): Properties {
    const merged = { ...a };
    for (const [key, value] of Object.entries(b)) {
        const other = merged[key];
        merged[key] = isObject(value) && isObject(other) ? mergeFields(other, value) : value;
    }
    return merged;
}

/** The list of field managers with the creator's fields given to `manager`, or undefined when there is nothing to give. */
export function transferred(live: Properties, manager: string): ManagedFields[] | undefined {
    const { managedFields } = metadataOf(live);
    const entries = (Array.isArray(managedFields) ? managedFields : []) as ManagedFields[];
    const isCreator = (entry: ManagedFields): boolean =>
        entry.operation === "Update" && entry.manager === creator && entry.subresource === undefined;
    const given = entries.filter(isCreator);
    if (given.length === 0) return undefined;
    const own = entries.find((entry) => entry.operation === "Apply" && entry.manager === manager);
    const fields = [...given, ...(own === undefined ? [] : [own])]
        .map((entry) => (isObject(entry.fieldsV1) ? entry.fieldsV1 : {}))
        .reduce(mergeFields, {});
    const base = own ?? given[0];
    const rest = entries.filter((entry) => !isCreator(entry) && entry !== own);
    return base === undefined ? undefined : [...rest, { ...base, manager, operation: "Apply", fieldsV1: fields }];
}
