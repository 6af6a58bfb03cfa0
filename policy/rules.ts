import { redactedValue, SECRET } from "../components/guarded-release/changes/redaction";
import type { RenderedObject } from "../components/guarded-release/render/render";
import type { Values } from "../components/config/values";

/** mandatory stops a deploy, advisory warns. */
export type Level = "mandatory" | "advisory" | "off";

/** What a rule found, and what to change. */
export interface Found {
    /** `Kind/name`, and the container where there is one. */
    readonly where: string;
    readonly what: string;
    readonly fix: string;
}

/** The inputs of a Helm release, as far as rules look at them. */
export interface ReleaseInputs {
    readonly name: string;
    readonly values: Values;
    readonly atomic: boolean;
    /** Seconds; undefined: Helm's default. */
    readonly timeout: number | undefined;
    /** Revisions that are kept; undefined: all. */
    readonly maxHistory: number | undefined;
    /** Pulumi refuses to delete or replace it. */
    readonly protect: boolean;
}

export interface Subject {
    readonly environment: string;
    /** Everything that the chart renders to, hooks and tests included. */
    readonly objects: readonly RenderedObject[];
    readonly release?: ReleaseInputs;
    /** Where images may come from: the beginnings of their names. */
    readonly registries: readonly string[];
}

export interface Rule {
    readonly name: string;
    /** One sentence: what must hold. */
    readonly says: string;
    readonly levels: Readonly<Record<"dev" | "staging" | "production", Level>>;
    readonly check: (subject: Subject) => Found[];
}

const EVERYWHERE = { dev: "mandatory", staging: "mandatory", production: "mandatory" } as const;
const OUTSIDE_DEV = { dev: "off", staging: "mandatory", production: "mandatory" } as const;
const PRODUCTION = { dev: "off", staging: "off", production: "mandatory" } as const;

