import { expect } from "chai";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { chartFolder, outcomes } from "./helm";
import { examples } from "./keys";

const folder = join(chartFolder, "templates");
const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    statSync(join(folder, file)).isFile(),
);
const textOf = (file: string): string => readFileSync(join(folder, file), "utf8");

describe("chart: templates", function () {
    this.timeout(30_000);

    it("are few: at most 24 files and 1000 lines, the notes included", () => {
        expect(files).to.have.lengthOf.at.most(24);
        const lines = files.reduce((sum, file) => sum + textOf(file).split("\n").length - 1, 0);
        expect(lines).to.be.at.most(1000);
    });

    it("have one kind each, by the name of which one finds it", async () => {
        const kinds = new Map<string, Set<string>>();
        for (const result of await outcomes(examples.map(({ values }) => values))) {
            for (const document of result.kind === "rendered" ? result.manifests.split(/^---\n/m) : []) {
                const file = /^# Source: ml-api\/templates\/(.*)$/m.exec(document)?.[1];
                const kind = /^kind: (.*)$/m.exec(document)?.[1];
                if (file !== undefined && kind !== undefined) {
                    kinds.set(file, (kinds.get(file) ?? new Set()).add(kind));
                }
            }
        }
        expect(kinds.size).to.be.at.least(12);
        for (const [file, found] of kinds) {
            expect([...found], file).to.have.lengthOf(1);
            if (file.startsWith("tests/")) {
                continue;
            }
            const short: Record<string, string> = { hpa: "HorizontalPodAutoscaler", pdb: "PodDisruptionBudget" };
            const name = file.replace(/[.]yaml$/, "");
            expect([...found], file).to.deep.equal([
                short[name] ?? [...found].find((kind) => kind.toLowerCase() === name),
            ]);
        }
    });

    it("use every helper that they define", () => {
        const all = files.map(textOf).join("\n");
        const defined = [...all.matchAll(/define "([^"]+)"/g)].map(([, name = ""]) => name);
        expect(defined).to.have.lengthOf(new Set(defined).size);
        for (const name of defined) {
            expect(all, `${name} is used by nobody`).to.contain(`include "${name}"`);
        }
    });

    it("never print what the program notes in global", () => {
        for (const file of files) {
            expect(textOf(file), file).not.to.contain(".Values.global");
        }
    });
});
