import { expect } from "chai";
import fc from "fast-check";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { labelDigest, makerLabels, makerOf } from "../../components/guarded-release/record/labels";
import { findOrigin } from "../../components/guarded-release/record/origin";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

describe("the labels of Helm's record", () => {
    const maker = { commit: COMMIT, actor: "ada", time: "2026-11-22T17:13:15.123Z", imageDigest: undefined };

    it("say what was deployed, by whom and when, and are read back", () => {
        const imageDigest = labelDigest(`registry.example.org/api:1@sha256:${"ab".repeat(32)}`);
        const labels = makerLabels(7, { ...maker, commit: `${COMMIT}-dirty`, imageDigest });
        expect(labels).to.deep.equal({
            "ml-api/revision": "7",
            "ml-api/commit": `${COMMIT}-dirty`,
            "ml-api/actor": "ada",
            "ml-api/time": "20261122T171315Z",
            "ml-api/image-digest": `sha256-${"ab".repeat(20)}`,
        });
        expect(makerOf(7, labels, "Upgrade complete")).to.deep.equal({
            commit: `${COMMIT}-dirty`,
            actor: "ada",
            time: "2026-11-22T17:13:15Z",
            imageDigest: `sha256:${"ab".repeat(20)}`,
        });
    });

    it("count for their own revision only: Helm copies them to the next one, whoever makes it", () => {
        const labels = makerLabels(7, maker);
        expect(makerOf(8, labels, "Upgrade complete")).to.equal(undefined);
        expect(makerOf(9, labels, "Rollback to 7")?.commit).to.equal(COMMIT);
        expect(makerOf(9, labels, "Rollback to 6")).to.equal(undefined);
        expect(makerOf(1, {}, "Install complete")).to.equal(undefined);
    });

    it("are labels by Kubernetes' rule, whatever a person is called", () => {
        fc.assert(
            fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (actor) => {
                for (const value of Object.values(
                    makerLabels(1, { ...maker, actor, commit: `${"a".repeat(64)}-dirty` }),
                ))
                    expect(value).to.match(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/);
            }),
        );
        const long = (end: string) => makerLabels(1, { ...maker, actor: "x".repeat(70) + end })["ml-api/actor"];
        expect(long("a")).not.to.equal(long("b"));
        expect(long("a")).to.have.lengthOf(63);
        expect(makerLabels(1, { ...maker, actor: "Ada L. <ada@example.org>" })["ml-api/actor"]).to.equal(
            "Ada-L.-ada-example.org",
        );
    });
});

describe("where a deploy comes from", () => {
    let folder: string;
    const git = (...args: string[]): string =>
        execFileSync("git", ["-c", "user.name=ada", "-c", "user.email=ada@example.org", ...args], {
            cwd: folder,
            encoding: "utf8",
        }).trim();

    beforeEach(() => {
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-origin-"));
        fs.writeFileSync(path.join(folder, "Pulumi.yaml"), "name: ml-api\n");
        git("init", "--quiet");
        git("add", "--all");
        git("commit", "--quiet", "-m", "first");
    });
    afterEach(() => {
        fs.rmSync(folder, { recursive: true, force: true });
    });

    it("is the clone's commit, dirty when a file that decides was edited or added", async () => {
        const head = git("rev-parse", "HEAD");
        const found = async () => {
            const { commit, dirty } = await findOrigin(folder, "dev", { GITHUB_SHA: "f".repeat(40) });
            return { commit, dirty };
        };
        expect(await found()).to.deep.equal({ commit: head, dirty: false });
        fs.mkdirSync(path.join(folder, "chart"));
        fs.writeFileSync(path.join(folder, "chart", "README.md"), "");
        fs.writeFileSync(path.join(folder, "notes.txt"), "");
        fs.writeFileSync(path.join(folder, "Pulumi.staging.yaml"), "");
        expect((await found()).dirty).to.equal(false);
        fs.writeFileSync(path.join(folder, "chart", "values.yaml"), "");
        expect((await found()).dirty).to.equal(true);
    });

    it("is what a CI system says where there is no clone, and what the caller says before all", async () => {
        const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-origin-"));
        try {
            const env = { GITHUB_SHA: COMMIT, GITHUB_ACTOR: "grace" };
            expect(await findOrigin(elsewhere, "dev", env)).to.include({ commit: COMMIT, actor: "grace" });
            expect((await findOrigin(elsewhere, "dev", { GITHUB_SHA: "main" })).commit).to.equal(undefined);
        } finally {
            fs.rmSync(elsewhere, { recursive: true });
        }
        const told = { ML_API_COMMIT: COMMIT, ML_API_ACTOR: "ada", GITHUB_ACTOR: "grace" };
        expect(await findOrigin(folder, "dev", told)).to.include({ commit: COMMIT, dirty: false, actor: "ada" });
    });
});
