/** A workflow file, as far as it is run here. */
export interface Workflow {
    readonly name: string;
    readonly on: Readonly<Record<string, unknown>>;
    readonly permissions: Readonly<Record<string, string>>;
    readonly jobs: Readonly<Record<string, Job>>;
}

export interface Job {
    readonly needs?: string | readonly string[];
    readonly if?: string;
    readonly strategy?: { readonly matrix: Matrix };
    readonly permissions: Readonly<Record<string, string>>;
    readonly env?: Readonly<Record<string, string>>;
    readonly environment?: string;
    readonly concurrency?: Readonly<Record<string, unknown>>;
    readonly outputs?: Readonly<Record<string, string>>;
    readonly steps: readonly Step[];
}

/** One axis, or `include` with whole combinations. */
export type Matrix = Readonly<Record<string, string | readonly Readonly<Record<string, string>>[]>>;

export interface Step {
    readonly id?: string;
    readonly name?: string;
    readonly if?: string;
    readonly uses?: string;
    readonly run?: string;
    readonly with?: Readonly<Record<string, unknown>>;
    readonly env?: Readonly<Record<string, string>>;
}

/** What a step is called in outcomes: its name, or what it does. */
export function stepName({ name, uses, run }: Step): string {
    return name ?? uses?.replace(/@.*$/, "") ?? (run ?? "").split("\n", 1).join();
}