/** What must hold for everything that is deployed. Plain functions: they also run where no policy pack can. */
export const RULES: readonly Rule[] = [
    {
        name: "image-pinned",
        says: "an image is named by its digest, so that what was tested is what runs",
        levels: { dev: "advisory", staging: "mandatory", production: "mandatory" },
        check: ({ objects }) =>
            containersIn(objects).flatMap(({ where, container: { image = "" } }) => {
                const [, tag] = /:([\w][\w.-]*)$/.exec(image) ?? [];
                const pinned = /@sha256:[0-9a-f]{64}$/.test(image);
                // Nobody can move the tag of an image that is not in a registry.
                const local = image.startsWith("localhost/") && tag !== undefined && tag !== "latest";
                return pinned || local
                    ? []
                    : [
                          {
                              where,
                              what: `the image ${image || '""'} can become another one under the same name`,
                              fix: "set image.digest: sha256:…",
                          },
                      ];
            }),
    },
    {
        name: "image-registry",
        says: "images come from the registries that policy/settings.yaml lists",
        levels: { dev: "advisory", staging: "mandatory", production: "mandatory" },
        check: ({ objects, registries }) =>
            containersIn(objects).flatMap(({ where, container: { image = "" } }) =>
                registries.some((registry) => image.startsWith(`${registry.replace(/\/$/, "")}/`))
                    ? []
                    : [
                          {
                              where,
                              what: `the image ${image || '""'} comes from none of ${registries.join(", ")}`,
                              fix: "add its registry to policy/settings.yaml, or use an image from one of them",
                          },
                      ],
            ),
    },
    {
        name: "resources",
        says: "every container reserves CPU and memory, and its memory is limited",
        levels: EVERYWHERE,
        check: ({ objects }) =>
            containersIn(objects).flatMap(({ where, container }) => {
                const { requests = {}, limits = {} } = container.resources ?? {};
                const missing = [
                    ...["cpu", "memory"].filter((name) => !isSet(requests[name])).map((name) => `requests.${name}`),
                    ...(isSet(limits["memory"]) ? [] : ["limits.memory"]),
                ];
                return missing.length === 0
                    ? []
                    : [
                          {
                              where,
                              what: `resources without ${missing.join(", ")}`,
                              fix: `set resources.${missing[0] ?? ""}`,
                          },
                      ];
            }),
    },
    {
        name: "survives-a-node",
        says: "two pods at least, and a disruption budget that keeps one of them",
        levels: PRODUCTION,
        check: ({ objects }) =>
            objects
                .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
                .flatMap((workload) => {
                    const where = nameOf(workload);
                    const labels = templateOf(workload)?.metadata?.labels ?? {};
                    const found: Found[] = [];
                    const pods = leastPods(workload, objects);
                    if (pods < 2) {
                        found.push({
                            where,
                            what: `${pods} pod: nobody is served while its node restarts`,
                            fix: "set replicas (or autoscaling.minReplicas) to 2 or more",
                        });
                    }
                    if (!objects.some((object) => object.kind === "PodDisruptionBudget" && selects(object, labels))) {
                        found.push({
                            where,
                            what: "no PodDisruptionBudget: a drain may stop all of its pods at once",
                            fix: "let the chart make one: it does with 2 pods or more",
                        });
                    }
                    return found;
                }),
    },
    {
        name: "probes",
        says: "a pod gets requests only when it is ready, and is restarted when it hangs",
        levels: EVERYWHERE,
        check: ({ objects }) =>
            objects
                .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
                .flatMap((workload) =>
                    (podSpecOf(workload)?.containers ?? [])
                        // Only a container with a port is asked for something.
                        .filter(({ ports = [] }) => ports.length > 0)
                        .flatMap((container) =>
                            (["startupProbe", "readinessProbe", "livenessProbe"] as const)
                                .filter((probe) => container[probe] === undefined)
                                .map((probe) => ({
                                    where: `${nameOf(workload)} ${container.name ?? ""}`,
                                    what: `no ${probe}`,
                                    fix: "take the chart's probes: remove it from merge.container",
                                })),
                        ),
                ),
    },
    {
        name: "restricted-pods",
        says: "pods keep the restricted Pod Security Standard, on a read-only root file system",
        levels: EVERYWHERE,
        check: ({ objects }) => objects.flatMap((object) => restrictedViolations(object)),
    },
    {
        name: "no-token",
        says: "pods get no token for the cluster's API",
        levels: EVERYWHERE,
        check: ({ objects }) =>
            objects
                .filter((object) => podSpecOf(object) !== undefined)
                .filter((object) => podSpecOf(object)?.automountServiceAccountToken !== false)
                .map((object) => ({
                    where: nameOf(object),
                    what: "its pods get a token with which they can ask the cluster's API",
                    fix: "automountServiceAccountToken: false",
                })),
    },
    {
        name: "network-policy",
        says: "a NetworkPolicy says who reaches the pods and where they may connect to",
        levels: OUTSIDE_DEV,
        check: ({ objects }) =>
            objects.flatMap((object) => {
                const labels = templateOf(object)?.metadata?.labels;
                if (labels === undefined) return [];
                const covered = objects.some(
                    (policy) =>
                        policy.kind === "NetworkPolicy" &&
                        selectsPods((policy.spec as { podSelector?: Selector } | undefined)?.podSelector, labels) &&
                        ["Ingress", "Egress"].every((type) =>
                            ((policy.spec as { policyTypes?: string[] }).policyTypes ?? []).includes(type),
                        ),
                );
                return covered
                    ? []
                    : [
                          {
                              where: nameOf(object),
                              what: "no NetworkPolicy limits both what reaches its pods and what they reach",
                              fix: "set network.enabled: true",
                          },
                      ];
            }),
    },
    {
        name: "no-secret-value",
        says: "no secret stands in the values or in what they render to",
        levels: EVERYWHERE,
        check: ({ objects, release }) => [
            ...objects
                .filter(({ kind }) => kind !== "Secret")
                .flatMap((object) =>
                    hiddenPaths(object, object.kind).map((path) => ({
                        where: nameOf(object),
                        what: `${path} looks like a secret, and everybody who reads the release can read it`,
                        fix: "put it into a Kubernetes Secret and name that in secrets",
                    })),
                ),
            ...objects
                .filter(({ kind }) => kind === "Secret")
                .map((object) => ({
                    where: nameOf(object),
                    what: "a Secret made by the chart stands in clear in Helm's release record",
                    fix: "make it outside the chart, and name it in secrets",
                })),
            ...(release === undefined
                ? []
                : hiddenPaths(release.values, undefined).map((path) => ({
                      where: `Release/${release.name}`,
                      what: `the value ${path} looks like a secret`,
                      fix: "put it into a Kubernetes Secret and name that in secrets",
                  }))),
        ],
    },
    {
        name: "no-open-door",
        says: "nothing is reachable from outside the cluster without TLS",
        levels: { dev: "advisory", staging: "mandatory", production: "mandatory" },
        check: ({ objects }) =>
            objects.flatMap((object) => {
                const where = nameOf(object);
                const spec = object.spec as { type?: string; tls?: unknown[]; externalIPs?: unknown[] } | undefined;
                if (object.kind === "Service" && (spec?.externalIPs ?? []).length > 0) {
                    return [
                        {
                            where,
                            what: "a Service with externalIPs takes over an address of the nodes, without TLS",
                            fix: "use ingress or gateway, with a certificate",
                        },
                    ];
                }
                if (object.kind === "Service" && (spec?.type === "LoadBalancer" || spec?.type === "NodePort")) {
                    return [
                        {
                            where,
                            what: `a Service of type ${spec.type} is open to whoever reaches the nodes, without TLS`,
                            fix: "use ingress or gateway, with a certificate",
                        },
                    ];
                }
                return object.kind === "Ingress" && (spec?.tls ?? []).length === 0
                    ? [
                          {
                              where,
                              what: "requests and API keys cross the network in clear",
                              fix: "set ingress.tlsSecret",
                          },
                      ]
                    : [];
            }),
    },
    {
        name: "labels",
        says: "every object says to which API it belongs, and outside dev who owns it",
        levels: EVERYWHERE,
        check: ({ objects, environment }) =>
            objects.flatMap((object) => {
                const labels = object.metadata.labels ?? {};
                const missing = [
                    "app.kubernetes.io/name",
                    "app.kubernetes.io/instance",
                    "app.kubernetes.io/managed-by",
                    ...(environment === "dev" ? [] : [OWNER_LABEL]),
                ].filter((label) => !isSet(labels[label]));
                return missing.length === 0
                    ? []
                    : [
                          {
                              where: nameOf(object),
                              what: `without the label ${missing.join(", ")}`,
                              fix: missing.includes(OWNER_LABEL)
                                  ? `set labels.${OWNER_LABEL} to the team that is called when it fails`
                                  : "take the chart's labels",
                          },
                      ];
            }),
    },
    {
        name: "release-bounded",
        says: "a deploy ends in bounded time, whole or not at all, and keeps a bounded history",
        levels: EVERYWHERE,
        check: ({ release }) => {
            if (release === undefined) return [];
            const where = `Release/${release.name}`;
            return [
                ...(release.atomic ? [] : [{ where, what: "it is not atomic", fix: "atomic: true" }]),
                ...(release.timeout !== undefined && release.timeout > 0
                    ? []
                    : [{ where, what: "it has no time-out of its own", fix: "set timeout, in seconds" }]),
                ...(release.maxHistory !== undefined && release.maxHistory > 0
                    ? []
                    : [{ where, what: "it keeps every revision for ever", fix: "set maxHistory" }]),
            ];
        },
    },
    {
        name: "protected",
        says: "nobody deletes or replaces the release by accident",
        levels: PRODUCTION,
        check: ({ release }) =>
            release === undefined || release.protect
                ? []
                : [
                      {
                          where: `Release/${release.name}`,
                          what: "a destroy or a replacement would delete it",
                          fix: 'set ml-api:protect: "true" in the stack file',
                      },
                  ],
    },
];

