import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { appendRecord, type DeployRecord, readRecords } from "../../branching/record";
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

    /**
     * What a cluster whose pods serve would have written: the newest deploy again, verified, some time ago. On this one nothing
     * is ever verified, and promotions are refused.
     */
    async function verify(environment: string, minutesAgo: number): Promise<void> {
        const own = new Git(origin);
        const last = (await readRecords(own, environment)).findLast(({ outcome }) => outcome === "deployed");
        const at = new Date(Date.now() - minutesAgo * 60_000).toISOString();
        await appendRecord(own, environment, { ...(last as DeployRecord), at, actor: "test", verified: true });
    }

    it("feature/<name> previews dev", async () => {
        await commit("feature", "dev", /^replicas: 1$/m, "replicas: 2");
        const text = await push("feature/two-pods");
        expect(text).to.contain("preview: a push to feature/two-pods (feature/<name>) previews dev");
        expect(text).to.contain("ml-api:index:MlApi");
        expect(await replicas("dev")).to.equal("");
    });

    it("a commit that breaks a policy of its own is told to the pusher", async () => {
        fs.cpSync(path.join(ROOT, "policy"), checkout.file("policy"), { recursive: true });
        await commit("password", "dev", /$/, "\nenv:\n  DATABASE_PASSWORD: hunter2hunter2\n");
        const text = await push("feature/password");
        expect(text).to.contain("no-secret-value").and.to.contain("env.DATABASE_PASSWORD looks like a secret");
        expect(text).to.contain("what ran before still runs");
        // Pulumi's own diff shows what is in the commit that was pushed; our words name the place only.
        expect(text).not.to.match(/looks like a secret[^\n]*hunter2/);
        await git("reset", "--quiet", "--hard", "HEAD^");
    });

    it("dev deploys dev, and says where it is", async () => {
        const text = await push("dev");
        expect(text).to.contain("deploy: a push to dev deploys dev");
        expect(text).to.match(/dev runs [0-9a-f]{12}: http:\/\/mf-demo\.mf-demo-dev\.svc/);
        expect(await replicas("dev")).to.equal("2");
        expect(await recorded("dev")).to.deep.equal(["dev deployed"]);
        expect(text).to.contain("dev: not verified: the pods of this cluster only pretend to run");
        const [{ verified, artifacts } = {}] = await readRecords(new Git(origin), "dev");
        expect(verified).to.equal(false);
        expect(artifacts?.image).to.match(/^localhost\/mf-demo:[0-9a-f]{16}$/);
        expect(artifacts?.chart).to.match(/^sha256:[0-9a-f]{64}$/);
    });

    it("a commit that the chart refuses is told to the pusher; what ran before still runs", async () => {
        await commit("broken", "dev", /^replicas: 2$/m, "replicas: many");
        const text = await push("dev");
        expect(text).to.contain("replicas").and.to.contain("what ran before still runs");
        expect(await replicas("dev")).to.equal("2");
        expect(await recorded("dev")).to.deep.equal(["dev deployed", "dev failed"]);
        await git("reset", "--quiet", "--hard", "HEAD^");
    });

    it("develop does not deploy to staging what nobody saw answer in dev", async () => {
        await commit("sizes", "staging", /^replicas: 2$/m, "replicas: 3");
        const text = await push("develop");
        expect(text).to.contain("staging: refused").and.to.contain("not verified").and.to.contain("what ran before");
        expect(await replicas("staging")).to.equal("");
    });

    it("develop deploys staging", async () => {
        await verify("dev", 0);
        await commit("once more");
        expect(await push("develop")).to.contain("deploy: a push to develop deploys staging");
        expect(await replicas("staging")).to.equal("3");
    });

    it("staging does not go back to what develop has left behind, and wins where both went on", async () => {
        const newest = await git("rev-parse", "HEAD");
        await git("checkout", "--quiet", "--detach", "HEAD~2");
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

    it("release-<version> does not deploy to production what nobody saw answer in staging", async () => {
        const text = await push("release-1.2.3", "-o", "approved-by=grace");
        expect(text)
            .to.contain("production: refused")
            .and.to.contain("staging (staging) ran it")
            .and.to.contain("not verified");
        expect(await replicas("production")).to.equal("");
        await verify("staging", 90);
    });

    it("release-<version> deploys production once somebody else has agreed", async () => {
        await commit("words");
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

    it("a hotfix of an image that staging never ran waits for its proof, or for an emergency, which is then owed", async () => {
        checkout.edit(values("production"), /^  tag: .*$/m, '  tag: "0000000000000001"');
        await git("commit", "--quiet", "--all", "-m", "another image");
        const refused = await push("master", "-o", "approved-by=grace");
        expect(refused).to.contain("production: refused").and.to.contain("staging (staging) never ran this: image");
        await commit("words");
        const urgent = ["-o", "approved-by=grace", "-o", "emergency=customers cannot log in"];
        const text = await push("master", ...urgent);
        expect(text).to.contain("emergency: customers cannot log in, approved by grace");
        expect(text).to.match(/debt: production got [0-9a-f]{12} in an emergency \(customers cannot log in/);
        const last = (await readRecords(new Git(origin), "production")).at(-1);
        expect(last?.emergency).to.deep.equal({ reason: "customers cannot log in", approvedBy: "grace" });
    });

    it("other branches, tags and deleted branches mean nothing", async () => {
        expect(await push("Production")).to.contain('nothing: the branch map does not know "Production"');
        const { text: tag } = await checkout.run("git", ["push", "origin", "HEAD:refs/tags/release-1.2.4"]);
        expect(tag).to.contain("is no branch");
        const { text: deleted } = await checkout.run("git", ["push", "origin", "--delete", "release"]);
        expect(deleted).to.contain("the branch was deleted; what it deployed stays as it is");
    });
});
