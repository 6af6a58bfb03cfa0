import { type FieldChange, fieldChanges, pathText, redacted } from "../changes/changes";
import { asMap, at, type Fields, isMap, sameValue } from "./patch";
import { quantityOf } from "./quantity";
import type { RenderedObject } from "../render/render";
import { listed, valueText } from "../changes/summary";
import type { Fault } from "./problem";

const RENAME = "put it back, or give the object another name: Helm then makes a new one and removes the old one";
const NEW_NAME = "give the object another name with each new content: a hash or a generation in it";
const NEW_CLAIM = "put it back; for another volume make a claim of another name and copy the data";

interface Rule {
    readonly path: readonly string[];
    readonly fix: string;
    /** What the server takes an absent field for. */
    readonly otherwise?: unknown;
}

const rule = (path: string, fix = RENAME, otherwise?: unknown): Rule => ({ path: path.split("."), fix, otherwise });
const SELECTOR = [rule("spec.selector")];
const ROLE_REF = [rule("roleRef", "put it back, or give the binding another name")];
const JOB_FIX =
    "a Job cannot be changed: put a hash of what changes into its name, or make it a hook, which Helm recreates";

const RULES: Readonly<Record<string, readonly Rule[]>> = {
    Deployment: SELECTOR,
    DaemonSet: SELECTOR,
    ReplicaSet: SELECTOR,
    Job: [
        ...["selector", "template", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy", "managedBy"].map(
            (field) => rule(`spec.${field}`, JOB_FIX),
        ),
        rule("spec.completionMode", JOB_FIX, "NonIndexed"),
    ],
    RoleBinding: ROLE_REF,
    ClusterRoleBinding: ROLE_REF,
    StorageClass: [
        rule("provisioner"),
        rule("parameters"),
        rule("reclaimPolicy", RENAME, "Delete"),
        rule("volumeBindingMode", RENAME, "Immediate"),
    ],
    VolumeAttributesClass: [rule("driverName"), rule("parameters")],
    IngressClass: [rule("spec.controller")],
    PriorityClass: [rule("value"), rule("preemptionPolicy", RENAME, "PreemptLowerPriority")],
    RuntimeClass: [rule("handler")],
    EndpointSlice: [rule("addressType")],
    CustomResourceDefinition: [rule("spec.scope")],
    Secret: [rule("type", NEW_NAME, "Opaque")],
};

/** Fields of a StatefulSet that may change; all others may not. */
const STATEFUL_SET_MUTABLE = new Set([
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
]);

/** Every field of an object that the server will not let change, with what the new version makes of it. */
export function immutableFaults(was: RenderedObject, is: RenderedObject): Fault[] {
    const rules = (RULES[is.kind] ?? []).flatMap(({ path, fix, otherwise }) =>
        changed(is.kind, path, at(was, path) ?? otherwise, at(is, path) ?? otherwise, fix),
    );
    const special = SPECIAL[is.kind]?.(was, is) ?? [];
    // A Job that deletes itself is most likely gone by now, and Helm makes a new one.
    const mayBeGone = is.kind === "Job" && at(was, ["spec", "ttlSecondsAfterFinished"]) !== undefined;
    return [...rules, ...special].map((fault) => (mayBeGone ? { ...fault, blocking: false } : fault));
}

const SPECIAL: Readonly<Record<string, (was: RenderedObject, is: RenderedObject) => Fault[]>> = {
    StatefulSet: statefulSetFaults,
    Service: serviceFaults,
    PersistentVolumeClaim: claimFaults,
    Secret: sealedFaults,
    ConfigMap: sealedFaults,
};

function statefulSetFaults(was: RenderedObject, is: RenderedObject): Fault[] {
    const namespace = is.metadata.namespace === undefined ? "" : ` -n ${is.metadata.namespace}`;
    const fix = `put it back, or let go of the StatefulSet without its pods (kubectl${namespace} delete statefulset ${is.metadata.name} --cascade=orphan), and deploy`;
    const complete = (object: RenderedObject): Fields => {
        const spec = asMap(object.spec);
        const { volumeClaimTemplates = [], podManagementPolicy = "OrderedReady", serviceName = "" } = spec;
        const templates = Array.isArray(volumeClaimTemplates) ? volumeClaimTemplates.map(claimTemplate) : [];
        return { ...spec, podManagementPolicy, serviceName, volumeClaimTemplates: templates };
    };
    const [old, now] = [complete(was), complete(is)];
    return Object.keys({ ...old, ...now })
        .filter((key) => !STATEFUL_SET_MUTABLE.has(key))
        .filter((key) => !sameValue(old[key], now[key]))
        .flatMap((key) => {
            // Sizes are compared as numbers and shown as they are written.
            const written = key === "volumeClaimTemplates" ? [was, is].map((object) => at(object, ["spec", key])) : [];
            const [before, after] = written.length > 0 ? written : [old[key], now[key]];
            return changed("StatefulSet", ["spec", key], before, after, fix);
        });
}

