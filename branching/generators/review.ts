import { type BranchMap, environmentOf, sourcesOf } from "../map";
import { checkout, defaults, document, install, job, login, NOT_A_FORK } from "./parts";
import { spellings, workflowFilter } from "./refs";

/**
 * `.github/workflows/review.yaml`: a small stack for each pull request into a branch of the environment that the map names, removed when
 * the pull request is closed or its time is over.
 *
 * @returns undefined where the map has no review stacks
 */
export function reviewWorkflow(map: BranchMap): string | undefined {
    const { review } = map;
    if (review === undefined) return undefined;
    const bases = Object.entries(map.branches)
        .filter(([name, { onPush }]) => environmentOf(onPush) === review.of && sourcesOf(map, name).length > 0)
        .flatMap(([name]) => spellings(map, name))
        .map(workflowFilter);
    const common = { ...job, permissions: { contents: "read", "id-token": "write" } };
    // What removes needs nothing of the pull request, whose branch may be gone.
    const ofBase = {
        ...checkout,
        with: { ...(checkout["with"] as object), ref: "${{ github.event.repository.default_branch }}" },
    };
    const access = [...install, ...login, { uses: "./.github/actions/cluster-access" }];
    const env = { NUMBER: "${{ github.event.number }}", BASE: "${{ github.base_ref }}" };
    return document({
        name: "review",
        on: {
            pull_request: { types: ["opened", "synchronize", "reopened", "closed"], branches: bases },
            schedule: [{ cron: "41 * * * *" }],
        },
        permissions: {},
        // One after the other, so that what is closed is removed after its last deploy.
        concurrency: { group: "review-${{ github.event.number || 'sweep' }}", "cancel-in-progress": false },
        defaults,
        jobs: {
            up: {
                ...common,
                "timeout-minutes": 60,
                if: `github.event_name == 'pull_request' && github.event.action != 'closed' && ${NOT_A_FORK}`,
                env,
                steps: [
                    checkout,
                    ...access,
                    {
                        name: "Deploy it to a stack of its own",
                        run: 'npx --no ml-api review up "$NUMBER" --base "origin/$BASE" | tee --append "$GITHUB_STEP_SUMMARY"',
                    },
                ],
            },
            down: {
                ...common,
                if: `github.event_name == 'pull_request' && github.event.action == 'closed' && ${NOT_A_FORK}`,
                env,
                steps: [ofBase, ...access, { name: "Remove it", run: 'npx --no ml-api review down "$NUMBER"' }],
            },
            sweep: {
                ...common,
                if: "github.event_name == 'schedule'",
                steps: [
                    checkout,
                    ...access,
                    { name: "Remove what has had its time", run: "npx --no ml-api review sweep" },
                ],
            },
        },
    });
}
