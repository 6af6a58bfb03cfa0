import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Checkout, type Ended } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const ML_API = path.join(ROOT, "cli", "ml-api.js");

/**
 * Every line of the table in docs/branching.md: `git push` to a repository on this machine, whose hook asks the branch map and
 * runs the real engine against a real API server. The pods are simulated.
 */
describe("a push deploys what its branch stands for", () => {
    let checkout: Checkout;
    let origin: string;
    const values = (environment: string): string => `chart/environment/${environment}/values-${environment}.yaml`;

    before(async () => {
        checkout = new Checkout();
        origin = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-origin-"));
        fs.copyFileSync(path.join(ROOT, "package-lock.json"), checkout.file("package-lock.json"));
        checkout.write(".gitignore", "node_modules\n");
        execFileSync("git", ["init", "--quiet", "--bare", origin]);
        succeeded(await checkout.run(ML_API, ["receive", origin]));
        await git("init", "--quiet", "--initial-branch=master");
        await git("config", "user.name", "ada");
        await git("config", "user.email", "ada@example.org");
        await git("remote", "add", "origin", origin);
        await commit("first");
        for (const stack of ["dev", "staging", "production"]) succeeded(await checkout.pulumi("stack", "init", stack));
    });
    after(async () => {
        for (const stack of ["dev", "staging", "production"]) {
            await checkout.pulumi("state", "unprotect", "--all", "--yes", "--stack", stack);
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        checkout.remove();
        fs.rmSync(origin, { recursive: true, force: true });
    });

    function succeeded(ended: Ended): Ended {
        expect(ended.code, ended.text).to.equal(0);
        return ended;
    }
    const git = async (...args: string[]): Promise<string> => succeeded(await checkout.run("git", args)).stdout.trim();
    /** Commits an edit of an environment's values file. */
    async function commit(message: string, environment?: string, from: string | RegExp = "", to = ""): Promise<string> {
        if (environment !== undefined) checkout.edit(values(environment), from, to);
        await git("add", "--all");
        await git("commit", "--quiet", "--allow-empty", "-m", message);
        return git("rev-parse", "HEAD");
    }
    /** What the pusher reads, without git's prefix. */
    async function push(branch: string, ...options: string[]): Promise<string> {
        const { text } = succeeded(
            await checkout.run("git", ["push", "origin", ...options, `HEAD:refs/heads/${branch}`]),
        );
        return text.replace(/^remote: ?/gm, "").replace(/\s+$/gm, "");
    }
    async function replicas(environment: string): Promise<string> {
        const { stdout } = await checkout.run("kubectl", [
            ...["-n", `mf-demo-${environment}`, "get", "deployment", "mf-demo", "--ignore-not-found"],
            "-o=jsonpath={.spec.replicas}",
        ]);
        return stdout;
    }
    const recorded = async (environment: string): Promise<string[]> =>
        (await git("--git-dir", origin, "show", `deployments:${environment}.jsonl`))
            .split("\n")
            .map((line) => (JSON.parse(line) as { record: { branch: string; outcome: string } }).record)
            .map(({ branch, outcome }) => `${branch} ${outcome}`);

    it("feature/<name> previews dev", async () => {
        await commit("feature", "dev", /^replicas: 1$/m, "replicas: 2");
        const text = await push("feature/two-pods");
        expect(text).to.contain("preview: a push to feature/two-pods (feature/<name>) previews dev");
        expect(text).to.contain("ml-api:index:MlApi");
        expect(await replicas("dev")).to.equal("");
    });

    it("dev deploys dev, and says where it is", async () => {
        const text = await push("dev");
        expect(text).to.contain("deploy: a push to dev deploys dev");
        expect(text).to.match(/dev runs [0-9a-f]{12}: http:\/\/mf-demo\.mf-demo-dev\.svc/);
        expect(await replicas("dev")).to.equal("2");
        expect(await recorded("dev")).to.deep.equal(["dev deployed"]);
    });

    it("a commit that the chart refuses is told to the pusher; what ran before still runs", async () => {
        await commit("broken", "dev", /^replicas: 2$/m, "replicas: many");
        const text = await push("dev");
        expect(text).to.contain("replicas").and.to.contain("what ran before still runs");
        expect(await replicas("dev")).to.equal("2");
        expect(await recorded("dev")).to.deep.equal(["dev deployed", "dev failed"]);
        await git("reset", "--quiet", "--hard", "HEAD^");
    });

    it("develop deploys staging", async () => {
        await commit("sizes", "staging", /^replicas: 2$/m, "replicas: 3");
        expect(await push("develop")).to.contain("deploy: a push to develop deploys staging");
        expect(await replicas("staging")).to.equal("3");
    });

    it("staging does not go back to what develop has left behind, and wins where both went on", async () => {
        const newest = await git("rev-parse", "HEAD");
        await git("checkout", "--quiet", "--detach", "HEAD^");
        expect(await push("staging"))
            .to.contain("staging: nothing to do")
            .and.to.contain("which has it and more");
        expect(await replicas("staging")).to.equal("3");

        await commit("pre-production", "staging", /^replicas: 2$/m, "replicas: 4");
        expect(await push("staging")).to.contain("staging runs");
        expect(await replicas("staging")).to.equal("4");

        await git("checkout", "--quiet", newest);
        await commit("later on develop");
        const text = await push("develop");
        expect(text).to.contain("refused").and.to.contain("merge staging first");
        expect(await replicas("staging")).to.equal("4");
        await git("checkout", "--quiet", "master");
    });

    it("release previews production", async () => {
        expect(await push("release")).to.contain("preview: a push to release previews production");
        expect(await replicas("production")).to.equal("");
    });

    it("release-<version> deploys production once somebody else has agreed", async () => {
        expect(await push("release-1.2.3")).to.contain("waits for approval");
        expect(await replicas("production")).to.equal("");
        await commit("notes of the release");
        expect(await push("release-1.2.3", "-o", "approved-by=ada")).to.contain("is the author of the commit");
        await commit("more notes");
        expect(await push("release-1.2.3", "-o", "approved-by=grace")).to.contain('production: approved by "grace"');
        expect(await replicas("production")).to.equal("3");
    });

    it("master, main and production deploy nothing while their tree is what runs", async () => {
        await commit("merged");
        for (const branch of ["master", "main", "production"]) {
            const text = await push(branch, "-o", "approved-by=grace");
            expect(text, branch).to.contain("production: nothing to do: its tree is the one of");
        }
        expect(await recorded("production")).to.deep.equal(["release-1.2.3 deployed"]);
    });

    it("hotfix/<issue> previews production, and master deploys it", async () => {
        await commit("fix", "production", /^replicas: 3$/m, "replicas: 4");
        expect(await push("hotfix/42")).to.contain("preview: a push to hotfix/42 (hotfix/<issue>) previews production");
        expect(await replicas("production")).to.equal("3");
        expect(await push("master", "-o", "approved-by=grace")).to.contain("production runs");
        expect(await replicas("production")).to.equal("4");
    });

    it("other branches, tags and deleted branches mean nothing", async () => {
        expect(await push("Production")).to.contain('nothing: the branch map does not know "Production"');
        const { text: tag } = await checkout.run("git", ["push", "origin", "HEAD:refs/tags/release-1.2.4"]);
        expect(tag).to.contain("is no branch");
        const { text: deleted } = await checkout.run("git", ["push", "origin", "--delete", "release"]);
        expect(deleted).to.contain("the branch was deleted; what it deployed stays as it is");
    });
});
