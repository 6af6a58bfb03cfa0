import { Agent } from "node:https";
import type { ApiAccess } from "../../config/kubeconfig";
import { redactedText, redactedValue } from "../changes/redaction";
import { type ApiAnswer, type ApiRequest, request, statusMessage } from "../live/api";
import { objectPaths } from "../live/object-paths";
import type { HelmRecord } from "../live/record";
import type { RenderedObject } from "../render/render";
import { patchFor, type SentPatch } from "../safety/dry-run";
import type { Fields } from "../safety/patch";
import { placeOf } from "../safety/permissions";
import { shapeOf } from "../safety/merge-keys";
import { extraObjects, type ExtraObject } from "./extra-objects";
import { addedFields, deletedAt, fieldDrift, type FieldDrift, withAdded } from "./object-drift";
import { listNamespace } from "./namespace-objects";
import { helmsName, ownersOf } from "./field-owners";
import { owned, type Owner } from "../live/owner";
import { isHook, namesOf, identityOf } from "../render/object-names";

/** What has become of one object of the release. */
export interface ObjectDrift {
    /** `Deployment/mf-demo` */
    readonly name: string;
    readonly state: "changed" | "missing" | "going";
    /** Without secrets. Of a missing object none. */
    readonly fields: readonly FieldDrift[];
    /** What else a reader has to know: that the server refuses Helm's patch, since when the object is going. */
    readonly note?: string;
}

export interface Drift {
    readonly objects: readonly ObjectDrift[];
    readonly extras: readonly ExtraObject[];
    /** What could not be compared, and why. */
    readonly unknown: readonly { readonly name: string; readonly why: string }[];
    /** Kinds whose objects these credentials may not list. */
    readonly unlisted: readonly string[];
    /** What puts it right, one step for each object that differs. */
    readonly steps: readonly FixStep[];
}

/** One request by which Helm would put an object right. */
export interface FixStep {
    readonly name: string;
    readonly method: "PATCH" | "POST";
    readonly path: string;
    readonly contentType: string;
    readonly body: string;
    /** Query; the fields stay Helm's. */
    readonly fieldManager: string;
}

export interface Looked {
    readonly record: HelmRecord;
    readonly owner: Owner;
    /** Names of Secrets and ConfigMaps that this program keeps around the release. */
    readonly known: readonly string[];
}

/** Milliseconds for one request. */
const REQUEST_MS = 10_000;
const CONNECTIONS = 8;

type Ask = (asked: Omit<ApiRequest, "timeoutMs" | "agent">) => Promise<ApiAnswer>;

/** What keeps one object from being compared, as a part of a sentence. */
class CannotTell extends Error {}

/**
 * Compares the live objects with those of a release's record. Nothing is written: what Helm's patch would make of an object, the
 * server says by dry run.
 *
 * @throws Error when the server does not answer at all
 */
export async function lookForDrift(access: ApiAccess, looked: Looked): Promise<Drift> {
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    const ask: Ask = (asked) => request(access, { ...asked, agent, timeoutMs: REQUEST_MS });
    const { record, owner, known } = looked;
    const objects = record.objects.filter((object) => !isHook(object));
    const names = namesOf(objects);
    const pathTo = objectPaths(access, owner.namespace, REQUEST_MS);
    try {
        const verdicts = await Promise.all(
            objects.map(async (object): Promise<Verdict> => {
                const name = names.get(identityOf(object)) ?? object.kind;
                try {
                    const path = await pathTo(object);
                    if (path === undefined) throw new CannotTell(`the cluster has no ${object.kind} any more`);
                    return await compare(name, object, path, owner, ask);
                } catch (error) {
                    if (!(error instanceof CannotTell)) throw error;
                    return { unknown: { name, why: error.message } };
                }
            }),
        );
        const { found, unlisted } = await listNamespace(owner.namespace, ask);
        return {
            objects: verdicts.flatMap(({ drift }) => (drift === undefined ? [] : [drift])),
            steps: verdicts.flatMap(({ step }) => (step === undefined ? [] : [step])),
            unknown: verdicts.flatMap(({ unknown }) => (unknown === undefined ? [] : [unknown])),
            extras: extraObjects(found, record.objects, owner, known),
            unlisted,
        };
    } finally {
        agent.destroy();
    }
}

/** Sends what puts the live objects right. @returns the objects that the server refused, with its words */
export async function putRight(
    access: ApiAccess,
    steps: readonly FixStep[],
): Promise<readonly { readonly name: string; readonly why: string }[]> {
    const refused: { name: string; why: string }[] = [];
    for (const { name, method, path, contentType, body, fieldManager } of steps) {
        const query = { fieldManager };
        const { status, body: said } = await request(access, {
            ...{ method, path, query, contentType, body },
            timeoutMs: REQUEST_MS,
        });
        if (status < 200 || status >= 300) refused.push({ name, why: answerText(status, said) });
    }
    return refused;
}

