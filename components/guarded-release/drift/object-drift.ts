import { fieldChanges } from "../changes/changes";
import type { RenderedObject } from "../render/render";
import { asMap, at, type Fields, isMap } from "../safety/patch";
import {
    type FieldOwner,
    follow,
    helmsName,
    ownerAt,
    ownersOf,
    owns,
    pathOf,
    type Steps,
    stepsIn,
} from "./field-owners";

/** A field of a live object that is not as the release has it. */
export interface FieldDrift {
    /** As in a `FieldChange`. */
    readonly path: readonly string[];
    /** Undefined: the release does not name it, and it has no default. */
    readonly release: unknown;
    /** Undefined: it is not there. */
    readonly live: unknown;
    /** Who has set it, as far as the server knows. */
    readonly by?: { readonly manager: string; readonly time?: string };
    /** Of something that the release does not name: the way to it. */
    readonly steps?: Steps;
}

/** What the server itself keeps about an object. */
const SERVERS = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];

/**
 * Fields that are different in the cluster.
 *
 * @param accepted the live object after the patch that puts it right, as the server answers a dry run; so its defaults and its
 * spelling of quantities are on both sides
 */
export function fieldDrift(live: Fields, accepted: Fields): FieldDrift[] {
    const owners = ownersOf(live);
    const helm = helmsName(owners);
    const foreign = owners.filter(({ manager, subresource }) => manager !== helm && subresource !== "status");
    return fieldChanges([], bare(accepted), bare(live))
        .filter(({ path }) => path.at(-1) !== "[*]")
        .map(({ path, before, after }) => ({
            path,
            release: before,
            live: after,
            ...by(after === undefined ? undefined : ownerAt(foreign, path, live)),
        }));
}

/** Fields that the release does not name and that somebody has put into one of its objects. */
export function addedFields(object: RenderedObject, live: Fields): FieldDrift[] {
    const owners = ownersOf(live);
    const helm = helmsName(owners);
    const helms = owners.filter(({ manager }) => manager === helm);
    const found = new Map<string, FieldDrift>();
    for (const owner of owners) {
        if (owner.manager === helm || owner.subresource === "status" || CONTROLLERS.test(owner.manager)) continue;
        for (const steps of stepsIn(owner.fields)) {
            if (helms.some(({ fields }) => owns(fields, steps))) continue;
            const extra = unnamed(object as unknown as Fields, steps);
            if (extra === undefined) continue;
            const path = pathOf(extra);
            const value = extra.reduce<unknown>(follow, live);
            if (value === undefined || isOthers(path)) continue;
            const key = JSON.stringify(extra);
            if (!found.has(key)) found.set(key, { path, release: undefined, live: value, ...by(owner), steps: extra });
        }
    }
    return [...found.values()];
}

/** The release's object with what was added to it: what Helm's patch has to start from to take it away again. */
export function withAdded(object: RenderedObject, live: Fields, added: readonly Steps[]): RenderedObject {
    const copy = structuredClone(object) as unknown as Record<string, unknown>;
    for (const steps of added) put(copy, live, steps);
    return copy as unknown as RenderedObject;
}

/** Takes a value over from the live object, with the maps and lists around it. */
function put(onto: Record<string, unknown> | unknown[], from: unknown, [step = "", ...rest]: Steps): void {
    const value = follow(from, step);
    const here = follow(onto, step);
    if (rest.length > 0 && (isMap(here) || Array.isArray(here))) {
        put(here as Record<string, unknown> | unknown[], value, rest);
    } else {
        const taken = rest.length === 0 ? value : emptied(value, rest);
        if (Array.isArray(onto)) onto.push(taken);
        else onto[step.slice(2)] = taken;
    }
}

/** Of what is new on the way, nothing but the way. */
function emptied(value: unknown, rest: Steps): unknown {
    if (!isMap(value) && !Array.isArray(value)) return value;
    const made: Record<string, unknown> | unknown[] = Array.isArray(value) ? [] : {};
    put(made, value, rest);
    return made;
}

/** Managers that work for the cluster; what they put into an object is their own affair. */
const CONTROLLERS =
    /^(?:kube-controller-manager|kube-scheduler|kube-apiserver|kubelet|cloud-controller-manager|cluster-autoscaler|keda(?:-.*)?|kwok(?:-.*)?|vpa-.*)$/;

/** Fields that belong to others even where a person has set them. */
function isOthers(path: readonly string[]): boolean {
    const [top, field = ""] = path;
    if (top === "status") return true;
    // Named by the release where nothing else decides over it; `kubectl scale` beside an autoscaler is undone by that.
    if (top === "spec" && field === "replicas") return true;
    if (top === "metadata" && ["finalizers", "ownerReferences"].includes(field)) return true;
    const annotation = path.at(-2) === "annotations" ? (path.at(-1) ?? "") : "";
    return (
        /^(?:deployment\.kubernetes\.io|autoscaling\.alpha\.kubernetes\.io|pv\.kubernetes\.io)\//.test(annotation) ||
        // A restart is no change, and kubectl keeps its own notes.
        ["kubectl.kubernetes.io/restartedAt", "kubectl.kubernetes.io/last-applied-configuration"].includes(annotation)
    );
}

/** The way to what the release lacks: the field itself, or the whole item of a list that is not the release's. */
function unnamed(object: Fields, steps: Steps): Steps | undefined {
    let here: unknown = object;
    for (const [index, step] of steps.entries()) {
        // A value that the release gives as a whole.
        if (!isMap(here) && !Array.isArray(here)) return undefined;
        const next = follow(here, step);
        if (next === undefined || next === null) {
            const item = steps.findIndex((one, place) => place >= index && /^[kvi]:/.test(one));
            return item < 0 ? steps : steps.slice(0, item + 1);
        }
        here = next;
    }
    return undefined;
}

function bare(object: Fields): Fields {
    const kept = Object.entries(asMap(object["metadata"])).filter(([key]) => !SERVERS.includes(key));
    return { ...object, status: undefined, metadata: Object.fromEntries(kept) };
}

function by(owner: FieldOwner | undefined): Pick<FieldDrift, "by"> {
    if (owner === undefined) return {};
    return { by: { manager: owner.manager, ...(owner.time !== undefined && { time: owner.time }) } };
}

/** Since when an object is about to go away. */
export function deletedAt(live: Fields): string | undefined {
    const time = at(live, ["metadata", "deletionTimestamp"]);
    return typeof time === "string" ? time : undefined;
}
