import { createTwoFilesPatch } from "diff";
import { expect } from "chai";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureTools } from "../../local/tools";
import { type Render, renderAll } from "../../scan/renders";
import { helmBinary } from "./helm";

describe("chart: the oldest Helm that is promised", function () {
    // Built at first.
    this.timeout(600_000);

    let folder: string;
    let now: readonly Render[];
    let oldest: readonly Render[];

    before(async () => {
        folder = mkdtempSync(join(tmpdir(), "ml-api-helm-"));
        const tools = await ensureTools(["helm-3.18"], { log: () => undefined });
        const all = (helm: string, name: string) => renderAll({ helm, namespace: "same", folder: join(folder, name) });
        now = await all(helmBinary(), "now");
        oldest = await all(tools["helm-3.18"].path, "oldest");
    });
    after(() => {
        rmSync(folder, { recursive: true });
    });

    it("renders every environment and every feature to the same bytes", () => {
        expect(oldest.map(({ name }) => name)).to.deep.equal(now.map(({ name }) => name));
        const differences = now.flatMap(({ name, text }, index) => {
            const other = oldest[index]?.text ?? "";
            return other === text ? [] : [createTwoFilesPatch(`${name}, now`, `${name}, 3.18`, text, other)];
        });
        expect(differences.join("\n")).to.equal("");
    });
});
