import type { Values } from "../components/config/values";
import { asMap, at, type Fields, isMap } from "../components/guarded-release/safety/patch";
import { isSecret, SECRET_ADVICE } from "./adopt-values";

/** An API that runs without Helm, as the API server has its objects. */
export interface LiveApi {
    readonly deployment: Fields;
    /** Services whose selector matches its pods. */
    readonly services: readonly Fields[];
    /** Ingresses that lead to one of these Services. */
    readonly ingresses: readonly Fields[];
    /** HorizontalPodAutoscalers of the Deployment. */
    readonly autoscalers: readonly Fields[];
    readonly pods: readonly Fields[];
}

/** What stands in live objects, as values of the chart. */
export interface MappedValues {
    readonly values: Values;
    /** What the chart has no value for, or sets in another way; each with what to do. */
    readonly notes: readonly string[];
}

/** What the chart sets itself; see chart/files/owned.yaml. */
export interface OwnedByChart {
    readonly variables: Readonly<Record<string, string>>;
    readonly labels: readonly string[];
}

type Draft = Record<string, unknown>;

/** Writes down as values what runs, as far as the chart has a value for it. */
export function valuesOfObjects(live: LiveApi, environment: string, owned: OwnedByChart): MappedValues {
    const notes: string[] = [];
    const say = (text: string): void => void notes.push(text);
    const pod = asMap(at(live.deployment, ["spec", "template", "spec"]));
    const [container = {}, ...others] = maps(pod["containers"]);
    const merge = { pod: {} as Draft, container: {} as Draft };
    if (others.length > 0) {
        merge.pod["containers"] = others;
        say(
            `beside ${text(container["name"])} run ${others.map((one) => text(one["name"])).join(", ")}: kept in merge.pod.containers; the chart asks restricted security of them`,
        );
    }
    const values: Draft = {
        environment,
        image: imageValues(live, pod, container),
        ...notEmpty("labels", labelValues(live.deployment, owned)),
        ...scaleValues(live, say),
        ...notEmpty("resources", resourceValues(container)),
        ...notEmpty("api", apiValues(container, say)),
        ...notEmpty("model", modelValues(container)),
        ...variableValues(container, owned, say),
        ...serviceValues(live.services),
        // What is live asks for no key of ours and cuts nobody off; both are one line to turn on later.
        apiKey: { enabled: false },
        network: { enabled: false },
    };
    say(
        "apiKey.enabled and network.enabled are false, as it runs today: turn them on once clients and callers are known",
    );
    say("verify.sample is not known: put the body of one prediction there, so that every deploy proves one");
    podFields(pod, merge.pod, say);
    containerFields(container, merge.container);
    volumeFields(pod, container, merge, say);
    securityNote(pod, container, say);
    const used = Object.entries(merge).filter(([, part]) => Object.keys(part).length > 0);
    if (used.length > 0) values["merge"] = Object.fromEntries(used);
    return { values: values as Values, notes };
}

/** Reads `repository:tag@digest`; the digest that the pods report is added when all of them report the same one. */
function imageValues({ pods }: LiveApi, pod: Fields, container: Fields): Draft {
    const [name = "", given = ""] = text(container["image"]).split("@");
    const colon = name.lastIndexOf(":");
    const hasTag = colon > name.lastIndexOf("/");
    const reported = pods.flatMap((one) =>
        maps(at(one, ["status", "containerStatuses"]))
            .filter((status) => status["name"] === container["name"])
            .map((status) => /sha256:[0-9a-f]{64}$/.exec(text(status["imageID"]))?.[0] ?? ""),
    );
    const [first = ""] = reported;
    const digest = given !== "" ? given : reported.every((one) => one === first) ? first : "";
    const secrets = maps(pod["imagePullSecrets"]).map(({ name: secret }) => [text(secret), true] as const);
    return {
        repository: hasTag ? name.slice(0, colon) : name,
        ...(hasTag ? { tag: name.slice(colon + 1) } : {}),
        ...(digest === "" ? {} : { digest }),
        ...notEmpty("pullSecrets", Object.fromEntries(secrets)),
    };
}

function labelValues(deployment: Fields, { labels: owned }: OwnedByChart): Draft {
    const selector = asMap(at(deployment, ["spec", "selector", "matchLabels"]));
    const labels = Object.entries(asMap(at(deployment, ["metadata", "labels"])));
    return Object.fromEntries(labels.filter(([key]) => !owned.includes(key) && !(key in selector)));
}

