import type { BranchMap } from "../map";
import { isLiteral, placeholderOf } from "../pattern";
import { ACTIONS } from "./actions";
import { checkout, defaults, document, HAS_REGISTRY, install, job, WITH_TOKEN } from "./parts";
import { workflowFilter } from "./refs";
import { signSteps } from "./supply-chain";

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
