/** The fields of Kubernetes objects that are read here. */

export interface Meta {
    readonly name: string;
    readonly uid: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly {
        readonly kind: string;
        readonly name: string;
        readonly uid: string;
        readonly controller?: boolean;
    }[];
}

export interface Condition {
    readonly type: string;
    readonly status: string;
    readonly reason?: string;
    readonly message?: string;
}

export interface Terminated {
    readonly exitCode: number;
    readonly reason?: string;
    readonly message?: string;
    readonly startedAt?: string;
    readonly finishedAt?: string;
}

export interface ContainerState {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: { readonly startedAt?: string };
    readonly terminated?: Terminated;
}

export interface ContainerStatus {
    readonly name: string;
    readonly image: string;
    readonly ready: boolean;
    readonly started?: boolean;
    readonly restartCount: number;
    readonly state?: ContainerState;
    readonly lastState?: ContainerState;
}

export interface Probe {
    readonly httpGet?: { readonly path?: string; readonly port: number | string };
    readonly exec?: object;
    readonly initialDelaySeconds?: number;
    readonly periodSeconds?: number;
    readonly failureThreshold?: number;
}

export interface Container {
    readonly name: string;
    readonly image?: string;
    readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
    readonly resources?: { readonly limits?: Readonly<Record<string, string>> };
    readonly startupProbe?: Probe;
    readonly readinessProbe?: Probe;
    readonly livenessProbe?: Probe;
}

/** Only its taints count here. */
export interface Node {
    readonly spec: { readonly taints?: readonly { readonly key: string; readonly effect: string }[] };
}

export interface Pod {
    readonly metadata: Meta;
    readonly spec: { readonly containers: readonly Container[]; readonly initContainers?: readonly Container[] };
    readonly status?: {
        readonly phase?: string;
        readonly reason?: string;
        readonly message?: string;
        readonly conditions?: readonly Condition[];
        readonly initContainerStatuses?: readonly ContainerStatus[];
        readonly containerStatuses?: readonly ContainerStatus[];
    };
}

export interface ReplicaSet {
    readonly metadata: Meta;
    readonly status?: { readonly conditions?: readonly Condition[] };
}

export interface Deployment {
    readonly metadata: Meta;
    readonly spec?: { readonly replicas?: number };
    readonly status?: { readonly observedGeneration?: number; readonly conditions?: readonly Condition[] };
}

export interface Job {
    readonly metadata: Meta;
    readonly status?: { readonly conditions?: readonly Condition[] };
}

/** What the API server tells about an object; one entry stands for `count` like ones. */
export interface Happening {
    readonly involvedObject: {
        readonly kind: string;
        readonly name: string;
        readonly uid?: string;
        /** `spec.containers{api}` */
        readonly fieldPath?: string;
    };
    readonly type?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly count?: number;
    readonly series?: { readonly count?: number; readonly lastObservedTime?: string };
    readonly lastTimestamp?: string | null;
    readonly eventTime?: string | null;
    readonly metadata?: { readonly creationTimestamp?: string };
}

export function timeOf({ series, lastTimestamp, eventTime, metadata }: Happening): number {
    return Date.parse(series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata?.creationTimestamp ?? "") || 0;
}

export function timesOf({ series, count }: Happening): number {
    return series?.count ?? count ?? 1;
}
