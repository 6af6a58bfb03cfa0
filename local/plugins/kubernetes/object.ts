import type { Properties, Value } from "../rpc/properties";
import { containsUnknown, isObject, keepSecrets, reveal, secret, textOf, without } from "../rpc/properties";

/** What is the same for Kubernetes objects of every kind. */

export function metadataOf(object: Properties): Properties {
    return isObject(object.metadata) ? object.metadata : {};
}

export function statusOf(object: Properties): Properties {
    return isObject(object.status) ? object.status : {};
}

export function annotation(object: Properties, name: string): string {
    const { annotations } = metadataOf(object);
    return isObject(annotations) ? textOf(annotations[name]) : "";
}

export function nameOf(object: Properties): string {
    return textOf(metadataOf(object).name);
}

export function namespaceOf(object: Properties): string {
    return textOf(metadataOf(object).namespace);
}

/** "namespace/name", or "name" outside namespaces. */
export function idOf(object: Properties): string {
    const namespace = namespaceOf(object);
    return namespace === "" ? nameOf(object) : `${namespace}/${nameOf(object)}`;
}

/** For messages: "Deployment namespace/name". */
export function describe(object: Properties): string {
    return `${textOf(object.kind)} ${idOf(object)}`;
}

/** The group of "group/version"; empty for "v1". */
export function groupOf(apiVersion: string): string {
    return apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
}

export function setMetadata(object: Properties, values: Properties): Properties {
    return { ...object, metadata: { ...metadataOf(object), ...values } };
}

/** "kubernetes:apps/v1:Deployment" names apiVersion and kind for a program that leaves them out. */
export function withType(object: Properties, type: string): Properties {
    const [, module = "", kind = ""] = type.split(":");
    return { ...object, apiVersion: object.apiVersion ?? module.replace(/^core\//, ""), kind: object.kind ?? kind };
}

function isSecretKind(object: Properties): boolean {
    return object.kind === "Secret" && object.apiVersion === "v1";
}

const serverFields = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

function base64(value: Value): Value {
    return typeof value === "string" ? Buffer.from(value).toString("base64") : value;
}

export /** Brings inputs that mean the same into the same form: what the server stores instead of them. */
function normalize(object: Properties): Properties {
    const metadata = isObject(object.metadata) ? { metadata: without(object.metadata, ...serverFields) } : {};
    const plain = { ...object, ...metadata };
    if (!isSecretKind(object) || containsUnknown(object)) return plain;
    const given = reveal(object.stringData ?? {});
    if (!isObject(given) || Object.keys(given).length === 0) return plain;
    const data = reveal(object.data ?? {});
    const encoded = Object.fromEntries(Object.entries(given).map(([key, value]) => [key, base64(value)]));
    return { ...without(plain, "stringData"), data: secret({ ...(isObject(data) ? data : {}), ...encoded }) };
}

/** Marks what is secret in the inputs, and the data of a Secret in any case. */
export function markSecrets(object: Properties, inputs: Properties): Properties {
    const marked = keepSecrets(object, inputs);
    if (!isSecretKind(object)) return marked;
    for (const key of ["data", "stringData"]) if (marked[key] !== undefined) marked[key] = secret(marked[key]);
    return marked;
}
