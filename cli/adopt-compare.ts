import { Agent } from "node:https";
import type { ApiAccess } from "../components/config/kubeconfig";
import { type ObjectChange, redactedObject, restartsPods } from "../components/guarded-release/changes/changes";
import { redactedText } from "../components/guarded-release/changes/redaction";
import { addedFields, fieldDrift, withAdded } from "../components/guarded-release/drift/object-drift";
import { request, statusMessage } from "../components/guarded-release/live/api";
import { objectPaths } from "../components/guarded-release/live/object-paths";
import { belongsTo, owned, type Owner, RELEASE_NAME } from "../components/guarded-release/live/owner";
import { identityOf, isHook, namesOf } from "../components/guarded-release/render/object-names";
import type { RenderedObject } from "../components/guarded-release/render/render";
import { assumedRecord } from "../components/guarded-release/safety/assumed";
import { patchFor } from "../components/guarded-release/safety/dry-run";
import { immutableFaults } from "../components/guarded-release/safety/immutable";
import { at, type Fields } from "../components/guarded-release/safety/patch";

/** An object of the render that is in the cluster already. */
export interface Met {
    readonly name: string;
    readonly path: string;
    readonly live: Fields;
    /** What Helm is to take for the version before: then its next upgrade makes exactly ours of it. */
    readonly was: RenderedObject;
    /** The Helm release that it belongs to; "" when it is nobody's. */
    readonly owner: string;
}

/** What the first update of an adopted release does to the cluster. */
export interface TakeOver {
    readonly changes: readonly ObjectChange[];
    readonly met: readonly Met[];
    /** Why it cannot be done, object by object. */
    readonly faults: readonly { readonly name: string; readonly what: string; readonly fix: string }[];
}

/** Milliseconds for one request. */
const REQUEST_MS = 10_000;
const CONNECTIONS = 8;
/** What the take-over itself writes, and nobody needs to hear of field by field. */
const MARKS = /^meta\.helm\.sh\/|^app\.kubernetes\.io\/managed-by$/;

/**
 * Asks the API server, by dry run, what becomes of the live objects when Helm upgrades to a render. Nothing is written.
 *
 * @param recorded what Helm's record has; undefined where there is no record, and the live objects count as the version before
 * @throws Error when the server does not answer
 */
