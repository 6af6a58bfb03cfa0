import { stringify } from "yaml";
import { type BranchMap, deployerOf, environmentOf, sourcesOf } from "../map";
import { ACTIONS } from "./actions";
import { spellings, workflowFilter } from "./refs";

const RUNNER = "ubuntu-24.04";
const HEADER =
    "# Generated from branching/branches.yaml by `ml-api branches --write`. Change that file, not this one.\n" +
    "# Commits of actions: " +
    Object.values(ACTIONS)
        .map(({ uses, release }) => `${uses.split("@")[0] ?? ""} ${release}`)
        .join(", ") +
    ".\n";

type Step = Readonly<Record<string, unknown>>;

const checkout: Step = {
    uses: ACTIONS.checkout.uses,
    // The whole history: what is an ancestor of what decides over deploys. No credential stays for later steps.
    with: { "fetch-depth": 0, "persist-credentials": false },
};
const install: readonly Step[] = [
    { uses: ACTIONS.setupNode.uses, with: { "node-version": 22, cache: "npm" } },
    { run: "npm ci" },
];
/** A short-lived token for the identity of this workflow run; no secret is stored. */
const login: readonly Step[] = [
    { uses: ACTIONS.pulumiCli.uses, with: { "pulumi-version-file": ".pulumi.version" } },
    { uses: ACTIONS.pulumiLogin.uses, with: { organization: "${{ vars.PULUMI_ORGANIZATION }}" } },
];

const job = { "runs-on": RUNNER, "timeout-minutes": 30 };
/** Stops at the first command that fails, also inside a pipe. */
const defaults = { run: { shell: "bash" } };
const NOT_A_FORK = "github.event.pull_request.head.repo.full_name == github.repository";

/** `.github/workflows/pull-request.yaml`: every check, and previews of the stacks that the merge would deploy. */
export function pullRequestWorkflow(map: BranchMap): string {
    const bases = Object.keys(map.branches)
        .filter((name) => sourcesOf(map, name).length > 0)
        .flatMap((name) => spellings(map, name))
        .map(workflowFilter);
    const env = { HEAD: "${{ github.head_ref }}", BASE: "${{ github.base_ref }}" };
    return document({
        name: "pull request",
        on: { pull_request: { branches: bases } },
        permissions: {},
        concurrency: { group: "pull-request-${{ github.event.number }}", "cancel-in-progress": true },
        defaults,
        jobs: {
            check: {
                ...job,
                permissions: { contents: "read" },
                env,
                steps: [
                    checkout,
                    ...install,
                    {
                        name: "May this branch be merged there?",
                        run: 'npx --no ml-api branch "$HEAD" --base "$BASE" --strict',
                    },
                    { name: "Check", run: 'npx --no ml-api check --base "origin/$BASE" --markdown comment.md' },
                    {
                        if: "always()",
                        uses: ACTIONS.uploadArtifact.uses,
                        with: { name: "comment", path: "comment.md", "if-no-files-found": "ignore" },
                    },
                ],
            },
            // A job of its own, so that no code of the pull request meets the right to write. A fork's token has none.
            comment: {
                ...job,
                needs: "check",
                if: `always() && ${NOT_A_FORK}`,
                permissions: { "pull-requests": "write" },
                steps: [
                    { uses: ACTIONS.downloadArtifact.uses, with: { name: "comment" } },
                    {
                        env: { GH_TOKEN: "${{ github.token }}", NUMBER: "${{ github.event.number }}" },
                        run: 'gh pr comment "$NUMBER" --repo "$GITHUB_REPOSITORY" --edit-last --create-if-none --body-file comment.md',
                    },
                ],
            },
            preview: {
                ...job,
                if: NOT_A_FORK,
                permissions: { contents: "read", "id-token": "write" },
                env,
                steps: [
                    checkout,
                    ...install,
                    ...login,
                    {
                        name: "Preview what the merge would deploy",
                        run: [
                            'npx --no ml-api branch "$HEAD" --base "$BASE" --json | jq -r ".stacks[]" | while read -r stack; do',
                            `  ${preview("$stack")}`,
                            "done",
                            "",
                        ].join("\n"),
                    },
                ],
            },
        },
    });
}

/** `.github/workflows/push.yaml`: what a push previews, and what it deploys where GitHub Actions is the deployer. */
export function pushWorkflow(map: BranchMap): string {
    const branches = Object.entries(map.branches)
        .filter(([, { onPush }]) => "preview" in onPush || deployerOf(map, environmentOf(onPush)) === "github-actions")
        .flatMap(([name]) => spellings(map, name))
        .map(workflowFilter);
    const perStack = {
        needs: "decide",
        strategy: { "fail-fast": false, matrix: { stack: "${{ fromJSON(needs.decide.outputs.stacks) }}" } },
        permissions: { contents: "read", "id-token": "write" },
        env: { STACK: "${{ matrix.stack }}" },
    };
    return document({
        name: "push",
        on: { push: { branches } },
        permissions: {},
        defaults,
        jobs: {
            decide: {
                ...job,
                permissions: { contents: "read" },
                outputs: {
                    action: "${{ steps.branch.outputs.action }}",
                    stacks: "${{ steps.branch.outputs.stacks }}",
                    environment: "${{ steps.branch.outputs.environment }}",
                },
                steps: [
                    checkout,
                    ...install,
                    {
                        id: "branch",
                        run: [
                            'npx --no ml-api branch "$GITHUB_REF"',
                            'npx --no ml-api branch "$GITHUB_REF" --json |',
                            '  jq -r \'"action=\\(.action)", "environment=\\(.environment)", "stacks=\\(.stacks | tojson)"\' >> "$GITHUB_OUTPUT"',
                            "",
                        ].join("\n"),
                    },
                ],
            },
            preview: {
                ...job,
                ...perStack,
                if: "needs.decide.outputs.action == 'preview'",
                steps: [checkout, ...install, ...login, { name: "Preview", run: preview("$STACK") }],
            },
            deploy: {
                ...job,
                "timeout-minutes": 60,
                ...perStack,
                if: "needs.decide.outputs.action == 'deploy'",
                // Its protection rules ask for the approval, and hold back the identity until it is given.
                environment: "${{ needs.decide.outputs.environment }}",
                // One deploy of a stack at a time, and none is cut off in the middle.
                concurrency: { group: "deploy-${{ matrix.stack }}", "cancel-in-progress": false },
                steps: [
                    checkout,
                    ...install,
                    ...login,
                    { uses: "./.github/actions/cluster-access" },
                    {
                        name: "Deploy",
                        run: 'pulumi up --stack "$STACK" --yes --diff --policy-pack policy --non-interactive',
                    },
                ],
            },
        },
    });
}

function preview(stack: string): string {
    return `pulumi preview --stack "${stack}" --diff --policy-pack policy --non-interactive`;
}

function document(workflow: object): string {
    return HEADER + stringify(workflow, { lineWidth: 0, aliasDuplicateObjects: false });
}
