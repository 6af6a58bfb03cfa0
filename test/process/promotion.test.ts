import { expect } from "chai";
import fc from "fast-check";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type Artifacts, artifactsOf, chartDigest, stackAt } from "../../branching/artifacts";
import { BLOCK_LIST } from "../../components/config/blocked";
import { type Gate, gate } from "../../branching/gate";
import { Git } from "../../branching/git";
import { type BranchMap, loadBranchMap, MAP_FILE, parseBranchMap, stacksByEnvironment } from "../../branching/map";
import { commitPromotion, planPromotion, type Promotion, type PromotionRequest } from "../../branching/promote";
import { proofOf } from "../../branching/promotion";
import { pathTo } from "../../branching/promotion-route";
import { appendRecord, type DeployRecord, type Emergency } from "../../branching/record";
import { resolve } from "../../branching/resolve";
import { waitForUpdate } from "../../cli/record";
import { ProjectFolder } from "../unit/project-folder";

const ROOT = path.resolve(__dirname, "../..");
const NEW = `sha256:${"a".repeat(64)}`;
const OLD = `sha256:${"b".repeat(64)}`;
const NOW = new Date("2026-11-22T12:00:00Z");
const ago = (minutes: number): string => new Date(NOW.getTime() - minutes * 60_000).toISOString();

/** A clone in which every environment runs the old image, and dev's values name a new one. */
class History {
    private static first: string | undefined;
    readonly project = new ProjectFolder();
    readonly git = new Git(this.project.root);
    readonly map: BranchMap;
    readonly stacks = { dev: ["dev"], staging: ["staging"], production: ["production"] };

    constructor() {
        // Made once: git is the slow part of these tests.
        if (History.first !== undefined) fs.cpSync(History.first, this.project.root, { recursive: true });
        else this.begin();
        this.map = loadBranchMap(this.project.root, this.stacks);
        if (History.first !== undefined) return;
        History.first = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-history-"));
        fs.cpSync(this.project.root, History.first, { recursive: true });
    }

    static forget(): void {
        if (History.first !== undefined) fs.rmSync(History.first, { recursive: true, force: true });
        History.first = undefined;
    }

