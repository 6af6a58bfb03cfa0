import { type BranchMap, deployerOf, environmentOf, sourcesOf } from "../map";
import { isLiteral } from "../pattern";
import { RECORD_BRANCH } from "../record";
import { rulesetFilter, spellings } from "./refs";

/** The checks that a pull request must pass: the jobs of `.github/workflows/pull-request.yaml`. */
const REQUIRED_CHECKS = ["check", "test", "preview"];

/**
 * `.github/rulesets.json`: what protects the branches, for `POST /repos/{owner}/{repo}/rulesets`. Branches that take pull
 * requests can neither be deleted nor rewritten, and change by reviewed pull requests only.
 */
export function rulesets(map: BranchMap): string {
    const protectedNames = Object.keys(map.branches).filter(
        (name) => sourcesOf(map, name).length > 0 || isLiteral(name),
    );
    const production = protectedNames.filter((name) => {
        const { onPush } = map.branches[name] ?? {};
        return onPush !== undefined && environmentOf(onPush) === "production";
    });
    const others = protectedNames.filter((name) => !production.includes(name));
    return json([
        ruleset(map, "production", production, { approvals: 2, lastPush: true }),
        ruleset(map, "shared", others, { approvals: 1, lastPush: false }),
        // The workflow adds to it; nobody takes anything away.
        {
            ...protects("record", [RECORD_BRANCH]),
            rules: [{ type: "deletion" }, { type: "non_fast_forward" }],
        },
    ]);
}

function ruleset(
    map: BranchMap,
    name: string,
    branches: readonly string[],
    { approvals, lastPush }: { approvals: number; lastPush: boolean },
): object {
    return {
        ...protects(name, branches.flatMap((branch) => spellings(map, branch)).map(rulesetFilter)),
        rules: [
            { type: "deletion" },
            { type: "non_fast_forward" },
            {
                type: "pull_request",
                parameters: {
                    required_approving_review_count: approvals,
                    dismiss_stale_reviews_on_push: true,
                    require_code_owner_review: false,
                    require_last_push_approval: lastPush,
                    required_review_thread_resolution: true,
                },
            },
            {
                type: "required_status_checks",
                parameters: {
                    // A release branch starts as a copy of master, which has passed.
                    do_not_enforce_on_create: true,
                    // "Up to date with the base" on two branches that merge into each other would never end.
                    strict_required_status_checks_policy: false,
                    required_status_checks: REQUIRED_CHECKS.map((context) => ({ context })),
                },
            },
        ],
    };
}

function protects(name: string, filters: readonly string[]): object {
    const include = filters.map((filter) => `refs/heads/${filter}`);
    return {
        name,
        target: "branch",
        enforcement: "active",
        bypass_actors: [],
        conditions: { ref_name: { include, exclude: [] } },
    };
}

/**
 * `.github/environments.json`: environment → what `PUT /repos/{owner}/{repo}/environments/{name}` takes, and the branches
 * that may deploy to it. Reviewers are people of the repository's owner and are added there.
 */
export function environments(map: BranchMap): string {
    const names = (map.deployers["github-actions"] ?? []).map((environment) => {
        const sources = Object.entries(map.branches).filter(
            ([, { onPush }]) => "deploy" in onPush && onPush.deploy === environment,
        );
        const approval = sources.some(([, { onPush }]) => "deploy" in onPush && onPush.approval === true);
        return [
            environment,
            {
                settings: {
                    wait_timer: 0,
                    prevent_self_review: approval,
                    deployment_branch_policy: { protected_branches: false, custom_branch_policies: true },
                },
                needsReviewers: approval,
                branches: sources.flatMap(([name]) => spellings(map, name)).map(rulesetFilter),
            },
        ] as const;
    });
    return json(Object.fromEntries(names));
}

/** Markdown: who serves which branch, and why. Pulumi Deployments follows one literal branch per stack. */
export function deployerTable(map: BranchMap): string {
    const rows = Object.entries(map.branches).map(([name, { onPush }]) => {
        const environment = environmentOf(onPush);
        const owner = deployerOf(map, environment) ?? "nobody";
        const sources = Object.entries(map.branches).filter(
            ([, rule]) => "deploy" in rule.onPush && rule.onPush.deploy === environment,
        );
        const why = !isLiteral(name)
            ? "no: a pattern, and a stack follows one literal branch"
            : !("deploy" in onPush)
              ? "no: it follows pushes that deploy"
              : sources.length > 1
                ? `no: ${environment} also follows ${sources
                      .map(([other]) => other)
                      .filter((other) => other !== name)
                      .map((other) => `\`${other}\``)
                      .join(", ")}`
                : "yes";
        const served = "deploy" in onPush ? owner : "github-actions (preview)";
        return [`\`${spellings(map, name).join("`, `")}\``, environment, why, served] as const;
    });
    const header = ["branch", "environment", "can Pulumi Deployments serve it?", "served by"] as const;
    const all = [header, ...rows];
    const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
    const line = (row: readonly string[]): string =>
        `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
    return [line(header), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rows.map(line)].join("\n");
}

function json(value: unknown): string {
    return `${JSON.stringify(value, undefined, 4)}\n`;
}
