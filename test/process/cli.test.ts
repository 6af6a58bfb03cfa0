import { expect } from "chai";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { program } from "../../cli/main";

const ROOT = path.join(__dirname, "..", "..");

/** Runs the command as a shell does, with a state of its own. */
function mlApi(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const state = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-cli-"));
    return new Promise((resolve) => {
        const env = { ...process.env, XDG_STATE_HOME: state };
        execFile(path.join(ROOT, "cli", "ml-api.js"), args, { env }, (error, stdout, stderr) => {
            fs.rmSync(state, { recursive: true });
            resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
    });
}

describe("the ml-api command", () => {
    it("says in a line what each of its commands does", () => {
        for (const command of program().commands)
            expect(command.description(), command.name()).to.match(/^[a-z`].{20,}/);
    });

    it("tells the nearest command for a misspelt one", async () => {
        const { code, stderr } = await mlApi("pu");
        expect(code).to.equal(1);
        expect(stderr).to.contain("unknown command 'pu'").and.to.contain("Did you mean up?");
    });

    it("refuses a stack that has no stack file, with those that have one, before it starts anything", async () => {
        const { code, stdout, stderr } = await mlApi("up", "prod");
        expect({ code, stdout, stderr }).to.deep.equal({
            code: 1,
            stdout: "",
            stderr: 'ml-api: "prod" is neither a stack nor an environment; the stacks are dev, production, staging\n',
        });
    });

    it("has no variables to print before there is a cluster", async () => {
        const { code, stdout, stderr } = await mlApi("env");
        expect({ code, stdout, stderr }).to.deep.equal({
            code: 1,
            stdout: "",
            stderr: "ml-api: there is no cluster yet → make up\n",
        });
    });

    it("finds that the values files run the sample as it is now", async () => {
        const { code, stdout, stderr } = await mlApi("image", "--check");
        expect(stderr).to.equal("");
        expect(stdout).to.match(/^localhost\/mf-demo:[0-9a-f]{16} is what the values files run\n$/);
        expect(code).to.equal(0);
    });
});