function scaleValues({ deployment, autoscalers }: LiveApi, say: (text: string) => void): Draft {
    const [scaler] = autoscalers;
    if (scaler === undefined) return { replicas: at(deployment, ["spec", "replicas"]) ?? 1 };
    const metrics = maps(at(scaler, ["spec", "metrics"]));
    const percent = (resource: string): unknown =>
        metrics.find((one) => at(one, ["resource", "name"]) === resource)?.["resource"];
    const of = (resource: string): unknown => at(percent(resource), ["target", "averageUtilization"]) ?? 0;
    const strange = metrics.filter((one) => at(one, ["resource", "target", "averageUtilization"]) === undefined);
    if (strange.length > 0)
        say(
            `the autoscaler also watches ${strange.map((one) => text(one["type"])).join(", ")}: add it to autoscaling.metrics`,
        );
    return {
        autoscaling: {
            enabled: true,
            minReplicas: at(scaler, ["spec", "minReplicas"]) ?? 1,
            maxReplicas: at(scaler, ["spec", "maxReplicas"]) ?? 1,
            cpuPercent: of("cpu"),
            memoryPercent: of("memory"),
        },
    };
}

function resourceValues(container: Fields): Draft {
    const part = (name: string): Draft => {
        const { cpu, memory } = asMap(at(container, ["resources", name]));
        return { ...(cpu === undefined ? {} : { cpu }), ...(memory === undefined ? {} : { memory }) };
    };
    const [requests, limits] = [part("requests"), part("limits")];
    // As the API server does it: what is limited and not requested is requested.
    return { ...notEmpty("requests", { ...limits, ...requests }), ...notEmpty("limits", limits) };
}

function apiValues(container: Fields, say: (text: string) => void): Draft {
    const api: Draft = {};
    const port = at(maps(container["ports"])[0], ["containerPort"]);
    if (typeof port === "number" && port >= 1024) api["port"] = port;
    else
        say(
            `the image listens on ${typeof port === "number" ? String(port) : "a port that it does not name"}: the chart tells it one by PORT, from 1024 on (api.port)`,
        );
    const live = probePath(container, "livenessProbe");
    const ready = probePath(container, "readinessProbe") ?? probePath(container, "startupProbe");
    api["paths"] = { live: live ?? "", ...(ready === undefined ? {} : { ready }) };
    if (ready === undefined) say("it has no HTTP readiness probe: the chart asks /readyz, else set api.paths.ready");
    for (const [variable, key] of Object.entries(CONTRACT)) {
        const value = variableOf(container, variable);
        if (value === undefined) continue;
        if (typeof key !== "string") {
            if (key.allowed.includes(value)) api[key.name] = value;
        } else if (/^[1-9][0-9]*$/.test(value)) api[key] = Number(value);
    }
    return api;
}

/** Variables of the image contract that are values of the chart, too. */
const CONTRACT: Readonly<Record<string, string | { readonly name: string; readonly allowed: readonly string[] }>> = {
    LOG_LEVEL: { name: "logLevel", allowed: ["debug", "info", "warning", "error"] },
    REQUEST_TIMEOUT_SECONDS: "requestTimeoutSeconds",
    MAX_CONCURRENT_REQUESTS: "maxConcurrentRequests",
    MAX_REQUEST_BYTES: "maxRequestBytes",
    WEB_CONCURRENCY: "workers",
};

function modelValues(container: Fields): Draft {
    const probe = asMap(container["startupProbe"] ?? container["readinessProbe"]);
    const number = (key: string, otherwise: number): number =>
        typeof probe[key] === "number" ? probe[key] : otherwise;
    const budget = number("initialDelaySeconds", 0) + number("periodSeconds", 10) * number("failureThreshold", 3);
    // A readiness probe alone does not end a start; the chart's default is the better guess then.
    return container["startupProbe"] === undefined ? {} : { loadBudgetSeconds: budget };
}

function variableValues(container: Fields, { variables: owned }: OwnedByChart, say: (text: string) => void): Draft {
    const env: Draft = {};
    const secrets: Draft = {};
    const left: string[] = [];
    for (const variable of maps(container["env"])) {
        const name = text(variable["name"]);
        const secret = asMap(at(variable, ["valueFrom", "secretKeyRef"]));
        if (name in owned) {
            if (!(name in CONTRACT) && name !== "PORT") left.push(name);
        } else if (variable["valueFrom"] === undefined) {
            const value = text(variable["value"]);
            if (isSecret(["env", name], value)) say(`env.${name} ${SECRET_ADVICE}`);
            else env[name] = value;
        } else if (secret["name"] !== undefined)
            secrets[name] = { secret: secret["name"], key: secret["key"], as: "env" };
        else
            say(
                `${name} comes from ${Object.keys(asMap(variable["valueFrom"])).join()}: put it into env, or into merge.container.env`,
            );
    }
    for (const from of maps(container["envFrom"])) {
        const source = at(from, ["secretRef", "name"]) ?? at(from, ["configMapRef", "name"]);
        say(
            `all entries of ${text(source)} are variables (envFrom): kept in merge.container.envFrom; better name them in env and secrets`,
        );
    }
    if (left.length > 0) say(`${left.join(", ")}: the chart sets these variables itself, so they were left out`);
    return { ...notEmpty("env", env), ...notEmpty("secrets", secrets) };
}

