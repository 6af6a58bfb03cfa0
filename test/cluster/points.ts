import type { Seen } from "./held-api";

type Predicate = (seen: Seen) => boolean;

export const isHelm: Predicate = ({ agent }) => agent.startsWith("Helm/");
const isRecord: Predicate = ({ path }) => /^\/api\/v1\/namespaces\/[^/]+\/secrets(?:\/sh\.helm|\?|$)/.test(path);

/** A request that follows another one. */
function following(first: Predicate, then: Predicate): Predicate {
    let come = false;
    return (seen) => {
        if (come) return then(seen);
        come = first(seen);
        return false;
    };
}

/** Where a run is stopped: the request that is held, and all after it. */
export const POINTS = {
    "before the hook":
        () =>
        ({ method, path }: Seen) =>
            method === "GET" && path.endsWith("/leases/ml-api-mf-demo"),
    "in the recovery": () => (seen: Seen) => !isHelm(seen) && seen.method === "PUT" && isRecord(seen),
    "with Helm's record pending": () => (seen: Seen) => isHelm(seen) && seen.method === "PATCH" && !isRecord(seen),
    "waiting for pods": () =>
        following(
            (seen) => isHelm(seen) && seen.method === "PATCH" && seen.path.includes("/deployments/mf-demo"),
            (seen) => isHelm(seen) && seen.method === "GET",
        ),
    "after Helm's success": () =>
        following(
            // Helm writes its record as protobuf, in which texts stand as they are.
            (seen) =>
                isHelm(seen) && seen.method === "PUT" && isRecord(seen) && /status\W{1,8}deployed/.test(seen.body),
            () => true,
        ),
} satisfies Readonly<Record<string, () => Predicate>>;
export type Point = keyof typeof POINTS;
