import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { type DeployRecord, readRecords } from "../../branching/record";
import { Checkout, type Ended, succeeded } from "./checkout";

const VALUES = "chart/environment/dev/values-dev.yaml";
const MAP = "branching/branches.yaml";

/** Pushes that must not deploy: each says why to the pusher, and leaves the cluster, the record and the repository as they were. */
describe("a push that deploys nothing says why, and nothing is lost", function () {
    this.timeout(300_000);
    let checkout: Checkout;
    let folder: string;
    let origin: string;
    let first: string;
    let second: string;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-push-"));
        origin = path.join(folder, "origin");
        checkout = Checkout.whole({ ...process.env, XDG_STATE_HOME: path.join(folder, "state") });
        await git("init", "--quiet", "--bare", origin);
        await git("init", "--quiet", "--initial-branch=master");
        await git("config", "user.name", "ada");
        await git("config", "user.email", "ada@example.org");
        await git("remote", "add", "origin", origin);
        succeeded(await ml("receive", origin));
        first = await commit("first");
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        await git("checkout", "--quiet", "--", ".");
        second = await commit("second", 2);
        expect(await push(second, "dev")).to.contain("dev runs");
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
        fs.rmSync(folder, { recursive: true, force: true });
    });
    afterEach(async () => {
        await git("reset", "--quiet", "--hard");
    });

    const ml = (...words: string[]): Promise<Ended> => checkout.run("cli/ml-api.js", words);
    const git = async (...args: string[]): Promise<string> => succeeded(await checkout.run("git", args)).stdout.trim();
    /** A commit with so many pods in dev. */
    async function commit(message: string, replicas?: number): Promise<string> {
        if (replicas !== undefined) checkout.edit(VALUES, /^replicas: .*$/m, `replicas: ${replicas}`);
        await git("add", "--all");
        await git("commit", "--quiet", "--allow-empty", "--message", message);
        return git("rev-parse", "HEAD");
    }
    async function push(
        from: string,
        branch: string,
        env: NodeJS.ProcessEnv = {},
        ...options: string[]
    ): Promise<string> {
        const args = ["push", "--force", ...options, "origin", `${from}:refs/heads/${branch}`];
        const { text } = await checkout.run("git", args, { env });
        return text.replace(/^remote: ?/gm, "");
    }
    const replicas = (): Promise<string> =>
        checkout.kubectl("-n", "mf-demo-dev", "get", "deployment", "mf-demo", "-o=jsonpath={.spec.replicas}");
    const records = (environment = "dev"): Promise<DeployRecord[]> => readRecords(new Git(origin), environment);
    async function unchanged(): Promise<void> {
        expect(await replicas()).to.equal("2");
        expect((await records()).map(({ commit: of, outcome }) => [of, outcome])).to.deep.equal([[second, "deployed"]]);
    }

    it("a branch that nobody knows", async () => {
        expect(await push(await commit("x", 3), "devel")).to.contain('nothing: the branch map does not know "devel"');
        await unchanged();
        await git("reset", "--quiet", "--hard", second);
    });

    it("a branch map that is wrong: every fault with its line", async () => {
        checkout.edit(MAP, "alias: main", "alias: develop");
        const text = await push(await commit("x", 3), "dev");
        expect(text)
            .to.match(/branching\/branches\.yaml:\d+/)
            .and.to.contain("can mean the same branch");
        await unchanged();
        await git("reset", "--quiet", "--hard", second);
    });

    it("a force push of another history", async () => {
        await git("reset", "--quiet", "--hard", first);
        const text = await push(await commit("rewritten", 5), "dev");
        expect(text).to.contain("dev: refused").and.to.contain("neither has all of the other's commits");
        await unchanged();
        await git("reset", "--quiet", "--hard", second);
    });

    it("a force push back to an older commit", async () => {
        expect(await push(first, "dev"))
            .to.contain("dev: nothing to do")
            .and.to.contain("which has it and more");
        await unchanged();
    });

    it("a commit without the stack file", async () => {
        fs.rmSync(checkout.file("Pulumi.dev.yaml"));
        const gone = await commit("no stack file");
        await git("checkout", "--quiet", second, "--", "Pulumi.dev.yaml");
        const text = await push(gone, "dev");
        expect(text).to.contain("Pulumi.dev.yaml").and.to.contain("there is no such stack file");
        await unchanged();
        await git("reset", "--quiet", "--hard", second);
    });

    it("a cluster that cannot be reached", async () => {
        const kubeconfig = path.join(folder, "dead.json");
        fs.writeFileSync(
            kubeconfig,
            JSON.stringify({
                ...{ apiVersion: "v1", kind: "Config", "current-context": "dead" },
                contexts: [{ name: "dead", context: { cluster: "dead", user: "dead" } }],
                clusters: [{ name: "dead", cluster: { server: "https://127.0.0.1:1" } }],
                users: [{ name: "dead", user: { token: "x" } }],
            }),
        );
        const env = { KUBECONFIG: kubeconfig, ML_API_CONTEXT: "" };
        const said = await push(await commit("third", 3), "dev", env);
        expect(said)
            .to.contain("the cluster of dev does not say what it runs")
            .and.to.contain("what ran before still runs");
        await unchanged();
        await git("reset", "--quiet", "--hard", second);
    });

    it("an approval that is missing or the author's own; and nothing is waved through by one that is given", async () => {
        const text = await push(second, "release-1.2.3");
        expect(text).to.contain(`waits for approval`).and.to.contain(`--again release-1.2.3 --approved-by NAME`);
        const own = await ml("receive", origin, "--again", "release-1.2.3", "--approved-by", "ada");
        expect(own.text).to.contain('"ada" is the author of the commit');
        const agreed = await ml("receive", origin, "--again", "release-1.2.3", "--approved-by", "grace");
        expect(agreed.code).to.equal(1);
        expect(agreed.text)
            .to.contain('approved by "grace"')
            .and.to.contain("production: refused")
            .and.to.contain("never ran this");
        expect(await records("production")).to.deep.equal([]);
        expect((await ml("receive", origin, "--again", "nowhere")).text).to.contain('has no branch "nowhere"');
        expect(await push(first, "master")).to.contain("waits for approval");
        expect(await push(second, "production")).to.contain("waits for approval");
        await unchanged();
    });

    it("a record that was lost: nothing goes back, and what is newer begins it anew", async () => {
        await git("--git-dir", origin, "update-ref", "-d", "refs/heads/deployments");
        expect(await push(first, "dev")).to.contain("(not on record) runs, which has it and more");
        expect(await replicas()).to.equal("2");
        const third = await commit("third", 3);
        // Whoever deploys next hears that a mirror has gone its own way.
        expect(await push(third, "dev"))
            .to.contain("dev runs")
            .and.to.contain("debt: production should be what master is, and has 1 commits of its own");
        expect((await records()).map(({ commit: of }) => of)).to.deep.equal([third]);
    });

    it("two pushes at once: the newer commit runs in the end", async () => {
        const one = await commit("fourth", 4);
        const other = await commit("fifth", 1);
        const said = await Promise.all([push(other, "dev"), push(one, "dev")]);
        // git refuses the one that finds the branch moved meanwhile; its pusher pushes again.
        for (const [index, commit] of [other, one].entries())
            if (/\[remote rejected\]|failed to push/.test(said[index] ?? "")) await push(commit, "dev");
        expect(await replicas()).to.equal("1");
        expect((await records()).at(-1)?.commit).to.equal(other);
    });
});
