import { parseAllDocuments, type ScalarTag, type Tags } from "yaml";
import { isNamespacedKind } from "./kinds";
import type { RenderedObject } from "./render";

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

/** Reads YAML as Helm and Kubernetes do, one value per document. Throws with the place of what is not YAML. */
export function readYaml(text: string): unknown[] {
    // Of a key that stands twice the last one counts.
    return parseAllDocuments(text, { version: "1.1", customTags: goTags, uniqueKeys: false, logLevel: "error" }).map(
        (document) => {
            const [error] = document.errors;
            if (error !== undefined) throw new Error(error.message);
            return document.toJS() as unknown;
        },
    );
}

/** The objects of a manifest, each in its namespace, as the provider's render has them. Empty documents are left out. */
export function objectsIn(manifest: string, namespace: string): RenderedObject[] {
    return readYaml(manifest).flatMap((document): RenderedObject[] => {
        if (typeof document !== "object" || document === null) return [];
        const object: object = document;
        if (!isObject(object)) return [];
        const { namespace: own = "" } = object.metadata;
        if (own !== "" || isNamespacedKind(object.apiVersion, object.kind) === false) return [object];
        return [{ ...object, metadata: { ...object.metadata, namespace } }];
    });
}

function isObject(value: object): value is RenderedObject {
    const { apiVersion, kind, metadata } = value as Readonly<Record<string, unknown>>;
    return (
        typeof apiVersion === "string" && typeof kind === "string" && typeof metadata === "object" && metadata !== null
    );
}
