import type { BranchMap } from "../map";
import { ACTIONS } from "./actions";
import {
    checkout,
    defaults,
    document,
    HAS_REGISTRY,
    install,
    job,
    login,
    preview,
    type Step,
    WITH_TOKEN,
} from "./parts";
import { spellings, workflowFilter } from "./refs";
import { verifySteps } from "./supply-chain";

/** All that wait get their turn; else GitHub drops what waits as soon as another one comes, and a record with it. */
const EVERY_ONE = { "cancel-in-progress": false, queue: "max" };

/**
 * `.github/workflows/push.yaml`: what a push previews, what it deploys where GitHub Actions is the deployer, and the record of
 * every deploy, also of those that Pulumi Deployments makes.
 */
export function pushWorkflow(map: BranchMap): string {
    const branches = Object.keys(map.branches)
        .flatMap((name) => spellings(map, name))
        .map(workflowFilter);
    const perStack = {
        needs: "decide",
        strategy: { "fail-fast": false, matrix: { stack: "${{ fromJSON(needs.decide.outputs.stacks) }}" } },
        permissions: { contents: "read", "id-token": "write" },
        env: { STACK: "${{ matrix.stack }}" },
    };
    const keep: Step = {
        uses: ACTIONS.uploadArtifact.uses,
        with: { name: "record-${{ matrix.stack }}", path: "record-${{ matrix.stack }}.json" },
    };
    const deploys = "needs.decide.outputs.action == 'deploy' && needs.decide.outputs.deployer ==";
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
                    deployer: "${{ steps.branch.outputs.deployer }}",
                },
                steps: [
                    checkout,
                    ...install,
                    {
                        id: "branch",
                        run: [
                            'npx --no ml-api branch "$GITHUB_REF"',
                            'npx --no ml-api branch "$GITHUB_REF" --json |',
                            '  jq -r \'"action=\\(.action)", "environment=\\(.environment)", "deployer=\\(.deployer)", "stacks=\\(.stacks | tojson)"\' >> "$GITHUB_OUTPUT"',
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
                // Signatures lie beside the images.
                // Who approved it is known to the run alone.
                permissions: { ...perStack.permissions, packages: "read", actions: "read" },
                if: `${deploys} 'github-actions'`,
                // Its protection rules ask for the approval, and hold back the identity until it is given.
                environment: "${{ needs.decide.outputs.environment }}",
                // One deploy of a stack at a time, and none is cut off in the middle.
                concurrency: { group: "deploy-${{ matrix.stack }}", ...EVERY_ONE },
                steps: [
                    checkout,
                    ...install,
                    ...login,
                    { uses: "./.github/actions/cluster-access" },
                    // The record as it is now: while this run waited, others may have deployed.
                    { name: "What runs now", run: "git fetch --quiet origin" },
                    {
                        id: "gate",
                        name: "May it be deployed?",
                        run: [
                            'npx --no ml-api gate "$STACK" --ref "$GITHUB_REF" --live --out gate.json',
                            'jq -r \'"verdict=\\(.verdict)"\' gate.json >> "$GITHUB_OUTPUT"',
                            "",
                        ].join("\n"),
                    },
                    ...verifySteps(`${HAS_REGISTRY} && steps.gate.outputs.verdict == 'deploy'`),
                    {
                        id: "up",
                        name: "Deploy",
                        if: "steps.gate.outputs.verdict == 'deploy'",
                        run: 'pulumi up --stack "$STACK" --yes --diff --policy-pack policy --non-interactive',
                    },
                    {
                        name: "Write down how it went",
                        if: "always() && (steps.up.outcome == 'success' || steps.up.outcome == 'failure')",
                        env: {
                            GH_TOKEN: "${{ github.token }}",
                            OUTCOME: "${{ steps.up.outcome == 'success' && 'deployed' || 'failed' }}",
                        },
                        run: 'npx --no ml-api record "$STACK" --ref "$GITHUB_REF" --outcome "$OUTCOME" --gate gate.json --out "record-$STACK.json"',
                    },
                    { if: "always() && (steps.up.outcome == 'success' || steps.up.outcome == 'failure')", ...keep },
                ],
            },
            follow: {
                ...job,
                "timeout-minutes": 90,
                ...perStack,
                if: `${deploys} 'pulumi-deployments'`,
                steps: [
                    checkout,
                    ...install,
                    ...login,
                    { uses: "./.github/actions/cluster-access" },
                    {
                        name: "Wait for Pulumi Deployments, and write down how it went",
                        run: 'npx --no ml-api record "$STACK" --ref "$GITHUB_REF" --wait 60 --out "record-$STACK.json"',
                    },
                    keep,
                ],
            },
            // A job of its own, so that no deploy meets the right to write.
            record: {
                ...job,
                needs: ["deploy", "follow"],
                if: "always() && (needs.deploy.result != 'skipped' || needs.follow.result != 'skipped')",
                permissions: { contents: "write" },
                concurrency: { group: "record", ...EVERY_ONE },
                steps: [
                    checkout,
                    ...install,
                    { uses: ACTIONS.downloadArtifact.uses, with: { pattern: "record-*", "merge-multiple": true } },
                    {
                        name: "Add it to the branch deployments",
                        env: { TOKEN: "${{ github.token }}" },
                        run: [
                            "shopt -s nullglob",
                            "records=(record-*.json)",
                            'if [ "${#records[@]}" -eq 0 ]; then echo "nothing was deployed"; exit 0; fi',
                            WITH_TOKEN,
                            'npx --no ml-api record --from "${records[@]}" --push',
                            "",
                        ].join("\n"),
                    },
                ],
            },
        },
    });
}
