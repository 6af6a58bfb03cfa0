import { isReady } from "./progress";
import type { Pod } from "./shapes";

/** For how long the pods of a new version were in service, as far as readiness tells, to the precision of the looks. */
export class Serving {
    private readonly pods = new Set<string>();
    private since: number | undefined;
    private until: number | undefined;

    /**
     * @param mine pods of the new version; followed until they go, also while the operation is taken back
     * @param all pods of the namespace
     * @param now milliseconds
     */
    look(mine: readonly Pod[], all: readonly Pod[], now: number): void {
        for (const { metadata } of mine) this.pods.add(metadata.uid);
        const serves = ({ metadata }: Pod): boolean =>
            this.pods.has(metadata.uid) && metadata.deletionTimestamp === undefined;
        if (!all.some((pod) => serves(pod) && isReady(pod))) return;
        this.since ??= now;
        this.until = now;
    }

    /** Seconds from the first to the last ready pod, at least 1; undefined when there was none. */
    get seconds(): number | undefined {
        if (this.since === undefined || this.until === undefined) return undefined;
        return Math.max(1, Math.round((this.until - this.since) / 1000));
    }
}
