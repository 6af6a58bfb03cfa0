import { groupOf } from "../render/kinds";
import type { RenderedObject } from "../render/render";
import { at, type Fields } from "../safety/patch";
import { belongsTo, type Owner } from "../live/owner";
import { identityOf } from "../render/object-names";

/** An object in the release's namespace, as far as its metadata tells. */
export interface FoundObject {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: Fields & { readonly name: string; readonly namespace?: string };
}

/** An object that is neither of the release nor of what works for it. */
export interface ExtraObject {
    /** `ConfigMap/left` */
    readonly name: string;
    /** It bears the release's marks; otherwise it only stands in its namespace. */
    readonly claims: boolean;
    /** Who has made it or changed it last. */
    readonly by?: string;
    /** When it was made, RFC 3339. */
    readonly since?: string;
}

/** Kinds that come and go by themselves. */
const PASSING = new Set(["Event", "Endpoints", "EndpointSlice", "Lease", "ControllerRevision", "PodMetrics"]);

/**
 * The objects of a namespace that nobody accounts for.
 *
 * @param objects of the release, hooks included
 * @param known names of Secrets and ConfigMaps that this program keeps around the release
 */
export function extraObjects(
    found: readonly FoundObject[],
    objects: readonly RenderedObject[],
    owner: Owner,
    known: readonly string[],
): ExtraObject[] {
    const identities = new Set(objects.map(identityOf));
    return found
        .filter((object) => !identities.has(identityOf(object as RenderedObject)) && !isAccounted(object, owner, known))
        .map((object): ExtraObject => {
            const manager = lastManager(object);
            const since = object.metadata["creationTimestamp"];
            return {
                name: `${object.kind}/${object.metadata.name}`,
                claims: claims(object, owner),
                ...(manager !== undefined && { by: manager }),
                ...(typeof since === "string" && { since }),
            };
        })
        .sort((a, b) => Number(b.claims) - Number(a.claims) || (a.name < b.name ? -1 : 1));
}

function isAccounted(object: FoundObject, { release }: Owner, known: readonly string[]): boolean {
    const { kind, apiVersion, metadata } = object;
    const owners = metadata["ownerReferences"];
    const of = (...path: string[]) => at(metadata, path);
    if (PASSING.has(kind) || groupOf(apiVersion) === "metrics.k8s.io") return true;
    // Pods of a Deployment, the autoscaler that KEDA makes: they go with their owner.
    if (Array.isArray(owners) && owners.length > 0) return true;
    if (kind === "ServiceAccount" && metadata.name === "default") return true;
    if (kind === "ConfigMap" && metadata.name === "kube-root-ca.crt") return true;
    if (kind === "Secret" && of("annotations", "kubernetes.io/service-account.name") !== undefined) return true;
    if (kind === "Secret" && of("labels", "owner") === "helm") return true;
    if ((kind === "Secret" || kind === "ConfigMap") && known.includes(metadata.name)) return true;
    // Another release in the same namespace.
    const others = [of("annotations", "meta.helm.sh/release-name"), of("labels", "app.kubernetes.io/instance")];
    return others.some((other) => typeof other === "string") && !others.includes(release);
}

function claims(object: FoundObject, owner: Owner): boolean {
    const instance = at(object.metadata, ["labels", "app.kubernetes.io/instance"]);
    return instance === owner.release || belongsTo(object as unknown as Fields, owner);
}

function lastManager({ metadata }: FoundObject): string | undefined {
    const entries = metadata["managedFields"];
    const last: unknown = Array.isArray(entries) ? entries.at(-1) : undefined;
    const manager = at(last, ["manager"]);
    return typeof manager === "string" ? manager : undefined;
}
