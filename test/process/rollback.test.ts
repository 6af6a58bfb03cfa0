import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { ancestry, holdOf, holdRecord, whyHeld as whyRecordHolds } from "../../branching/holds";
import { order } from "../../branching/order";
import { appendRecord, type DeployRecord, readRecords } from "../../branching/record";
import { ownRecord } from "../../cli/own-record";
import { newBranch, writeRevert } from "../../cli/revert-commit";
import { chooseTarget, type Revision, revisionsOf, revisionsText } from "../../cli/revisions";
import type { Hold } from "../../components/guarded-release/hold/hold";
import { whyHeld } from "../../components/guarded-release/hold/obey";
import { recordsIn } from "../../components/guarded-release/live/record";
import { makerLabels } from "../../components/guarded-release/record/labels";
import { findOrigin } from "../../components/guarded-release/record/origin";
import { recordSecret, secretList } from "../unit/helm-records";

const ROOT = path.join(__dirname, "..", "..");
const COMMIT = (digit: string): string => digit.repeat(40);

describe("rollback: what to go back to", () => {
    const revision = (number: number, more: Partial<Revision> = {}): Revision => ({
        revision: number,
        status: "superseded",
        image: "r/api:1",
        digest: undefined,
        commit: COMMIT(String(number)),
        actor: "ada",
        time: "2026-11-22T10:00:00Z",
        intact: true,
        ...more,
    });
    const revisions = [
        revision(7, { status: "failed" }),
        revision(6, { status: "deployed" }),
        revision(5, { commit: undefined, actor: undefined }),
        revision(4, { commit: `${COMMIT("4")}-dirty` }),
        revision(3, { intact: false }),
        revision(2),
        revision(1, { commit: COMMIT("6") }),
    ];
    const old: DeployRecord = {
        at: "2026-11-01T10:00:00Z",
        stack: "dev",
        commit: COMMIT("a"),
        branch: "dev",
        source: "",
        image: "",
        actor: "ada",
        outcome: "deployed",
        verified: false,
    };
    const choose = (wanted: string) =>
        chooseTarget(revisions, [old, { ...old, commit: COMMIT("b"), outcome: "failed" }], "dev", wanted);

    it("is a revision, a commit, or a commit that only the record of deploys still knows", () => {
        expect(choose("2")).to.deep.equal({ commit: COMMIT("2"), revision: 2 });
        expect(choose("2222222")).to.deep.equal({ commit: COMMIT("2"), revision: 2 });
        expect(choose("aaaaaaaa")).to.deep.equal({ commit: COMMIT("a"), revision: undefined });
    });

    const refusals: [string, string][] = [
        ["7", 'revision 7 of dev is "failed": it never served'],
        ["6", "is what runs"],
        ["1", "is what runs"],
        ["5", "was not made by this program"],
        ["4", "from files that are in no commit"],
        ["3", "was changed afterwards"],
        ["9", "there is no revision 9"],
        ["bbbbbbb", "has never been deployed from bbbbbbb"],
        ["7777777", "has never been deployed from 7777777"],
        ["HEAD", "is neither a revision nor"],
    ];
    for (const [wanted, words] of refusals)
        it(`is not ${wanted}: ${words}`, () => {
            expect(() => choose(wanted)).to.throw(words);
        });

    it("is nothing when nothing serves", () => {
        expect(() => chooseTarget([revision(1, { status: "failed" })], [], "dev", "1")).to.throw(
            "no revision of dev serves",
        );
    });

    it("is read from Helm's records, newest first", () => {
        const maker = { commit: COMMIT("c"), actor: "ada", time: "2026-11-22T10:00:00Z", imageDigest: undefined };
        const manifest = `apiVersion: apps/v1
kind: Deployment
metadata: { name: api }
spec: { template: { spec: { containers: [{ name: api, image: "r/api:1@sha256:${"d".repeat(64)}" }] } } }
`;
        const secrets = [
            recordSecret({
                revision: 1,
                status: "superseded",
                labels: makerLabels(1, maker),
                manifest,
                digest: "right",
            }),
            recordSecret({ revision: 2, labels: makerLabels(1, maker), manifest, digest: "other" }),
        ];
        const found = revisionsOf(recordsIn(secretList(...secrets)));
        expect(
            found.map(({ revision: number, commit, digest, intact }) => ({ number, commit, digest, intact })),
        ).to.deep.equal([
            { number: 2, commit: undefined, digest: `sha256:${"d".repeat(64)}`, intact: false },
            { number: 1, commit: COMMIT("c"), digest: `sha256:${"d".repeat(64)}`, intact: true },
        ]);
        expect(revisionsText("dev", found).split("\n")[2]).to.match(
            /^1 {9}superseded {2}c{12} {2}ada {2}2026-11-22T10:00:00Z {2}r\/api:1@/,
        );
    });
});

