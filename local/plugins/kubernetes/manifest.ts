import { readYaml as readDocuments } from "../../../components/guarded-release/render/manifest";
import type { Properties, Value } from "../rpc/properties";
import { isObject, textOf } from "../rpc/properties";
import { groupOf, idOf } from "./object";

/** Reads YAML as Helm and Kubernetes do. Throws with the place of what is not YAML. */
export const readYaml = (text: string): Value[] => readDocuments(text) as Value[];

/**
 * Writes JSON that a YAML reader takes for the same value. YAML forbids some characters that JSON allows as they are.
 */
export function writeYaml(value: Value): string {
    return JSON.stringify(value).replace(
        /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
        (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}

/** The Kubernetes objects of a manifest. Empty documents are left out. */
export function objectsOf(manifest: string): Properties[] {
    return readYaml(manifest).filter(
        (document): document is Properties =>
            isObject(document) && typeof document.kind === "string" && typeof document.apiVersion === "string",
    );
}

/** Names of a manifest's objects by "Kind.group/apiVersion", the form of a Release's output `resourceNames`. */
export function resourceNames(manifest: string): Properties {
    const names = new Map<string, Set<string>>();
    for (const object of objectsOf(manifest)) {
        const apiVersion = textOf(object.apiVersion);
        const kind = [textOf(object.kind), groupOf(apiVersion)].filter((part) => part !== "").join(".");
        const key = `${kind}/${apiVersion}`;
        names.set(key, (names.get(key) ?? new Set()).add(idOf(object)));
    }
    return Object.fromEntries([...names].map(([key, set]) => [key, [...set].sort()]));
}
