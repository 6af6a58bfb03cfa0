import { stringify } from "yaml";
import { type BranchMap, sourcesOf } from "../map";
import { isLiteral, placeholderOf } from "../pattern";
import { ACTIONS } from "./actions";
import { spellings, workflowFilter } from "./refs";
import { signSteps, verifySteps } from "./supply-chain";

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
                    {
                        name: "Would the merge be deployed?",
                        run: [
                            'npx --no ml-api branch "$HEAD" --base "$BASE" --json | jq -r ".stacks[]" | while read -r stack; do',
                            '  npx --no ml-api gate "$stack" --ref "refs/heads/$BASE"',
                            "done",
                            "",
                        ].join("\n"),
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

const HAS_REGISTRY = "vars.IMAGE_REPOSITORY != ''";

/** Adds what needs the right to push, for one step, as git reads it from its environment. */
const WITH_TOKEN =
    'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraheader GIT_CONFIG_VALUE_0="AUTHORIZATION: basic $(printf \'x-access-token:%s\' "$TOKEN" | base64 -w0)"';

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
                permissions: { ...perStack.permissions, packages: "read" },
                if: `${deploys} 'github-actions'`,
                // Its protection rules ask for the approval, and hold back the identity until it is given.
                environment: "${{ needs.decide.outputs.environment }}",
                // One deploy of a stack at a time, and none is cut off in the middle.
                concurrency: { group: "deploy-${{ matrix.stack }}", "cancel-in-progress": false },
                steps: [
                    checkout,
                    ...install,
                    // The record as it is now: while this run waited, others may have deployed.
                    { name: "What runs now", run: "git fetch --quiet origin" },
                    {
                        id: "gate",
                        name: "May it be deployed?",
                        run: [
                            'npx --no ml-api gate "$STACK" --ref "$GITHUB_REF" --out gate.json',
                            'jq -r \'"verdict=\\(.verdict)"\' gate.json >> "$GITHUB_OUTPUT"',
                            "",
                        ].join("\n"),
                    },
                    ...verifySteps(`${HAS_REGISTRY} && steps.gate.outputs.verdict == 'deploy'`),
                    ...login,
                    { uses: "./.github/actions/cluster-access" },
                    {
                        id: "up",
                        name: "Deploy",
                        if: "steps.gate.outputs.verdict == 'deploy'",
                        run: 'pulumi up --stack "$STACK" --yes --diff --policy-pack policy --non-interactive',
                    },
                    {
                        name: "Write down how it went",
                        if: "always() && (steps.up.outcome == 'success' || steps.up.outcome == 'failure')",
                        env: { OUTCOME: "${{ steps.up.outcome == 'success' && 'deployed' || 'failed' }}" },
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
                concurrency: { group: "record", "cancel-in-progress": false },
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

/**
 * `.github/workflows/image.yaml`: builds the image of an API whose folder was changed on a branch of a person, pushes it, and
 * commits its digest into the values file of the first environment, on the same branch. Without the variable IMAGE_REPOSITORY it
 * only builds.
 */
export function imageWorkflow(map: BranchMap, images: readonly { name: string; folder: string }[]): string {
    const { promotion = {} } = map;
    const first = Object.values(promotion).find(({ from }) => !(from in promotion))?.from ?? "dev";
    const branches = Object.keys(map.branches)
        .filter((name) => !isLiteral(name) && placeholderOf(name) !== "version")
        .map(workflowFilter);
    return document({
        name: "image",
        on: { push: { branches, paths: images.map(({ folder }) => `${folder}/**`) } },
        permissions: {},
        concurrency: { group: "image-${{ github.ref }}", "cancel-in-progress": true },
        defaults,
        jobs: {
            build: {
                ...job,
                strategy: {
                    "fail-fast": false,
                    matrix: { include: images.map(({ name, folder }) => ({ api: name, folder })) },
                },
                permissions: { contents: "read", packages: "write", "id-token": "write" },
                env: {
                    API: "${{ matrix.api }}",
                    FOLDER: "${{ matrix.folder }}",
                    REPOSITORY: "${{ vars.IMAGE_REPOSITORY }}",
                },
                steps: [
                    checkout,
                    { name: "Build", run: 'buildah build --tag "$API" "$FOLDER"' },
                    {
                        name: "Push",
                        if: HAS_REGISTRY,
                        env: { TOKEN: "${{ github.token }}" },
                        run: [
                            'repository="${REPOSITORY,,}/$API"',
                            'buildah login --username "$GITHUB_ACTOR" --password-stdin "${repository%%/*}" <<< "$TOKEN"',
                            'buildah push --digestfile digest "$API" "docker://$repository:$GITHUB_SHA"',
                            'echo "$repository:$GITHUB_SHA@$(cat digest)" | tee "image-$API.txt"',
                            "",
                        ].join("\n"),
                    },
                    ...signSteps(HAS_REGISTRY),
                    {
                        if: HAS_REGISTRY,
                        uses: ACTIONS.uploadArtifact.uses,
                        with: { name: "image-${{ matrix.api }}", path: "image-${{ matrix.api }}.txt" },
                    },
                ],
            },
            // A job of its own, so that nothing of the build meets the right to write.
            commit: {
                ...job,
                needs: "build",
                if: HAS_REGISTRY,
                permissions: { contents: "write" },
                steps: [
                    checkout,
                    ...install,
                    { uses: ACTIONS.downloadArtifact.uses, with: { pattern: "image-*", "merge-multiple": true } },
                    {
                        name: `Write the digest into the values file of ${first}`,
                        run: [
                            "for file in image-*.txt; do",
                            '  api="${file#image-}"',
                            `  npx --no ml-api set-image ${first} "$(cat "$file")" --api "\${api%.txt}"`,
                            "done",
                            "",
                        ].join("\n"),
                    },
                    {
                        name: "Commit it",
                        // GitHub starts no workflow for what its own token pushes: a token of an app makes the checks run again.
                        env: { TOKEN: "${{ secrets.COMMIT_TOKEN || github.token }}" },
                        run: [
                            "git add --update",
                            'if git diff --cached --quiet; then echo "the values file has it already"; exit 0; fi',
                            'git -c user.name="github-actions[bot]" -c user.email="41898282+github-actions[bot]@users.noreply.github.com" commit --quiet -m "Image of $(git rev-parse --short HEAD)"',
                            WITH_TOKEN,
                            'git push origin "HEAD:$GITHUB_REF"',
                            "",
                        ].join("\n"),
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