describe("rollback: the commit and the hold", function () {
    this.timeout(30_000);
    let folder: string;
    let git: Git;
    const run = (...args: string[]): string => execFileSync("git", args, { cwd: folder, encoding: "utf8" }).trim();
    const edit = (file: string, change: (text: string) => string): void => {
        const name = path.join(folder, file);
        fs.mkdirSync(path.dirname(name), { recursive: true });
        fs.writeFileSync(name, change(fs.existsSync(name) ? fs.readFileSync(name, "utf8") : ""));
    };
    const commit = (message: string): string => {
        run("add", "--all");
        run("commit", "--quiet", "--allow-empty", "-m", message);
        return run("rev-parse", "HEAD");
    };
    const values = (environment: string): string => `chart/environment/${environment}/values-${environment}.yaml`;

    beforeEach(() => {
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-revert-"));
        for (const file of ["Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.staging.yaml", "Pulumi.production.yaml", "chart"])
            fs.cpSync(path.join(ROOT, file), path.join(folder, file), { recursive: true });
        run("init", "--quiet", "--initial-branch=master");
        run("config", "user.name", "ada");
        run("config", "user.email", "ada@example.org");
        git = new Git(folder);
    });
    afterEach(() => {
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const revert = (from: string, to: string, live = {}) =>
        writeRevert(git, {
            stack: "dev",
            project: "ml-api",
            from,
            to,
            hold: "h-1",
            reason: "it was wrong",
            by: "ada",
            live,
        });

    it("takes back the chart and this stack's values, and nothing else; the key in use stays", async () => {
        const to = commit("good");
        edit(values("dev"), (text) => text.replace("replicas: 1", "replicas: 4"));
        edit(values("staging"), (text) => `${text}# later\n`);
        edit("chart/templates/new.yaml", () => "# new\n");
        edit("chart/values.yaml", (text) => `${text}# later\n`);
        edit("index.ts", () => "// today's program\n");
        edit("Pulumi.dev.yaml", (text) => `${text}  ml-api:keyGeneration: 2\n  ml-api:values:\n    replicas: 9\n`);
        const from = commit("bad");
        run("checkout", "--quiet", "-b", "mine");
        edit("notes.txt", () => "mine\n");
        const before = run("status", "--porcelain");

        const live = { apiKey: { existingSecret: "mf-demo-key-3-with-2" } };
        const written = await revert(from, to, live);
        expect(written.files).to.deep.equal([
            "Pulumi.dev.yaml",
            values("dev"),
            "chart/templates/new.yaml",
            "chart/values.yaml",
        ]);
        const stackFile = run("show", `${written.commit}:Pulumi.dev.yaml`);
        expect(stackFile).to.contain("ml-api:keyGeneration: 3").and.to.contain("ml-api:acceptPreviousKey: true");
        expect(stackFile).not.to.contain("replicas");
        expect(run("show", `${written.commit}:${values("dev")}`)).to.equal(run("show", `${to}:${values("dev")}`));
        expect(run("diff", "--name-only", from, written.commit, "--", "index.ts", values("staging"))).to.equal("");
        expect(run("log", "-1", "--format=%P %B", written.commit))
            .to.contain(from)
            .and.to.contain("Rollback-Hold: h-1");
        expect([run("status", "--porcelain"), run("rev-parse", "--abbrev-ref", "HEAD")]).to.deep.equal([
            before,
            "mine",
        ]);

        expect(await newBranch(git, "hotfix/rollback-dev-1", written.commit)).to.equal("hotfix/rollback-dev-1");
        expect(await newBranch(git, "hotfix/rollback-dev-1", written.commit)).to.equal("hotfix/rollback-dev-1-2");
    });

    it("says when there is nothing to take back", async () => {
        const to = commit("good");
        edit("index.ts", () => "// only the program\n");
        const from = commit("also good");
        const problem = await revert(from, to).catch((error: unknown) => String(error));
        expect(problem).to.contain("there is nothing to roll back");
    });

    it("lets pass the reverting commit, what has it in its history, and its squash; not others, not edited files", async () => {
        const to = commit("good");
        edit(values("dev"), (text) => text.replace("replicas: 1", "replicas: 4"));
        const from = commit("bad");
        const { commit: reverting } = await revert(from, to);
        const hold: Hold = {
            id: "h-1",
            stack: "dev",
            commit: reverting,
            branch: "b",
            to,
            by: "ada",
            at: "",
            reason: "",
        };
        const here = async () => whyHeld(hold, await findOrigin(folder, "dev", {}));
        expect(await here()).to.contain("does not have the reverting commit in its history");
        run("merge", "--quiet", "--squash", reverting);
        run("commit", "--quiet", "--no-edit");
        expect(run("log", "--format=%H")).not.to.contain(reverting);
        expect(await here()).to.equal(undefined);
        run("reset", "--quiet", "--hard", from);
        run("merge", "--quiet", "--no-ff", "-m", "merged", reverting);
        expect(await here()).to.equal(undefined);
        edit(values("dev"), (text) => `${text}# edited\n`);
        expect(await here()).to.contain("with changes that are in no commit");
        run("checkout", "--quiet", "--", ".");
        run("checkout", "--quiet", reverting);
        expect(await here()).to.equal(undefined);
        expect(await whyHeld(hold, { commit: undefined, dirty: false, actor: "ada", git: undefined })).to.contain(
            "nothing tells",
        );
        expect(await whyHeld(hold, { commit: from, dirty: false, actor: "ada", git: undefined })).to.contain(
            "does not have",
        );
    });

    it("is remembered in the record of deploys, before which ranks count for nothing", async () => {
        const to = commit("good");
        edit(values("dev"), (text) => text.replace("replicas: 1", "replicas: 4"));
        const from = commit("bad");
        const { commit: reverting } = await revert(from, to);
        const deploy: DeployRecord = {
            at: "2026-11-22T10:00:00Z",
            stack: "dev",
            commit: reverting,
            branch: "hotfix/rollback",
            source: "",
            image: "",
            actor: "ada",
            outcome: "deployed",
            verified: true,
        };
        await appendRecord(git, "dev", deploy);
        await appendRecord(git, "dev", holdRecord(deploy, "held", { id: "h-1", reason: "it was wrong" }));
        const records = await readRecords(git, "dev");
        expect(holdOf(records, "dev")?.commit).to.equal(reverting);
        expect(holdOf(records, "other")).to.equal(undefined);
        const asked = (next: string, held = records) =>
            order(
                { commit: reverting, branch: "hotfix/rollback", rank: 1 },
                { commit: next, branch: "master", rank: 3 },
                (a, b) => git.isAncestor(a, b),
                (one) => whyRecordHolds(git, held, "dev", one),
            );
        run("checkout", "--quiet", "-b", "elsewhere", to);
        const other = commit("elsewhere");
        const { verdict, why } = await asked(other);
        expect(verdict).to.equal("refused");
        expect(why)
            .to.contain("dev was rolled back by ada")
            .and.to.contain("it was wrong")
            .and.to.contain("release-hold=WHY");
        run("merge", "--quiet", "-m", "merged", reverting);
        expect((await asked(run("rev-parse", "HEAD"))).verdict).to.equal("deploy");
        run("reset", "--quiet", "--hard", other);
        const squashed = commit(`Squashed\n\n${run("log", "-1", "--format=%B", reverting)}`);
        expect(await ancestry(git, records, "dev")(reverting, squashed)).to.equal(true);
        expect(await ancestry(git, [], "dev")(reverting, squashed)).to.equal(false);
        const released = [...records, holdRecord(deploy, "released", { id: "h-1", reason: "over" })];
        expect(holdOf(released, "dev")).to.equal(undefined);
        expect((await asked(other, released)).verdict).to.equal("deploy");
        // Back to what was rolled back, now that somebody has said that it may be.
        expect(await ancestry(git, released, "dev")(reverting, from)).to.equal(true);
        expect(await ancestry(git, records, "dev")(reverting, from)).to.equal(false);
        expect(await ancestry(git, released, "dev")(reverting, to)).to.equal(false);
    });

    it("adds to what the origin has recorded, and refuses when both went on", async () => {
        const first = commit("first");
        run("update-ref", "refs/remotes/origin/deployments", first);
        await ownRecord(git);
        expect(run("rev-parse", "deployments")).to.equal(first);
        const second = commit("second");
        run("update-ref", "refs/heads/deployments", second);
        await ownRecord(git);
        expect(run("rev-parse", "deployments")).to.equal(second);
        run("checkout", "--quiet", "--detach", first);
        run("update-ref", "refs/remotes/origin/deployments", commit("theirs"));
        expect(await ownRecord(git).catch((error: unknown) => String(error))).to.contain(
            "records that the other lacks",
        );
    });
});
