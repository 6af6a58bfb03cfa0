import { expect } from "chai";
import { actionlint, movingActions } from "../../scan/actionlint";
import { type Scratch, scratch } from "./local-fakes";

describe("the scanner of workflows", () => {
    let folder: Scratch;
    beforeEach(() => {
        folder = scratch();
    });
    afterEach(() => {
        folder.remove();
    });

    it("finds every action and image that somebody can move to other code", () => {
        const steps = (uses: string): string => `jobs:\n  a:\n    steps:\n      - uses: ${uses}\n`;
        const sha = "0123456789abcdef0123456789abcdef01234567";
        for (const fixed of [`actions/checkout@${sha}`, "./.github/actions/x", `docker://a/b@sha256:${"a".repeat(64)}`])
            expect(movingActions(steps(fixed), "f"), fixed).to.deep.equal([]);
        for (const moving of [
            "actions/checkout@v4",
            "actions/checkout@main",
            `a/b@${sha.slice(1)}`,
            "docker://a/b:1",
            "a/b",
        ]) {
            const [found, ...more] = movingActions(steps(moving), "f");
            expect(more).to.deep.equal([]);
            expect(found).to.deep.include({ check: "moving-action", object: "f:4" });
            expect(found?.message).to.contain(moving);
        }
    });

    it("tells what actionlint says with file and line, and fails when it says nothing", async () => {
        folder.file(".github/workflows/a.yaml", "on: push\n");
        folder.file(".github/actions/x/action.yaml", "runs:\n  steps:\n    - uses: a/b@v1\n");
        const faults = [{ message: "bad", filepath: ".github/workflows/a.yaml", line: 3, kind: "expression" }];
        folder.file("answer.json", JSON.stringify(faults));
        const says = folder.script("actionlint", `cat ${folder.path}/answer.json; exit 1`);
        const { findings, at } = await actionlint(says, folder.path);
        expect(at).to.equal("1 workflows");
        expect(findings.map(({ check, object }) => `${check} ${object}`)).to.deep.equal([
            "expression .github/workflows/a.yaml:3",
            "moving-action .github/actions/x/action.yaml:3",
        ]);
        const silent = await actionlint(folder.script("silent", "echo no >&2; exit 2"), folder.path).catch(
            (error: unknown) => error as Error,
        );
        expect(silent).to.have.property("message").that.contains("actionlint").and.contains("no");
    });
});