/** A claim template as the server completes it. */
function claimTemplate(template: unknown): unknown {
    if (!isMap(template)) return template;
    return {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        ...template,
        spec: completeClaim(asMap(template["spec"])),
    };
}

function completeClaim(spec: Fields): Fields {
    const requests = asMap(at(spec, ["resources", "requests"]));
    const size = quantityOf(requests["storage"]);
    if (size === undefined) return { volumeMode: "Filesystem", ...spec };
    const resources = { ...asMap(spec["resources"]), requests: { ...requests, storage: size } };
    return { volumeMode: "Filesystem", ...spec, resources };
}

function serviceFaults(was: RenderedObject, is: RenderedObject): Fault[] {
    const of = (object: RenderedObject, field: string) => {
        const value = at(object, ["spec", field]);
        return value === "" ? undefined : value;
    };
    const change = (field: string) => changed("Service", ["spec", field], of(was, field), of(is, field), RENAME);
    if ([was, is].some((object) => of(object, "type") === "ExternalName")) return [];
    const [old, now] = [of(was, "clusterIP"), of(is, "clusterIP")];
    if (old === "None" && now === undefined) {
        const what = "None → none: the server keeps the Service without an address";
        const fix = "say clusterIP: None, or give the Service another name";
        return [{ field: "spec.clusterIP", what, fix, blocking: false, serverKnows: false }];
    }
    // An address that the server chose may be written down later, if it is the same one: only the server knows.
    const guess = old === undefined && now !== "None";
    const address = now === undefined ? [] : change("clusterIP");
    const balanced = [was, is].every((object) => of(object, "type") === "LoadBalancer");
    return [
        ...address.map((fault) => ({ ...fault, blocking: !guess })),
        ...(balanced ? change("loadBalancerClass") : []),
    ];
}

function claimFaults(was: RenderedObject, is: RenderedObject): Fault[] {
    const [old, now] = [was, is].map((object) => completeClaim(asMap(object.spec))) as [Fields, Fields];
    const size = ["spec", "resources", "requests", "storage"];
    const [before, after] = [old, now].map((spec) => quantityOf(at(spec, size.slice(1))) ?? 0) as [number, number];
    const other = Object.keys({ ...old, ...now })
        .filter((key) => key !== "resources" && key !== "volumeAttributesClassName")
        .flatMap((key) =>
            changed("PersistentVolumeClaim", ["spec", key], old[key], now[key], NEW_CLAIM).map((fault) =>
                // The server has filled in what the chart left out; it may be the same.
                ({ ...fault, blocking: old[key] !== undefined }),
            ),
        );
    if (after >= before) return other;
    const shown = `${valueText(at(was, size))} → ${valueText(at(is, size))}: a volume cannot shrink`;
    const shrink = { field: pathText(size), what: shown, fix: NEW_CLAIM, blocking: true, serverKnows: true };
    return [...other, shrink];
}

/** A Secret or ConfigMap that says of itself that it never changes. */
function sealedFaults(was: RenderedObject, is: RenderedObject): Fault[] {
    const fields = (object: RenderedObject) => object as unknown as Fields;
    const [old, now] = [fields(was), fields(is)];
    if (old["immutable"] !== true) return [];
    const opened = now["immutable"] === true ? [] : changed(is.kind, ["immutable"], true, now["immutable"], NEW_NAME);
    const plain = ({ data, stringData }: Fields): Fields => {
        const encoded = Object.entries(asMap(stringData)).map(([key, value]) => [
            key,
            Buffer.from(String(value)).toString("base64"),
        ]);
        return is.kind === "Secret" ? { ...asMap(data), ...(Object.fromEntries(encoded) as Fields) } : asMap(data);
    };
    return [
        ...opened,
        ...changed(is.kind, ["data"], plain(old), plain(now), NEW_NAME),
        ...changed(is.kind, ["binaryData"], asMap(old["binaryData"]), asMap(now["binaryData"]), NEW_NAME),
    ];
}

/** One problem for a field that must not change, with what changes inside it. */
function changed(kind: string, path: readonly string[], old: unknown, now: unknown, fix: string): Fault[] {
    if (sameValue(old, now)) return [];
    const what = changeText(kind, path, old, now);
    return [{ field: pathText(path), what: `${what}: the field is immutable`, fix, blocking: true, serverKnows: true }];
}

/** Changes inside a field that are shown; the rest is counted. */
const SHOWN = 3;

/** `old → new`, or `matchLabels.app old → new, …` where only a part of a field changes. */
export function changeText(kind: string, path: readonly string[], old: unknown, now: unknown): string {
    const changes = fieldChanges([...path], old, now).map((change) => redacted(change, kind));
    const inside = (change: FieldChange) => {
        const rest = pathText(change.path).slice(pathText(path).length).replace(/^\./, "");
        return `${rest === "" ? "" : `${rest} `}${valueText(change.before)} → ${valueText(change.after)}`;
    };
    return listed(changes.slice(0, SHOWN).map(inside), changes.length);
}
