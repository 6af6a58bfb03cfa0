import { generated, stale, write } from "../branching/generators";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { branchOf, type Decision, type GitEvent, resolve } from "../branching/resolve";
import { InputError } from "../components/config/problem";
import { checkoutRoot } from "../local/paths";
import { ExitCode } from "./exit-code";

export interface BranchOptions {
    readonly base?: string;
    readonly fork?: boolean;
    readonly deleted?: boolean;
    readonly json?: boolean;
    readonly strict?: boolean;
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
    process.stdout.write(options.json === true ? `${JSON.stringify(decision)}\n` : inWords(decision));
    if (options.strict === true && !decision.sourceAllowed) throw new ExitCode(1, decision.reason);
}

function inWords(decision: Decision): string {
    const lines = [
        `${decision.action}${decision.stacks.length === 0 ? "" : ` ${decision.stacks.join(", ")}`}: ${decision.reason}`,
        ...(decision.deployer === undefined || decision.action !== "deploy"
            ? []
            : [`deployed by ${decision.deployer}`]),
        ...(decision.allowedSources.length === 0 ? [] : [`takes merges of ${decision.allowedSources.join(", ")}`]),
        ...(decision.mustReach.length === 0 ? [] : [`its commits must reach ${decision.mustReach.join(" and ")}`]),
    ];
    return `${lines.join("\n")}\n`;
}

/** Checks the map and what is generated from it, or writes it. */
export function branchesCommand(options: { readonly write?: boolean }): void {
    const stacks = stacksByEnvironment(checkoutRoot);
    const files = generated(checkoutRoot, loadBranchMap(checkoutRoot, stacks), stacks);
    const problems = stale(checkoutRoot, files);
    if (options.write === true) write(checkoutRoot, files);
    else if (problems.length > 0) throw new InputError("branch map", problems);
    const done = problems.map(({ where }) => `wrote ${where}\n`).join("");
    process.stdout.write(done === "" ? "everything generated from branching/branches.yaml is up to date\n" : done);
}
