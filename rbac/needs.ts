import { isNamespacedKind } from "../components/guarded-release/render/kinds";
import { holdName } from "../components/guarded-release/hold/hold";
import type { RenderedObject } from "../components/guarded-release/render/render";
import { leaseName } from "../components/guarded-release/recover/lease";
import { READING, type Need, type Verb } from "./need";
import { resourceOf } from "./resource-name";
import { isHook } from "../components/guarded-release/render/object-names";

/** What a stack deploys, and where. */
export interface Deployed {
    readonly release: string;
    readonly namespace: string;
    /** The program makes the namespace, and takes it away with the stack. */
    readonly createNamespace: boolean;
    /** Everything that the chart renders to, hooks and tests included. */
    readonly objects: readonly RenderedObject[];
}

/** What an identity needs in the namespace to preview, deploy, roll back, recover and destroy. */
export function deployerNeeds(deployed: Deployed): Need[] {
    const { release, namespace, objects } = deployed;
    return [
        ...objects.filter(inNamespace).flatMap(objectNeeds),
        {
            group: "",
            resource: "secrets",
            verbs: ["get", "list", "create", "update", "delete"],
            why: "Helm keeps its record of each revision in a Secret; RBAC knows no beginning of a name, so it is every Secret here",
        },
        {
            group: "",
            resource: "secrets",
            verbs: ["get", "watch", "create", "patch", "delete"],
            why: "Pulumi makes the Secret with the API key, and waits until an old one is gone",
        },
        {
            group: "",
            resource: "secrets",
            verbs: ["patch"],
            why: "Helm's record is labelled with the commit, the image and who deployed",
        },
        {
            group: "apps",
            resource: "replicasets",
            verbs: ["list"],
            why: "Helm waits for the ReplicaSet of the new revision, and the diagnosis looks at its pods",
        },
        ...[
            { group: "", resource: "pods" },
            { group: "", resource: "events" },
            { group: "apps", resource: "deployments" },
            { group: "batch", resource: "jobs" },
        ].map((one): Need => ({ ...one, verbs: ["list"], why: "says why pods do not become ready" })),
        {
            group: "",
            resource: "pods/log",
            verbs: ["get"],
            why: "shows what a container said before it ended, and the log of a hook that failed",
        },
        {
            group: "",
            resource: "events",
            verbs: ["create"],
            why: "writes down what was recovered after a run that was killed",
        },
        {
            group: "",
            resource: "resourcequotas",
            verbs: ["list"],
            why: "the preview says whether the pods fit",
        },
        {
            group: "",
            resource: "namespaces",
            verbs: ["get"],
            names: [namespace],
            why: "the preview asks whether it is there, and which Pod Security it enforces",
        },
        ...ownNeeds(
            "coordination.k8s.io",
            "leases",
            leaseName(release),
            ["get", "update", "delete"],
            "one run at a time, also between different Pulumi back ends",
        ),
        ...ownNeeds(
            "",
            "configmaps",
            holdName(release),
            ["get", "update", "delete"],
            "a rollback holds the release until the commit that reverts is deployed",
        ),
    ];
}

/** To make one object, and to go on with that one only: RBAC knows no name of what is yet to be made. */
function ownNeeds(group: string, resource: string, name: string, verbs: readonly Verb[], why: string): Need[] {
    return [
        { group, resource, verbs: ["create"], why },
        { group, resource, verbs, names: [name], why },
    ];
}

/** What it needs outside the namespace: rights that only a ClusterRole can give. Empty for most. */
export function deployerClusterNeeds({ createNamespace, namespace, objects }: Deployed): Need[] {
    const made: Need[] = [
        ...ownNeeds(
            "",
            "namespaces",
            namespace,
            ["get", "watch", "patch", "delete"],
            "the stack makes its namespace: with createNamespace: false it does not, and this ClusterRole is not needed",
        ),
    ];
    return [...(createNamespace ? made : []), ...objects.filter((object) => !inNamespace(object)).flatMap(objectNeeds)];
}

/** What a person needs who looks at the API and reaches it from a machine of their own: `ml-api status`, `logs` and `open`. */
export function openNeeds({ release }: Deployed): Need[] {
    const why = "says how it is";
    return [
        {
            group: "",
            resource: "secrets",
            verbs: ["get", "list"],
            why: "Helm's records say what runs, and the API key is in one, too",
        },
        { group: "apps", resource: "deployments", verbs: ["get", "list"], why },
        { group: "apps", resource: "replicasets", verbs: ["list"], why },
        { group: "batch", resource: "jobs", verbs: ["list"], why },
        { group: "", resource: "events", verbs: ["list"], why },
        {
            group: "",
            resource: "pods",
            verbs: ["get", "list", "watch"],
            why: "finds a pod behind the Service, and follows the logs of all",
        },
        { group: "", resource: "pods/log", verbs: ["get"], why: "reads what the API says" },
        { group: "", resource: "pods/portforward", verbs: ["create"], why: "reaches the API" },
        { group: "", resource: "services", verbs: ["get"], why: "reaches the API" },
        {
            group: "coordination.k8s.io",
            resource: "leases",
            verbs: ["get"],
            names: [leaseName(release)],
            why: "says who is at work",
        },
        {
            group: "",
            resource: "configmaps",
            verbs: ["get"],
            names: [holdName(release)],
            why: "says whether it is held",
        },
    ];
}

/**
 * What the preview of a pull request may see. No Secret is among it, although Helm's records are: whoever may list Secrets may read
 * the API key, and a pull request runs what its author wrote.
 */
export function pullRequestNeeds({ namespace, objects }: Deployed): Need[] {
    const why = "reads what is there; the preview itself needs no more than its stack's state";
    const kinds = objects.filter(inNamespace).map((object) => resourceOf(object));
    const besides = [
        { group: "apps", resource: "replicasets" },
        ...["pods", "events", "resourcequotas"].map((resource) => ({ group: "", resource })),
    ];
    return [
        ...[...kinds, ...besides]
            .filter(({ group, resource }) => group !== "" || resource !== "secrets")
            .map((one): Need => ({ ...one, verbs: ["get", "list"], why })),
        { group: "", resource: "namespaces", verbs: ["get"], names: [namespace], why },
    ];
}

function inNamespace({ apiVersion, kind }: RenderedObject): boolean {
    return isNamespacedKind(apiVersion, kind) ?? true;
}

/** By what Helm 3 does to an object of a release, and by what happens around it. */
function objectNeeds(object: RenderedObject): Need[] {
    const name = resourceOf(object);
    const own: Need = isHook(object)
        ? {
              ...name,
              verbs: ["get", "create", "delete"],
              why: "Helm makes the hook anew each time and waits until it is gone; the preview tries it without making it",
          }
        : {
              ...name,
              verbs: ["get", "create", "patch", "delete"],
              why: "Helm makes, changes and removes it; the preview tries it without changing anything",
          };
    // Helm follows hooks of these two kinds, and no others, to their end.
    const followed = isHook(object) && (object.kind === "Job" || object.kind === "Pod");
    return [
        own,
        { ...name, verbs: ["list"], why: "drift and diagnosis look at all that is there" },
        ...(followed ? [{ ...name, verbs: READING, why: "Helm follows the hook to its end" } as const] : []),
    ];
}