/** The label that names the team of an API. */
export const OWNER_LABEL = "owner";

interface Container {
    readonly name?: string;
    readonly image?: string;
    readonly ports?: readonly unknown[];
    readonly resources?: {
        readonly requests?: Readonly<Record<string, unknown>>;
        readonly limits?: Readonly<Record<string, unknown>>;
    };
    readonly securityContext?: Readonly<Record<string, unknown>>;
    readonly startupProbe?: unknown;
    readonly readinessProbe?: unknown;
    readonly livenessProbe?: unknown;
}

interface PodSpec {
    readonly automountServiceAccountToken?: boolean;
    readonly hostNetwork?: boolean;
    readonly hostPID?: boolean;
    readonly hostIPC?: boolean;
    readonly securityContext?: Readonly<Record<string, unknown>>;
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly ephemeralContainers?: readonly Container[];
    readonly volumes?: readonly Readonly<Record<string, unknown>>[];
}

interface PodTemplate {
    readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
    readonly spec?: PodSpec;
}

interface Selector {
    readonly matchLabels?: Readonly<Record<string, string>>;
    readonly matchExpressions?: readonly unknown[];
}

/** The pod template of whatever makes pods; a bare Pod is its own. */
function templateOf(object: RenderedObject): PodTemplate | undefined {
    const spec = object.spec as
        { template?: PodTemplate; jobTemplate?: { spec?: { template?: PodTemplate } } } | undefined;
    if (object.kind === "Pod") return object as PodTemplate;
    if (object.kind === "CronJob") return spec?.jobTemplate?.spec?.template;
    return ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"].includes(object.kind)
        ? spec?.template
        : undefined;
}

