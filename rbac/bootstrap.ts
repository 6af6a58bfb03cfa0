import { NAMESPACE_LABELS } from "../components/ml-api/namespace";
import type { RenderedObject } from "../components/guarded-release/render/render";
import { podUse } from "../components/guarded-release/safety/pod-quota";
import { at, type Fields } from "../components/guarded-release/safety/patch";
import { type Manifest, roleOf } from "./manifests";
import type { Need } from "./need";
import type { Deployed } from "./needs";

/** How many times what the environment runs fits into its quota: a rolling update may start all new pods before it stops an old one. */
const TIMES = 2;

/** What a container gets that says nothing itself; the chart's say everything. */
const DEFAULTS = { default: { memory: "256Mi" }, defaultRequest: { cpu: "100m", memory: "256Mi" } };

/**
 * What has to be there before the first deploy of a deployer who may make no namespace, and the ClusterRole of whoever makes it.
 */
export function bootstrap(deployed: Deployed): Manifest[] {
    const { namespace, objects } = deployed;
    const name = "ml-api";
    return [
        roleOf(`ml-api-bootstrap-${namespace}`, undefined, bootstrapNeeds(namespace, name)),
        { object: { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: NAMESPACE_LABELS } } },
        {
            object: {
                apiVersion: "v1",
                kind: "ResourceQuota",
                metadata: { name, namespace },
                spec: { hard: quotaOf(objects) },
            },
        },
        {
            object: {
                apiVersion: "v1",
                kind: "LimitRange",
                metadata: { name, namespace },
                spec: { limits: [{ type: "Container", ...DEFAULTS }] },
            },
        },
    ];
}

function bootstrapNeeds(namespace: string, name: string): Need[] {
    const why = "makes the namespace, its quota and its limits, and changes them later";
    const apply = ["namespaces", "resourcequotas", "limitranges"] as const;
    return apply.flatMap((resource): Need[] => [
        // The name of what is about to be made is not known to RBAC.
        { group: "", resource, verbs: ["create"], why },
        {
            group: "",
            resource,
            verbs: ["get", "patch"],
            names: [resource === "namespaces" ? namespace : name],
            why,
        },
    ]);
}

/** Twice of what all pods ask for when there are as many as there may be, and nothing that opens a door of its own. */
export function quotaOf(objects: readonly RenderedObject[]): Record<string, string> {
    const total = new Map<string, number>();
    for (const object of objects) {
        const count = mostPods(object, objects);
        if (count === 0) continue;
        for (const [resource, amount] of podUse(object as unknown as Fields)) {
            if (isLimited(resource)) total.set(resource, (total.get(resource) ?? 0) + TIMES * count * amount);
        }
    }
    const amounts = [...total].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [key, written(key, value)]);
    const types = objects.filter(({ kind }) => kind === "Service").map(({ spec }) => at(spec, ["type"]));
    return {
        ...(Object.fromEntries(amounts) as Record<string, string>),
        ...(types.includes("LoadBalancer") ? {} : { "services.loadbalancers": "0" }),
        ...(types.includes("NodePort") || types.includes("LoadBalancer") ? {} : { "services.nodeports": "0" }),
    };
}

/** What the LimitRange gives to everybody, and what nodes have of their own kind, such as GPUs. */
function isLimited(resource: string): boolean {
    return (
        ["pods", "requests.cpu", "requests.memory", "limits.memory"].includes(resource) ||
        /^requests\.[^/]+\/.+/.test(resource)
    );
}

function written(resource: string, amount: number): string {
    // Sums of fractions are off by a little.
    const up = (value: number): number => Math.ceil(Number(value.toFixed(6)));
    if (resource.endsWith(".memory")) return `${up(amount / 2 ** 20)}Mi`;
    return resource.endsWith(".cpu") ? `${up(amount * 1000)}m` : String(up(amount));
}

function mostPods(object: RenderedObject, objects: readonly RenderedObject[]): number {
    if (object.kind === "Job") return 1;
    if (object.kind !== "Deployment" && object.kind !== "StatefulSet") return 0;
    const scaled = objects
        .filter(({ spec }) => at(spec, ["scaleTargetRef", "name"]) === object.metadata.name)
        .map(({ spec }) => Number(at(spec, ["maxReplicas"]) ?? at(spec, ["maxReplicaCount"]) ?? 0));
    return Math.max(Number(at(object.spec, ["replicas"]) ?? 1), ...scaled);
}
