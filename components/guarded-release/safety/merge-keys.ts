import { groupOf, isOwnGroup } from "../render/kinds";
import type { RenderedObject } from "../render/render";

/** How the fields of an object merge where Kubernetes says something else than "maps by key, lists as a whole". */
export interface Shape {
    /** A list whose items are matched by this key; `""` = a list of plain values that is merged as a set. */
    readonly mergeKey?: string;
    /** Of such a map (or of an item of such a list), what the new version does not name is cleared, defaults included. */
    readonly retainKeys?: true;
    /** A map that is replaced as a whole. */
    readonly replace?: true;
    /** Deeper fields with a rule of their own; of a list: those of its items. */
    readonly fields?: Readonly<Record<string, Shape>>;
}

type Fields = NonNullable<Shape["fields"]>;
const map = (fields: Fields): Shape => ({ fields });
const list = (mergeKey: string, fields: Fields = {}): Shape => ({ mergeKey, fields });

const METADATA = map({ finalizers: list(""), ownerReferences: list("uid") });
const CONTAINERS = list("name", {
    env: list("name"),
    ports: list("containerPort"),
    volumeDevices: list("devicePath"),
    volumeMounts: list("mountPath"),
});
const POD: Fields = {
    metadata: METADATA,
    spec: map({
        containers: CONTAINERS,
        initContainers: CONTAINERS,
        ephemeralContainers: CONTAINERS,
        hostAliases: list("ip"),
        imagePullSecrets: list("name"),
        resourceClaims: { ...list("name"), retainKeys: true },
        schedulingGates: list("name"),
        topologySpreadConstraints: list("topologyKey"),
        volumes: {
            ...list("name", { ephemeral: map({ volumeClaimTemplate: map({ metadata: METADATA }) }) }),
            retainKeys: true,
        },
    }),
};
const WORKLOAD: Fields = { spec: map({ template: map(POD) }) };
const WEBHOOKS: Fields = { webhooks: list("name", { matchConditions: list("name") }) };

/** Kinds with rules beyond those of `metadata`. A test compares all of it with the API server's own OpenAPI. */
const SHAPES: Readonly<Record<string, Fields>> = {
    Pod: POD,
    PodTemplate: { template: map(POD) },
    DaemonSet: WORKLOAD,
    Deployment: { spec: map({ strategy: { retainKeys: true }, template: map(POD) }) },
    Job: WORKLOAD,
    ReplicaSet: WORKLOAD,
    ReplicationController: WORKLOAD,
    StatefulSet: WORKLOAD,
    CronJob: { spec: map({ jobTemplate: map({ metadata: METADATA, ...WORKLOAD }) }) },
    Service: { spec: map({ ports: list("port") }) },
    ServiceAccount: { secrets: list("name") },
    PodDisruptionBudget: { spec: map({ selector: { replace: true } }) },
    Node: { spec: map({ podCIDRs: list("") }) },
    CSINode: { spec: map({ drivers: list("name") }) },
    MutatingWebhookConfiguration: WEBHOOKS,
    ValidatingWebhookConfiguration: WEBHOOKS,
    MutatingAdmissionPolicy: { spec: map({ matchConditions: list("name") }) },
    ResourceClaimTemplate: { spec: map({ metadata: METADATA }) },
    ValidatingAdmissionPolicy: { spec: map({ matchConditions: list("name"), variables: list("name") }) },
};

/**
 * The merge rules of a built-in kind; undefined for a custom resource, to which strategic patches do not apply. The one group of
 * Kubernetes that Helm does not know is that of APIService.
 */
export function shapeOf({ apiVersion, kind }: Pick<RenderedObject, "apiVersion" | "kind">): Shape | undefined {
    const group = groupOf(apiVersion);
    if (!isOwnGroup(group) || group === "apiregistration.k8s.io") return undefined;
    return map({ metadata: METADATA, ...SHAPES[kind] });
}