    private begin(): void {
        for (const name of ["dev", "staging", "production"]) this.project.addStack(name, this.image(OLD));
        this.project.write(MAP_FILE, fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8"));
        this.project.git("init", "--quiet", "--initial-branch=master");
        this.project.git("config", "user.name", "ada");
        this.project.git("config", "user.email", "ada@example.org");
        this.project.commit("first");
        for (const branch of ["dev", "develop"]) this.project.git("branch", branch);
    }

    image(digest: string): string {
        return `# ours\nimage:\n  repository: ghcr.io/team/a # where\n  digest: "${digest}"\n`;
    }

    file(environment: string): string {
        return `chart/environment/${environment}/values-${environment}.yaml`;
    }

    /** Commits an edit on a branch, and goes back to the one before. */
    on(branch: string, edit: () => void, message = "x"): string {
        const before = this.project.git("rev-parse", "--abbrev-ref", "HEAD");
        this.project.git("checkout", "--quiet", branch);
        edit();
        const commit = this.project.commit(message);
        this.project.git("checkout", "--quiet", before);
        return commit;
    }

    setImage(environment: string, digest: string): void {
        const file = this.file(environment);
        this.project.write(file, this.project.read(file).replace(/sha256:[0-9a-f]{64}/, digest));
    }

    /** Records that a stack runs a commit. */
    async ran(stack: string, commit: string, more: Partial<DeployRecord> = {}): Promise<DeployRecord> {
        const { environment, artifacts } = await stackAt(this.git, commit, stack);
        const record: DeployRecord = {
            at: ago(120),
            stack,
            commit,
            branch: stack,
            source: commit,
            image: artifacts.image,
            actor: "ada",
            outcome: "deployed",
            verified: true,
            artifacts,
            ...more,
        };
        await appendRecord(this.git, environment, record);
        return record;
    }

    plan(from: string, to: string, more: Partial<PromotionRequest> = {}): Promise<Promotion> {
        return planPromotion({ git: this.git, map: this.map, stacks: this.stacks, from, to, now: NOW, ...more });
    }

    gate(branch: string, stack: string, commit: string, emergency?: Emergency): Promise<Gate> {
        const decision = resolve(this.map, this.stacks, { event: "push", ref: `refs/heads/${branch}`, commit });
        const push = { git: this.git, map: this.map, decision, commit, branch, stack };
        return gate(emergency === undefined ? push : { ...push, emergency }, NOW);
    }
}

after(() => {
    History.forget();
});

describe("promotion", function () {
    this.timeout(60_000);
    let history: History;
    beforeEach(() => {
        history = new History();
    });
    afterEach(() => {
        history.project.remove();
    });
    const codes = ({ refusals }: Promotion): string[] => refusals.map(({ code }) => code);
    const newInDev = (): string =>
        history.on(
            "dev",
            () => {
                history.setImage("dev", NEW);
            },
            "new image",
        );

    describe("ml-api promote", () => {
        it("commits what dev has proven to a branch of its own, and touches nothing else", async () => {
            await history.ran("dev", newInDev(), { actor: "grace" });
            const { project } = history;
            project.write("untracked.txt", "mine");
            const [head, status] = [project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")];
            const plan = await history.plan("dev", "staging");
            expect(plan.refusals).to.deep.equal([]);
            expect(plan.changes).to.deep.equal([{ path: "image.digest", before: OLD, after: NEW }]);
            expect(plan.path).to.deep.equal(["develop"]);
            expect(plan.branch).to.match(/^feature\/promote-mf-demo-to-staging-[0-9a-f]{8}$/);
            const commit = await commitPromotion(history.git, plan);

            expect(project.git("rev-parse", plan.branch)).to.equal(commit);
            expect(project.git("rev-parse", `${commit}^`)).to.equal(project.git("rev-parse", "develop"));
            expect(project.git("diff", "--name-only", `${commit}^`, commit)).to.equal(history.file("staging"));
            expect(project.git("show", `${commit}:${history.file("staging")}`)).to.equal(
                project.read(history.file("staging")).replace(OLD, NEW).trim(),
            );
            const message = project.git("log", "-1", "--format=%an%n%B", commit);
            expect(message).to.match(/^ada\nPromote mf-demo to staging\n/);
            expect(message).to.contain("by grace), verified").and.to.contain(`Image: ${NEW}`);
            expect([project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")]).to.deep.equal([
                head,
                status,
            ]);
            expect(project.git("ls-tree", "-r", "--name-only", commit)).to.equal(
                project.git("ls-tree", "-r", "--name-only", "develop"),
            );
        });

        it("is the same twice, and refuses a branch that holds something else", async () => {
            await history.ran("dev", newInDev());
            const plan = await history.plan("dev", "staging");
            const commit = await commitPromotion(history.git, plan);
            expect(await commitPromotion(history.git, await history.plan("dev", "staging"))).to.equal(commit);
            history.project.git("branch", "--force", plan.branch, "master");
            await rejects(commitPromotion(history.git, plan), "there is such a branch already");
        });

        it("has nothing to change when the target has it already", async () => {
            await history.ran("dev", history.project.git("rev-parse", "dev"));
            const plan = await history.plan("dev", "staging");
            expect(plan.refusals).to.deep.equal([]);
            expect(plan.changes).to.deep.equal([]);
        });

        it("prepares production on develop, and knows the way from there; or on the branch that is named", async () => {
            await history.ran(
                "staging",
                history.on("develop", () => {
                    history.setImage("staging", NEW);
                }),
            );
            const plan = await history.plan("staging", "production");
            expect(plan.refusals).to.deep.equal([]);
            expect(plan.path).to.deep.equal(["develop", "release", "master"]);
            history.project.git("branch", "release-1.2.3");
            const onto = await history.plan("staging", "production", { onto: "release-1.2.3" });
            expect(onto.path).to.deep.equal(["release-1.2.3"]);
            expect(onto.branch).to.match(/^feature\/promote/);
            expect((await history.plan("staging", "production", { onto: "master" })).branch).to.match(
                /^hotfix\/promote/,
            );
            await rejects(history.plan("staging", "production", { onto: "nowhere" }), "there is no such branch");
            expect(() => pathTo(history.map, "dev", "production")).to.throw("no merge of it leads");
        });

        it("takes the model along, and clears what the target had instead", async () => {
            const sum = "c".repeat(64);
            const url = "https://models.example.org/m.onnx";
            const commit = history.on("dev", () => {
                const file = history.file("dev");
                const model = `model:\n  download:\n    url: ${url}\n    sha256: "${sum}"\n    file: m.onnx\n`;
                history.project.write(file, history.project.read(file) + model);
            });
            history.on("develop", () => {
                const file = history.file("staging");
                history.project.write(file, `${history.project.read(file)}model:\n  volume: {claim: old}\n`);
            });
            await history.ran("dev", commit);
            const plan = await history.plan("dev", "staging");
            expect(plan.artifacts?.model).to.equal(`sha256:${sum}`);
            expect(Object.fromEntries(plan.changes.map(({ path: key, after }) => [key, after]))).to.deep.equal({
                "model.download.url": url,
                "model.download.sha256": sum,
                "model.download.file": "m.onnx",
                "model.volume.claim": "",
            });
            const edited = history.project.git("show", `${await commitPromotion(history.git, plan)}:${plan.file}`);
            expect(edited).to.contain('volume: {claim: ""}').and.to.contain(sum);
        });

        describe("is refused", () => {
            it("what never ran", async () => {
                expect(codes(await history.plan("dev", "staging"))).to.deep.equal(["never-ran"]);
                await history.ran("dev", newInDev(), { outcome: "failed" });
                expect(codes(await history.plan("dev", "staging"))).to.deep.equal(["never-ran"]);
            });

            it("what was recorded before artifacts were", async () => {
                await history.ran("dev", newInDev());
                const { artifacts, ...old } = await history.ran("dev", newInDev());
                expect(artifacts?.image).to.equal(NEW);
                await appendRecord(history.git, "dev", old);
                const { refusals } = await history.plan("dev", "staging");
                expect(refusals.map(({ reason }) => reason).join()).to.contain("recorded without its artifacts");
            });

            it("what nobody saw answer, however often it ran", async () => {
                await history.ran("dev", newInDev(), { verified: false });
                const plan = await history.plan("dev", "staging");
                expect(codes(plan)).to.deep.equal(["not-verified"]);
                expect(plan.refusals[0]?.reason).to.contain("not verified");
                await history.ran("dev", plan.record?.commit ?? "");
                expect(codes(await history.plan("dev", "staging"))).to.deep.equal([]);
                // The newest deploy counts: verification that was lost is not carried over.
                await history.ran("dev", plan.record?.commit ?? "", { verified: false });
                expect(codes(await history.plan("dev", "staging"))).to.deep.equal(["not-verified"]);
            });

            it("what has not run long enough since it was verified", async () => {
                const commit = history.on("develop", () => {
                    history.setImage("staging", NEW);
                });
                await history.ran("staging", commit, { at: ago(300), verified: false });
                await history.ran("staging", commit, { at: ago(59) });
                const plan = await history.plan("staging", "production");
                expect(codes(plan)).to.deep.equal(["soak"]);
                expect(plan.refusals[0]?.reason).to.contain("59 minutes of the 60 minutes");
                expect(plan.refusals[0]?.fix).to.equal("wait 1 minutes more");
                expect(
                    codes(await history.plan("staging", "production", { now: new Date(NOW.getTime() + 60_000) })),
                ).to.deep.equal([]);
            });

            it("what is blocked, by the list of master, too, and in an emergency, too", async () => {
                await history.ran("dev", newInDev());
                history.on("master", () => {
                    const entry = `blocked:\n  - {digest: "${NEW}", reason: leaks, who: eve, when: 2026-11-22}\n`;
                    history.project.write(BLOCK_LIST, entry);
                });
                const plan = await history.plan("dev", "staging", {
                    emergency: { reason: "now", approvedBy: "grace" },
                });
                expect(codes(plan)).to.deep.equal(["blocked"]);
                expect(plan.refusals[0]?.reason).to.contain(
                    "leaks (eve, branching/blocked.yaml of refs/heads/master:2)",
                );
                expect(plan.overridden).to.equal(false);
            });

            it("when the record was changed", async () => {
                const commit = newInDev();
                await history.ran("dev", commit, { verified: false });
                await history.ran("dev", commit);
                rewriteRecord(history, (text) => text.replace('"verified":false', '"verified":true'));
                const plan = await history.plan("dev", "staging", {
                    emergency: { reason: "now", approvedBy: "grace" },
                });
                expect(codes(plan)).to.include("record");
                expect(plan.refusals[0]?.reason).to.contain("dev.jsonl:2 does not follow the line before it");
                expect(plan.overridden).to.equal(false);
            });

            it("in the wrong direction, past an environment, or to another API", async () => {
                await history.ran("staging", history.project.git("rev-parse", "develop"));
                await history.ran("dev", newInDev());
                const back = await history.plan("staging", "dev");
                expect(codes(back)).to.deep.equal(["direction"]);
                expect(back.refusals[0]?.fix).to.equal("the way is dev → staging → production");
                expect(codes(await history.plan("dev", "production"))).to.deep.equal(["direction"]);
            });

            it("when the branch would bring another chart than the one that ran", async () => {
                await history.ran("dev", newInDev());
                history.on("develop", () => history.project.write("chart/templates/more.yaml", "a: b\n"));
                expect(codes(await history.plan("dev", "staging"))).to.deep.equal(["chart"]);
            });

            it("an image by a tag that can move, and a model without a sum", async () => {
                const commit = history.on("dev", () =>
                    history.project.write(
                        history.file("dev"),
                        'environment: dev\nimage: {repository: ghcr.io/team/a, tag: "1"}\nmodel: {download: {url: "https://m/x?token=1"}}\n',
                    ),
                );
                await history.ran("dev", commit);
                const { refusals } = await history.plan("dev", "staging");
                expect(refusals.map(({ code }) => code)).to.deep.equal(["not-pinned", "not-pinned"]);
                expect(JSON.stringify(refusals)).not.to.contain("token");
            });

            it("with every reason at once", async () => {
                await history.ran(
                    "staging",
                    history.on("develop", () => {
                        history.setImage("staging", NEW);
                    }),
                    {
                        verified: false,
                    },
                );
                const fix = history.on("master", () => history.project.write("fix.txt", "x"), "hot fix");
                await history.ran("production", fix);
                history.on("develop", () => {
                    history.project.write("chart/templates/more.yaml", "a: b\n");
                    history.project.write(
                        BLOCK_LIST,
                        `blocked:\n  - {digest: "${NEW}", reason: leaks, who: eve, when: 2026-11-22}\n`,
                    );
                });
                expect(codes(await history.plan("staging", "production"))).to.deep.equal([
                    "not-verified",
                    "blocked",
                    "chart",
                    "debt",
                ]);
            });
        });

        it("lets an emergency through, with its reason and who approved it in the commit; never by the author", async () => {
            await history.ran("dev", newInDev(), { verified: false });
            const emergency = { reason: "customers\ncannot log in", approvedBy: "grace" };
            const plan = await history.plan("dev", "staging", { emergency });
            expect(codes(plan)).to.deep.equal(["not-verified"]);
            expect(plan.overridden).to.equal(true);
            const commit = await commitPromotion(history.git, plan);
            expect(history.project.git("log", "-1", "--format=%(trailers)", commit)).to.contain(
                "Emergency: customers cannot log in\nApproved-by: grace",
            );
            const own = await history.plan("dev", "staging", { emergency: { ...emergency, approvedBy: "ada" } });
            expect(own.overridden).to.equal(false);
            expect(codes(own)).to.include("approver");
        });
    });

    describe("a push to an environment that asks for proof", () => {
        it("deploys what was proven, and edits of other values", async () => {
            await history.ran("dev", newInDev());
            const promoted = history.on("develop", () => {
                history.setImage("staging", NEW);
            });
            expect((await history.gate("develop", "staging", promoted)).verdict).to.equal("deploy");
            await history.ran("staging", promoted, { branch: "develop", verified: false });
            const edited = history.on("develop", () => {
                const file = history.file("staging");
                history.project.write(file, `${history.project.read(file)}replicas: 9\n`);
            });
            // What dev proved is not proven any more, and need not be for what staging runs already.
            await history.ran("dev", "dev", { at: ago(1), verified: false });
            expect((await history.gate("develop", "staging", promoted)).verdict).to.equal("deploy");
            expect((await history.gate("develop", "staging", edited)).verdict).to.equal("deploy");
        });

        it("refuses what dev never ran, by hand as well, and a chart that only staging would have", async () => {
            await history.ran("dev", history.project.git("rev-parse", "dev"));
            const byHand = history.on("develop", () => {
                history.setImage("staging", NEW);
            });
            const refused = await history.gate("develop", "staging", byHand);
            expect(refused).to.have.property("verdict", "refused");
            expect(refused.why).to.contain(`image ${NEW} (there: ${OLD})`).and.to.contain("deploy it to dev first");
            history.on("develop", () => {
                history.setImage("staging", OLD);
            });
            const chart = history.on("develop", () => history.project.write("chart/values.yaml", "replicas: 2\n"));
            expect((await history.gate("develop", "staging", chart)).why).to.match(/never ran this: chart sha256:/);
        });

        it("refuses what is blocked, also in dev", async () => {
            history.on("master", () => {
                const entry = `blocked:\n  - {digest: "${NEW}", reason: leaks, who: eve, when: 2026-11-22}\n`;
                history.project.write(BLOCK_LIST, entry);
            });
            const refused = await history.gate("dev", "dev", newInDev());
            expect(refused.verdict).to.equal("refused");
            expect(refused.why).to.contain("leaks (eve");
        });

        it("takes an emergency by option and by a commit's last lines, once, and only for the environment it names", async () => {
            await history.ran("staging", history.project.git("rev-parse", "develop"), { branch: "develop" });
            const commit = history.on("develop", () => {
                history.setImage("staging", NEW);
            });
            expect((await history.gate("develop", "staging", commit)).verdict).to.equal("refused");
            const emergency = { reason: "down", approvedBy: "grace" };
            const answer = await history.gate("develop", "staging", commit, emergency);
            expect(answer).to.deep.include({ verdict: "deploy", emergency });
            const own = await history.gate("develop", "staging", commit, { ...emergency, approvedBy: "A" });
            expect(own.verdict).to.equal("refused");

            const said = (lines: string): string => history.on("develop", () => undefined, `fix\n\n${lines}`);
            const trailers = "Emergency: down\nApproved-by: grace";
            for (const [lines, verdict] of [
                ["Emergency: down", "refused"],
                [`Promotion: staging -> production\n${trailers}`, "refused"],
                ["Emergency: down\nApproved-by: A", "refused"],
                [`Promotion: dev -> staging\n${trailers}`, "deploy"],
            ] as const)
                expect((await history.gate("develop", "staging", said(lines))).verdict, lines).to.equal(verdict);
            const tip = history.project.git("rev-parse", "develop");
            await history.ran("staging", tip, { branch: "develop" });
            // What it allowed is deployed; it allows no second thing.
            const next = history.on("develop", () => {
                history.setImage("staging", `sha256:${"d".repeat(64)}`);
            });
            expect((await history.gate("develop", "staging", next)).verdict).to.equal("refused");
        });

        it("is not stopped by the faults of another stack, and refuses an API that dev does not have", async () => {
            await history.ran("dev", "dev");
            const broken = history.on("develop", () => {
                history.project.write("Pulumi.broken.yaml", "config:\n  ml-api:environment: nowhere\n");
            });
            expect((await history.gate("develop", "staging", broken)).verdict).to.equal("deploy");
            const renamed = history.on("develop", () => {
                const config = "config:\n  ml-api:environment: staging\n  ml-api:name: churn\n";
                history.project.write("Pulumi.staging.yaml", config);
            });
            expect((await history.gate("develop", "staging", renamed)).why).to.contain("dev has no stack for churn");
        });

        it("refuses when a stack file, a values file or the record is broken", async () => {
            const missing = history.on("develop", () => {
                fs.rmSync(history.project.file("Pulumi.staging.yaml"));
            });
            await rejects(history.gate("develop", "staging", missing), "Pulumi.staging.yaml");
            await history.ran("dev", newInDev());
            await history.ran("dev", newInDev());
            rewriteRecord(history, (text) => text.split("\n").slice(1).join("\n"));
            const commit = history.on("dev", () => {
                history.setImage("dev", OLD);
            });
            await rejects(history.gate("dev", "dev", commit), "the record was changed");
        });
    });
});

describe("promotion: what is compared", () => {
    it("is the digest where there is one, and else the name", () => {
        const of = (values: object): Artifacts => artifactsOf(values as Parameters<typeof artifactsOf>[0], "c");
        expect(of({ image: { repository: "a/b", tag: "1", digest: NEW } }).image).to.equal(NEW);
        expect(of({ image: { repository: "a/b", tag: "1" } }).image).to.equal("a/b:1");
        expect(of({ image: { repository: "a/b" } }).image).to.equal("a/b:latest");
        expect(of({}).model).to.equal("in the image");
        expect(of({ model: { image: { reference: `m@${OLD}` } } }).model).to.equal(OLD);
        expect(of({ model: { volume: { claim: "c", path: "p" } } }).model).to.equal("volume c/p");
    });

    it("of the chart, is what decides over objects: not its version, its documentation or the values files", async () => {
        const history = new History();
        try {
            const digest = async (file: string): Promise<string> =>
                chartDigest(
                    history.git,
                    history.on("dev", () => history.project.write(file, `${Math.random()}\n`)),
                );
            const first = await chartDigest(history.git, "dev");
            for (const file of ["chart/Chart.yaml", "chart/README.md", history.file("dev"), "index.ts"])
                expect(await digest(file), file).to.equal(first);
            let last = first;
            for (const file of [
                "chart/templates/a.yaml",
                "chart/values.yaml",
                "chart/values.schema.json",
                "chart/files/x",
            ]) {
                const next = await digest(file);
                expect(next, file).not.to.equal(last);
                last = next;
            }
        } finally {
            history.project.remove();
        }
    });

    it("counts the longest time in one go since it was verified", () => {
        const artifacts = { image: "i", model: "m", chart: "c" };
        const record = (at: string, more: Partial<DeployRecord> = {}): DeployRecord => ({
            ...{ at, stack: "s", commit: "c", branch: "b", source: "s", image: "i", actor: "a" },
            ...{ outcome: "deployed", verified: true, artifacts },
            ...more,
        });
        const soaked = (...records: DeployRecord[]): number => proofOf(records, "s", artifacts, NOW).soaked / 60_000;
        const other = { artifacts: { ...artifacts, image: "x" } };
        expect(soaked(record(ago(30)))).to.equal(30);
        expect(soaked(record(ago(30), { verified: false }), record(ago(10)))).to.equal(10);
        // A failed deploy leaves what ran before.
        expect(soaked(record(ago(30)), record(ago(10), { outcome: "failed", ...other }))).to.equal(30);
        expect(soaked(record(ago(90)), record(ago(50), other), record(ago(10)))).to.equal(40);
        expect(soaked(record(ago(30), { stack: "other" }))).to.equal(0);
        expect(proofOf([record(ago(30), { outcome: "failed" })], "s", artifacts, NOW).ran).to.equal(false);
        expect(soaked(record(ago(-30)))).to.equal(0);
    });
});

describe("promotion: the rules in the branch map", () => {
    const source = fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8");
    const stacks = stacksByEnvironment(ROOT);
    for (const [what, from, to, words] of [
        ["an environment that nobody deploys", "from: dev,", "from: deb,", 'did you mean "dev"?'],
        ["a circle", "staging: { from: dev,", "staging: { from: production,", "staging waits for itself"],
        [
            "a branch that leads nowhere",
            "onto: develop }\n\n",
            "onto: dev }\n\n",
            "never leads to a branch that deploys production",
        ],
        ["a negative soak", "soakMinutes: 60", "soakMinutes: -1", "soakMinutes"],
        ["a missing key", "soakMinutes: 60, ", "", "soakMinutes"],
        ["a folder outside", "examples/mf-demo", "../mf-demo", "images.mf-demo"],
    ] as const) {
        it(`refuse ${what}`, () => {
            expect(source).to.contain(from);
            expect(() => parseBranchMap(source.replace(from, to), stacks)).to.throw(words);
        });
    }
});

describe("pushes at the same time", function () {
    this.timeout(60_000);

    it("in any order of starting, waiting and finishing never leave an older commit running", async () => {
        const folder = new ProjectFolder();
        folder.addStack("dev");
        folder.write(MAP_FILE, fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8"));
        const commits = Array.from({ length: 5 }, (_, index) => {
            folder.write("chart/templates/a.yaml", `number: ${index}\n`);
            return folder.commit(`commit ${index}`);
        });
        const git = new RememberingGit(folder.root);
        const map = loadBranchMap(folder.root, { dev: ["dev"], staging: ["staging"], production: ["production"] });
        const stacks = { dev: ["dev"] };
        try {
            await fc.assert(
                fc.asyncProperty(
                    fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 2 }),
                    fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
                    fc.scheduler(),
                    async (pushed, fails, scheduler) => {
                        folder.git("update-ref", "-d", "refs/heads/deployments");
                        let running = -1;
                        let waiting: Promise<unknown> = Promise.resolve();
                        const deploy = async (number: number): Promise<void> => {
                            const commit = commits[number] ?? "";
                            const decision = resolve(map, stacks, { event: "push", ref: "refs/heads/dev", commit });
                            const answer = await gate({ git, map, decision, commit, branch: "dev", stack: "dev" });
                            if (answer.verdict !== "deploy") return;
                            const outcome = fails[number] === true ? "failed" : "deployed";
                            if (outcome === "deployed") {
                                expect(number, "went back").to.be.above(running);
                                running = number;
                            }
                            await appendRecord(git, "dev", {
                                ...{
                                    at: NOW.toISOString(),
                                    stack: "dev",
                                    commit,
                                    branch: "dev",
                                    source: answer.source,
                                },
                                ...{ image: "", actor: "a", outcome, verified: false, artifacts: answer.artifacts },
                            });
                        };
                        const pushes = pushed.map(async (number) => {
                            // The network and the runner decide when each comes to the stack's lock; there they queue.
                            await scheduler.schedule(Promise.resolve(), `push ${number}`);
                            waiting = waiting.then(() => deploy(number));
                            return waiting;
                        });
                        await scheduler.waitFor(Promise.all(pushes));
                        const newest = Math.max(-1, ...pushed.filter((number) => fails[number] !== true));
                        expect(running).to.equal(newest);
                    },
                ),
                { numRuns: 8 },
            );
        } finally {
            folder.remove();
        }
    });
});

/** Asks once about what cannot change, so that many histories can be tried. */
class RememberingGit extends Git {
    private readonly answers = new Map<string, Promise<string>>();

