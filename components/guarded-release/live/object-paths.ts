import type { ApiAccess } from "../../config/kubeconfig";
import { request } from "./api";

/** What names an object to the API server. */
export interface ObjectName {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface ResourceList {
    readonly resources?: readonly { readonly name: string; readonly kind: string; readonly namespaced: boolean }[];
}

/**
 * Under which path the API server has an object. It is asked for the list of its resources once per API version.
 *
 * @param namespace where objects of a kind that lives in namespaces are when they name none
 * @returns a function that gives `/apis/apps/v1/namespaces/demo/deployments/api`, or undefined for a kind that the server lacks
 */
export function objectPaths(
    access: ApiAccess,
    namespace: string,
    timeoutMs: number,
): (object: ObjectName) => Promise<string | undefined> {
    const asked = new Map<string, Promise<ResourceList>>();
    const listOf = async (apiVersion: string): Promise<ResourceList> => {
        const { status, body } = await request(access, { path: rootOf(apiVersion), timeoutMs });
        if (status === 404) return {};
        if (status !== 200) throw new Error(`the API server answers ${status} when asked for ${apiVersion}`);
        return JSON.parse(body) as ResourceList;
    };
    return async ({ apiVersion, kind, metadata }) => {
        const known = asked.get(apiVersion) ?? listOf(apiVersion);
        asked.set(apiVersion, known);
        // Names with a slash are subresources.
        const found = (await known).resources?.find((one) => one.kind === kind && !one.name.includes("/"));
        if (found === undefined) return undefined;
        const place = found.namespaced ? `/namespaces/${metadata.namespace ?? namespace}` : "";
        return `${rootOf(apiVersion)}${place}/${found.name}/${encodeURIComponent(metadata.name)}`;
    };
}

function rootOf(apiVersion: string): string {
    return apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}
