import { Document, isScalar, visit, type YAMLMap, type YAMLSeq } from "yaml";
import type { RenderedObject } from "../components/guarded-release/render/render";
import { type Need, type Rule, rulesOf } from "./need";

/** Who gets a role. */
export type Subject =
    | { readonly kind: "User" | "Group"; readonly name: string }
    | { readonly kind: "ServiceAccount"; readonly name: string; readonly namespace: string };

/** An object to apply; a role has the reasons for its rules beside it. */
export interface Manifest {
    readonly object: RenderedObject & Readonly<Record<string, unknown>>;
    readonly rules?: readonly Rule[];
}

const RBAC = "rbac.authorization.k8s.io";
const MANAGED = { "app.kubernetes.io/managed-by": "ml-api" };

/** A Role and who has it; a ClusterRole without a namespace. Nothing where nothing is needed. */
export function grant(
    name: string,
    namespace: string | undefined,
    needs: readonly Need[],
    subject: Subject,
): Manifest[] {
    if (needs.length === 0) return [];
    const role = roleOf(name, namespace, needs);
    const subjects = [subject.kind === "ServiceAccount" ? subject : { ...subject, apiGroup: RBAC }];
    const binding = {
        ...head(`${role.object.kind}Binding`, name, namespace),
        subjects,
        roleRef: { apiGroup: RBAC, kind: role.object.kind, name },
    };
    return [role, { object: binding }];
}

export function roleOf(name: string, namespace: string | undefined, needs: readonly Need[]): Manifest {
    const rules = rulesOf(needs);
    const plain = rules.map(({ apiGroups, resources, resourceNames, verbs }) => ({
        apiGroups,
        resources,
        ...(resourceNames === undefined ? {} : { resourceNames }),
        verbs,
    }));
    return {
        object: { ...head(namespace === undefined ? "ClusterRole" : "Role", name, namespace), rules: plain },
        rules,
    };
}

function head(kind: string, name: string, namespace: string | undefined): RenderedObject {
    const metadata = { name, ...(namespace === undefined ? {} : { namespace }), labels: MANAGED };
    return { apiVersion: `${RBAC}/v1`, kind, metadata };
}

/** YAML for `kubectl apply -f -`, with the reason for each rule as its comment. */
export function toYaml(manifests: readonly Manifest[]): string {
    return manifests
        .map(({ object, rules = [] }) => {
            const document = new Document(object);
            for (const [index, { why }] of rules.entries()) {
                const list = document.get("rules") as YAMLSeq<YAMLMap>;
                const rule = list.items[index];
                // A reason is one line: the library writes a line of nothing but other kinds of space without its "#".
                if (rule !== undefined)
                    rule.commentBefore = why.map((line) => ` ${line.replace(/\s+/g, " ")}`).join("\n");
            }
            visit(document, {
                Seq: (_, list) => {
                    list.flow = list.items.every(isScalar);
                },
            });
            return `---\n${document.toString({ lineWidth: 0 })}`;
        })
        .join("");
}
