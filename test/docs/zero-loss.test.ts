import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { checkoutRoot } from "../../local/paths";

interface Result {
    readonly rollouts: Readonly<Record<string, { runs: number; requests: number; failed: number }>>;
    readonly control: { readonly requests: number; readonly failed: number };
    readonly drills: Readonly<Record<string, readonly string[]>>;
}

describe("docs/zero-loss.md", () => {
    const read = (name: string): string => fs.readFileSync(path.join(checkoutRoot, "docs", name), "utf8");
    const result = (): Result => JSON.parse(read("results/soak.json")) as Result;

    it("shows the numbers of the last soak", () => {
        const cells = read("zero-loss.md")
            .split("\n")
            .filter((line) => /^\|.*\| +\d+ \|$/.test(line))
            .map((line) => line.split("|").map((cell) => cell.trim()).slice(1, -1)); // prettier-ignore
        const rows = Object.entries({ ...result().rollouts, control: { runs: 1, ...result().control } });
        expect(cells).to.deep.equal(
            rows.map(([kind, { runs, requests, failed }]) => [kind, ...[runs, requests, failed].map(String)]),
        );
    });

    it("is about a soak in which nothing failed, but for the control", () => {
        for (const { runs, failed } of Object.values(result().rollouts))
            expect({ enough: runs >= 20, failed }).to.deep.equal({ enough: true, failed: 0 });
        expect(result().control.failed).to.be.at.least(1);
        for (const [name, outcomes] of Object.entries(result().drills))
            expect(outcomes, name).to.deep.equal(["passed", "passed", "passed"]);
    });
});
