import { ACTIONS } from "./actions";

type Step = Readonly<Record<string, unknown>>;

/** Whose signature counts: that of this repository's own workflow, by the identity that GitHub gives its run. No key is kept. */
const ISSUER = "https://token.actions.githubusercontent.com";
const IDENTITY = "^https://github[.]com/${GITHUB_REPOSITORY//./[.]}/[.]github/workflows/image[.]yaml@refs/heads/";

/**
 * After the push of an image: says what it consists of (CycloneDX), and signs both by its digest. The job needs the permission
 * `id-token: write`; `REPOSITORY`, `API` and `FOLDER` are its variables, and the file `digest` is what the push has written.
 */
export function signSteps(condition: string): readonly Step[] {
    return [
        { if: condition, uses: ACTIONS.cosign.uses },
        {
            name: "Say what is in it, and sign it",
            if: condition,
            env: { TOKEN: "${{ github.token }}" },
            run: [
                'image="${REPOSITORY,,}/$API@$(cat digest)"',
                'cosign login "${image%%/*}" --username "$GITHUB_ACTOR" --password-stdin <<< "$TOKEN"',
                'cosign sign --yes "$image"',
                'python3 -m venv "$RUNNER_TEMP/audit"',
                '"$RUNNER_TEMP/audit/bin/pip" install --quiet --require-hashes --requirement scan/python/pip-audit.txt',
                '"$RUNNER_TEMP/audit/bin/pip-audit" --requirement "$FOLDER/requirements.txt" --require-hashes --disable-pip --format cyclonedx-json --output sbom.json || test -s sbom.json',
                'cosign attest --yes --type cyclonedx --predicate sbom.json "$image"',
                "",
            ].join("\n"),
        },
    ];
}

/** Before a deploy: every image that is named by a digest must bear that signature. Without a registry of one's own there is none. */
export function verifySteps(condition: string): readonly Step[] {
    return [
        { if: condition, uses: ACTIONS.cosign.uses },
        {
            name: "Was every image of ours signed by its workflow?",
            if: condition,
            env: { REPOSITORY: "${{ vars.IMAGE_REPOSITORY }}", TOKEN: "${{ github.token }}" },
            run: [
                'repository="${REPOSITORY,,}"',
                'cosign login "${repository%%/*}" --username "$GITHUB_ACTOR" --password-stdin <<< "$TOKEN"',
                'npx --no ml-api render "$STACK" --json > objects.json',
                "jq -r '.. | .image? | strings' objects.json | sort -u > images.txt",
                "while read -r image; do",
                '  case "$image" in "$repository"/*@sha256:*) ;; *) continue ;; esac',
                `  cosign verify --certificate-oidc-issuer ${ISSUER} --certificate-identity-regexp "${IDENTITY}" "$image" > /dev/null`,
                "done < images.txt",
                "",
            ].join("\n"),
        },
    ];
}
