import { expect } from "chai";
import fc from "fast-check";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { type Candidate, order } from "../../branching/order";
import {
    appendRecord,
    type DeployRecord,
    parseRecords,
    readRecords,
    running,
    sourceHash,
} from "../../branching/record";

describe("deploys: the record", function () {
    this.timeout(30_000);
    let folder: string;
    let git: Git;

    beforeEach(() => {
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-record-"));
        execFileSync("git", ["init", "--quiet", "--bare", folder]);
        git = new Git(folder);
    });
    afterEach(() => {
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const record = (more: Partial<DeployRecord> = {}): DeployRecord => ({
        at: "2026-11-22T12:00:00Z",
        stack: "dev",
        commit: "a".repeat(40),
        branch: "dev",
        source: "b".repeat(64),
        image: "localhost/mf-demo:abc",
        actor: "ada",
        outcome: "deployed",
        verified: true,
        ...more,
    });

    it("is empty in a repository that never deployed", async () => {
        expect(await readRecords(git, "dev")).to.deep.equal([]);
    });

    it("keeps every deploy, per environment, on a branch of its own", async () => {
        const failed = record({ commit: "c".repeat(40), outcome: "failed" });
        await appendRecord(git, "dev", record());
        await appendRecord(git, "production", record({ stack: "production" }));
        await appendRecord(git, "dev", failed);
        expect(await readRecords(git, "dev")).to.deep.equal([record(), failed]);
        expect(await readRecords(git, "production")).to.have.lengthOf(1);
        expect(running(await readRecords(git, "dev"), "dev")?.commit).to.equal("a".repeat(40));
        expect(running(await readRecords(git, "dev"), "other")).to.equal(undefined);
    });

    it("loses none when many are added at once", async () => {
        const stacks = Array.from({ length: 6 }, (_, index) => `dev-${index}`);
        await Promise.all(stacks.map((stack) => appendRecord(git, "dev", record({ stack }))));
        expect((await readRecords(git, "dev")).map(({ stack }) => stack).sort()).to.deep.equal(stacks);
    });

    it("says when somebody changed the past", async () => {
        for (const stack of ["one", "two", "three"]) await appendRecord(git, "dev", record({ stack }));
        const text = (await git.file("deployments", "dev.jsonl")) ?? "";
        const parse = (edited: string) => () => parseRecords(edited, "dev.jsonl");
        expect(parse(text)).not.to.throw();
        expect(parse(text.replace('"one"', '"eins"'))).to.throw(/dev\.jsonl:2 does not follow/);
        expect(parse(text.split("\n").slice(1).join("\n"))).to.throw(/dev\.jsonl:1 does not follow/);
        expect(parse(text.slice(0, -20))).to.throw(/dev\.jsonl:3 is no JSON/);
    });

    it("hashes what decides over a deploy, and not the documentation or another stack", async () => {
        const work = path.join(folder, "work");
        execFileSync("git", ["init", "--quiet", work]);
        const own = new Git(work);
        const commit = async (files: Record<string, string>): Promise<string> => {
            for (const [name, text] of Object.entries(files)) {
                fs.mkdirSync(path.dirname(path.join(work, name)), { recursive: true });
                fs.writeFileSync(path.join(work, name), text);
            }
            await own.run(["add", "--all"]);
            await own.run([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "x",
            ]);
            return (await own.commit("HEAD")) ?? "";
        };
        const hash = async (files: Record<string, string>): Promise<string> =>
            sourceHash(own, await commit(files), "dev");
        const first = await hash({ "chart/values.yaml": "a", "Pulumi.dev.yaml": "a", "Pulumi.staging.yaml": "a" });
        expect(await hash({ "README.md": "x", "chart/README.md": "x", "Pulumi.staging.yaml": "b" })).to.equal(first);
        const second = await hash({ "chart/values.yaml": "b" });
        expect(second).not.to.equal(first);
        expect(await hash({ "Pulumi.dev.yaml": "b" })).not.to.equal(second);
        expect(await hash({ "chart/values.yaml": "a", "Pulumi.dev.yaml": "a" })).to.equal(first);
    });
});

describe("deploys: their order", () => {
    /** A history in which a commit's name begins with the names of its ancestors. */
    const isAncestor = (ancestor: string, descendant: string): Promise<boolean> =>
        Promise.resolve(descendant.startsWith(ancestor));
    const on = (commit: string, branch: string, rank?: number): Candidate => ({ commit, branch, rank });

    it("goes forward, and never back", async () => {
        expect((await order(undefined, on("a", "dev"), isAncestor)).verdict).to.equal("deploy");
        expect((await order(on("a", "dev"), on("ab", "dev"), isAncestor)).verdict).to.equal("deploy");
        expect((await order(on("a", "dev"), on("a", "dev"), isAncestor)).verdict).to.equal("deploy");
        expect((await order(on("ab", "dev"), on("a", "dev"), isAncestor)).verdict).to.equal("older");
    });

    it("refuses what went another way, unless the map ranks its branch higher", async () => {
        const verdict = async (runs: Candidate, next: Candidate) => (await order(runs, next, isAncestor)).verdict;
        expect(await verdict(on("ab", "dev"), on("ac", "dev"))).to.equal("refused");
        expect(await verdict(on("ab", "develop", 1), on("ac", "staging", 2))).to.equal("deploy");
        expect(await verdict(on("ab", "staging", 2), on("ac", "develop", 1))).to.equal("refused");
        expect(await verdict(on("ab", "staging", 2), on("ac", "staging", 2))).to.equal("refused");
    });

    it("refuses when the history is not there to tell", async () => {
        const { verdict, why } = await order(on("x", "dev"), on("y", "dev"), () =>
            Promise.reject(new Error("bad object")),
        );
        expect(verdict).to.equal("refused");
        expect(why).to.contain("does not have it");
    });

    it("of any pushes in any order of finishing, one branch ends with its newest commit", async () => {
        await fc.assert(
            fc.asyncProperty(
                fc.integer({ min: 1, max: 6 }).chain((count) =>
                    fc.shuffledSubarray(
                        Array.from({ length: count }, (_, index) => "abcdef".slice(0, index + 1)),
                        { minLength: count },
                    ),
                ),
                async (finished) => {
                    let runs: Candidate | undefined;
                    for (const commit of finished) {
                        const next = on(commit, "dev");
                        if ((await order(runs, next, isAncestor)).verdict === "deploy") runs = next;
                    }
                    expect(runs?.commit).to.have.lengthOf(finished.length);
                },
            ),
        );
    });
});
