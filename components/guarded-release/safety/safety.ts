import type { ApiAccess } from "../../config/kubeconfig";
import { InputError, type Problem } from "../../config/problem";
import { askServer } from "./dry-run";
import type { LiveSide } from "../live/live";
import type { RenderedObject } from "../render/render";
import { staticProblems } from "./static-safety";
import type { SafetyProblem } from "./problem";

export { askServer, type ServerAnswer } from "./dry-run";
export type { SafetyProblem } from "./problem";
export { staticProblems } from "./static-safety";

/** What a release has before and after a change, and where it is. */
export interface Upgrade {
    readonly namespace: string;
    readonly release: string;
    /** What Helm's newest record says is installed; undefined for a first install, or when nobody can say. */
    readonly before: readonly RenderedObject[] | undefined;
    readonly after: readonly RenderedObject[];
}

export interface Safety {
    readonly problems: readonly SafetyProblem[];
    /** What the server could not be asked about, and why: `not checked: needs patch on deployments in mf-demo-dev`. */
    readonly notChecked: string | undefined;
}

/**
 * Finds what would make an upgrade fail half way or lose data, before anything is touched. What can be known without a server is
 * found without one. Where the server answers for an object, its word counts instead.
 */
export async function upgradeSafety(upgrade: Upgrade, access: ApiAccess): Promise<Safety> {
    const known = staticProblems(upgrade.before, upgrade.after, upgrade.namespace);
    const { why, problems, asked } = await askServer(access, upgrade);
    const stillOpen = known.filter(({ object, serverKnows }) => !(serverKnows && asked.has(object)));
    return { problems: [...stillOpen, ...problems], notChecked: why };
}

/**
 * The same for a release that Helm may have a record of. That a silent cluster could not be asked is not said here again: whoever
 * has its answer has the reason.
 *
 * @param live undefined where nobody looks at a cluster
 */
export async function safetyOf(
    live: Pick<LiveSide, "answer" | "access"> | undefined,
    place: Pick<Upgrade, "namespace" | "release">,
    after: readonly RenderedObject[],
): Promise<Safety> {
    const [answer, access] = await Promise.all([live?.answer, live?.access]);
    if (answer?.kind !== "answered" || access === undefined)
        return { problems: staticProblems(undefined, after, place.namespace), notChecked: undefined };
    return upgradeSafety({ ...place, before: answer.newest?.objects, after }, access);
}

/** An upgrade that cannot succeed; Pulumi prints all of its problems and nothing else. */
export class UnsafeUpgrade extends InputError {
    constructor(problems: readonly SafetyProblem[]) {
        super("upgrade safety", problems.map(asProblem));
        const text = this.message;
        // The SDK writes the name of every property that waited for the check in front of the message.
        Object.defineProperty(this, "message", { get: () => text, set: () => undefined });
    }
}

/** The problems of an upgrade that nothing stops, as one block of text; undefined when there are none. */
export function warningText(problems: readonly SafetyProblem[]): string | undefined {
    if (problems.length === 0 || problems.some(({ blocking }) => blocking)) return undefined;
    return new InputError("upgrade safety", problems.map(asProblem)).message;
}

/** @throws UnsafeUpgrade with every problem when one of them stops the upgrade */
export function refuseUnsafe({ problems }: Safety): void {
    if (problems.some(({ blocking }) => blocking)) throw new UnsafeUpgrade(problems);
}

function asProblem({ object, field, what, fix }: SafetyProblem): Problem {
    return { where: field === "" ? object : `${object} ${field}`, what, fix };
}
