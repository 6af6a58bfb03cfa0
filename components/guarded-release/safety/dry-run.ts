import { Agent } from "node:https";
import type { ApiAccess } from "../../config/kubeconfig";
import { assumedRecord } from "./assumed";
import { type ApiAnswer, connectionProblem, request } from "../live/api";
import { type Verdict, verdictOn } from "./dry-run-answers";
import { groupOf } from "../render/kinds";
import { shapeOf } from "./merge-keys";
import { objectPaths } from "../live/object-paths";
import { at, type Fields, isMap, mergePatch, NoPatch, sameValue, strategicPatch } from "./patch";
import { type Allow, type Ask, NotChecked, permissions, placeOf } from "./permissions";
import { hasReplicas, podQuotaFaults, type Rollout } from "./pod-quota";
import type { RenderedObject } from "../render/render";
import type { Upgrade } from "./safety";
import { identityOf, isHook, namesOf } from "../render/object-names";
import type { SafetyProblem } from "./problem";
import { belongsTo, owned, type Owner, RELEASE_NAME } from "../live/owner";

export interface ServerAnswer {
    /** The server has been asked about everything that changes. */
    readonly checked: boolean;
    /** Otherwise the reason: `not checked: needs patch on deployments in mf-demo-dev`. */
    readonly why?: string;
    readonly problems: readonly SafetyProblem[];
    /** Names of the objects that the server has answered for. */
    readonly asked: ReadonlySet<string>;
}

export interface Patience {
    /** Milliseconds until the first answer must be there. */
    readonly firstMs: number;
    /** Milliseconds for all questions together. */
    readonly totalMs: number;
}

const PATIENCE: Patience = { firstMs: 2000, totalMs: 5000 };
const CONNECTIONS = 16;

/** An object that changes, and what there is of it. */
interface Step {
    readonly name: string;
    readonly object: RenderedObject;
    /** What Helm has recorded of it. */
    readonly was: RenderedObject | undefined;
}
interface Met extends Step {
    readonly path: string;
    readonly live: Fields | undefined;
}

/**
 * Asks the API server, by dry run, whether it accepts what Helm is about to send: for each object whose render changes the same
 * three-way patch, or the whole object when it is new. Nothing is written, and nothing is sent that the credentials may not do.
 * Never rejects.
 */
export async function askServer(
    access: ApiAccess,
    upgrade: Upgrade,
    patience: Patience = PATIENCE,
): Promise<ServerAnswer> {
    const steps = changedObjects(upgrade);
    if (steps.length === 0) return { checked: true, problems: [], asked: new Set() };
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    try {
        return await askAll(access, upgrade, steps, patience, agent);
    } catch (error) {
        const why = error instanceof NotChecked ? error.message : reason(access, error, patience.firstMs);
        return { checked: false, why: `not checked: ${why}`, problems: [], asked: new Set() };
    } finally {
        agent.destroy();
    }
}

