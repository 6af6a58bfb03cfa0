import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { apply, type PlannedUpgrade, planUpgrade, type UpgradeOptions } from "../../cli/upgrade";
import { upgradeText } from "../../cli/upgrade-text";
import { cloneCheckout, newcomersEnvironment } from "../docs/clone";
import { readPage, shellBlocks } from "../docs/markdown";
import { Session } from "../docs/session";
import { ProjectFolder } from "../unit/project-folder";

const ROOT = path.join(__dirname, "..", "..");
const HELM = process.env["ML_API_HELM"] ?? "helm";

const SCHEMA = (keys: readonly string[]): string =>
    JSON.stringify({
        type: "object",
        additionalProperties: false,
        properties: Object.fromEntries(["environment", "global", ...keys].map((key) => [key, {}])),
    });

describe("ml-api upgrade", function () {
    this.timeout(60_000);
    const folders: string[] = [];
    const saved = { ...process.env };
    let upstream: ProjectFolder;
    let first: string;

    before(() => {
        const who = { NAME: "A", EMAIL: "a@example.org" };
        for (const [key, value] of Object.entries(who))
            for (const role of ["AUTHOR", "COMMITTER"]) process.env[`GIT_${role}_${key}`] = value;
        process.env["GIT_CONFIG_GLOBAL"] = process.env["GIT_CONFIG_SYSTEM"] = "/dev/null";
        process.env["GIT_CONFIG_NOSYSTEM"] = "1";
    });
    after(() => {
        process.env = saved;
    });
    beforeEach(() => {
        upstream = new ProjectFolder();
        folders.push(upstream.root);
        upstream.write("chart/values.schema.json", SCHEMA(["replicas", "api", "env"]));
        upstream.write("components/guard.ts", lines(20));
        upstream.write("README.md", "# It\n");
        upstream.commit("0.1.0");
        first = upstream.commit("more");
    });
    afterEach(() => {
        for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
    });

    /** A project of somebody's own: a clone, with its history, or a copy without it. */
    function own(kind: "fork" | "copy"): ProjectFolder {
        const mine = new ProjectFolder();
        folders.push(mine.root);
        fs.rmSync(mine.root, { recursive: true });
        execFileSync("git", ["clone", "--quiet", upstream.root, mine.root]);
        if (kind === "copy") fs.rmSync(mine.file(".git"), { recursive: true });
        if (kind === "copy") mine.commit("as it came");
        mine.addStack("dev", "replicas: 2\n");
        mine.write("components/guard.ts", lines(20).replace("line 1\n", "line 1, ours\n"));
        mine.commit("ours");
        return mine;
    }

    function release(edit = (text: string) => text.replace("line 20\n", "line 20, theirs\n")): void {
        upstream.write("components/guard.ts", edit(lines(20)));
        upstream.write("chart/Chart.yaml", 'apiVersion: v2\nname: ml-api\nversion: "0.2.0"\n');
        upstream.write("chart/values.schema.json", SCHEMA(["replicas", "api", "probes"]));
        upstream.write("chart/values.yaml", 'environment: ""\nreplicas: 1\napi: {logLevel: warning}\nprobes: {}\n');
        upstream.commit("0.2.0");
    }

    const plan = (mine: ProjectFolder, from = upstream.root, options: UpgradeOptions = {}) =>
        planUpgrade(new Git(mine.root), mine.root, from, options, HELM);

    /** Everything of a repository that an upgrade must leave alone while it only plans. */
    const state = (mine: ProjectFolder): string =>
        [
            mine.git("status", "--porcelain"),
            mine.git("for-each-ref"),
            mine.git("worktree", "list", "--porcelain"),
            mine.git("log", "--format=%H"),
        ].join("\n");

    for (const kind of ["fork", "copy"] as const) {
        it(`says of a ${kind} what changed, what both edited, and what to edit, and leaves it as it is`, async () => {
            const mine = own(kind);
            mine.write("chart/environment/dev/values-dev.yaml", "environment: dev\nreplicas: 2\nenv: {MODE: fast}\n");
            mine.commit("values");
            const before = state(mine);
            release();
            const planned = await plan(mine);
            expect(state(mine)).to.equal(before);
            const report = planned?.report;
            expect(report?.chart).to.deep.equal({ base: "0.1.0", ours: "0.1.0", theirs: "0.2.0" });
            expect(report?.commits).to.equal(1);
            expect(report?.merged).to.deep.equal(["components/guard.ts"]);
            expect(report?.conflicts).to.deep.equal([]);
            expect(report?.keys).to.deep.equal({ added: ["probes"], removed: ["env"] });
            expect(report?.defaults).to.deep.equal([
                { key: "api.logLevel", before: "info", after: "warning", stacks: ["dev"] },
            ]);
            expect(report?.problems.map(({ where, what }) => `${where} ${what}`)).to.deep.equal([
                "chart/environment/dev/values-dev.yaml:3 the chart has no key env",
            ]);
            expect(planned?.base).to.contain(kind === "fork" ? first.slice(0, 7) : "of whose");
        });

        it(`brings a ${kind} up to date in the work tree, and once more later`, async () => {
            const mine = own(kind);
            release();
            const planned = await plan(mine);
            if (planned === undefined) throw new Error("there is an upgrade");
            await apply(new Git(mine.root), planned.wanted, false);
            expect(mine.read("components/guard.ts")).to.contain("line 1, ours").and.to.contain("line 20, theirs");
            expect(mine.read("chart/environment/dev/values-dev.yaml")).to.contain("replicas: 2");
            mine.git("commit", "--quiet", "--no-edit");
            expect(await plan(mine)).to.equal(undefined);
            upstream.write("README.md", "# It, again\n");
            upstream.commit("0.2.1");
            const again = await plan(mine);
            expect(again?.report.commits).to.equal(1);
            expect(again?.wanted.joins).to.equal(undefined);
            await apply(new Git(mine.root), (again ?? planned).wanted, true);
            expect(mine.git("status", "--porcelain")).to.equal("");
            expect(mine.git("log", "-1", "--format=%s")).to.contain("Upgrade to");
        });
    }

    it("names a conflict beforehand, and leaves it as git leaves it", async () => {
        const mine = own("fork");
        release((text) => text.replace("line 1\n", "line 1, theirs\n"));
        const planned = await plan(mine);
        if (planned === undefined) throw new Error("there is an upgrade");
        expect(planned.report.conflicts).to.deep.equal(["components/guard.ts"]);
        const error = await apply(new Git(mine.root), planned.wanted, true).catch((caught: unknown) => caught);
        expect(String(error)).to.contain("components/guard.ts").and.to.contain("git merge --abort");
        expect(mine.read("components/guard.ts")).to.contain("<<<<<<<").and.to.contain("line 1, theirs");
        expect(mine.git("status", "--porcelain", "components/guard.ts")).to.contain("UU");
        expect(mine.read("chart/Chart.yaml")).to.contain("0.2.0");
        mine.git("merge", "--abort");
        expect(mine.git("status", "--porcelain")).to.equal("");
    });

    it("takes a remote, a tag of it, a URL, a commit, and a folder without git with --base", async () => {
        const mine = own("fork");
        release();
        upstream.git("tag", "-a", "v0.2.0", "-m", "it");
        upstream.write("README.md", "# later\n");
        upstream.commit("later");
        mine.git("remote", "add", "upstream", upstream.root);
        const commits = async (from: string, options: UpgradeOptions = {}) =>
            (await plan(mine, from, options))?.report.commits;
        expect(await commits("upstream")).to.equal(2);
        expect(await commits("upstream", { ref: "v0.2.0" })).to.equal(1);
        expect(await commits(`file://${upstream.root}`, { ref: "v0.2.0" })).to.equal(1);
        mine.git("fetch", "--quiet", "upstream");
        expect(await commits("upstream/main")).to.equal(2);
        const bare = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-upgrade-test-"));
        folders.push(bare);
        fs.cpSync(upstream.root, bare, { recursive: true, filter: (file) => path.basename(file) !== ".git" });
        const planned = await plan(mine, bare, { base: first });
        expect(planned?.report.merged).to.deep.equal(["components/guard.ts"]);
        expect(await plan(mine, bare).catch(String)).to.contain("--base");
    });

    it("refuses what it cannot upgrade, in words", async () => {
        const mine = own("fork");
        const said = async (
            folder: ProjectFolder,
            root: string,
            from: string,
            options: UpgradeOptions = {},
        ): Promise<string> =>
            planUpgrade(new Git(folder.root), root, from, options, HELM).then(
                () => "",
                (error: unknown) => String(error),
            );
        expect(await said(mine, mine.root, "nowhere"))
            .to.contain("no remote of this clone")
            .and.to.contain("origin");
        expect(await said(mine, mine.root, upstream.root, { ref: "v9" })).to.contain("cannot get v9");
        expect(await said(mine, mine.file("chart"), upstream.root)).to.contain("git merge -X subtree");
        const other = new ProjectFolder();
        folders.push(other.root);
        expect(await said(other, other.root, upstream.root)).to.contain("git init");
        fs.rmSync(other.root, { recursive: true });
        fs.mkdirSync(other.root);
        other.write("other.txt", "something else\n");
        other.commit("other");
        expect(await said(other, other.root, upstream.root)).to.contain("nothing in it resembles");
    });

    it("tells what matters in a page, and counts the rest", async () => {
        const mine = own("fork");
        release();
        const planned = await plan(mine);
        if (planned === undefined) throw new Error("there is an upgrade");
        const text = upgradeText(planned, (_, word) => word);
        expect(text).to.match(/chart {5}0\.1\.0 → 0\.2\.0; 1 commit\n/);
        expect(text).to.contain("merged    components/guard.ts").and.to.contain("api.logLevel: info → warning, in dev");
    });
});

