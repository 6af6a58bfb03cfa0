import type { ScalarTag, Tags } from "yaml";
import { parseAllDocuments } from "yaml";
import type { Properties, Value } from "../rpc/properties";
import { isObject, textOf } from "../rpc/properties";
import { groupOf, idOf } from "./object";

/** `0o17`, which YAML 1.1 does not know and the reader in Helm and Kubernetes does. */
const octal: ScalarTag = {
    tag: "tag:yaml.org,2002:int",
    default: true,
    test: /^[-+]?0o[0-7_]+$/,
    resolve: (text) => {
        const digits = text.replaceAll("_", "");
        return digits.startsWith("-") ? -Number(digits.slice(1)) : Number(digits.replace(/^\+/, ""));
    },
};

/** The tags of YAML 1.1 less dates and sexagesimal numbers: these two are strings for Helm and Kubernetes. */
function goTags(tags: Tags): Tags {
    const isString = (tag: Tags[number]): boolean =>
        typeof tag === "object" &&
        (tag.tag === "tag:yaml.org,2002:timestamp" || ("format" in tag && tag.format === "TIME"));
    return [octal, ...tags.filter((tag) => !isString(tag))];
}

/** Reads YAML as Helm and Kubernetes do. Throws with the place of what is not YAML. */
export function readYaml(text: string): Value[] {
    return parseAllDocuments(text, { version: "1.1", customTags: goTags }).map((document) => {
        const [error] = document.errors;
        if (error !== undefined) throw new Error(error.message);
        return document.toJS() as Value;
    });
}

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
