/** One thing that a scanner does not like. */
export interface Finding {
    /** The scanner's own name for the check, as its documentation has it. */
    readonly check: string;
    /** "Kind/name" of an object, or the name of a package. */
    readonly object: string;
    /** Which render the object is from; absent for packages. */
    readonly render?: string;
    readonly message: string;
}

export interface Looked {
    readonly findings: readonly Finding[];
    /** What was looked at, for the scanner's line: "212 objects". */
    readonly at: string;
    /** Why not everything could be asked about: a service that is needed for it did not answer. */
    readonly notAudited?: string;
}

export interface Scanner {
    readonly name: string;
    /** Rejects when the scanner itself fails, or has read less than it was given. */
    readonly look: () => Promise<Looked>;
}
