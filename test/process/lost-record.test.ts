import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Gate, gate } from "../../branching/gate";
import { Git } from "../../branching/git";
import { loadBranchMap, MAP_FILE } from "../../branching/map";
import { appendRecord } from "../../branching/record";
import { resolve } from "../../branching/resolve";
import { ProjectFolder } from "../unit/project-folder";

const ROOT = path.resolve(__dirname, "../..");
const stacks = { dev: ["dev"], staging: ["staging"], production: ["production"] };

describe("a record of deploys that was lost", function () {
    this.timeout(20_000);
    let project: ProjectFolder;
    let git: Git;
    let commits: string[];

    before(() => {
        project = new ProjectFolder();
        git = new Git(project.root);
        project.addStack("dev");
        project.write(MAP_FILE, fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8"));
        commits = [1, 2, 3].map((number) => {
            project.write("chart/values.yaml", `replicas: ${number}\n`);
            return project.commit();
        });
        project.git("checkout", "--quiet", "-b", "elsewhere", commits[0] ?? "");
        commits.push(project.commit("elsewhere"));
    });
    after(() => {
        project.remove();
    });

    /** @param next number of the commit that is pushed @param live of the one that the cluster says it runs */
    function ask(next: number, live: string | undefined): Promise<Gate> {
        const commit = commits[next] ?? "";
        const decision = resolve(loadBranchMap(project.root, stacks), stacks, {
            event: "push",
            ref: "refs/heads/dev",
            commit,
        });
        const push = { git, map: loadBranchMap(project.root, stacks), decision, commit, branch: "dev", stack: "dev" };
        return gate({ ...push, live: () => Promise.resolve(live) });
    }

    it("lets nothing go back: the cluster says what runs", async () => {
        const older = await ask(0, commits[1]);
        expect(older.verdict).to.equal("nothing");
        expect(older.why).to.contain(`${commits[1]?.slice(0, 12) ?? ""} (not on record) runs, which has it and more`);
        expect((await ask(2, commits[1])).verdict).to.equal("deploy");
        expect((await ask(1, commits[1])).verdict).to.equal("deploy");
        expect((await ask(0, undefined)).verdict).to.equal("deploy");
    });

    it("refuses what went another way, or what cannot be compared, and says how to bring the record back", async () => {
        for (const live of [commits[3], "e".repeat(40)]) {
            const { verdict, why } = await ask(2, live);
            expect(verdict).to.equal("refused");
            expect(why).to.contain("restore that branch").and.to.contain("ml-api record");
        }
    });

    it("that lost its end lets nothing go back either, and a deploy by hand stands in nobody's way", async () => {
        await appendRecord(git, "dev", {
            ...{ at: "2026-11-22T12:00:00Z", stack: "dev", commit: commits[0] ?? "", branch: "dev", source: "s" },
            ...{ image: "i", actor: "ada", outcome: "deployed", verified: true },
        });
        expect((await ask(1, commits[2])).verdict).to.equal("nothing");
        expect((await ask(1, commits[3])).verdict).to.equal("deploy");
        expect((await ask(1, commits[0])).verdict).to.equal("deploy");
    });
});