function podSpecOf(object: RenderedObject): PodSpec | undefined {
    // What is empty in YAML is null.
    return templateOf(object)?.spec ?? undefined;
}

function containersIn(objects: readonly RenderedObject[]): { where: string; container: Container }[] {
    return objects.flatMap((object) => {
        const { initContainers = [], containers = [], ephemeralContainers = [] } = podSpecOf(object) ?? {};
        return [...initContainers, ...containers, ...ephemeralContainers].map((container) => ({
            where: `${nameOf(object)} ${container.name ?? ""}`,
            container,
        }));
    });
}

function nameOf({ kind, metadata }: RenderedObject): string {
    return `${kind}/${metadata.name}`;
}

function isSet(value: unknown): boolean {
    return (typeof value === "string" && value !== "") || typeof value === "number";
}

/** The fewest pods that a workload has while nothing is wrong. */
function leastPods(workload: RenderedObject, objects: readonly RenderedObject[]): number {
    const scalers = objects.filter(({ kind, spec }) => {
        const target = (spec as { scaleTargetRef?: { kind?: string; name?: string } } | undefined)?.scaleTargetRef;
        return (
            (kind === "HorizontalPodAutoscaler" || kind === "ScaledObject") &&
            target?.name === workload.metadata.name &&
            (target.kind ?? "Deployment") === workload.kind
        );
    });
    const scaled = scalers.map(({ spec }) => {
        const { minReplicas, minReplicaCount } = spec as { minReplicas?: number; minReplicaCount?: number };
        return minReplicas ?? minReplicaCount ?? 1;
    });
    return scaled.length > 0
        ? Math.min(...scaled)
        : ((workload.spec as { replicas?: number } | undefined)?.replicas ?? 1);
}

function selects(object: RenderedObject, labels: Readonly<Record<string, string>>): boolean {
    return selectsPods((object.spec as { selector?: Selector } | undefined)?.selector, labels);
}

/** Expressions are not evaluated: the chart has none, and "not covered" is the safe answer. */
function selectsPods(selector: Selector | undefined, labels: Readonly<Record<string, string>>): boolean {
    if (selector === undefined || (selector.matchExpressions ?? []).length > 0) return false;
    return Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}