export async function compareTakeOver(
    access: ApiAccess,
    owner: Owner,
    recorded: readonly RenderedObject[] | undefined,
    rendered: readonly RenderedObject[],
): Promise<TakeOver> {
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    const ask = (asked: Omit<Parameters<typeof request>[1], "timeoutMs" | "agent">) =>
        request(access, { ...asked, agent, timeoutMs: REQUEST_MS });
    const objects = rendered.filter((object) => !isHook(object));
    const before = new Map((recorded ?? []).filter((one) => !isHook(one)).map((one) => [identityOf(one), one]));
    const names = namesOf([...before.values(), ...objects]);
    const nameOf = (object: RenderedObject): string => names.get(identityOf(object)) ?? object.kind;
    const pathTo = objectPaths(access, owner.namespace, REQUEST_MS);
    const find = async (object: RenderedObject): Promise<{ path: string; live: Fields | undefined } | undefined> => {
        const path = await pathTo(object);
        if (path === undefined) return undefined;
        const { status, body } = await ask({ path });
        if (status !== 200 && status !== 404)
            throw new Error(`the API server answers ${status} when asked for ${nameOf(object)}${messageOf(body)}`);
        return { path, live: status === 404 ? undefined : (JSON.parse(body) as Fields) };
    };
    try {
        const looked = await Promise.all(objects.map(async (object) => lookAt(object, await find(object))));
        const now = new Set(objects.map(identityOf));
        const gone = [...before.values()].filter(
            (one) => !now.has(identityOf(one)) && one.metadata.annotations?.["helm.sh/resource-policy"] !== "keep",
        );
        const deleted = await Promise.all(
            gone.map(async (one) => ((await find(one))?.live === undefined ? [] : [change(nameOf(one), "delete")])),
        );
        return {
            changes: [...looked.flatMap(({ changes }) => changes), ...deleted.flat()].map(redactedObject),
            met: looked.flatMap(({ met }) => met ?? []),
            faults: looked.flatMap(({ faults }) => faults),
        };
    } finally {
        agent.destroy();
    }

    async function lookAt(object: RenderedObject, found: Awaited<ReturnType<typeof find>>): Promise<Looked> {
        const name = nameOf(object);
        if (found === undefined) {
            const what = `the cluster has no ${object.kind} in ${object.apiVersion}`;
            const fix = "install what brings it, or switch the object off in the values";
            return { changes: [], faults: [{ name, what, fix }] };
        }
        const { path, live } = found;
        if (live === undefined) return { changes: [change(name, "create")], faults: [] };
        const was = before.get(identityOf(object)) ?? versionBefore(object, live);
        const whose = at(live, ["metadata", "annotations", RELEASE_NAME]);
        const met = { name, path, live, was, owner: typeof whose === "string" ? whose : "" };
        const immutable = immutableFaults(live as unknown as RenderedObject, object).filter(({ blocking }) => blocking);
        if (immutable.length > 0) {
            const faults = immutable.map(({ field, what, fix }) => ({ name: `${name} ${field}`, what, fix }));
            return { changes: [], met, faults };
        }
        const { contentType, patch } = patchFor(object, was, live, owner);
        if (Object.keys(patch).length === 0) return { changes: [], met, faults: [] };
        const query = { dryRun: "All" };
        const answer = await ask({ method: "PATCH", path, query, contentType, body: JSON.stringify(patch) });
        if (answer.status !== 200) {
            const what = `the API server refuses the change (${answer.status})${messageOf(answer.body)}`;
            return { changes: [], met, faults: [{ name, what, fix: "see what it says, and change the values" }] };
        }
        const fields = fieldDrift(live, JSON.parse(answer.body) as Fields)
            .filter(({ path: way, release }) => !MARKS.test(way.at(-1) ?? "") && !isOnlyMarks(way, release))
            .map(({ path: way, release, live: now }) => ({ path: way, before: now, after: release }));
        if (fields.length === 0) return { changes: [], met, faults: [] };
        return {
            changes: [{ name, action: "update", fields, restartsPods: restartsPods(object, fields) }],
            met,
            faults: [],
        };
    }
}

/** The live object as far as Helm has to know it: what the render does not have of it then goes with the first update. */
function versionBefore(object: RenderedObject, live: Fields): RenderedObject {
    const assumed = assumedRecord(object, live);
    const steps = addedFields(assumed, live).flatMap(({ steps: way }) => (way === undefined ? [] : [way]));
    return withAdded(assumed, live, steps);
}

/** Labels or annotations where there were none, and nothing but the marks among them. */
function isOnlyMarks(way: readonly string[], value: unknown): boolean {
    if (way.length !== 2 || way[0] !== "metadata" || typeof value !== "object" || value === null) return false;
    return Object.keys(value).every((key) => MARKS.test(key));
}

/** Marks a live object as the release's own: by that alone Helm then takes it for one of the release. */
export async function mark(access: ApiAccess, { path, live }: Met, owner: Owner): Promise<void> {
    if (belongsTo(live, owner)) return;
    // Nothing but the marks: what somebody else has just changed stays.
    const { labels, annotations } = owned({ apiVersion: "", kind: "", metadata: { name: "" } }, owner).metadata;
    const patch = { metadata: { labels, annotations } };
    const contentType = "application/merge-patch+json";
    const query = { fieldManager: "helm" };
    const { status, body } = await request(access, {
        ...{ method: "PATCH", path, query, contentType, body: JSON.stringify(patch) },
        timeoutMs: REQUEST_MS,
    });
    if (status !== 200) throw new Error(`PATCH ${path}: the API server answers ${status}${messageOf(body)}`);
}

interface Looked {
    readonly changes: readonly ObjectChange[];
    readonly met?: Met;
    readonly faults: TakeOver["faults"];
}

function change(name: string, action: "create" | "delete"): ObjectChange {
    return { name, action, fields: [], restartsPods: false };
}

/** To go behind a sentence of ours. */
function messageOf(body: string): string {
    const message = statusMessage(body);
    return message === "" ? "" : `: ${redactedText(message)}`;
}
