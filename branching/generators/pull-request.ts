import { type BranchMap, sourcesOf } from "../map";
import { ACTIONS } from "./actions";
import { checkout, defaults, document, install, job, login, NOT_A_FORK, preview } from "./parts";
import { spellings, workflowFilter } from "./refs";

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
                        run: 'npx --no ml-api branch "$HEAD" --base "$BASE" --strict 2>&1 | tee why.txt',
                    },
                    {
                        name: "Would the merge be deployed?",
                        run: [
                            'npx --no ml-api branch "$HEAD" --base "$BASE" --json | jq -r ".stacks[]" | {',
                            "  status=0",
                            "  while read -r stack; do",
                            '    npx --no ml-api gate "$stack" --ref "refs/heads/$BASE" 2>&1 | sed "s/^/$stack: /" || status=1',
                            "  done",
                            '  exit "$status"',
                            "} | tee --append why.txt",
                            "",
                        ].join("\n"),
                    },
                    // All that is wrong at once: also when the merge is refused.
                    {
                        name: "Check",
                        if: "success() || failure()",
                        run: 'npx --no ml-api check --base "origin/$BASE" --markdown comment.md',
                    },
                    {
                        name: "What the merge would do, for the comment",
                        if: "success() || failure()",
                        run: 'printf "\\n\\140\\140\\140text\\n%s\\n\\140\\140\\140\\n" "$(cat why.txt)" >> comment.md',
                    },
                    {
                        if: "success() || failure()",
                        uses: ACTIONS.uploadArtifact.uses,
                        with: { name: "comment", path: "comment.md", "if-no-files-found": "ignore" },
                    },
                ],
            },
            test: testJob({ BASE: env.BASE }),
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

/** What `make test` runs, for a pull request that changes more than what environments are made of; `ml-api check` sees to that. */
function testJob(env: Readonly<Record<string, string>>): object {
    const onlyIf = { if: "steps.changes.outputs.program == 'true'" };
    const configuration = ["chart/environment", "apis/*/values-*.yaml", "Pulumi.*.yaml"];
    return {
        ...job,
        "timeout-minutes": 120,
        permissions: { contents: "read" },
        env,
        steps: [
            checkout,
            {
                id: "changes",
                name: "Does it change more than values?",
                run: [
                    `changed=$(git diff --name-only "origin/$BASE...HEAD" -- . ${configuration.map((glob) => `':(exclude)${glob}'`).join(" ")})`,
                    'if [ -n "$changed" ]; then echo "program=true" >> "$GITHUB_OUTPUT"; else echo "only values: nothing to test but what the job check checks"; fi',
                    "",
                ].join("\n"),
            },
            ...install.map((step) => ({ ...onlyIf, ...step })),
            { ...onlyIf, uses: ACTIONS.setupGo.uses, with: { "go-version": "1.26", cache: false } },
            {
                ...onlyIf,
                uses: ACTIONS.cache.uses,
                with: { path: "~/.cache/ml-api", key: "tools-${{ hashFiles('local/tools/**') }}" },
            },
            { ...onlyIf, name: "Test", run: ".ci/run" },
        ],
    };
}