/** The page's blocks, typed into a clone of a released version; git leads its URL to a folder here. */
describe("ml-api upgrade: docs/upgrade.md", function () {
    this.timeout(120_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-upgrade-page-"));
    after(() => {
        fs.rmSync(folder, { recursive: true, force: true });
    });

    it("shows what an upgrade means, and commits it", async () => {
        const [shown, applied, ...others] = shellBlocks(readPage("docs/upgrade.md")).filter(
            ({ tags }) => "run" in tags,
        );
        expect(others).to.deep.equal([]);
        const env = newcomersEnvironment(folder);
        const clone = cloneCheckout(folder, env);
        const upstream = path.join(folder, "upstream");
        const git = (cwd: string, ...args: string[]): string =>
            execFileSync("git", args, { cwd, env, encoding: "utf8" }).trim();
        git(folder, "clone", "--quiet", clone, upstream);
        const service = path.join(upstream, "chart/templates/service.yaml");
        fs.writeFileSync(
            service,
            fs
                .readFileSync(service, "utf8")
                .replace("  type: ClusterIP", "  type: ClusterIP\n  sessionAffinity: ClientIP"),
        );
        git(upstream, "commit", "--quiet", "--all", "-m", "1.2.0");
        git(upstream, "tag", "-a", "v1.2.0", "-m", "1.2.0");
        git(clone, "config", `url.${upstream}.insteadOf`, "https://github.com/your-team/ml-api.git");
        const session = new Session(folder, clone, env);
        const text = await session.run(shown?.text ?? "");
        expect(text).to.match(/^ {2}production +1 object changes: Service\/mf-demo; no pod restarts$/m);
        expect(git(clone, "status", "--porcelain")).to.equal("");
        expect(await session.run(applied?.text ?? "")).to.contain("committed");
        expect(git(clone, "log", "-1", "--format=%s on %D"))
            .to.contain("Upgrade to")
            .and.to.contain("upgrade");
        expect(fs.readFileSync(path.join(clone, "chart/templates/service.yaml"), "utf8")).to.contain("ClientIP");
    });
});

/** The chart and the stacks of this checkout, and what a newer version may make of them. */
describe("ml-api upgrade: what the first preview will say", function () {
    this.timeout(60_000);
    let upstream: ProjectFolder;
    let mine: ProjectFolder;

    beforeEach(() => {
        upstream = new ProjectFolder();
        fs.rmSync(upstream.file("chart"), { recursive: true });
        const parts = ["chart", "branching/branches.yaml", "docs/branching.md", ".github", "deployments/settings.json"];
        for (const part of [
            ...parts,
            "Pulumi.yaml",
            "Pulumi.dev.yaml",
            "Pulumi.production.yaml",
            "Pulumi.staging.yaml",
        ])
            fs.cpSync(path.join(ROOT, part), upstream.file(part), { recursive: true });
        upstream.commit("first");
        mine = new ProjectFolder();
        fs.rmSync(mine.root, { recursive: true });
        upstream.git("clone", "--quiet", upstream.root, mine.root);
    });
    afterEach(() => {
        upstream.remove();
        mine.remove();
    });

    const edit = (project: ProjectFolder, file: string, from: string | RegExp, to: string): void => {
        const text = project.read(file).replace(from, to);
        expect(text, file).not.to.equal(project.read(file));
        project.write(file, text);
        project.commit(file);
    };
    const planned = async (): Promise<PlannedUpgrade> => {
        const found = await planUpgrade(new Git(mine.root), mine.root, upstream.root, {}, HELM);
        if (found === undefined) throw new Error("there is an upgrade");
        return found;
    };

    it("names the stacks whose pods restart, and why", async () => {
        edit(mine, "chart/environment/dev/values-dev.yaml", /^api:$/m, "api:\n  maxConcurrentRequests: 8");
        edit(upstream, "chart/values.yaml", /^( +maxConcurrentRequests: )16/m, "$117");
        const { report } = await planned();
        expect(report.defaults).to.deep.equal([
            { key: "api.maxConcurrentRequests", before: 16, after: 17, stacks: ["production", "staging"] },
        ]);
        const told = Object.fromEntries(
            report.stacks.map(({ stack, restarts, problem }) => [stack, problem ?? restarts]),
        );
        expect(told).to.deep.equal({ dev: [], production: ["Deployment/mf-demo"], staging: ["Deployment/mf-demo"] });
    });

    it("keeps the project's own values in mind where both have edited them, and names the command", async () => {
        const tag = /^( +tag: ).*$/m;
        edit(mine, "chart/environment/dev/values-dev.yaml", tag, '$1"ours"');
        edit(upstream, "chart/environment/dev/values-dev.yaml", tag, '$1"theirs"');
        const found = await planned();
        expect(found.report.conflicts).to.deep.equal(["chart/environment/dev/values-dev.yaml"]);
        expect(
            found.report.stacks.every(({ problem, changes }) => problem === undefined && changes.length === 0),
        ).to.equal(true);
        expect(upgradeText(found, (_, word) => word)).to.contain(
            "git checkout --ours -- chart/environment/dev/values-dev.yaml",
        );
    });

    it("says which conflicts a command writes anew, and that a conflict in the chart hides the rest", async () => {
        for (const [project, word] of [
            [mine, "ours"],
            [upstream, "theirs"],
        ] as const) {
            edit(project, "deployments/settings.json", "{", `{ "${word}": 1,`);
            edit(project, "chart/templates/service.yaml", "type: ClusterIP", `type: ClusterIP # ${word}`);
        }
        const { report } = await planned();
        expect(report.generated).to.deep.equal(["deployments/settings.json"]);
        expect(report.stacks.map(({ problem }) => problem)).to.satisfy((all: string[]) =>
            all.every((one) => one.includes("chart/templates/service.yaml")),
        );
    });
});

function lines(count: number): string {
    return Array.from({ length: count }, (_, index) => `line ${index + 1}\n`).join("");
}
