import type { ApiAnswer, ApiRequest } from "../live/api";
import { at } from "./patch";

/** Asks the API server one thing, on connections that are kept and within the time that is left. */
export type Ask = (asked: Omit<ApiRequest, "timeoutMs" | "agent">, atMost?: number) => Promise<ApiAnswer>;

/** What keeps an object from being checked, as a part of a sentence: `needs patch on deployments in mf-demo-dev`. */
export class NotChecked extends Error {}

export type Verb = "get" | "create" | "patch";
/** @throws NotChecked unless the credentials may do this to the object at the path */
export type Allow = (verb: Verb, path: string) => Promise<void>;

/** Asks the server what these credentials may do, each thing once. */
export function permissions(ask: Ask): Allow {
    const known = new Map<string, Promise<boolean>>();
    return async (verb, path) => {
        const { group, resource, namespace, name } = placeOf(path);
        // Rights to create cannot depend on a name; those to change can.
        const attributes = { verb, group, resource, namespace, ...(verb !== "create" && { name }) };
        const key = JSON.stringify(attributes);
        const review = known.get(key) ?? mayDo(ask, attributes);
        known.set(key, review);
        if (await review) return;
        const full = group.includes(".") && !group.endsWith(".k8s.io") ? `${resource}.${group}` : resource;
        throw new NotChecked(`needs ${verb} on ${full}${namespace === undefined ? "" : ` in ${namespace}`}`);
    };
}

async function mayDo(ask: Ask, resourceAttributes: object): Promise<boolean> {
    const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview" };
    const { status, body } = await ask({
        method: "POST",
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body: JSON.stringify({ ...review, spec: { resourceAttributes } }),
    });
    if (status !== 201) throw new NotChecked(`the API server answers ${status} when asked for permissions`);
    return at(JSON.parse(body), ["status", "allowed"]) === true;
}

export interface Place {
    readonly group: string;
    readonly resource: string;
    readonly namespace: string | undefined;
    readonly name: string;
    /** Where new ones are sent to. */
    readonly collection: string;
}

/** `/apis/apps/v1/namespaces/demo/deployments/api`, taken apart */
export function placeOf(path: string): Place {
    const parts = path.split("/").slice(1);
    const rest = parts.slice(parts[0] === "apis" ? 3 : 2);
    const [resource = "", name = ""] = rest.slice(-2);
    return {
        group: parts[0] === "apis" ? (parts[1] ?? "") : "",
        resource,
        namespace: rest.length === 4 ? rest[1] : undefined,
        name: decodeURIComponent(name),
        collection: path.slice(0, path.lastIndexOf("/")),
    };
}
