import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { loadBranchMap, stacksByEnvironment } from "../../branching/map";
import { rulesetFilter, spellings, workflowFilter } from "../../branching/generators/refs";
import { resolve } from "../../branching/resolve";
import { setUpActions, WorkflowRun } from "../workflow/runner";
import type { Workflow } from "../workflow/workflow";
import { type Scratch, scratch } from "../unit/local-fakes";

const ROOT = path.resolve(__dirname, "../..");
const stacks = stacksByEnvironment(ROOT);
const map = loadBranchMap(ROOT, stacks);
const read = (name: string): string => fs.readFileSync(path.join(ROOT, ".github/workflows", name), "utf8");

/** How the programs answer that the workflow calls. */
interface Answers {
    /** Exit code of `ml-api branch`. */
    readonly branch?: number;
    readonly gate?: "deploy" | "nothing" | "refused";
    readonly up?: number;
    readonly kubectl?: number;
    readonly cosign?: number;
    readonly registry?: string;
    readonly approve?: boolean;
    readonly fork?: boolean;
    /** A file that a pull request changes besides values. */
    readonly changed?: string;
}

/** The flow of the workflows, with programs that only write down how they are called; with the real ones: test/cluster/workflows.test.ts. */
describe("the workflows: what runs after what", function () {
    this.timeout(20_000);
    let folder: Scratch;
    beforeEach(() => {
        folder = scratch();
    });
    afterEach(() => {
        folder.remove();
    });

    function programs(
        { branch = 0, gate = "deploy", up = 0, kubectl = 0, cosign = 0, changed = "" }: Answers,
        decision: object,
    ): void {
        const says = (name: string, body: string) =>
            folder.script(name, `echo "${name} $*" >> ${folder.path}/calls\n${body}`);
        folder.file("decision.json", JSON.stringify(decision));
        folder.file("gate.json", JSON.stringify({ verdict: gate }));
        folder.file("objects.json", `[{"image":"ghcr.io/team/mf-demo@sha256:${"a".repeat(64)}"}]`);
        const out = (flag: string) => `file=$(echo "$*" | sed -n 's/.*${flag} \\([^ ]*\\).*/\\1/p')`;
        says(
            "npx",
            `case "$3" in
                branch) case "$*" in *--json) cat ${folder.path}/decision.json ;; *) echo "$4" ;; esac; exit ${branch} ;;
                gate) echo "${gate}: never ran"; ${out("--out")}; [ -z "$file" ] || cp ${folder.path}/gate.json "$file"; [ ${gate} != refused ] ;;
                render) cat ${folder.path}/objects.json ;;
                record) ${out("--out")}; [ -z "$file" ] || echo '{}' > "$file" ;;
                check) ${out("--markdown")}; echo words > "$file" ;;
            esac`,
        );
        says("pulumi", `exit ${up}`);
        says("kubectl", `exit ${kubectl}`);
        says("cosign", `exit ${cosign}`);
        says("git", `printf '%s' "${changed}"`);
        says("gh", `cp comment.md ${folder.path}/comment`);
    }

    async function run(branch: string, answers: Answers = {}, base?: string): Promise<WorkflowRun> {
        const ref = `refs/heads/${branch}`;
        const event = base === undefined ? "push" : "pull_request";
        programs(answers, resolve(map, stacks, { event, ref, ...(base === undefined ? {} : { base }) }));
        return WorkflowRun.of({
            workflow: read(base === undefined ? "push.yaml" : "pull-request.yaml"),
            github: {
                ...{ ref, repository: "team/apis", token: "t", actor: "ada", head_ref: branch, base_ref: base ?? "" },
                event: {
                    number: 7,
                    pull_request: { head: { repo: { full_name: answers.fork === true ? "eve/apis" : "team/apis" } } },
                },
            },
            vars: { IMAGE_REPOSITORY: answers.registry ?? "" },
            env: { PATH: `${folder.path}:/usr/bin:/bin`, HOME: folder.path },
            standins: {
                "actions/checkout": (job) => {
                    fs.cpSync(path.join(ROOT, ".github/actions"), path.join(job, ".github/actions"), {
                        recursive: true,
                    });
                },
                ...setUpActions,
                "npm ci": () => undefined,
                ".ci/run": () => {
                    fs.appendFileSync(path.join(folder.path, "calls"), ".ci/run\n");
                },
            },
            approve: () => answers.approve !== false,
        });
    }
    const calls = (program: string): string[] => {
        const file = path.join(folder.path, "calls");
        const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n") : [];
        return lines.filter((line) => line.startsWith(program));
    };

    it("a branch of one's own is previewed, and nothing is deployed", async () => {
        expect((await run("feature/a")).results).to.deep.equal([
            "decide: success",
            "preview (dev): success",
            "deploy: skipped",
            "follow: skipped",
            "record: skipped",
        ]);
        expect(calls("pulumi")).to.deep.equal([
            "pulumi preview --stack dev --diff --policy-pack policy --non-interactive",
        ]);
    });

    it("dev is followed, because Pulumi Deployments deploys it, and recorded", async () => {
        expect((await run("dev")).results).to.deep.equal([
            "decide: success",
            "preview: skipped",
            "deploy: skipped",
            "follow (dev): success",
            "record: success",
        ]);
        expect(calls("pulumi")).to.deep.equal([]);
        expect(calls("npx --no ml-api record").map((call) => call.replace(/.*record /, ""))).to.deep.equal([
            "dev --ref refs/heads/dev --wait 60 --out record-dev.json",
            "--from record-dev.json --push",
        ]);
    });

    it("staging is deployed here: asked first, deployed, recorded", async () => {
        expect((await run("staging")).results).to.include.members(["deploy (staging): success", "record: success"]);
        expect(calls("pulumi")).to.deep.equal([
            "pulumi up --stack staging --yes --diff --policy-pack policy --non-interactive",
        ]);
        expect(calls("npx --no ml-api gate")[0]).to.contain("gate staging --ref refs/heads/staging --live");
        expect(calls("npx --no ml-api record")[0]).to.contain("--outcome deployed --gate gate.json");
    });

    it("a commit that has nothing to deploy ends well, and leaves no record", async () => {
        const { results } = await run("staging", { gate: "nothing" });
        expect(results).to.include.members(["deploy (staging): success", "record: success"]);
        expect([...calls("pulumi"), ...calls("npx --no ml-api record")]).to.deep.equal([]);
    });

    for (const [what, branch, answers, failed] of [
        ["a commit that is refused", "staging", { gate: "refused" }, "deploy (staging): failure"],
        ["an approval that is rejected", "master", { approve: false }, "deploy (production): failure"],
        ["a cluster that cannot be reached", "staging", { kubectl: 1 }, "deploy (staging): failure"],
        [
            "a registry that cannot be reached",
            "staging",
            { cosign: 1, registry: "ghcr.io/team" },
            "deploy (staging): failure",
        ],
        ["a branch map that is wrong", "staging", { branch: 1 }, "decide: failure"],
    ] as const) {
        it(`${what} deploys nothing, and records nothing`, async () => {
            const run_ = await run(branch, answers);
            expect(run_.results).to.include(failed);
            expect([...calls("pulumi"), ...calls("npx --no ml-api record")]).to.deep.equal([]);
        });
    }

    it("a deploy that fails is recorded as failed", async () => {
        const { results } = await run("staging", { up: 1 });
        expect(results).to.include.members(["deploy (staging): failure", "record: success"]);
        expect(calls("npx --no ml-api record")[0]).to.contain("--outcome failed");
        expect(calls("npx --no ml-api record")[1]).to.contain("--from record-staging.json --push");
    });

    it("every image of ours is looked at before the deploy, where there is a registry", async () => {
        await run("staging", { registry: "ghcr.io/Team" });
        const order = fs.readFileSync(path.join(folder.path, "calls"), "utf8").split("\n");
        const verified = order.findIndex((call) => call.startsWith("cosign verify"));
        expect(verified)
            .to.be.greaterThan(-1)
            .and.lessThan(order.findIndex((call) => call.startsWith("pulumi up")));
    });

    it("a pull request is checked, previewed and told once; that of a fork only checked", async () => {
        const { results } = await run("feature/a", {}, "develop");
        expect(results).to.have.members(["check: success", "test: success", "comment: success", "preview: success"]);
        expect(calls("pulumi")[0]).to.contain("preview --stack staging");
        expect(calls("gh")).to.deep.equal([
            "gh pr comment 7 --repo team/apis --edit-last --create-if-none --body-file comment.md",
        ]);
        fs.rmSync(path.join(folder.path, "calls"));
        const forked = await run("feature/a", { fork: true }, "develop");
        expect(forked.results).to.include.members(["check: success", "comment: skipped", "preview: skipped"]);
        expect([...calls("pulumi"), ...calls("gh")]).to.deep.equal([]);
    });

    it("a pull request that changes more than values is tested as everything is; one that does not is not", async () => {
        await run("feature/a", {}, "dev");
        expect(calls(".ci/run")).to.deep.equal([]);
        expect(calls("git diff")[0]).to.contain("origin/dev...HEAD").and.to.contain(":(exclude)chart/environment");
        const { results } = await run("feature/a", { changed: "index.ts" }, "dev");
        expect(results).to.include("test: success");
        expect(calls(".ci/run")).to.deep.equal([".ci/run"]);
    });

    it("a pull request whose merge would not be deployed fails, and its comment is written all the same", async () => {
        const { results } = await run("feature/a", { gate: "refused" }, "develop");
        expect(results).to.include.members(["check: failure", "comment: success"]);
        expect(fs.readFileSync(path.join(folder.path, "comment"), "utf8")).to.equal(
            "words\n\n```text\nfeature/a\nstaging: refused: never ran\n```\n",
        );
    });
});

