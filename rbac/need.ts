/** Verbs of Kubernetes' RBAC, in the order in which a rule lists them. */
export const VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"] as const;
export type Verb = (typeof VERBS)[number];

/** Verbs that change nothing. */
export const READING: readonly Verb[] = ["get", "list", "watch"];

/** Something that must be allowed. */
export interface Need {
    /** API group; `""` for the first Kubernetes had. */
    readonly group: string;
    /** As in a path, with its subresource: `deployments`, `pods/log`. */
    readonly resource: string;
    readonly verbs: readonly Verb[];
    /** Only objects of these names. Never together with create or list, which know no name. */
    readonly names?: readonly string[];
    /** Who needs it, what for. */
    readonly why: string;
}

/** A rule of a Role, with the reasons for it. */
export interface Rule {
    readonly apiGroups: readonly [string];
    readonly resources: readonly [string];
    readonly resourceNames?: readonly string[];
    readonly verbs: readonly Verb[];
    readonly why: readonly string[];
}

/** One rule for each resource, and for each set of names; what two needs have in common stands there once. */
export function rulesOf(needs: readonly Need[]): Rule[] {
    const rules = new Map<string, Rule>();
    for (const { group, resource, verbs, names, why } of needs) {
        const key = JSON.stringify([group, resource, names]);
        const before = rules.get(key);
        rules.set(key, {
            apiGroups: [group],
            resources: [resource],
            ...(names === undefined ? {} : { resourceNames: names }),
            verbs: VERBS.filter((verb) => verbs.includes(verb) || before?.verbs.includes(verb) === true),
            why: [...new Set([...(before?.why ?? []), why])],
        });
    }
    return [...rules].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, rule]) => rule);
}
