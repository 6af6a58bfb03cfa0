import { evidenceRoot, type Failure, saveEvidence } from "./evidence";
import { type Finding, identityOf, textOf } from "./finding";
import { beginsOperation, endsOperation, giveUp, Hopeless, mayGiveUp } from "./give-up";
import { errorFault } from "./helm-errors";
import { progressOf } from "./progress";
import { type Look, Watch } from "./watch";
import type { Accompanied, Operation, Outcome } from "../operation";

/** Milliseconds. */
export interface Pace {
    /** Between two looks. */
    readonly lookMs: number;
    /** How long an error must have lasted before an operation is given up: somebody may be about to make the missing Secret. */
    readonly lastingMs: number;
}

const PACE: Pace = { lookMs: 1000, lastingMs: 3000 };
/** Most errors show early; later on it looks half as often. */
const LATER_FROM_MS = 60_000;
/** Between two looks it pauses at least so many times as long as a look takes. */
const BREATHER = 2;
/** Milliseconds until the first word about progress, between two different ones, and between two equal ones. */
const PROGRESS_FIRST_MS = 10_000;
const PROGRESS_MS = 10_000;
const PROGRESS_SAME_MS = 30_000;
/** Milliseconds that the start of an operation waits for the first list. */
const OPEN_MS = 3000;
const LAST_LOOK_MS = 3000;

/** Watches an operation, says what goes wrong as soon as it is certain, and keeps the evidence of a failure. */
export async function diagnosis(operation: Operation, pace: Pace = PACE): Promise<Accompanied> {
    const { target, access } = operation;
    const objects = await target.objects();
    const opened = Watch.open({ access, namespace: target.namespace, objects }).catch(() => undefined);
    const watch = await Promise.race([opened, pause(OPEN_MS)]);
    if (watch === undefined) {
        operation.progress("the cluster did not say what runs, so nothing is watched");
        return { ended: () => Promise.resolve() };
    }
    return new Diagnosis(operation, watch, await target.timeoutSeconds(), pace);
}

class Diagnosis implements Accompanied {
    private readonly began = new Date();
    /** The findings of this operation, newest state of each. */
    private readonly found = new Map<string, Finding>();
    private readonly said = new Set<string>();
    private readonly hopeless: Hopeless;
    private told: { readonly text: string; readonly at: number } | undefined;
    private timer: NodeJS.Timeout | undefined;
    private looking: Promise<void> | undefined;
    private over = false;
    private givenUp = false;

    constructor(
        private readonly operation: Operation,
        private readonly watch: Watch,
        private readonly timeoutSeconds: number,
        private readonly pace: Pace,
    ) {
        this.hopeless = new Hopeless(pace.lastingMs);
        beginsOperation();
        this.lookLater(0);
    }

    readonly ended = async (outcome: Outcome): Promise<void> => {
        clearTimeout(this.timer);
        const wasUnderWay = this.looking;
        if (outcome.kind === "failed") {
            await Promise.race([wasUnderWay, pause(LAST_LOOK_MS)]);
            // What ended quickly may not have been seen; what is there now may be the revision before, which is not blamed.
            await Promise.race([this.look(), pause(LAST_LOOK_MS)]);
        }
        this.over = true;
        endsOperation();
        this.watch.close();
        if (outcome.kind === "failed") this.conclude(outcome.errors);
    };

    /** @param tookMs milliseconds that the last look took: a namespace with thousands of pods is not to be listed all the time */
    private lookLater(tookMs: number): void {
        const elapsed = Date.now() - this.began.getTime();
        const pause = this.pace.lookMs * (elapsed < LATER_FROM_MS ? 1 : 2);
        this.timer = setTimeout(
            () => {
                const from = performance.now();
                this.looking = this.look().then(() => {
                    if (!this.over) this.lookLater(performance.now() - from);
                });
            },
            Math.max(pause, BREATHER * tookMs),
        ).unref();
    }

    /** Never rejects: a cluster that does not answer now may do so the next time. */
    private async look(): Promise<void> {
        try {
            const look = await this.watch.look();
            if (!this.over) this.tell(look);
        } catch {
            // The operation itself will tell of a cluster that is gone.
        }
    }

    private tell({ scene, findings, goesBack }: Look): void {
        const keyed = findings.map((finding) => [identityOf(finding), finding] as const);
        // A guess that does not show any more was none.
        for (const [key, { certain }] of this.found) if (!certain) this.found.delete(key);
        for (const [key, finding] of keyed) {
            this.found.set(key, finding);
            if (!finding.certain || this.said.has(key)) continue;
            this.said.add(key);
            this.operation.warn(textOf(finding));
        }
        if (goesBack) return;
        const reasons = this.hopeless.judge(keyed, Date.now());
        if (reasons.length > 0 && !this.givenUp && mayGiveUp()) {
            this.givenUp = true;
            const folder = this.save([]);
            giveUp([...reasons.map((finding) => textOf(finding)), ...evidenceWords(folder)].join("\n"));
            return;
        }
        const progress = progressOf(scene);
        if (progress !== undefined) this.tellProgress(progress);
    }

    private tellProgress(text: string): void {
        const now = Date.now();
        const elapsed = now - this.began.getTime();
        if (elapsed < PROGRESS_FIRST_MS) return;
        const quiet = now - (this.told?.at ?? 0);
        if (quiet < (this.told?.text === text ? PROGRESS_SAME_MS : PROGRESS_MS)) return;
        this.told = { text, at: now };
        this.operation.progress(`${text}, ${Math.round(elapsed / 1000)} s of ${this.timeoutSeconds} s`);
    }

    private conclude(errors: readonly string[]): void {
        const { release, namespace } = this.operation.target;
        const certain = [...this.found.values()].filter((finding) => finding.certain);
        const fault = certain.length === 0 ? errorFault(errors) : undefined;
        if (fault !== undefined)
            this.found.set("error", {
                object: `Release/${release}`,
                workload: release,
                certain: true,
                healable: false,
                ...fault,
            });
        const folder = this.save(errors);
        const why = [...this.found.values()];
        const words =
            why.length === 0
                ? [`nothing was seen in namespace ${namespace} that explains why ${release} failed`]
                : [`why ${release} failed:`, ...why.map((one) => `  ${one.certain ? "" : "perhaps: "}${textOf(one)}`)];
        const service = this.watch.inService();
        this.operation.complain(
            [...words, ...(service === undefined ? [] : [service]), ...evidenceWords(folder)].join("\n"),
        );
    }

    private save(errors: readonly string[]): string | undefined {
        const { release, stack, namespace } = this.operation.target;
        const failure: Failure = {
            release,
            stack,
            namespace,
            began: this.began,
            errors,
            findings: [...this.found.values()],
            inService: this.watch.inService(),
        };
        try {
            const root = evidenceRoot(process.cwd());
            return root === undefined ? undefined : saveEvidence(root, failure, this.watch.kept());
        } catch (error) {
            this.operation.inform(
                `the evidence could not be kept: ${error instanceof Error ? error.message : String(error)}`,
            );
            return undefined;
        }
    }
}

function evidenceWords(folder: string | undefined): string[] {
    return folder === undefined ? [] : [`evidence (objects, events, logs): ${folder}`];
}

/** Undefined after a while; holds no process. */
function pause(milliseconds: number): Promise<undefined> {
    return new Promise((resolve) => {
        setTimeout(() => {
            resolve(undefined);
        }, milliseconds).unref();
    });
}
