/** A commit that runs or wants to run, and the branch that stands for it. */
export interface Candidate {
    readonly commit: string;
    readonly branch: string;
    /** See {@link Decision.rank}; undefined when its branch alone deploys the environment. */
    readonly rank?: number | undefined;
}

export type Order =
    | { readonly verdict: "deploy"; readonly why: string }
    /** The stack runs something newer already: nothing to do, and no fault. */
    | { readonly verdict: "older"; readonly why: string }
    | { readonly verdict: "refused"; readonly why: string };

/**
 * Whether a commit may take the place of the one that runs. It never goes back: pushes can finish in any order, and the one
 * that started first must not win because it was slow.
 *
 * @param isAncestor rejects when one of the commits is not known
 * @param whyHeld after a rollback: why a commit may not be deployed; undefined for one that may
 */
export async function order(
    runs: Candidate | undefined,
    next: Candidate,
    isAncestor: (ancestor: string, descendant: string) => Promise<boolean>,
    whyHeld: (commit: string) => Promise<string | undefined> = () => Promise.resolve(undefined),
): Promise<Order> {
    const name = (one: Candidate): string => `${one.commit.slice(0, 12)} (${one.branch})`;
    const held = await whyHeld(next.commit);
    if (held !== undefined) return { verdict: "refused", why: held };
    if (runs === undefined) return { verdict: "deploy", why: "nothing was deployed before" };
    if (runs.commit === next.commit) return { verdict: "deploy", why: `${name(next)} runs already` };
    let forward: boolean;
    let backward: boolean;
    try {
        [forward, backward] = [await isAncestor(runs.commit, next.commit), await isAncestor(next.commit, runs.commit)];
    } catch {
        return {
            verdict: "refused",
            why: `${name(runs)} runs, and this repository does not have it: its branch was rewritten, or the clone is shallow`,
        };
    }
    if (forward) return { verdict: "deploy", why: `it descends from ${name(runs)}, which runs` };
    if (backward) return { verdict: "older", why: `${name(runs)} runs, which has it and more` };
    if (next.rank !== undefined && runs.rank !== undefined && next.rank > runs.rank)
        return { verdict: "deploy", why: `${next.branch} ranks above ${runs.branch}, of which ${name(runs)} runs` };
    return {
        verdict: "refused",
        why: `${name(runs)} runs, and neither has all of the other's commits: merge ${runs.branch} first`,
    };
}
