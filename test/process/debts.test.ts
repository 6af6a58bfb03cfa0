import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Debt, debtText, emergencyDebts, findDebts, stopsPromotion } from "../../branching/debts";
import { Git } from "../../branching/git";
import { MAP_FILE, parseBranchMap } from "../../branching/map";
import { appendRecord, type DeployRecord } from "../../branching/record";
import { ProjectFolder } from "../unit/project-folder";

const ROOT = path.resolve(__dirname, "../..");
const stacks = { dev: ["dev"], staging: ["staging"], production: ["production"] };
const map = parseBranchMap(fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8"), stacks);

const record = (more: Partial<DeployRecord>): DeployRecord => ({
    ...{ at: "2026-11-22T12:00:00Z", stack: "production", commit: "c", branch: "master", source: "s", image: "i" },
    ...{ actor: "ada", outcome: "deployed", verified: true },
    ...more,
});

describe("debts: commits that run in production", function () {
    this.timeout(20_000);
    let project: ProjectFolder;
    let git: Git;
    beforeEach(() => {
        project = new ProjectFolder();
        git = new Git(project.root);
        project.git("init", "--quiet", "--initial-branch=master");
        commit("base", "base");
        for (const branch of ["develop", "hotfix/1"]) project.git("branch", branch);
        project.git("checkout", "--quiet", "hotfix/1");
    });
    afterEach(() => {
        project.remove();
    });
    const commit = (file: string, text: string): string => {
        project.write(file, `${text}\n`);
        return project.commit(`write ${file}`);
    };
    const into = (branch: string, ...command: string[]): void => {
        project.git("checkout", "--quiet", branch);
        project.git(...command);
    };
    const runs = async (id: string): Promise<void> => appendRecord(git, "production", record({ commit: id }));
    const owed = async (): Promise<string[]> =>
        (await findDebts(git, map, stacks)).map((debt) =>
            debt.kind === "commit" ? `${debt.subject}: ${debt.missingFrom.join()}` : debt.kind,
        );

    it("are owed to master and develop until both have them, by merge or by cherry-pick", async () => {
        expect(await owed()).to.deep.equal([]);
        const fix = commit("fix", "one");
        await runs(fix);
        expect(await owed()).to.deep.equal(["write fix: master,develop"]);
        into("master", "merge", "--quiet", "--no-ff", "-m", "merge", "hotfix/1");
        expect(await owed()).to.deep.equal(["write fix: develop"]);
        project.git("checkout", "--quiet", "develop");
        commit("other", "work that went on");
        into("develop", "cherry-pick", fix);
        expect(await owed()).to.deep.equal([]);
    });

    it("are paid by one commit with all their changes, and not by one with some", async () => {
        commit("one", "1");
        const last = commit("two", "2");
        await runs(last);
        project.git("checkout", "--quiet", "develop");
        commit("other", "x");
        into("develop", "cherry-pick", `${last}^`);
        into("master", "merge", "--quiet", "--squash", "hotfix/1");
        project.commit("both");
        expect(await owed()).to.deep.equal(["write two: develop"]);
    });

    it("are named with how to pay them", async () => {
        await runs(commit("fix", "one"));
        const [debt] = await findDebts(git, map, stacks);
        if (debt === undefined) throw new Error("nothing is owed");
        expect(stopsPromotion(debt)).to.equal(true);
        expect(debtText(debt)).to.match(
            /^[0-9a-f]{12} "write fix" runs in production and is missing from master and develop → merge it there, or git cherry-pick -x [0-9a-f]{12}$/,
        );
    });

    it("are those of what runs: a failed deploy and a fix that was taken back owe nothing", async () => {
        await runs(project.git("rev-parse", "master"));
        const fix = commit("fix", "one");
        await appendRecord(git, "production", record({ commit: fix, outcome: "failed" }));
        expect(await owed()).to.deep.equal([]);
        await runs(fix);
        expect(await owed()).to.have.lengthOf(1);
        await runs(project.git("rev-parse", "master"));
        expect(await owed()).to.deep.equal([]);
    });

    it("a branch that should mirror another is reported when it went its own way, and stops nothing", async () => {
        project.git("checkout", "--quiet", "-b", "production", "master");
        commit("own", "x");
        const [debt] = await findDebts(git, map, stacks);
        expect(debt).to.deep.include({ kind: "mirror", branch: "production", of: "master" });
        expect(stopsPromotion(debt as Debt)).to.equal(false);
        into("master", "merge", "--quiet", "--ff-only", "production");
        expect(await owed()).to.deep.equal([]);
    });

    it("of a clone, are looked for on its origin's branches", async () => {
        const clone = fs.mkdtempSync(`${project.root}-clone-`);
        try {
            await runs(commit("fix", "one"));
            project.git("clone", "--quiet", project.root, clone);
            const own = new Git(clone);
            const debts = await findDebts(own, map, stacks, "refs/remotes/origin/deployments");
            expect(debts.map(({ kind }) => kind)).to.deep.equal(["commit"]);
        } finally {
            fs.rmSync(clone, { recursive: true, force: true });
        }
    });
});

describe("debts: emergencies", () => {
    const artifacts = { image: "i", model: "m", chart: "c" };
    const emergency = { reason: "down", approvedBy: "grace" };
    const urgent = record({ artifacts, emergency });
    const owed = (records: DeployRecord[], before: DeployRecord[]): number =>
        emergencyDebts("production", "staging", records, before).length;
    const staging = (more: Partial<DeployRecord> = {}): DeployRecord =>
        record({ stack: "staging", artifacts, ...more });

    it("are owed until the environment before has run and verified the same", () => {
        expect(owed([urgent], [])).to.equal(1);
        expect(owed([urgent], [staging({ verified: false })])).to.equal(1);
        expect(owed([urgent], [staging({ artifacts: { ...artifacts, chart: "x" } })])).to.equal(1);
        expect(owed([urgent], [staging({ outcome: "failed" })])).to.equal(1);
        expect(owed([urgent], [staging()])).to.equal(0);
    });

    it("are not forgotten by an edit of other values, and end when something else runs", () => {
        expect(owed([urgent, record({ artifacts })], [])).to.equal(1);
        expect(owed([urgent, record({ artifacts: { ...artifacts, image: "x" } })], [])).to.equal(0);
        expect(owed([record({ artifacts })], [])).to.equal(0);
        expect(owed([record({})], [])).to.equal(0);
    });

    it("say why, who agreed, and what is still to do", () => {
        const [debt] = emergencyDebts("production", "staging", [urgent], []);
        expect(debtText(debt as Debt)).to.equal(
            "production got c in an emergency (down; approved by grace, 2026-11-22T12:00:00Z) → let staging run and verify the same",
        );
    });
});
