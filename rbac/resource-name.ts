import { groupOf } from "../components/guarded-release/render/kinds";

/** What RBAC calls the objects of a kind. */
export interface ResourceName {
    readonly group: string;
    readonly resource: string;
}

/**
 * By the rule that kinds of Kubernetes and of its extensions are named after: `NetworkPolicy` → `networkpolicies`. Whoever has a kind
 * that breaks it sees it at the first deploy, which is refused and names the resource.
 */
export function resourceOf({ apiVersion, kind }: { readonly apiVersion: string; readonly kind: string }): ResourceName {
    const word = kind.toLowerCase();
    const plural = /(?:endpoints|metrics)$/.test(word)
        ? word
        : /(?:s|x|ch|sh)$/.test(word)
          ? `${word}es`
          : word.replace(/([^aeiou])y$/, "$1ie") + "s";
    return { group: groupOf(apiVersion), resource: plural };
}