    override run(args: readonly string[], input = ""): Promise<string> {
        const asked = JSON.stringify([args, input]);
        if (asked.includes("deployments") || asked.includes("commit-tree")) return super.run(args, input);
        const known = this.answers.get(asked) ?? super.run(args, input);
        this.answers.set(asked, known);
        return known;
    }
}

describe("a deploy that somebody else makes", () => {
    const update = (head: string, result: string, kind = "update"): object => ({
        ...{ kind, result },
        environment: { "git.head": head },
    });
    const answers = (...all: object[][]): (() => Promise<string>) => {
        let index = 0;
        return () => Promise.resolve(JSON.stringify(all[Math.min(index++, all.length - 1)]));
    };

    it("is waited for by its commit, and its end is told", async () => {
        const ask = answers(
            [update("old", "succeeded")],
            [update("new", "in-progress"), update("old", "succeeded")],
            [update("new", "failed", "preview"), update("new", "succeeded")],
        );
        expect(await waitForUpdate("dev", "new", 1, ask, 1)).to.equal("deployed");
        expect(await waitForUpdate("dev", "new", 1, answers([update("new", "failed")]), 1)).to.equal("failed");
    });

    it("that never comes is told with the command that shows what did", async () => {
        await rejects(waitForUpdate("dev", "new", 0, answers([]), 1), "pulumi stack history --stack dev");
    });
});

function rewriteRecord({ project }: History, edit: (text: string) => string): void {
    const text = `${project.git("show", "deployments:dev.jsonl")}\n`;
    const file = project.write(".git/edited", edit(text));
    expect(fs.readFileSync(file, "utf8")).not.to.equal(text);
    const blob = project.git("hash-object", "-w", file);
    const tree = makeTree(project, `100644 blob ${blob}\tdev.jsonl\n`);
    project.git("update-ref", "refs/heads/deployments", project.git("commit-tree", tree, "-m", "edited"));
}

function makeTree(project: ProjectFolder, entries: string): string {
    const file = project.write(".git/entries", entries);
    return project.git("-c", `alias.from=!git mktree < "${file}"`, "from");
}

async function rejects(promise: Promise<unknown>, words: string): Promise<void> {
    const error = await promise.then(
        () => undefined,
        (found: unknown) => found,
    );
    expect(error).to.be.instanceOf(Error);
    expect((error as Error).message).to.contain(words);
}
