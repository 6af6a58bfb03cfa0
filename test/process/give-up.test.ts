import { execFile } from "node:child_process";
import * as path from "node:path";
import { expect } from "chai";

/** A stand-in for pulumi: it gives up when it is told to, and takes its time to undo things after a SIGINT. */
const PROGRAM = `
const fs = require("node:fs");
const wait = setTimeout(() => process.exit(0), Number(process.argv[2]));
process.on("SIGINT", () => { clearTimeout(wait); setTimeout(() => { console.log("undone"); process.exit(1); }, 200); });
if (process.argv[1] === "hopeless") fs.writeFileSync(process.env.ML_API_GIVE_UP_FILE, "no image\\nevidence: /folder");
`;

function run(...words: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const command = JSON.stringify(path.join(__dirname, "..", "..", "cli", "give-up"));
    const script = `
        const options = { env: process.env, cwd: process.cwd() };
        require(${command}).foregroundUntilHopeless(process.execPath, ${JSON.stringify(["--eval", PROGRAM, "--", ...words])}, options)
            .then((code) => process.exit(code));`;
    const args = ["--require", require.resolve("ts-node/register/transpile-only"), "--eval", script];
    return new Promise((resolve) => {
        execFile(process.execPath, args, { timeout: 9000 }, (error, stdout, stderr) => {
            resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
    });
}

describe("pulumi under our own command", () => {
    it("is interrupted when it gives up, may undo what it began, and the reason is the last word", async () => {
        const { code, stdout, stderr } = await run("hopeless", "8000");
        expect(code).to.equal(1);
        expect(stdout).to.equal("undone\n");
        expect(stderr).to.match(/^\nThis cannot succeed any more, .*:\nno image\n/);
        expect(stderr.trimEnd().split("\n").at(-1)).to.equal("evidence: /folder");
    });

    it("is left alone otherwise", async () => {
        expect(await run("hopeful", "700")).to.deep.equal({ code: 0, stdout: "", stderr: "" });
    });
});