interface Verdict {
    readonly drift?: ObjectDrift;
    readonly step?: FixStep;
    readonly unknown?: Drift["unknown"][number];
}

async function compare(name: string, object: RenderedObject, path: string, owner: Owner, ask: Ask): Promise<Verdict> {
    const { status, body } = await ask({ path });
    if (status === 404) return missing(name, object, path, owner);
    if (status !== 200) throw new CannotTell(answerText(status, body));
    const live = JSON.parse(body) as Fields;
    const going = deletedAt(live);
    const added = addedFields(object, live);
    const steps = added.flatMap(({ steps: way }) => (way === undefined ? [] : [way]));
    const { contentType, patch } = repairPatch(object, withAdded(object, live, steps), live, owner);
    const isNothing = Object.keys(patch).length === 0;
    const accepted = isNothing ? { status: 200, body } : await dryRun(path, contentType, patch, ask);
    if (accepted.status === 403) throw new CannotTell(answerText(403, accepted.body));
    const isRefused = accepted.status !== 200;
    const fields = isRefused
        ? [...patchedFields(patch), ...added]
        : fieldDrift(live, JSON.parse(accepted.body) as Fields);
    const note =
        going !== undefined
            ? `is about to be deleted, since ${going}`
            : isRefused
              ? `the API server refuses to put it right: ${answerText(accepted.status, accepted.body)}`
              : undefined;
    if (fields.length === 0 && note === undefined) return {};
    const drift: ObjectDrift = {
        name,
        state: going === undefined ? "changed" : "going",
        fields: fields.map((field) => redactedField(field, object.kind)),
        ...(note !== undefined && { note }),
    };
    if (note !== undefined) return { drift };
    const fieldManager = helmsName(ownersOf(live)) ?? "helm";
    return { drift, step: { name, method: "PATCH", path, contentType, body: JSON.stringify(patch), fieldManager } };
}

function missing(name: string, object: RenderedObject, path: string, owner: Owner): Verdict {
    const body = JSON.stringify(owned(object, owner));
    const { collection } = placeOf(path);
    const step = {
        name,
        method: "POST",
        path: collection,
        contentType: "application/json",
        body,
        fieldManager: "helm",
    } as const;
    return { drift: { name, state: "missing", fields: [] }, step };
}

/**
 * The patch that Helm would send. For a custom resource Helm compares two renders only, which are the same here; so all that the
 * release names is sent.
 */
function repairPatch(object: RenderedObject, was: RenderedObject, live: Fields, owner: Owner): SentPatch {
    const sent = patchFor(object, was, live, owner);
    if (shapeOf(object) !== undefined) return sent;
    const { apiVersion, kind, metadata } = object;
    const all = patchFor(object, { apiVersion, kind, metadata: { name: metadata.name } }, live, owner);
    return { contentType: all.contentType, patch: merged(all.patch, sent.patch) };
}

/** Both patches in one; they never say different things about a field. */
function merged(a: Fields, b: Fields): Fields {
    const result: Record<string, unknown> = { ...a };
    for (const [key, value] of Object.entries(b)) {
        const other = result[key];
        result[key] = isPlain(value) && isPlain(other) ? merged(other, value) : value;
    }
    return result;
}

function isPlain(value: unknown): value is Fields {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function dryRun(path: string, contentType: string, patch: Fields, ask: Ask): Promise<ApiAnswer> {
    return ask({ method: "PATCH", path, query: { dryRun: "All" }, contentType, body: JSON.stringify(patch) });
}

/** The fields of a patch that the server refused: it says nothing about what they would become. */
function patchedFields(patch: Fields, path: readonly string[] = []): FieldDrift[] {
    return Object.entries(patch)
        .filter(([key]) => !key.startsWith("$"))
        .flatMap(([key, value]): FieldDrift[] =>
            isPlain(value)
                ? patchedFields(value, [...path, key])
                : [{ path: [...path, key], release: value, live: "(something else)" }],
        );
}

function redactedField({ path, release, live, by }: FieldDrift, kind: string): FieldDrift {
    const of = (value: unknown) => redactedValue(path, value, kind);
    return { path, release: of(release), live: of(live), ...(by !== undefined && { by }) };
}

function answerText(status: number, body: string): string {
    const message = statusMessage(body);
    return `the API server answers ${status}${message === "" ? "" : `: ${redactedText(message)}`}`;
}
