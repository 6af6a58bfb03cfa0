/** Something that keeps a release from becoming ready, in words. */
export interface Finding {
    /** `Pod/api-5d8956fdf7-7d8t9`, `ReplicaSet/…`, `Job/…` */
    readonly object: string;
    readonly container?: string;
    /** What it belongs to; with container and problem it tells two findings apart. */
    readonly workload: string;
    readonly problem: string;
    /** It is so; otherwise it only looks like it, and nothing is said yet. */
    readonly certain: boolean;
    /** It may come right by itself, without another deploy. */
    readonly healable: boolean;
    readonly sentence: string;
    readonly fix: string;
    /** The lines that end with what the sentence quotes: the end of a log. */
    readonly details?: readonly string[];
}

/** What is known of a fault before it is known whose it is. */
export type Fault = Pick<Finding, "problem" | "sentence" | "fix"> &
    Partial<Pick<Finding, "certain" | "healable" | "details">>;

/**
 * `Pod/api-1 (container api): it says what → it says what to do`, and the details below. A terminal that shows one line of a running
 * operation shows all that matters.
 */
export function textOf({ object, container, sentence, fix, details = [] }: Finding): string {
    const whose = container === undefined ? "" : ` (container ${container})`;
    return [`${object}${whose}: ${sentence} → ${fix}`, ...details.map((line) => `    | ${line}`)].join("\n");
}

/** Pods of a workload that fail alike are one finding. */
export function identityOf({ workload, container, problem }: Finding): string {
    return `${workload} ${container ?? ""} ${problem}`;
}
