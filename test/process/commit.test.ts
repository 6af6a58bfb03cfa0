import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { commitText, findBase, findCommit, withCommit } from "../../cli/commit";
import { ProjectFolder } from "../unit/project-folder";

const messageOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
        () => "no error",
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );

describe("a commit to compare with", () => {
    let project: ProjectFolder;
    let first: string;
    const folders: string[] = [];
    /** A path for a clone, or a folder that is none. */
    const folder = (): string => {
        const made = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-clone-"));
        folders.push(made);
        return made;
    };
    beforeEach(() => {
        project = new ProjectFolder();
        project.addStack("dev", "replicas: 1\n");
        first = project.commit();
    });
    afterEach(() => {
        project.remove();
        for (const one of folders.splice(0)) fs.rmSync(one, { recursive: true });
    });

    it("is found by branch, tag and id, also with a detached head", async () => {
        project.git("tag", "v1");
        project.addStack("staging");
        project.commit();
        project.git("checkout", "--quiet", "--detach");
        for (const ref of ["main~1", "v1", first.slice(0, 8)])
            expect((await findCommit(project.root, ref)).id).to.equal(first);
        expect(commitText(await findCommit(project.root, "v1"))).to.equal(`${first.slice(0, 7)} (v1)`);
        expect(commitText(await findCommit(project.root, first))).to.equal(first.slice(0, 7));
    });

    it("that is not there is refused with what to do, and is never an option of git", async () => {
        expect(await messageOf(findCommit(project.root, "origin/nowhere"))).to.equal(
            'there is no commit "origin/nowhere" in this clone; → git fetch origin nowhere',
        );
        expect(await messageOf(findCommit(project.root, "--help"))).to.contain('there is no commit "--help"');
        expect(await messageOf(findCommit(folder(), "main"))).to.contain("is no git clone");
    });

    it("that a shallow clone lacks is refused with how to get it", async () => {
        project.commit();
        const clone = folder();
        project.git("clone", "--quiet", "--depth", "1", `file://${project.root}`, clone);
        expect(await messageOf(findCommit(clone, first))).to.contain("this clone is shallow → git fetch --unshallow");
    });

    it("lies in a folder of its own while it is used, and the checkout stays as it is", async () => {
        project.write("Pulumi.dev.yaml", "config: {}\n");
        project.addStack("staging");
        project.git("add", "Pulumi.staging.yaml");
        const status = project.git("status", "--porcelain");
        const commit = await findCommit(project.root, "HEAD");
        let used = "";
        await withCommit(project.root, commit, (folder) => {
            used = folder;
            expect(fs.readFileSync(path.join(folder, "Pulumi.dev.yaml"), "utf8")).to.contain("ml-api:environment: dev");
            expect(fs.existsSync(path.join(folder, "Pulumi.staging.yaml"))).to.equal(false);
            return Promise.resolve();
        });
        expect(fs.existsSync(used)).to.equal(false);
        expect(project.git("status", "--porcelain")).to.equal(status);
        await messageOf(withCommit(project.root, commit, (folder) => Promise.reject(new Error((used = folder)))));
        expect(fs.existsSync(used)).to.equal(false);
    });

    it("is taken from the project's folder in a larger repository", async () => {
        const names = fs.readdirSync(project.root).filter((name) => name !== ".git");
        for (const name of names)
            fs.cpSync(project.file(name), project.file(`deploy/here/${name}`), { recursive: true });
        project.commit();
        const root = project.file("deploy/here");
        await withCommit(root, await findCommit(root, "HEAD"), (folder) => {
            expect(fs.existsSync(path.join(folder, "Pulumi.dev.yaml"))).to.equal(true);
            return Promise.resolve();
        });
    });

    describe("without a name", () => {
        it("is the merge base with the default branch", async () => {
            project.git("checkout", "--quiet", "-b", "feature/x");
            project.commit("on the branch");
            project.git("checkout", "--quiet", "main");
            project.commit("on main");
            project.git("checkout", "--quiet", "feature/x");
            expect(await findBase(project.root)).to.deep.equal({ commit: { ref: "merge base with main", id: first } });
        });

        it("is the tip of the default branch, and says so, where no common commit is at hand", async () => {
            const tip = project.commit();
            const clone = folder();
            project.git("checkout", "--quiet", "-b", "feature/x", first);
            project.commit("on the branch");
            project.git("checkout", "--quiet", "main");
            const options = ["--quiet", "--depth", "1", "--no-single-branch", "--branch", "feature/x"];
            project.git("clone", ...options, `file://${project.root}`, clone);
            const found = await findBase(clone);
            expect(found).to.have.nested.property("commit.ref", "origin/HEAD");
            expect(found).to.have.nested.property("commit.id", tip);
            expect(found).to.have.property("note").that.contains("no common commit with origin/HEAD");
        });

        it("is none where there is no default branch", async () => {
            project.git("branch", "--move", "main", "other");
            expect(await findBase(project.root))
                .to.have.property("why")
                .that.contains("neither origin/HEAD nor");
            expect(await findBase(folder())).to.deep.equal({ why: "this is no git clone" });
        });
    });
});
