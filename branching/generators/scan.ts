import { ACTIONS } from "./actions";
import { checkout, defaults, document, install, job } from "./parts";

/**
 * `.github/workflows/scan.yaml`: every scanner and audit over every pull request, and each morning, because weaknesses become known
 * without a change here. No branch requires it: what became known this morning must not hold back a mended API.
 */
export function scanWorkflow(): string {
    return document({
        name: "scan",
        on: { pull_request: {}, schedule: [{ cron: "23 5 * * *" }], workflow_dispatch: {} },
        permissions: {},
        concurrency: { group: "scan-${{ github.ref }}", "cancel-in-progress": true },
        defaults,
        jobs: {
            scan: {
                ...job,
                permissions: { contents: "read" },
                // Here the services of the audits can be reached: no answer is a failure, too.
                env: { ML_API_REQUIRE_AUDITS: "1" },
                steps: [
                    checkout,
                    ...install,
                    { uses: ACTIONS.setupGo.uses, with: { "go-version": "1.26", cache: false } },
                    { name: "Scan", run: "make scan" },
                ],
            },
        },
    });
}
