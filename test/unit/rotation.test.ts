import { expect } from "chai";
import { type Goal, planRotation, standOf } from "../../cli/rotation";
import { answerFault, edit, mayNotForward } from "../../cli/rotate-key";
import { readStack } from "../../components/config/stack";
import { ProjectFolder } from "./project-folder";

const FILE = "Pulumi.dev.yaml";
const wanted = (keyGeneration: number, acceptPreviousKey: boolean) => ({
    name: "api",
    keyGeneration,
    acceptPreviousKey,
});
const plan = (goal: Goal, generation: number, both: boolean, running: string | undefined) =>
    planRotation(goal, wanted(generation, both), running, FILE);

describe("a key rotation", () => {
    it("is an edit and a deploy, twice", () => {
        const first = plan("begin", 1, false, "api-key-1");
        expect(first).to.deep.include({ edit: { keyGeneration: 2, acceptPreviousKey: true }, deploy: true });
        const second = plan("finish", 2, true, "api-key-2-with-1");
        expect(second).to.deep.include({ edit: { keyGeneration: 2, acceptPreviousKey: false }, deploy: true });
    });

    it("goes on after a deploy that did not come about, without another edit", () => {
        for (const [goal, both, running] of [
            ["begin", true, "api-key-1"],
            ["finish", false, "api-key-2-with-1"],
        ] as const) {
            const found = plan(goal, 2, both, running);
            expect(found.edit).to.equal(undefined);
            expect(found.deploy).to.equal(true);
        }
    });

    it("does nothing a second time", () => {
        expect(plan("begin", 2, true, "api-key-2-with-1")).to.deep.include({ deploy: false });
        expect(plan("finish", 2, false, "api-key-2")).to.deep.include({ deploy: false });
        expect(plan("finish", 2, false, "api-key-2").edit).to.equal(undefined);
    });

    it("is refused where a deploy would take a key away that clients still use", () => {
        const refused: readonly [Goal, number, boolean, string | undefined, string][] = [
            ["finish", 2, true, "api-key-1", "key 2 is not deployed yet"],
            ["begin", 2, false, "api-key-1", "a deploy now would refuse the old key at once"],
            ["finish", 2, false, "api-key-1", "a deploy now would refuse the old key at once"],
            ["begin", 2, false, "api-key-2-with-1", "about to be finished"],
            ["begin", 1, false, undefined, "nothing is deployed"],
        ];
        for (const [goal, generation, both, running, words] of refused)
            expect(() => plan(goal, generation, both, running), words).to.throw(words);
    });

    it("says where it is, whatever comes next", () => {
        const said = (generation: number, both: boolean, running?: string) =>
            standOf(wanted(generation, both), running, FILE);
        expect(said(1, false, "api-key-1")).to.equal("key 1 is the only one");
        expect(said(2, true, "api-key-1")).to.contain("it is to be deployed");
        expect(said(2, true, "api-key-2-with-1")).to.equal("key 2 and key 1 are both valid");
        expect(said(2, false, "api-key-2-with-1")).to.contain("takes key 1 away; it is to be deployed");
        expect(said(2, false, "api-key-1")).to.contain("would refuse the old key at once");
        expect(said(1, false)).to.contain("nothing is deployed");
    });
});

describe("the answer to a key", () => {
    it("is no proof when the API is broken or knows no such path", () => {
        for (const status of [200, 422, 400, 429]) expect(answerFault(status, true), `${status}`).to.equal(undefined);
        for (const status of [401, 403]) expect(answerFault(status, false), `${status}`).to.equal(undefined);
        for (const status of [401, 403, 404, 500, 503])
            expect(answerFault(status, true), `${status}`).to.be.a("string");
        for (const status of [200, 404, 422, 503]) expect(answerFault(status, false), `${status}`).to.be.a("string");
    });
});

describe("the edit of a stack file", () => {
    let project: ProjectFolder;
    beforeEach(() => {
        project = new ProjectFolder();
        project.addStack("dev");
    });
    afterEach(() => {
        project.remove();
    });
    const secure = "  ml-api:values:\n    # kept\n    replicas: 2 # kept, too\n";

    it("sets two keys and leaves every other byte", () => {
        const before = `# ours\nconfig:\n  ml-api:environment: dev   # kept\n${secure}encryptionsalt: v1:a\n`;
        project.write(FILE, before);
        edit(project.root, "dev", { keyGeneration: 2, acceptPreviousKey: true });
        const added = '  ml-api:keyGeneration: "2"\n  ml-api:acceptPreviousKey: "true"\n';
        expect(project.read(FILE).split("\n").sort()).to.deep.equal(
            (before + added).split("\n").slice(0, -1).concat("").sort(),
        );
        expect(readStack(project.root, "dev")).to.include({ keyGeneration: 2, acceptPreviousKey: true });
    });

    it("finds the keys as they are spelled: with the project, without it, as number or text", () => {
        for (const lines of [
            '  ml-api:keyGeneration: "1" # one\n  ml-api:acceptPreviousKey: false\n',
            "  keyGeneration: 1 # one\n  acceptPreviousKey: 'false'\n",
        ]) {
            project.write(FILE, `config:\n  ml-api:environment: dev\n${lines}`);
            edit(project.root, "dev", { keyGeneration: 2, acceptPreviousKey: true });
            expect(project.read(FILE)).to.contain("# one");
            expect(project.read(FILE).split("\n")).to.have.lengthOf(5);
            expect(readStack(project.root, "dev")).to.include({ keyGeneration: 2, acceptPreviousKey: true });
        }
    });

    it("is not checked by who may not reach the pods, and by nobody else is that taken for a reason", () => {
        const words = (right: string) =>
            `kubectl port-forward ended:\nerror: error upgrading connection: pods "api-1" is forbidden: User "ci" cannot ${right} in API group ""`;
        expect(mayNotForward(words('create resource "pods/portforward"'))).to.equal(true);
        expect(mayNotForward(words('get resource "pods"'))).to.equal(true);
        expect(mayNotForward(words('get resource "services"'))).to.equal(false);
        expect(mayNotForward("kubectl port-forward ended:\nerror: lost connection to pod")).to.equal(false);
    });
});
