import { findCluster } from "../components/config/cluster";
import { readProject } from "../components/config/project-file";
import type { Settings } from "../components/config/settings";
import { readStackFile, stackFileName, stackNames } from "../components/config/stack-file";
import { isValues } from "../components/config/values";
import { changesBetween, redactedObject } from "../components/guarded-release/changes/changes";
import { askLive, type HelmRecord } from "../components/guarded-release/live/live";
import { redactedText } from "../components/guarded-release/changes/redaction";
import type { RenderedObject } from "../components/guarded-release/render/render";
import { findRepair } from "../components/guarded-release/recover/repair";
import { staticProblems } from "../components/guarded-release/safety/safety";
import { type Commit, commitText, withCommit } from "./commit";
import type { StackDiff } from "./diff-report";
import { keySecretObject, programObjects, type RenderedStack, renderStack } from "./rendered-stack";
import { clusterVariables, stackContext } from "./stack-cluster";

/**
 * Compares stacks with what a commit renders to: that commit's chart, values and stack files, and today's program.
 *
 * @param stacks undefined = all of this state and of the commit
 * @param clone that has the commit
 */
export async function compareWithCommit(
    root: string,
    stacks: readonly string[] | undefined,
    commit: Commit,
    helm: string,
    clone = root,
): Promise<readonly StackDiff[]> {
    const against = `commit ${commitText(commit)}`;
    return withCommit(clone, commit, async (base) => {
        const before = stackNames(base);
        const here = stackNames(root);
        const compare = async (stack: string): Promise<StackDiff> => {
            if (!here.includes(stack)) return gone(base, stack, against);
            const now = await attempt(renderStack(root, stack, helm));
            if ("problem" in now) return { ...failed(root, stack, now.problem), against };
            if (!before.includes(stack)) return { ...changes(now), against, state: "new", notes: [] };
            const was = await attempt(renderStack(base, stack, helm));
            if ("problem" in was) {
                const notes = [`${against} cannot be rendered, this state can:\n${was.problem}`];
                return { ...placeOf(now), ...NOTHING, against, state: "no-base", notes };
            }
            const compared = changes(now, was.objects, programObjects(was.settings));
            return { ...compared, against, state: "compared", notes: moves(was.settings, now.settings) };
        };
        return Promise.all((stacks ?? [...new Set([...here, ...before])]).map(compare));
    });
}

/**
 * Compares stacks with their live releases, in the clusters that the program would find.
 *
 * @param env by which it finds them
 */
export async function compareWithCluster(
    root: string,
    stacks: readonly string[],
    helm: string,
    env: NodeJS.ProcessEnv = clusterVariables(root),
): Promise<readonly StackDiff[]> {
    const compare = async (stack: string): Promise<StackDiff> => {
        const now = await attempt(renderStack(root, stack, helm));
        if ("problem" in now) return failed(root, stack, now.problem);
        const context = stackContext(root, stack);
        const { name, namespace } = now.settings;
        const live = await askLive({ context, namespace, release: name }, env);
        if (live.kind === "silent") {
            const why = `${live.why} → --base <commit> compares without a cluster`;
            return { ...failed(root, stack, why), ...placeOf(now) };
        }
        const cluster = findCluster(context, env)?.context ?? "";
        const { newest } = live;
        if (newest === undefined || newest.status === "uninstalled") {
            const notes = ["the release is not installed"];
            return { ...changes(now), against: `the cluster ${cluster}`, state: "new", notes };
        }
        const against = `revision ${newest.revision} (${newest.status}) in the cluster ${cluster}`;
        const repair = findRepair(live, now.digest, new Date());
        const compared = changes(now, newest.objects, madeByProgram(newest, now.settings));
        return { ...compared, against, state: "compared", notes: repair === undefined ? [] : [repair.sentence] };
    };
    return Promise.all(stacks.map(compare));
}

/** What the program made around the release that is in the cluster. */
function madeByProgram(record: HelmRecord, settings: Settings): readonly RenderedObject[] {
    const apiKey = record.values["apiKey"];
    const secret = isValues(apiKey) ? apiKey["existingSecret"] : undefined;
    const isOurs =
        typeof secret === "string" &&
        secret.startsWith(`${record.name}-key-`) &&
        /-key-\d+(?:-with-\d+)?$/.test(secret);
    return [
        ...programObjects(settings).filter(({ kind }) => kind === "Namespace"),
        ...(isOurs ? [keySecretObject(secret, record.namespace)] : []),
    ];
}

type Compared = Omit<StackDiff, "against" | "state" | "notes">;
const NOTHING = { objects: [], problems: [] } as const;

/**
 * @param before what the chart rendered to; undefined when nothing is installed
 * @param madeBefore what the program made around it
 */
function changes(
    now: RenderedStack,
    before?: readonly RenderedObject[],
    madeBefore: readonly RenderedObject[] = [],
): Compared {
    const all = [...programObjects(now.settings), ...now.objects];
    return {
        ...placeOf(now),
        objects: changesBetween([...madeBefore, ...(before ?? [])], all).map(redactedObject),
        problems: staticProblems(before, now.objects, now.settings.namespace).map((problem) => ({
            ...problem,
            what: redactedText(problem.what),
        })),
    };
}

function placeOf({
    stack,
    settings,
}: RenderedStack): Pick<StackDiff, "stack" | "environment" | "release" | "namespace"> {
    return { stack, environment: settings.environment, release: settings.name, namespace: settings.namespace };
}

/** Name and namespace of a release cannot change: Pulumi makes another one, and removes the first. */
function moves(was: Settings, now: Settings): readonly string[] {
    if (was.name === now.name && was.namespace === now.namespace) return [];
    return [
        `the release moves from ${was.name} in ${was.namespace} to ${now.name} in ${now.namespace}: it is made anew, and the old one removed`,
    ];
}

type Attempt = RenderedStack | { readonly problem: string };

async function attempt(render: Promise<RenderedStack>): Promise<Attempt> {
    return render.catch((error: unknown) => ({
        problem: redactedText(error instanceof Error ? error.message : String(error)),
    }));
}

function failed(root: string, stack: string, problem: string): StackDiff {
    return { ...unrendered(root, stack), ...NOTHING, against: "the live release", state: "failed", notes: [problem] };
}

function gone(base: string, stack: string, against: string): StackDiff {
    const notes = [
        `${stackFileName(stack)} is gone; what it deployed stays until somebody runs: pulumi destroy --stack ${stack}`,
    ];
    return { ...unrendered(base, stack), ...NOTHING, against, state: "gone", notes };
}

/** What is known of a stack without rendering it. */
function unrendered(root: string, stack: string): ReturnType<typeof placeOf> {
    const project = readProject(root);
    const config = { ...project.defaults, ...readStackFile(root, stack, project.name).config };
    const text = (key: string): string => {
        const value = config[`${project.name}:${key}`];
        return typeof value === "string" ? value : "";
    };
    const release = text("name");
    return { stack, environment: text("environment"), release, namespace: text("namespace") || `${release}-${stack}` };
}