async function askAll(
    access: ApiAccess,
    upgrade: Upgrade,
    steps: readonly Step[],
    { firstMs, totalMs }: Patience,
    agent: Agent,
): Promise<ServerAnswer> {
    const deadline = Date.now() + totalMs;
    const ask: Ask = (asked, atMost = totalMs) =>
        request(access, { ...asked, agent, timeoutMs: Math.max(1, Math.min(atMost, deadline - Date.now())) });

    const labels = await namespaceLabels(upgrade.namespace, (path) => ask({ path }, firstMs));
    const { release, namespace, before } = upgrade;
    const context = { release, namespace, labels, isRecorded: before !== undefined };
    const pathOf = objectPaths(access, upgrade.namespace, firstMs);
    const allowed = permissions(ask);

    // What keeps one object from being checked, an API that is down for instance, says nothing about the others.
    const verdicts = await Promise.all(
        steps.map(async (step): Promise<readonly [Step & { readonly live?: Fields | undefined }, Verdict]> => {
            try {
                const path = await pathOf(step.object);
                if (path === undefined) return [step, missingKind(step, upgrade.after)];
                const live = await liveObject(path, allowed, ask);
                return [{ ...step, live }, await tryOut({ ...step, path, live }, context, allowed, ask)];
            } catch (error) {
                const why = error instanceof NotChecked ? error.message : reason(access, error, totalMs);
                return [step, { problems: [], notChecked: why }];
            }
        }),
    );

    const rollouts = verdicts.flatMap(([{ name, object, live }, { accepted }]) =>
        accepted === undefined || !hasReplicas(object.kind) || isHook(object)
            ? []
            : [{ name, kind: object.kind, live, accepted }],
    );
    const open = verdicts.flatMap(([, { notChecked }]) => (notChecked === undefined ? [] : [notChecked]));
    const whys = [...new Set(open)].sort();
    return {
        checked: whys.length === 0,
        ...(whys.length > 0 && { why: `not checked: ${whys.join("; ")}` }),
        problems: [
            ...verdicts.flatMap(([{ name }, { problems }]) => problems.map((fault) => ({ ...fault, name }))),
            ...podQuotaFaults(await quotas(upgrade.namespace, rollouts, ask), rollouts),
        ].map(({ name, ...fault }) => ({ ...fault, object: name, serverKnows: true })),
        asked: new Set(verdicts.filter(([, { notChecked }]) => notChecked === undefined).map(([{ name }]) => name)),
    };
}

/** Objects whose render changes, as far as the coming operation sends them. */
function changedObjects({ before, after }: Upgrade): Step[] {
    const names = namesOf([...(before ?? []), ...after]);
    const old = new Map(before?.map((object) => [identityOf(object), object]));
    const events = before === undefined ? /\b(?:pre|post)-install\b|\btest/ : /\b(?:pre|post)-upgrade\b|\btest/;
    return after
        .filter((object) => !isHook(object) || events.test(hookOf(object)))
        .map((object) => ({
            name: names.get(identityOf(object)) ?? object.kind,
            object,
            was: old.get(identityOf(object)),
        }))
        .filter(({ object, was }) => !sameValue(object, was));
}

function hookOf({ metadata }: RenderedObject): string {
    return metadata.annotations?.["helm.sh/hook"] ?? "";
}

/** The namespace's labels; undefined when they may not be read. */
async function namespaceLabels(
    namespace: string,
    get: (path: string) => Promise<ApiAnswer>,
): Promise<Readonly<Record<string, unknown>> | undefined> {
    const { status, body } = await get(`/api/v1/namespaces/${namespace}`);
    if (status === 404) throw new NotChecked(`namespace ${namespace} does not exist yet`);
    if (status === 401) throw new NotChecked("the API server does not know these credentials");
    return status === 200 ? ((at(JSON.parse(body), ["metadata", "labels"]) ?? {}) as Fields) : undefined;
}

/** The namespace's quotas, as far as they may be read and there is something that they may concern. */
async function quotas(namespace: string, rollouts: readonly Rollout[], ask: Ask): Promise<readonly Fields[]> {
    if (rollouts.length === 0) return [];
    try {
        const { status, body } = await ask({ path: `/api/v1/namespaces/${namespace}/resourcequotas` });
        const items = status === 200 ? at(JSON.parse(body), ["items"]) : undefined;
        return Array.isArray(items) ? items.filter(isMap) : [];
    } catch {
        // What the server has said until now counts without them.
        return [];
    }
}

function missingKind({ object: { apiVersion, kind } }: Step, after: readonly RenderedObject[]): Verdict {
    const defined = after.some(
        (one) =>
            one.kind === "CustomResourceDefinition" &&
            at(one.spec, ["group"]) === groupOf(apiVersion) &&
            at(one.spec, ["names", "kind"]) === kind,
    );
    if (defined)
        return { problems: [], notChecked: `the release brings the CustomResourceDefinition of ${kind} itself` };
    const isCustom = groupOf(apiVersion).includes(".");
    const fix = isCustom
        ? `install what brings the CustomResourceDefinition of ${kind} (${groupOf(apiVersion)}) into the cluster, or switch the object off in the values`
        : "use the apiVersion that the cluster has (kubectl api-resources)";
    const what = `the cluster has no ${kind} in ${apiVersion}`;
    return { problems: [{ field: "apiVersion", what, fix, blocking: true }] };
}

