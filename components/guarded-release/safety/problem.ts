/** One reason why an upgrade fails, or does more than one would think. */
export interface SafetyProblem {
    /** As `byName` names it: `Deployment/mf-demo`. */
    readonly object: string;
    /** `spec.selector`; empty when the whole object is meant. */
    readonly field: string;
    /** What was found: old → new. */
    readonly what: string;
    readonly fix: string;
    /** The upgrade cannot succeed. */
    readonly blocking: boolean;
    /** An API server that is asked about the object says the same, and knows better. */
    readonly serverKnows: boolean;
}

/** A problem of an object that has its name still to come. */
export type Fault = Omit<SafetyProblem, "object">;

/** What a person should know, and no server says. */
export function warning(field: string, what: string, fix: string): Fault[] {
    return [{ field, what, fix, blocking: false, serverKnows: false }];
}
