import { asMap, at, type Fields, isMap, sameValue } from "./patch";
import { quantityOf } from "./quantity";
import type { Fault } from "./problem";

/** A workload that the server has accepted, beside what runs now. */
export interface Rollout {
    readonly name: string;
    readonly kind: string;
    readonly live: Fields | undefined;
    readonly accepted: Fields;
}

/** Whether a kind's pods are counted here: as many as its replicas say, for as long as it is there. */
export function hasReplicas(kind: string): boolean {
    return kind === "Deployment" || kind === "StatefulSet";
}

/** A ResourceQuota of the namespace, as the server lists it. */
type Quota = Fields;

/** What a pod or all pods of a workload take, by the quota's own names: `pods`, `requests.cpu`, `limits.memory`, … */
type Use = ReadonlyMap<string, number>;

type Finding = Omit<Fault, "serverKnows">;

/**
 * Whether the pods of these workloads fit into the namespace's quotas. The server does not say it of a workload: it would accept
 * the Deployment, and refuse its pods. Only a warning, because others may free what is used now. Quotas with a scope are left
 * out: which pods they mean is a matter of more than their size.
 */
export function podQuotaFaults(quotas: readonly Quota[], rollouts: readonly Rollout[]): (Finding & { name: string })[] {
    return quotas
        .filter(
            (quota) =>
                at(quota, ["spec", "scopes"]) === undefined && at(quota, ["spec", "scopeSelector"]) === undefined,
        )
        .flatMap((quota) =>
            Object.entries(asMap(at(quota, ["status", "hard"]))).flatMap(([resource, limit]) => {
                const hard = quantityOf(limit) ?? Infinity;
                const shown = at(quota, ["status", "used", resource]);
                const used = quantityOf(shown) ?? 0;
                const free = hard - used;
                const growth = rollouts.map((one) => ({
                    ...one,
                    more: growthOf(one, resource),
                    first: surge(one, resource),
                }));
                const total = growth.reduce((sum, { more }) => sum + more, 0);
                const quotaName = textOf(at(quota, ["metadata", "name"]));
                const stand = `the quota ${quotaName} has ${textOf(shown)} of ${textOf(limit)} ${resource} in use`;
                const fix = `free some ${resource}, ask for less, or have the quota raised`;
                if (total > 0 && total > free) {
                    const largest = growth.reduce((a, b) => (b.more > a.more ? b : a));
                    const what = `its pods do not fit: ${stand}, and this needs ${amount(total)} more`;
                    return [{ name: largest.name, field: "spec.replicas", what, fix, blocking: false }];
                }
                return growth
                    .filter(({ first }) => first > free)
                    .map(({ name, first }) => {
                        const what = `a rolling update starts a new pod before it stops an old one, and that does not fit: ${stand}, and a pod needs ${amount(first)}`;
                        return { name, field: "spec.strategy", what, fix, blocking: false };
                    });
            }),
        );
}

/** What all pods take in the end, beyond what they take now. */
function growthOf({ live, accepted }: Rollout, resource: string): number {
    const of = (workload: Fields | undefined) =>
        workload === undefined ? 0 : replicas(workload) * (podUse(workload).get(resource) ?? 0);
    return of(accepted) - of(live);
}

/** What one new pod takes, where it must start before an old one may stop. */
function surge({ kind, live, accepted }: Rollout, resource: string): number {
    const restarts = live !== undefined && !sameValue(at(live, TEMPLATE), at(accepted, TEMPLATE));
    if (kind !== "Deployment" || !restarts || at(accepted, ["spec", "strategy", "type"]) === "Recreate") return 0;
    const unavailable = at(accepted, ["spec", "strategy", "rollingUpdate", "maxUnavailable"]) ?? "25%";
    const percent = typeof unavailable === "string" ? /^(\d+)%$/.exec(unavailable)?.[1] : undefined;
    const count =
        percent === undefined ? Number(unavailable) : Math.floor((replicas(accepted) * Number(percent)) / 100);
    return count > 0 || replicas(live) === 0 ? 0 : (podUse(accepted).get(resource) ?? 0);
}

const TEMPLATE = ["spec", "template", "spec"];

function replicas(workload: Fields | undefined): number {
    return Number(at(workload, ["spec", "replicas"]) ?? 1);
}

/** What one pod of a workload takes. */
export function podUse(workload: Fields): Use {
    const pod = asMap(at(workload, TEMPLATE));
    const list = (key: string) => (Array.isArray(pod[key]) ? pod[key].filter(isMap) : []);
    const inits = list("initContainers");
    const runs = [...list("containers"), ...inits.filter((one) => one["restartPolicy"] === "Always")].map(containerUse);
    const before = inits.filter((one) => one["restartPolicy"] !== "Always").map(containerUse);
    const use = new Map<string, number>([
        ["pods", 1],
        ["count/pods", 1],
    ]);
    for (const resource of new Set([...runs, ...before].flatMap((one) => [...one.keys()]))) {
        const together = runs.reduce((sum, one) => sum + (one.get(resource) ?? 0), 0);
        use.set(resource, Math.max(together, ...before.map((one) => one.get(resource) ?? 0)));
    }
    return use;
}

function containerUse(container: Fields): Use {
    const limits = asMap(at(container, ["resources", "limits"]));
    // A limit without a request is a request as well.
    const requests = { ...limits, ...asMap(at(container, ["resources", "requests"])) };
    const entries = (all: Fields, prefix: string) =>
        Object.entries(all).map(([key, value]) => [`${prefix}${key}`, quantityOf(value) ?? 0] as const);
    // `cpu` and `memory` in a quota mean the requests.
    return new Map([...entries(requests, ""), ...entries(requests, "requests."), ...entries(limits, "limits.")]);
}

function textOf(value: unknown): string {
    return typeof value === "string" || typeof value === "number" ? String(value) : "?";
}

/** `1.5Gi`, or the plain number of what is counted in pieces. */
function amount(value: number): string {
    const power = value < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
    return `${Number((value / 2 ** (10 * power)).toFixed(3))}${["", "Ki", "Mi", "Gi", "Ti"][power] ?? ""}`;
}