function serviceValues(services: readonly Fields[]): Draft {
    const port = at(maps(at(services[0], ["spec", "ports"]))[0], ["port"]);
    return typeof port === "number" ? { service: { port } } : {};
}

/** Fields of a pod that the chart has, or that every pod has. */
const POD_FIELDS =
    /^(?:containers|initContainers|volumes|imagePullSecrets|restartPolicy|terminationGracePeriodSeconds|dnsPolicy|schedulerName|securityContext|serviceAccount|serviceAccountName|automountServiceAccountToken|enableServiceLinks|topologySpreadConstraints|hostNetwork|hostPID|hostIPC)$/;

function podFields(pod: Fields, merge: Draft, say: (text: string) => void): void {
    for (const [field, value] of Object.entries(pod)) {
        if (POD_FIELDS.test(field)) continue;
        merge[field] = value;
    }
    for (const field of ["hostNetwork", "hostPID", "hostIPC"])
        if (pod[field] === true)
            say(`${field} is true: restricted Pod Security forbids it, and the chart does not set it`);
    const account = text(pod["serviceAccountName"]);
    if (account !== "" && account !== "default")
        say(
            `it runs as ServiceAccount ${account}: the chart makes one of its own without a token; rights in the cluster or cloud end with the old pods`,
        );
    if (maps(pod["initContainers"]).length > 0) merge["initContainers"] = pod["initContainers"];
}

/** Fields of the container that the chart has no value for, and takes as they are. */
function containerFields(container: Fields, merge: Draft): void {
    for (const field of ["command", "args", "workingDir", "envFrom"])
        if (container[field] !== undefined) merge[field] = container[field];
}

const CHART_VOLUMES = ["tmp", "cache", "shared-memory", "keys", "secrets", "model"];
const CHART_MOUNTS = ["/tmp", "/var/cache/ml-api", "/dev/shm"];

function volumeFields(
    pod: Fields,
    container: Fields,
    merge: { pod: Draft; container: Draft },
    say: (text: string) => void,
): void {
    const volumes = maps(pod["volumes"]).filter((volume) => !text(volume["name"]).startsWith("kube-api-access-"));
    const mounts = maps(container["volumeMounts"]).filter((mount) => !CHART_MOUNTS.includes(text(mount["mountPath"])));
    const kept = volumes.filter((volume) => mounts.some((mount) => mount["name"] === volume["name"]));
    const fits = kept.filter((volume) => {
        const name = text(volume["name"]);
        const why =
            volume["hostPath"] !== undefined
                ? "it is a folder of the node, which restricted Pod Security forbids"
                : CHART_VOLUMES.includes(name)
                  ? "the chart has a volume of this name"
                  : undefined;
        if (why !== undefined) say(`volume ${name} was left out: ${why}`);
        return why === undefined;
    });
    if (fits.length === 0) return;
    merge.pod["volumes"] = fits;
    merge.container["volumeMounts"] = mounts.filter((mount) => fits.some((volume) => volume["name"] === mount["name"]));
}

function securityNote(pod: Fields, container: Fields, say: (text: string) => void): void {
    const user = at(container, ["securityContext", "runAsUser"]) ?? at(pod, ["securityContext", "runAsUser"]);
    const readOnly = at(container, ["securityContext", "readOnlyRootFilesystem"]) === true;
    if (user === 10001 && readOnly) return;
    say(
        `the chart runs it as user 10001 on a read-only root (today: ${user === undefined ? "the image's user" : `user ${text(user)}`}${readOnly ? "" : ", a root that it may write to"}): ask the image with npx --no ml-api doctor`,
    );
}

function probePath(container: Fields, probe: string): string | undefined {
    const path = at(container, [probe, "httpGet", "path"]);
    return typeof path === "string" ? path : undefined;
}

function variableOf(container: Fields, name: string): string | undefined {
    const value = maps(container["env"]).find((one) => one["name"] === name)?.["value"];
    return typeof value === "string" ? value : undefined;
}

function notEmpty(key: string, part: Draft): Draft {
    return Object.keys(part).length === 0 ? {} : { [key]: part };
}

export function maps(value: unknown): readonly Fields[] {
    return Array.isArray(value) ? value.filter(isMap) : [];
}

/** A text or number of a live object; "" for anything else. */
export function text(value: unknown): string {
    return typeof value === "string" || typeof value === "number" ? String(value) : "";
}
