import { cacheDir, checkoutHash, checkoutRoot, stateDir, type Variables } from "../paths";

/** `current`: whatever the user's kubeconfig points at. `node`: real pods on this machine. `simulated`: pods only pretend. */
export const clusterKinds = ["current", "node", "simulated"] as const;
export type ClusterKind = (typeof clusterKinds)[number];

/** What a cluster is started for, and where it may write. */
export interface ClusterContext {
    /** Root of the checkout the cluster belongs to. */
    readonly checkout: string;
    /** Ten hex digits that tell this cluster's processes, devices and folders from those of another one. */
    readonly instance: string;
    /** Everything the cluster writes lives here, apart from what the cluster's own documentation lists. */
    readonly stateDir: string;
    /** Tools and unpacked packages; shared, outlives the cluster. */
    readonly cacheDir: string;
    readonly variables: Variables;
    /** One line for people. */
    readonly log: (line: string) => void;
    /** Ends what is under way; the next `up` repairs what was left. */
    readonly signal?: AbortSignal;
}

/** How to reach a cluster that is up. */
export interface ClusterInfo {
    readonly kind: ClusterKind;
    /** Path, or for `current` whatever KUBECONFIG holds (it may list several files). */
    readonly kubeconfig: string;
    readonly context: string;
    /** URL of the API server. */
    readonly server: string;
    /** False where pods only pretend: no request will ever be answered. */
    readonly podsServe: boolean;
    /** Address at which this machine reaches NodePorts, where there is one. */
    readonly nodeAddress?: string;
}

/** `broken` means that parts of it are there; `up` repairs it and `down` removes it. */
export type ClusterStatus =
    | { readonly state: "absent" }
    | { readonly state: "up"; readonly info: ClusterInfo }
    | { readonly state: "broken"; readonly reason: string };

export interface Cluster {
    readonly kind: ClusterKind;
    /** Starts it, repairs it, or finds that it is up already. */
    up(context: ClusterContext): Promise<ClusterInfo>;
    /** Removes it with all it left on the machine; nothing to remove is not an error. */
    down(context: ClusterContext): Promise<void>;
    status(context: ClusterContext): Promise<ClusterStatus>;
}

/** The context of the user's own cluster of a checkout; tests override `instance` and `stateDir`. */
export function clusterContext(overrides: Partial<ClusterContext> = {}): ClusterContext {
    const checkout = overrides.checkout ?? checkoutRoot;
    const variables = overrides.variables ?? process.env;
    return {
        checkout,
        instance: checkoutHash(checkout),
        stateDir: stateDir(checkout, variables),
        cacheDir: cacheDir(variables),
        variables,
        log: (line) => {
            process.stdout.write(`${line}\n`);
        },
        ...overrides,
    };
}
