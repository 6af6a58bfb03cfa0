import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { containerIn, deploymentIn, environmentOf, merged, renderObjects, smallest, type Container } from "./helm";

/** docs/image-contract.md promises what the chart does. */
describe("chart: the image contract", function () {
    this.timeout(20_000);
    const page = readFileSync(join(__dirname, "../../docs/image-contract.md"), "utf8");
    let container: Container;

    before(() => {
        const fullest = merged(smallest, {
            api: { workers: 2 },
            model: { volume: { claim: "models" } },
            secrets: { NAME: { secret: "any", key: "any", as: "file" } },
        });
        container = containerIn(deploymentIn(renderObjects(fullest)).spec.template);
    });

    it("names every variable that the chart sets", () => {
        const unnamed = Object.keys(environmentOf(container)).filter((name) => !page.includes(`\`${name}\``));
        expect(unnamed).to.deep.equal([]);
    });

    it("names every folder that the chart mounts", () => {
        const { volumeMounts } = container as unknown as { volumeMounts: { mountPath: string }[] };
        const named = [...page.matchAll(/^\| `(\/[^`]*)`/gm)].map(([, folder]) => folder ?? "");
        const unnamed = volumeMounts.filter(({ mountPath }) => !named.some((folder) => mountPath.startsWith(folder)));
        expect(unnamed).to.deep.equal([]);
    });

    it("names no variable in its table that no pod has", () => {
        const cells = [...page.matchAll(/^\| ((?:`[A-Z_]+`(?:, )?)+) +\|/gm)].map(([, cell]) => cell ?? "");
        const named = cells.flatMap((cell) => [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name ?? ""));
        expect(named).to.have.length.above(20);
        expect(named.filter((name) => !(name in environmentOf(container)))).to.deep.equal([]);
    });
});