describe("the workflows: this repository's own", () => {
    const workflows = ["pull-request.yaml", "push.yaml"].map((name) => parse(read(name)) as Workflow);
    const filters = ({ on }: Workflow): readonly string[] =>
        Object.values(on as Record<string, { branches: string[] }>).flatMap(({ branches }) => branches);
    const json = (name: string): unknown => JSON.parse(fs.readFileSync(path.join(ROOT, ".github", name), "utf8"));

    it("start for the branches of the map, and for no others", () => {
        const [requests, pushes] = workflows as [Workflow, Workflow];
        const all = Object.keys(map.branches).flatMap((name) => spellings(map, name).map(workflowFilter));
        expect(filters(pushes)).to.have.members(all);
        expect(all).to.include.members([...filters(requests)]);
    });

    it("test what a pull request changes with what CI runs, and every check that protects a branch is a job of it", () => {
        const [requests] = workflows as [Workflow, Workflow];
        expect(requests.jobs["test"]?.steps.at(-1)?.run).to.equal(".ci/run");
        expect(fs.readFileSync(path.join(ROOT, ".ci/run"), "utf8")).to.contain("exec make test");
        const rules = (json("rulesets.json") as { rules: { parameters?: { required_status_checks?: object[] } }[] }[])
            .flatMap(({ rules: of }) => of)
            .flatMap(({ parameters }) => parameters?.required_status_checks ?? []) as { context: string }[];
        const required = [...new Set(rules.map(({ context }) => context))];
        expect(required).to.deep.equal(["check", "test", "preview"]);
        expect(Object.keys(requests.jobs)).to.include.members(required);
    });

    it("protect every branch of the map, and the record of deploys, from being rewritten or deleted", () => {
        const sets = json("rulesets.json") as {
            conditions: { ref_name: { include: string[] } };
            rules: { type: string }[];
        }[];
        for (const { rules } of sets)
            expect(rules.map(({ type }) => type)).to.include.members(["deletion", "non_fast_forward"]);
        const included = sets.flatMap(({ conditions }) => conditions.ref_name.include);
        const shared = Object.keys(map.branches).filter((name) => !/^(?:feature|hotfix)\//.test(name));
        const all = shared.flatMap((name) => spellings(map, name)).map(rulesetFilter);
        expect(included).to.have.members([...all, "deployments"].map((name) => `refs/heads/${name}`));
    });

    it("deploy only what GitHub Actions is the deployer of, and to environments that let those branches in", () => {
        const environments = json("environments.json") as Record<string, { branches: string[] }>;
        expect(Object.keys(environments)).to.have.members([...(map.deployers["github-actions"] ?? [])]);
        for (const [name, { onPush }] of Object.entries(map.branches)) {
            if (!("deploy" in onPush) || environments[onPush.deploy] === undefined) continue;
            expect(environments[onPush.deploy]?.branches, name).to.include.members(
                spellings(map, name).filter((one) => !one.includes("<")),
            );
        }
    });

    it("the branches that this repository has are known to the map", () => {
        const main = resolve(map, stacks, { event: "push", ref: "refs/heads/main" });
        expect([main.action, main.environment, main.approval]).to.deep.equal(["deploy", "production", true]);
    });
});