const SAFE_VOLUMES = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/** The restricted Pod Security Standard (kubernetes.io/docs/concepts/security/pod-security-standards) and a read-only root. */
function restrictedViolations(object: RenderedObject): Found[] {
    const spec = podSpecOf(object);
    if (spec === undefined) return [];
    const found: Found[] = [];
    const report = (where: string, what: string, fix: string) => void found.push({ where, what, fix });
    const pod = spec.securityContext ?? {};
    const where = nameOf(object);
    for (const name of ["hostNetwork", "hostPID", "hostIPC"] as const) {
        if (spec[name] === true) report(where, `${name} shares the node's`, `remove ${name}`);
    }
    for (const volume of spec.volumes ?? []) {
        const type = Object.keys(volume).find((key) => key !== "name") ?? "";
        if (!SAFE_VOLUMES.includes(type))
            report(where, `the volume ${String(volume["name"])} is a ${type}`, `use one of ${SAFE_VOLUMES.join(", ")}`);
    }
    if (pod["sysctls"] !== undefined)
        report(where, "it changes settings of the node's kernel", "remove securityContext.sysctls");
    const { initContainers = [], containers = [], ephemeralContainers = [] } = spec;
    for (const container of [...initContainers, ...containers, ...ephemeralContainers]) {
        const at = `${where} ${container.name ?? ""}`;
        const own = container.securityContext ?? {};
        const capabilities = (own["capabilities"] ?? {}) as { drop?: string[]; add?: string[] };
        const seccomp = (own["seccompProfile"] ?? pod["seccompProfile"]) as { type?: string } | undefined;
        if ((own["runAsNonRoot"] ?? pod["runAsNonRoot"]) !== true)
            report(at, "it may run as root", "runAsNonRoot: true");
        if ((own["runAsUser"] ?? pod["runAsUser"]) === 0) report(at, "it runs as user 0", "set another runAsUser");
        if ((container.ports ?? []).some((port) => ((port as { hostPort?: number } | null)?.hostPort ?? 0) !== 0))
            report(at, "it listens at a port of the node, which no NetworkPolicy guards", "remove hostPort");
        if (own["procMount"] !== undefined && own["procMount"] !== "Default")
            report(at, "it sees the node's /proc", "remove procMount");
        if (own["privileged"] === true) report(at, "it is privileged", "remove privileged");
        if (own["allowPrivilegeEscalation"] !== false)
            report(at, "it may gain privileges", "allowPrivilegeEscalation: false");
        if (own["readOnlyRootFilesystem"] !== true)
            report(at, "it may write to its own files", "readOnlyRootFilesystem: true");
        if (
            capabilities.drop?.includes("ALL") !== true ||
            (capabilities.add ?? []).some((one) => one !== "NET_BIND_SERVICE")
        )
            report(at, "it keeps capabilities of root", "capabilities: {drop: [ALL]}");
        if (seccomp?.type !== "RuntimeDefault" && seccomp?.type !== "Localhost")
            report(at, "it may make every system call", "seccompProfile: {type: RuntimeDefault}");
    }
    return found;
}

/** The paths of texts that would be hidden from people. */
function hiddenPaths(value: unknown, kind: string | undefined): string[] {
    const paths: string[] = [];
    const walk = (before: unknown, after: unknown, path: string): void => {
        if (typeof before === "string" || typeof before === "number") {
            if (after !== before && String(after).includes(SECRET)) paths.push(path);
        } else if (typeof before === "object" && before !== null) {
            for (const [key, inner] of Object.entries(before) as [string, unknown][]) {
                const { name } = (inner ?? {}) as { name?: unknown };
                const item = `[${typeof name === "string" ? name : key}]`;
                const step = Array.isArray(before) ? item : path === "" ? key : `.${key}`;
                walk(inner, (after as Record<string, unknown> | undefined)?.[key], path + step);
            }
        }
    };
    walk(value, redactedValue([], value, kind ?? "Values"), "");
    return paths;
}
