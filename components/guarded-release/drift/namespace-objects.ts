import type { ApiAnswer, ApiRequest } from "../live/api";
import { at, type Fields, isMap } from "../safety/patch";
import type { FoundObject } from "./extra-objects";

/** One answer with all groups, versions and resources; the server knows it from Kubernetes 1.30 on. */
const DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/** Metadata only: what is in a Secret is nobody's business here. */
const METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

type Ask = (asked: Omit<ApiRequest, "timeoutMs" | "agent">) => Promise<ApiAnswer>;

/** Every object in a namespace, whatever its kind, by its metadata; and the kinds that could not be listed. */
export async function listNamespace(
    namespace: string,
    ask: Ask,
): Promise<{ readonly found: readonly FoundObject[]; readonly unlisted: readonly string[] }> {
    const resources = (
        await Promise.all(
            ["/api", "/apis"].map(async (path) => {
                const { status, body } = await ask({ path, accept: DISCOVERY });
                return status === 200 ? listable(JSON.parse(body)) : undefined;
            }),
        )
    ).flatMap((some) => some ?? [undefined]);
    const unlisted: string[] = [];
    const found = await Promise.all(
        resources.map(async (resource): Promise<readonly FoundObject[]> => {
            if (resource === undefined) {
                unlisted.push("kinds that the API server does not tell about");
                return [];
            }
            const { apiVersion, kind, name } = resource;
            const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
            const { status, body } = await ask({ path: `${root}/namespaces/${namespace}/${name}`, accept: METADATA });
            if (status !== 200) {
                unlisted.push(name);
                return [];
            }
            const items = at(JSON.parse(body), ["items"]);
            return (Array.isArray(items) ? items : [])
                .filter(isMap)
                .map(({ metadata }) => ({ apiVersion, kind, metadata: metadata as FoundObject["metadata"] }));
        }),
    );
    return { found: found.flat(), unlisted: unlisted.sort() };
}

interface Resource {
    readonly apiVersion: string;
    readonly kind: string;
    /** As in the path: `deployments`. */
    readonly name: string;
}

/** Of each resource that lives in namespaces, its preferred version. */
export function listable(discovery: unknown): Resource[] {
    const seen = new Set<string>();
    return maps(at(discovery, ["items"])).flatMap((group) => {
        const groupName = at(group, ["metadata", "name"]);
        return maps(group["versions"]).flatMap((version) =>
            maps(version["resources"]).flatMap((one): Resource[] => {
                const [name, kind] = [one["resource"], at(one, ["responseKind", "kind"])];
                const verbs = one["verbs"];
                const isListed = Array.isArray(verbs) && verbs.includes("list") && one["scope"] === "Namespaced";
                if (typeof name !== "string" || typeof kind !== "string" || !isListed) return [];
                const prefix = typeof groupName === "string" && groupName !== "" ? `${groupName}/` : "";
                if (seen.has(prefix + name)) return [];
                seen.add(prefix + name);
                return [{ apiVersion: `${prefix}${String(version["version"])}`, kind, name }];
            }),
        );
    });
}

function maps(value: unknown): readonly Fields[] {
    return Array.isArray(value) ? value.filter(isMap) : [];
}
