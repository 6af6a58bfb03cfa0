import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { branchOf, type GitEvent, resolve } from "../branching/resolve";
import { checkoutRoot } from "../local/paths";

export interface BranchOptions {
    readonly base?: string;
    readonly fork?: boolean;
    readonly deleted?: boolean;
    readonly json?: boolean;
}

/** Says what a push of a branch does, or what its pull request previews. */
export function branchCommand(ref: string, options: BranchOptions): void {
    const stacks = stacksByEnvironment(checkoutRoot);
    const map = loadBranchMap(checkoutRoot, stacks);
    const event: GitEvent = {
        event: options.base === undefined ? "push" : "pull_request",
        // People type the branch; events carry the full name.
        ref: ref.startsWith("refs/") ? ref : `refs/heads/${ref}`,
        ...(options.base === undefined ? {} : { base: branchOf(options.base) ?? options.base }),
        fork: options.fork === true,
        deleted: options.deleted === true,
    };
    const decision = resolve(map, stacks, event);
    if (options.json === true) {
        process.stdout.write(`${JSON.stringify(decision)}\n`);
        return;
    }
    const lines = [
        `${decision.action}${decision.stacks.length === 0 ? "" : ` ${decision.stacks.join(", ")}`}: ${decision.reason}`,
        ...(decision.deployer === undefined || decision.action !== "deploy"
            ? []
            : [`deployed by ${decision.deployer}`]),
        ...(decision.allowedSources.length === 0 ? [] : [`takes merges of ${decision.allowedSources.join(", ")}`]),
        ...(decision.mustReach.length === 0 ? [] : [`its commits must reach ${decision.mustReach.join(" and ")}`]),
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
}
