/** Characters of an API's name at most: 53 for a Helm release, and its key's Secret needs some behind it. */
export const API_NAME_LENGTH = 53 - "-key-00-with-00".length;
export const NAMESPACE_LENGTH = 63;

/** What is wrong with the name of a Kubernetes object; undefined when nothing is. */
export function nameProblem(name: string, longest: number): string | undefined {
    if (/^[a-z](?:[-a-z0-9]*[a-z0-9])?$/.test(name) && name.length <= longest) return undefined;
    const rule = `lower-case letters, digits and "-", beginning with a letter, at most ${longest} characters`;
    return `"${name}" cannot be a Kubernetes name: ${rule}`;
}

/** What is wrong with creating a namespace: some are the cluster's own. Undefined when nothing is. */
export function creationProblem(namespace: string): { readonly what: string; readonly fix: string } | undefined {
    if (!/^(?:default|kube-.*)$/.test(namespace)) return undefined;
    const fix = "choose another namespace, or set createNamespace: false";
    return { what: `"${namespace}" belongs to the cluster`, fix };
}
