import type { ApiAccess } from "../config/kubeconfig";
import type { Target } from "./recover/recover";

/** One install or upgrade of a release by this program, from just before Helm is started until it has ended. */
export interface Operation {
    readonly event: "create" | "update";
    readonly target: Target;
    readonly access: ApiAccess;
    /** Tells how it goes, as a message on the release. */
    readonly inform: (text: string) => void;
}

/** What a companion is still to do. */
export interface Accompanied {
    /** Called once, when the operation has ended and before the program goes on. */
    readonly ended: (outcome: "succeeded" | "failed") => Promise<void>;
}

/**
 * Something that goes along with every operation. It may refuse it by throwing, as long as nothing has been touched; after that it
 * must neither fail it nor hold the program's process.
 */
export type Companion = (operation: Operation) => Promise<Accompanied>;

/** In the order in which they start; they end in the opposite one. */
export const companions: readonly Companion[] = [];
