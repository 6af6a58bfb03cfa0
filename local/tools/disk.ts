import { existsSync, statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** What is going to be written where. */
export interface DiskNeed {
    readonly path: string;
    readonly megabytes: number;
    readonly purpose: string;
}

export interface Disk {
    readonly freeMegabytes: (path: string) => number;
    /** The same for two paths exactly when they share their free space. */
    readonly device: (path: string) => number;
}

export const disk: Disk = {
    freeMegabytes: (path) => {
        const { bavail, bsize } = statfsSync(nearest(path));
        return Math.floor((bavail * bsize) / 1_000_000);
    },
    device: (path) => statSync(nearest(path)).dev,
};

/** One message about every file system that is too small, or undefined. */
export function diskShortage(needs: readonly DiskNeed[], { freeMegabytes, device }: Disk): string | undefined {
    const shares = new Map<number, DiskNeed[]>();
    for (const need of needs) {
        const id = device(need.path);
        shares.set(id, [...(shares.get(id) ?? []), need]);
    }
    const short = [...shares.values()].flatMap((share) => {
        const wanted = share.reduce((sum, need) => sum + need.megabytes, 0);
        const free = freeMegabytes(share[0]?.path ?? "/");
        if (free >= wanted) return [];
        const parts = share.map((need) => `  ${need.path} (${need.purpose}): ${gigabytes(need.megabytes)}`);
        return [`${gigabytes(wanted)} are needed, ${gigabytes(free)} are free:`, ...parts];
    });
    if (short.length === 0) return undefined;
    return [
        "Not enough disk space to build the tools.",
        ...short,
        "Free some space, or move what is large: ML_API_CACHE for the tools, GOCACHE and GOMODCACHE for Go's own caches.",
    ].join("\n");
}

function gigabytes(megabytes: number): string {
    return `${(megabytes / 1000).toFixed(1)} GB`;
}

function nearest(path: string): string {
    return existsSync(path) ? path : nearest(dirname(path));
}
