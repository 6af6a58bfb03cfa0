import type { ApiAccess } from "../config/kubeconfig";
import type { Target } from "./recover/recover";

/** One install or upgrade of a release by this program, from just before Helm is started until it has ended. */
export interface Operation {
    readonly event: "create" | "update";
    readonly target: Target;
    readonly access: ApiAccess;
    /** Tells how it goes, as a message on the release. */
    readonly inform: (text: string) => void;
    readonly warn: (text: string) => void;
    /** Only for an operation that has failed: a program that has told of an error does not end well any more. */
    readonly complain: (text: string) => void;
    /** Tells where it stands; nobody will want to read it afterwards. */
    readonly progress: (text: string) => void;
}

/** How an operation has ended, and with what words of the provider when it failed. */
export type Outcome = { readonly kind: "succeeded" } | { readonly kind: "failed"; readonly errors: readonly string[] };

/** What a companion is still to do. */
export interface Accompanied {
    /**
     * Called once, when the operation has ended and before the program goes on. A run that is interrupted may end without it.
     */
    readonly ended: (outcome: Outcome) => Promise<void>;
}

/**
 * Something that goes along with every operation. It may refuse it by throwing, as long as nothing has been touched; after that it
 * must neither fail it nor hold the program's process: its timers are unref'd, its requests have a time limit. One that takes too
 * long is left behind, but a handle that it keeps open would keep the program, and `pulumi up`, for ever.
 */
export type Companion = (operation: Operation) => Promise<Accompanied>;
