import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { appendRecord, type DeployRecord, readRecords } from "../../branching/record";
import { type FakeOrigin, fakeOrigin } from "../unit/local-fakes";
import { setUpActions, type Standin, WorkflowRun } from "../workflow/runner";
import { Checkout, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const STACKS = ["dev", "staging"];
const REGISTRY = "ghcr.io/your-team";

/**
 * The generated workflows, step by step, with the real programs: clones of a bare repository, the real engine, the local cluster with
 * simulated pods. What is replaced, and by what:
 *
 * - `actions/checkout`: a clone of the bare repository at the commit; of a pull request, with the merge that GitHub would make
 * - `npm ci`: a link to the packages that are here
 * - set-up of Node, Go, Pulumi and cosign, and the log-in to Pulumi Cloud: nothing; they are on PATH, and the state is a folder
 * - artifacts: a folder; `gh`, `buildah` and `cosign`: scripts that keep what they get; GitHub's API: a server on loopback
 * - `.ci/run`, which is `make test`: nothing
 * - of `ml-api check`, the steps that the other suites run
 */
describe("the generated workflows, step by step", function () {
    this.timeout(300_000);
    let mine: Checkout;
    let origin: string;
    let programs: string;
    let github: FakeOrigin;

    before(async () => {
        mine = Checkout.whole();
        origin = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-origin-"));
        programs = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-programs-"));
        const script = (name: string, body: string) => {
            fs.writeFileSync(path.join(programs, name), `#!/usr/bin/env bash\nset -eu\n${body}\n`, { mode: 0o755 });
        };
        script("gh", `echo "$*" >> ${programs}/gh.calls; cp comment.md ${programs}/comment.md`);
        script("buildah", `if [ "$1" = push ]; then echo -n sha256:${"3".repeat(64)} > digest; fi`);
        script("cosign", "exit 0");
        script(
            "python3",
            `mkdir -p "$3/bin"; for one in pip pip-audit; do ln -sf /bin/true "$3/bin/$one"; done; touch sbom.json; echo {} > sbom.json`,
        );
        github = await fakeOrigin((_, response) => {
            const reviews = [{ state: "approved", user: { login: "grace" }, environments: [{ name: "staging" }] }];
            response.end(JSON.stringify(reviews));
        });
        mine.write("policy/settings.yaml", `registries: [localhost, ${REGISTRY}]\n`);
        await git("init", "--quiet", "--bare", "--initial-branch=master", origin);
        await git("init", "--quiet", "--initial-branch=master");
        await git("config", "user.name", "ada");
        await git("config", "user.email", "ada@example.org");
        await git("remote", "add", "origin", origin);
        await commit("first");
        for (const stack of STACKS) succeeded(await mine.pulumi("stack", "init", stack));
        await git("checkout", "--quiet", "--", ".");
        await push("master", "dev", "develop");
    });
    after(async () => {
        for (const stack of STACKS) {
            await mine.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await mine.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        await github.close();
        mine.remove();
        for (const folder of [origin, programs]) fs.rmSync(folder, { recursive: true, force: true });
    });

    const git = async (...args: string[]): Promise<string> => succeeded(await mine.run("git", args)).stdout.trim();
    async function commit(message: string): Promise<string> {
        await git("add", "--all");
        await git("commit", "--quiet", "--allow-empty", "--message", message);
        return git("rev-parse", "HEAD");
    }
    const push = (...branches: string[]): Promise<string> =>
        git("push", "--quiet", "origin", ...branches.map((branch) => `HEAD:refs/heads/${branch}`));
    const values = (environment: string): string => `chart/environment/${environment}/values-${environment}.yaml`;
    const edit = (environment: string, from: RegExp, to: string) => {
        mine.edit(values(environment), from, to);
    };
    const recorded = (environment: string): Promise<DeployRecord[]> => readRecords(new Git(origin), environment);
    const replicas = (environment: string): Promise<string> =>
        mine.kubectl(
            ...["-n", `mf-demo-${environment}`, "get", "deployment", "mf-demo", "--ignore-not-found"],
            "-o=jsonpath={.spec.replicas}",
        );

    /** A clone as `actions/checkout` makes it. */
    const checkedOut =
        (commit: string, merged?: string): Standin =>
        (folder) => {
            const run = (...args: string[]): void => {
                const author = ["-c", "user.name=GitHub", "-c", "user.email=noreply@github.com"];
                execFileSync("git", [...author, ...args], { cwd: folder, stdio: "pipe" });
            };
            run("clone", "--quiet", origin, ".");
            run("checkout", "--quiet", "--detach", commit);
            if (merged !== undefined) run("merge", "--quiet", "--no-ff", "--message", "merge", merged);
        };

    async function run(
        file: string,
        { branch, base, commit }: { branch: string; base?: string; commit?: string },
    ): Promise<WorkflowRun> {
        const head = commit ?? (await git("ls-remote", origin, `refs/heads/${branch}`)).split("\t", 1).join();
        const workflow = fs.readFileSync(path.join(ROOT, ".github/workflows", file), "utf8");
        return WorkflowRun.of({
            workflow: workflow.replace("ml-api check --base", "ml-api check --skip types lint layout unit --base"),
            github: {
                ...{ ref: `refs/heads/${branch}`, sha: head, repository: "your-team/apis", actor: "ada", token: "t" },
                ...{ run_id: "42", api_url: github.url, head_ref: branch, base_ref: base ?? "" },
                event: { number: 7, pull_request: { head: { repo: { full_name: "your-team/apis" } } } },
            },
            vars: file === "image.yaml" ? { IMAGE_REPOSITORY: REGISTRY } : {},
            env: { ...mine.env, PATH: `${programs}${path.delimiter}${mine.env["PATH"] ?? ""}` },
            standins: {
                "actions/checkout": base === undefined ? checkedOut(head) : checkedOut(`origin/${base}`, head),
                "npm ci": (folder) => {
                    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"));
                },
                ...setUpActions,
                ".ci/run": () => undefined,
            },
        });
    }

    it("push: a feature branch is previewed, and nothing is deployed", async () => {
        await git("switch", "--quiet", "--create", "feature/two-pods");
        edit("dev", /^replicas: 1$/m, "replicas: 2");
        await commit("two pods in dev");
        await push("feature/two-pods");
        const done = await run("push.yaml", { branch: "feature/two-pods" });
        expect(done.results, done.text()).to.include.members(["decide: success", "preview (dev): success"]);
        expect(done.text("preview (dev)")).to.contain("ml-api:index:MlApi");
        expect(done.results).to.include.members(["deploy: skipped", "record: skipped"]);
        expect(await replicas("dev")).to.equal("");
    });

    it("pull request: checked and previewed, with one comment that says what the merge would do", async () => {
        const done = await run("pull-request.yaml", { branch: "feature/two-pods", base: "dev" });
        expect(done.results, done.text()).to.have.members([
            "check: success",
            "test: success",
            "comment: success",
            "preview: success",
        ]);
        expect(fs.readFileSync(path.join(programs, "gh.calls"), "utf8")).to.equal(
            "pr comment 7 --repo your-team/apis --edit-last --create-if-none --body-file comment.md\n",
        );
        const comment = fs.readFileSync(path.join(programs, "comment.md"), "utf8");
        expect(comment)
            .to.contain("a merge into dev would deploy dev")
            .and.to.contain("dev: deploy: nothing was deployed before");
        expect(done.text("test")).to.contain("only values");
    });

    it("pull request: into a branch that takes no such branch, it fails, and the comment says why", async () => {
        const done = await run("pull-request.yaml", { branch: "feature/two-pods", base: "master" });
        expect(done.results).to.include.members(["check: failure", "comment: success"]);
        expect(fs.readFileSync(path.join(programs, "comment.md"), "utf8")).to.contain(
            '"feature/two-pods" may not be merged there',
        );
    });

    it("push: what Pulumi Deployments has deployed is followed, and recorded in the repository", async () => {
        await push("dev");
        succeeded(await mine.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
        await git("checkout", "--quiet", "--", ".");
        const done = await run("push.yaml", { branch: "dev" });
        expect(done.results, done.text()).to.include.members([
            "deploy: skipped",
            "follow (dev): success",
            "record: success",
        ]);
        const [record] = await recorded("dev");
        expect(record).to.deep.include({
            stack: "dev",
            branch: "dev",
            outcome: "deployed",
            verified: false,
            actor: "ada",
        });
        expect(record?.approvedBy).to.equal(undefined);
    });

    it("push: staging does not get what nobody saw answer in dev: red, nothing deployed, nothing recorded", async () => {
        await push("develop");
        const done = await run("push.yaml", { branch: "develop" });
        expect(done.results).to.include.members(["deploy (staging): failure", "record: success"]);
        expect(done.text("deploy (staging)")).to.contain("refused").and.to.contain("not verified");
        expect(await replicas("staging")).to.equal("");
        expect(await recorded("staging")).to.deep.equal([]);
    });

    it("push: staging is deployed with `pulumi up`, and the record says by whom, and who agreed", async () => {
        // What a cluster whose pods serve would have written.
        const [last] = await recorded("dev");
        await appendRecord(new Git(origin), "dev", { ...(last as DeployRecord), actor: "test", verified: true });
        const done = await run("push.yaml", { branch: "develop" });
        expect(done.results, done.text()).to.include.members(["deploy (staging): success", "record: success"]);
        expect(await replicas("staging")).to.equal("2");
        const [record] = await recorded("staging");
        expect(record).to.deep.include({ branch: "develop", outcome: "deployed", actor: "ada", approvedBy: "grace" });
        expect(github.requests).to.include("GET /repos/your-team/apis/actions/runs/42/approvals");
    });

    it("push: an older commit ends neutral, also when the record was lost", async () => {
        const older = await git("rev-parse", "HEAD^");
        const neutral = await run("push.yaml", { branch: "develop", commit: older });
        expect(neutral.results).to.include("deploy (staging): success");
        expect(neutral.text("deploy (staging)")).to.contain("nothing: ").and.to.contain("which has it and more");
        expect(await recorded("staging")).to.have.lengthOf(1);

        const tip = await git("--git-dir", origin, "rev-parse", "deployments");
        await git("--git-dir", origin, "update-ref", "-d", "refs/heads/deployments");
        const lost = await run("push.yaml", { branch: "develop", commit: older });
        expect(lost.text("deploy (staging)"))
            .to.contain("nothing: ")
            .and.to.contain("(not on record) runs, which has it");
        expect(await replicas("staging")).to.equal("2");
        await git("--git-dir", origin, "update-ref", "refs/heads/deployments", tip);
    });

    it("push: a branch map that is wrong stops everything, with its line", async () => {
        mine.edit("branching/branches.yaml", "alias: main", "alias: develop");
        await commit("a wrong map");
        await push("feature/wrong");
        const done = await run("push.yaml", { branch: "feature/wrong" });
        expect(done.results).to.deep.equal([
            ...["decide: failure", "preview: skipped", "deploy: skipped", "follow: skipped", "record: skipped"],
        ]);
        expect(done.text()).to.match(/branching\/branches\.yaml:\d+/);
        await git("reset", "--quiet", "--hard", "HEAD^");
    });

    it("image: what is built is pushed, and its digest committed to the branch that it was built from", async () => {
        await push("feature/code");
        const done = await run("image.yaml", { branch: "feature/code" });
        expect(done.results, done.text()).to.deep.equal([
            "build (mf-demo, examples/mf-demo): success",
            "commit: success",
        ]);
        const file = values("dev");
        expect(await git("--git-dir", origin, "show", `feature/code:${file}`)).to.contain(`sha256:${"3".repeat(64)}`);
        expect(await git("--git-dir", origin, "diff", "--name-only", "feature/two-pods", "feature/code")).to.equal(
            file,
        );
    });
});
