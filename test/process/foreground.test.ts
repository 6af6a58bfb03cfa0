import { execFileSync } from "node:child_process";
import * as path from "node:path";
import { expect } from "chai";

const ROOT = path.join(__dirname, "..", "..");
/** What a pod may have logged: a title for the terminal, and a line that is taken back. */
const LOGGED = "\\033]0;mine\\007one\\ntwo\\rthree\\n";

/** A command in the foreground, in a process of its own, as its output goes straight to the terminal. */
function shown(options: string): string {
    const program = `
        require("ts-node/register/transpile-only");
        const { foreground } = require("./cli/process");
        const options = { env: process.env, cwd: ".", ${options} };
        foreground("printf", [${JSON.stringify(LOGGED)}], options).then((code) => (process.exitCode = code));`;
    return execFileSync(process.execPath, ["--eval", program], { cwd: ROOT, encoding: "utf8" });
}

describe("a command in the foreground", () => {
    it("has our terminal", () => {
        expect(shown("")).to.equal("\u001b]0;mine\u0007one\ntwo\rthree\n");
    });

    it("has nothing obeyed that others have written, such as the log of a pod", () => {
        expect(shown("harmless: true")).to.equal("\\u001b]0;mine\\u0007one\ntwo\\u000dthree\n");
    });
});