async function liveObject(path: string, allowed: Allow, ask: Ask): Promise<Fields | undefined> {
    const { status, body } = await ask({ path });
    if (status === 404) return undefined;
    // Says which right is missing.
    if (status === 403) await allowed("get", path);
    if (status !== 200) throw new NotChecked(`the API server answers ${status} when asked for an object`);
    return JSON.parse(body) as Fields;
}

export interface Context extends Owner {
    /** Those of the namespace; undefined when they may not be read. */
    readonly labels: Readonly<Record<string, unknown>> | undefined;
    /** Helm has a record of the release; it gets one of what is there when that was lost. */
    readonly isRecorded: boolean;
}

async function tryOut(step: Met, context: Context, allowed: Allow, ask: Ask): Promise<Verdict> {
    const { object, was, path, live } = step;
    const dryRun = { dryRun: "All" };
    const { collection } = placeOf(path);
    if (live === undefined || isHook(object)) {
        await allowed("create", path);
        const body = JSON.stringify(isHook(object) ? object : owned(object, context));
        const answer = await ask({ method: "POST", path: collection, query: dryRun, body });
        return verdictOn(answer, step, context);
    }
    // Helm takes over what is there only when it is marked as the release's own.
    if (was === undefined && !belongsTo(live, context)) return { problems: [foreign(live, context)] };
    let sent: SentPatch;
    try {
        sent = patchFor(object, was ?? (context.isRecorded ? undefined : assumedRecord(object, live)), live, context);
    } catch (error) {
        if (!(error instanceof NoPatch)) throw error;
        const fix = "Helm matches the items of this list by that field: set it";
        return { problems: [{ field: "", what: error.message, fix, blocking: true }] };
    }
    if (Object.keys(sent.patch).length === 0) return { problems: [] };
    await allowed("patch", path);
    const { contentType, patch } = sent;
    const answer = await ask({ method: "PATCH", path, query: dryRun, contentType, body: JSON.stringify(patch) });
    return verdictOn(answer, step, context);
}

export interface SentPatch {
    readonly contentType: string;
    readonly patch: Fields;
}

/**
 * What Helm sends for an object that is there.
 *
 * @param was undefined for an object that is new to the release
 * @throws NoPatch
 */
export function patchFor(
    object: RenderedObject,
    was: RenderedObject | undefined,
    live: Fields,
    owner: Owner,
): SentPatch {
    const next = owned(object, owner);
    // For what is new to the release, Helm takes the new version for the old one.
    const old = was ?? next;
    const shape = shapeOf(object);
    return shape === undefined
        ? { contentType: "application/merge-patch+json", patch: mergePatch(fields(old), fields(next)) }
        : {
              contentType: "application/strategic-merge-patch+json",
              patch: strategicPatch(fields(old), live, fields(next), shape),
          };
}

function foreign(live: Fields, { release }: Owner): Verdict["problems"][number] {
    const owner = at(live, ["metadata", "annotations", RELEASE_NAME]);
    const whose = typeof owner === "string" ? `belongs to the Helm release ${owner}` : "was not made by Helm";
    const what = `is there already and ${whose}, so Helm refuses to make it part of ${release}`;
    return { field: "", what, fix: "give ours another name, or remove what is there", blocking: true };
}

function fields(object: RenderedObject): Fields {
    return object as unknown as Fields;
}

function reason(access: ApiAccess, error: unknown, timeoutMs: number): string {
    if (error instanceof Error && error.message.startsWith("the API server")) return error.message;
    return `the API server ${access.server} ${connectionProblem(error, timeoutMs)}`;
}
