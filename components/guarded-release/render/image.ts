import type { RenderedObject } from "./render";

/** The image of the release's first workload. */
export function imageIn(objects: readonly RenderedObject[]): string {
    for (const { kind, spec } of objects) {
        if (!["Deployment", "StatefulSet", "DaemonSet"].includes(kind)) continue;
        const pod = spec as { template?: { spec?: { containers?: { image?: string }[] } } } | undefined;
        const image = pod?.template?.spec?.containers?.[0]?.image;
        if (image !== undefined) return image;
    }
    return "";
}
