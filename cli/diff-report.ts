import type { FieldChange, ObjectChange } from "../components/guarded-release/changes/changes";
import { pathText } from "../components/guarded-release/changes/changes";
import type { SafetyProblem } from "../components/guarded-release/safety/safety";

/** What becomes of one stack, ready to be shown: without secrets. */
export interface StackDiff {
    readonly stack: string;
    readonly environment: string;
    readonly release: string;
    readonly namespace: string;
    /** What it is compared with: `revision 3 in the cluster …`, `commit 1a2b3c4 (origin/main)`. */
    readonly against: string;
    /**
     * - compared: both sides are there
     * - new: the other side has no such stack or release
     * - gone: only the other side has this stack
     * - no-base: the other side cannot be rendered
     * - failed: this side cannot be rendered, or the cluster did not answer
     */
    readonly state: "compared" | "new" | "gone" | "no-base" | "failed";
    /** What a reader has to know besides the objects; the reason, where nothing was compared. */
    readonly notes: readonly string[];
    /** Why the update would fail, or do more than one would think, as far as it can be known without a server. */
    readonly problems: readonly SafetyProblem[];
    readonly objects: readonly ObjectChange[];
}

export interface DiffReport {
    /** The commit that it is compared with; undefined = the live releases. */
    readonly base: { readonly ref: string; readonly commit: string } | undefined;
    readonly stacks: readonly StackDiff[];
}

/** Without difference 0, with one 2, and 1 when something could not be compared, as `diff` and `terraform plan` count. */
export function exitCodeOf({ stacks }: DiffReport, differencesCount: boolean): number {
    if (stacks.some(({ state }) => state === "failed")) return 1;
    const differs = stacks.some(({ state, objects }) => state !== "compared" || objects.length > 0);
    return differencesCount && differs ? 2 : 0;
}

/** A change that a reader rarely wants to see: the chart's version and times derived from others, on objects, not on pods. */
export function isNoise({ path }: FieldChange): boolean {
    const [top, kind, key = ""] = path;
    if (path.length !== 3 || top !== "metadata") return false;
    return (
        (kind === "labels" && key === "helm.sh/chart") || (kind === "annotations" && /^ml-api\/.*-seconds$/.test(key))
    );
}

/** `2 objects change, 1 is new, 1 goes; pods of Deployment/mf-demo restart` */
export function summaryOf(stack: StackDiff): string {
    const restarts = restartsOf(stack);
    return countsOf(stack) + (restarts.length === 0 ? "" : `; pods of ${restarts.join(", ")} restart`);
}

/** `2 objects change, 1 is new, 1 goes` */
export function countsOf({ state, objects }: StackDiff): string {
    if (state === "failed") return "not compared";
    if (state === "no-base") return "nothing to compare with";
    if (state === "gone") return "the stack file is gone";
    if (objects.length === 0) return "no change";
    const count = (action: ObjectChange["action"]) => objects.filter((object) => object.action === action).length;
    return [
        phrase(count("update"), "object changes", "objects change"),
        phrase(count("create"), "is new", "are new"),
        phrase(count("delete"), "goes", "go"),
    ]
        .filter((part) => part !== "")
        .join(", ");
}

/** `the update cannot succeed: PersistentVolumeClaim/models spec.resources: … → …` */
export function problemText({ object, field, what, fix, blocking }: SafetyProblem): string {
    const where = field === "" ? object : `${object} ${field}`;
    return `${blocking ? "the update cannot succeed: " : ""}${where}: ${what} → ${fix}`;
}

/** The workloads whose pods are replaced. */
export function restartsOf({ objects }: StackDiff): readonly string[] {
    return objects.filter(({ restartsPods }) => restartsPods).map(({ name }) => name);
}

function phrase(count: number, one: string, many: string): string {
    return count === 0 ? "" : `${count} ${count === 1 ? one : many}`;
}

/** Environments as people promote: dev, staging, production, then others by name; stacks of one by name. */
export function byEnvironment<T extends { readonly environment: string; readonly stack: string }>(
    stacks: readonly T[],
): readonly T[] {
    const key = ({ environment, stack }: T): string => {
        const place = ["dev", "staging", "production"].indexOf(environment);
        return [place < 0 ? 9 : place, environment, stack].join("\0");
    };
    return [...stacks].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** The report as JSON; its shape is described in the command's help. */
export function reportJson({ base, stacks }: DiffReport): string {
    const field = (change: FieldChange) => ({
        path: change.path,
        text: pathText(change.path),
        // Absent stays absent, null is null.
        ...(change.before === undefined ? {} : { before: change.before }),
        ...(change.after === undefined ? {} : { after: change.after }),
        ...(isNoise(change) ? { noise: true } : {}),
    });
    const shown = {
        version: 1,
        base: base ?? null,
        stacks: byEnvironment(stacks).map((stack) => ({
            stack: stack.stack,
            environment: stack.environment,
            release: stack.release,
            namespace: stack.namespace,
            against: stack.against,
            state: stack.state,
            summary: summaryOf(stack),
            notes: stack.notes,
            problems: stack.problems.map(({ object, field, what, fix, blocking }) => ({
                object,
                field,
                what,
                fix,
                blocking,
            })),
            objects: stack.objects.map(({ name, action, restartsPods, fields }) => ({
                name,
                action,
                restartsPods,
                fields: fields.map(field),
            })),
        })),
    };
    return `${JSON.stringify(shown, undefined, 2)}\n`;
}
