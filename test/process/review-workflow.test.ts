import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { generated } from "../../branching/generators";
import { MAP_FILE, parseBranchMap, stacksByEnvironment } from "../../branching/map";
import { scratch } from "../unit/local-fakes";
import { WorkflowRun } from "../workflow/runner";

const ROOT = path.resolve(__dirname, "../..");
const WORKFLOW = ".github/workflows/review.yaml";

describe("review stacks: what the workflow does", () => {
    const stacks = stacksByEnvironment(ROOT);
    const source = fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8");
    const on = parseBranchMap(`${source}\nreview: { of: dev, hours: 72, atMost: 5 }\n`, stacks);

    for (const [what, event, fork, expected] of [
        ["opened", "pull_request", false, "up 7 --base origin/dev"],
        ["synchronize", "pull_request", false, "up 7 --base origin/dev"],
        ["closed", "pull_request", false, "down 7"],
        ["", "schedule", false, "sweep"],
        ["opened", "pull_request", true, undefined],
        ["closed", "pull_request", true, undefined],
    ] as const) {
        it(`${event} ${what}${fork ? " of a fork" : ""} → ${expected ?? "nothing"}`, async () => {
            const folder = scratch();
            try {
                folder.script("npx", `echo "$*" >> ${folder.path}/calls`);
                folder.script("kubectl", "exit 0");
                const nothing = (): void => undefined;
                const { results } = await WorkflowRun.of({
                    workflow: generated(ROOT, on, stacks).get(WORKFLOW) ?? "",
                    github: {
                        ...{ event_name: event, repository: "team/apis", base_ref: "dev" },
                        event: {
                            ...{ action: what, number: 7, repository: { default_branch: "main" } },
                            pull_request: { head: { repo: { full_name: fork ? "eve/apis" : "team/apis" } } },
                        },
                    },
                    env: { PATH: `${folder.path}:/usr/bin:/bin`, GITHUB_STEP_SUMMARY: `${folder.path}/summary` },
                    standins: {
                        "actions/checkout": (job) => {
                            fs.cpSync(path.join(ROOT, ".github/actions"), path.join(job, ".github/actions"), {
                                recursive: true,
                            });
                        },
                        ...{ "actions/setup-node": nothing, "pulumi/actions": nothing, "pulumi/auth-actions": nothing },
                        "npm ci": nothing,
                    },
                });
                expect(results.filter((result) => result.endsWith("failure"))).to.deep.equal([]);
                const calls = path.join(folder.path, "calls");
                const called = fs.existsSync(calls) ? fs.readFileSync(calls, "utf8").trim() : undefined;
                expect(called?.replace("--no ml-api review ", "")).to.equal(expected);
            } finally {
                folder.remove();
            }
        });
    }
});
