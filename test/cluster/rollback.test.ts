import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Checkout, type Ended, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const NAMESPACE = "mf-demo-dev";
const VALUES = "chart/environment/dev/values-dev.yaml";

/** The steps of docs/rollback.md, in a clone of its own with a real engine and a real API server; the pods are simulated. */
describe("ml-api rollback", function () {
    let checkout: Checkout;
    let state: string;
    let origin: string;
    const commits: Record<string, string> = {};

    before(async () => {
        state = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-rollback-"));
        origin = path.join(state, "origin.git");
        checkout = new Checkout({ ...process.env, XDG_STATE_HOME: state, GITHUB_ACTOR: "Ada Lovelace" });
        for (const room of ["cli", "local", "branching", "rbac", "scan", "policy", "distribution", "package-lock.json"])
            fs.cpSync(path.join(ROOT, room), checkout.file(room), { recursive: true });
        checkout.write(".gitignore", "node_modules\n");
        execFileSync("git", ["init", "--quiet", "--bare", origin]);
        await git("init", "--quiet", "--initial-branch=master");
        await git("config", "user.name", "ada");
        await git("config", "user.email", "ada@example.org");
        await git("remote", "add", "origin", origin);
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        await deploy("first", () => undefined);
        await deploy("second", () => {
            checkout.edit(VALUES, "replicas: 1", "replicas: 2");
        });
        checkout.edit(VALUES, "replicas: 2", "replicas: 3");
        succeeded(await up());
        await deploy("bad", () => {
            checkout.edit(VALUES, "replicas: 3", "replicas: 4");
            checkout.edit(
                "chart/templates/service.yaml",
                "type: ClusterIP",
                "type: ClusterIP # edited\n  sessionAffinity: ClientIP",
            );
            checkout.edit("Pulumi.dev.yaml", "config:\n", "config:\n  ml-api:keyGeneration: 2\n");
        });
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
        fs.rmSync(state, { recursive: true, force: true });
    });

    const mlApi = (...args: string[]): Promise<Ended> => checkout.run(checkout.file("cli/ml-api.js"), args);
    const rollback = (...args: string[]): Promise<Ended> => mlApi("rollback", "dev", ...args);
    const up = (): Promise<Ended> => checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev");
    const git = async (...args: string[]): Promise<string> => succeeded(await checkout.run("git", args)).stdout.trim();
    const kubectl = (...args: string[]): Promise<string> => checkout.kubectl("--namespace", NAMESPACE, ...args);
    const replicas = (): Promise<string> => kubectl("get", "deployment", "mf-demo", "-o=jsonpath={.spec.replicas}");
    const label = (revision: number, key: string): Promise<string> =>
        kubectl(
            "get",
            "secret",
            `sh.helm.release.v1.mf-demo.v${revision}`,
            `-o=jsonpath={.metadata.labels.ml-api/${key}}`,
        );
    async function commit(name: string, edit: () => void): Promise<void> {
        edit();
        await git("add", "--all");
        await git("commit", "--quiet", "--message", name);
        commits[name] = await git("rev-parse", "HEAD");
    }
    async function deploy(name: string, edit: () => void): Promise<Ended> {
        await commit(name, edit);
        return succeeded(await up());
    }
    async function refused(words: string, ...args: string[]): Promise<void> {
        const { code, text } = await rollback(...args);
        expect(code, text).to.equal(1);
        expect(text)
            .to.contain(words)
            .and.not.to.match(/^\s+at .*:\d+:\d+\)?$/m);
    }

    it("lists revisions with image, commit, actor and time, which stay with Helm's record when it is superseded", async () => {
        const { stdout } = succeeded(await rollback("--json"));
        const { revisions } = JSON.parse(stdout) as { revisions: Record<string, unknown>[] };
        expect(
            revisions.map(({ revision, status, commit: made, actor }) => ({ revision, status, made, actor })),
        ).to.deep.equal(
            [
                { revision: 4, status: "deployed", made: commits["bad"] },
                { revision: 3, status: "superseded", made: `${commits["second"] ?? ""}-dirty` },
                { revision: 2, status: "superseded", made: commits["second"] },
                { revision: 1, status: "superseded", made: commits["first"] },
            ].map((row) => ({ ...row, actor: "Ada-Lovelace" })),
        );
        const { text } = succeeded(await rollback());
        expect(text).to.match(/^REVISION +STATUS +COMMIT +BY +TIME +IMAGE$/m);
        expect(text).to.match(
            new RegExp(
                `^4 +deployed +${(commits["bad"] ?? "").slice(0, 12)} +Ada-Lovelace +20\\S+Z +localhost/mf-demo:\\S+$`,
                "m",
            ),
        );
    });

    it("knows which labels are its own: those of a plain helm upgrade are copied from the revision before", async () => {
        succeeded(
            await checkout.run("helm", [
                "upgrade",
                "mf-demo",
                "./chart",
                "--namespace",
                NAMESPACE,
                "--reuse-values",
                "--set",
                "replicas=1",
            ]),
        );
        expect(await label(5, "commit")).to.equal(commits["bad"]);
        const { stdout } = succeeded(await rollback("--json"));
        const [newest] = (JSON.parse(stdout) as { revisions: { commit?: string }[] }).revisions;
        expect(newest).not.to.have.property("commit");
        succeeded(await up());
        expect(await label(6, "revision")).to.equal("6");
        expect(await label(4, "commit")).to.equal(commits["bad"]);
    });

    it("refuses what it cannot go back to, and says why", async () => {
        await refused("was deployed from files that are in no commit", "--to", "3", "--yes");
        await refused("was not made by this program", "--to", "5", "--yes");
        await refused("there is no revision 99 of dev", "--to", "99", "--yes");
        await refused("has never been deployed from deadbeef", "--to", "deadbeef", "--yes");
        await refused("is what runs: there is nothing to roll back", "--to", "6", "--yes");
        await refused('"x" is neither a revision nor', "--to", "x", "--yes");
        await refused("there is no terminal to ask at", "--to", "2");

        const record = "sh.helm.release.v1.mf-demo.v2";
        await kubectl("label", "--overwrite", "secret", record, `ml-api/commit=${"f".repeat(40)}`);
        await refused("is not in this clone → git fetch", "--to", "2", "--yes");
        await kubectl("label", "--overwrite", "secret", record, `ml-api/commit=${commits["second"] ?? ""}`);

        await plant(["{not json"]);
        await refused("the record was edited or cut off", "--to", "2", "--yes");
        await git("update-ref", "-d", "refs/heads/deployments");
        expect(await replicas()).to.equal("4");
        expect(await git("branch", "--list", "hotfix/*")).to.equal("");
        expect(await kubectl("get", "configmap", "mf-demo-hold", "--ignore-not-found")).to.equal("");
    });

    it("shows what changes, deploys the commit's chart and values, and keeps the key, the files and the branch", async () => {
        const head = await git("rev-parse", "HEAD");
        checkout.write("notes.txt", "mine\n");
        const { text } = succeeded(await rollback("--to", "2", "--reason", "predictions were off", "--yes"));
        expect(text)
            .to.contain("spec.replicas: 4 → 2")
            .and.to.match(/spec\.sessionAffinity: ClientIP/);
        expect(text).to.match(/It is not quite revision 2: .*Deployment\/mf-demo.*the API key are those of today/);
        expect(await replicas()).to.equal("2");
        expect(await kubectl("get", "deployment", "mf-demo", "-o=yaml")).to.contain("mf-demo-key-2");
        expect(await git("rev-parse", "HEAD")).to.equal(head);
        expect(await git("status", "--porcelain")).to.equal("?? notes.txt");
        fs.rmSync(checkout.file("notes.txt"));

        const branch = `hotfix/rollback-dev-${(commits["second"] ?? "").slice(0, 8)}`;
        expect(await git("rev-parse", `${branch}^`)).to.equal(head);
        expect((await git("diff", "--name-only", head, branch)).split("\n")).to.deep.equal([
            VALUES,
            "chart/templates/service.yaml",
        ]);
        expect(await git("show", `${branch}:${VALUES}`)).to.contain("replicas: 2");
        expect(text).to.contain(`git push origin ${branch} deployments`);
        expect(await label(7, "commit")).to.equal(await git("rev-parse", branch));
        const lines = (await git("show", "deployments:dev.jsonl")).split("\n");
        expect(lines.map((line) => (JSON.parse(line) as { record: { outcome: string } }).record.outcome)).to.deep.equal(
            ["deployed", "held"],
        );
    });

    it("holds the stack: a plain pulumi up of another commit is refused, in words", async () => {
        const { code, text } = await up();
        expect(code, text).not.to.equal(0);
        expect(text).to.match(
            /dev is held by Ada Lovelace since 20\S+Z: it was rolled back to [0-9a-f]{12}, because: predictions were off/,
        );
        expect(text).to.contain("does not have the reverting commit in its history");
        expect(text).to.contain('npx --no ml-api hold dev --release "WHY"');
        expect(text).not.to.match(/^\s+at .*:\d+:\d+\)?$/m);
        expect(await replicas()).to.equal("2");
        const preview = succeeded(await checkout.pulumi("preview", "--stack", "dev")).text;
        expect(preview).to.contain("an update would be refused: dev is held by Ada Lovelace");
        expect(succeeded(await mlApi("hold", "dev")).text).to.contain("because: predictions were off");
    });

    it("refuses a push of another commit, too", async () => {
        const branch = `hotfix/rollback-dev-${(commits["second"] ?? "").slice(0, 8)}`;
        await git("push", "--quiet", "origin", branch, "deployments");
        succeeded(await mlApi("receive", origin));
        const { text } = succeeded(await checkout.run("git", ["push", "origin", "HEAD:refs/heads/dev"]));
        expect(text)
            .to.contain("refused: dev was rolled back by Ada Lovelace")
            .and.to.contain("what ran before still runs");
        expect(await replicas()).to.equal("2");
    });

    it("lets what descends from the reverting commit pass, which ends the hold", async () => {
        const branch = `hotfix/rollback-dev-${(commits["second"] ?? "").slice(0, 8)}`;
        await git("merge", "--quiet", "--squash", branch);
        await git("commit", "--quiet", "--no-edit");
        checkout.edit(VALUES, "replicas: 2", "replicas: 5");
        const dirty = await up();
        expect(dirty.code).not.to.equal(0);
        expect(dirty.text).to.contain("with changes that are in no commit");
        const { text } = await deploy("better", () => undefined);
        expect(text).to.contain("the hold after the rollback has ended");
        expect(await replicas()).to.equal("5");
        expect(succeeded(await mlApi("hold", "dev")).text).to.contain("dev is not held");
    });

    it("ends a hold when a person says so", async () => {
        await git("fetch", "--quiet", "origin");
        succeeded(await rollback("--to", (commits["first"] ?? "").slice(0, 10), "--yes"));
        expect(await replicas()).to.equal("1");
        expect((await up()).code).not.to.equal(0);
        expect((await mlApi("hold", "dev", "--release", " ")).text).to.contain("say why");
        expect(succeeded(await mlApi("hold", "dev", "--release", "found the cause")).text).to.contain(
            "dev is not held any more",
        );
        succeeded(await up());
        expect(await replicas()).to.equal("5");
    });

    it("deploys a push that has the reverting commit, squashed; or any, when the pusher ends the hold", async () => {
        const pushed = async (...options: string[]): Promise<string> =>
            succeeded(await checkout.run("git", ["push", "origin", ...options, "HEAD:refs/heads/dev"])).text;
        expect(await pushed()).to.match(/dev runs [0-9a-f]{12}/);
        const branch = `hotfix/rollback-dev-${(commits["second"] ?? "").slice(0, 8)}`;
        const records = await git("--git-dir", origin, "show", "deployments:dev.jsonl");
        expect(records).to.contain("what was deployed has the reverting commit").and.to.contain(branch);

        await git("fetch", "--quiet", "origin");
        await git("update-ref", "refs/heads/deployments", "refs/remotes/origin/deployments");
        succeeded(await rollback("--to", (commits["first"] ?? "").slice(0, 10), "--yes"));
        await git(
            "--git-dir",
            origin,
            "fetch",
            "--quiet",
            checkout.root,
            "refs/heads/deployments:refs/heads/deployments",
            "refs/heads/hotfix/*:refs/heads/hotfix/*",
        );
        await commit("on the bad side", () => {
            checkout.edit(VALUES, "replicas: 5", "replicas: 6");
        });
        expect(await pushed()).to.contain("refused: dev was rolled back by Ada Lovelace");
        expect(await replicas()).to.equal("1");
        await commit("again", () => {
            checkout.edit(VALUES, "replicas: 6", "replicas: 7");
        });
        const text = await pushed("-o", "release-hold=found the cause");
        expect(text).to.contain("dev is not held any more: found the cause");
        expect(await replicas(), text).to.equal("7");
    });

    /** A record branch with one file. */
    async function plant(lines: readonly string[]): Promise<void> {
        const blob = execFileSync("git", ["hash-object", "-w", "--stdin"], {
            cwd: checkout.root,
            input: lines.join("\n"),
        });
        const entry = `100644 blob ${blob.toString().trim()}\tdev.jsonl\n`;
        const tree = execFileSync("git", ["mktree"], { cwd: checkout.root, input: entry }).toString().trim();
        await git("update-ref", "refs/heads/deployments", await git("commit-tree", tree, "-m", "planted"));
    }
});
