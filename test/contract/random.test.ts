import { expect } from "chai";
import { isStoredSecret, Project, removeProjects } from "./engine";

const program = `
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

const config = new pulumi.Config();
const password = new random.RandomPassword("password", {
    length: config.getNumber("length") ?? 40,
    minUpper: 2,
    minNumeric: 3,
    overrideSpecial: "!-",
    minSpecial: 2,
    keepers: { generation: config.get("generation") ?? "1" },
});
const plain = new random.RandomPassword("plain", { length: 24, special: false });
const text = new random.RandomString("text", { length: 12, upper: false, special: false });
const id = new random.RandomId("id", { byteLength: 4, prefix: "x-" });
const pet = new random.RandomPet("pet", { separator: "." });

export const result = password.result;
export const hash = password.bcryptHash;
export const letters = plain.result;
export const string = text.result;
export const hex = id.hex;
export const name = pet.id;
// Nothing computed from a password is known in a preview, and nothing of it is plain afterwards.
export const derived = password.result.apply((value) => value.length);
`;

describe("The random provider", function () {
    let project: Project;

    before(async () => {
        project = await Project.create("random", { "index.ts": program });
    });
    after(removeProjects);

    it("knows no value in a preview", async () => {
        const { code, output } = await project.preview();
        expect(code, output).to.equal(0);
        for (const name of ["result", "hash", "string", "hex", "name", "derived"]) {
            expect(output).to.match(new RegExp(`${name}\\s*: (\\[unknown\\]|output<string>|\\[secret\\])`));
        }
    });

    it("makes values that keep the arguments' rules", async () => {
        const { code, output } = await project.up();
        expect(code, output).to.equal(0);
        const outputs = (await project.outputs()) as Record<string, string>;
        expect(outputs.result).to.have.length(40);
        expect(outputs.result).to.match(/^[A-Za-z0-9!-]{40}$/);
        expect(outputs.result?.replace(/[^A-Z]/g, "").length).to.be.at.least(2);
        expect(outputs.result?.replace(/[^0-9]/g, "").length).to.be.at.least(3);
        expect(outputs.result?.replace(/[^!-]/g, "").length).to.be.at.least(2);
        expect(outputs.hash).to.match(/^\$2[aby]\$10\$.{53}$/);
        expect(outputs.letters).to.match(/^[A-Za-z0-9]{24}$/);
        expect(outputs.string).to.match(/^[a-z0-9]{12}$/);
        expect(outputs.hex).to.match(/^x-[0-9a-f]{8}$/);
        expect(outputs.name).to.match(/^[a-z]+\.[a-z]+$/);
        expect(outputs.derived).to.equal(40);
    });

    it("keeps a password and its hash secret, in the state and on the screen", async () => {
        const outputs = (await project.outputs()) as Record<string, string>;
        const { text } = await project.exported();
        const stored = (await project.resource("password"))?.outputs ?? {};
        expect(isStoredSecret(stored.result)).to.equal(true);
        expect(isStoredSecret(stored.bcryptHash)).to.equal(true);
        expect(text).not.to.include(outputs.result);
        expect(text).not.to.include(outputs.letters);
        const { stdout } = await project.run(["stack", "output", "--stack", "dev"]);
        expect(stdout).not.to.include(outputs.result);
        expect(stored).to.include({ length: 40, minUpper: 2, lower: true, upper: true, numeric: true, special: true });
    });

    it("replaces a value when any argument changes, and keeps the others", async () => {
        const before = await project.outputs();
        project.configure({ "random:generation": "2" });
        const steps = await project.steps();
        const changed = steps.filter(({ op }) => op !== "same");
        expect([...new Set(changed.map(({ urn }) => urn.split("::").pop()))]).to.deep.equal(["password"]);
        expect(changed.find(({ op }) => op === "replace")?.replaceReasons).to.deep.equal(["keepers.generation"]);
        const { code, output } = await project.up();
        expect(code, output).to.equal(0);
        const after = await project.outputs();
        expect(after.result).not.to.equal(before.result);
        expect(after.letters).to.equal(before.letters);
        expect(after.name).to.equal(before.name);
    });

    it("refuses a length that cannot hold what is asked for", async () => {
        project.configure({ "random:length": "3" });
        const { code, output } = await project.preview();
        expect(code).not.to.equal(0);
        expect(output).to.match(/length/);
    });
});
