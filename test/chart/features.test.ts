import { expect } from "chai";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { expectGolden } from "./golden";
import { chartFolder, environments, helm, render } from "./helm";
import { examples, featureFiles } from "./keys";

const goldenFolder = join(__dirname, "golden");
const features = featureFiles();

describe("chart: every feature", function () {
    this.timeout(20_000);

    it("is one values file of chart/ci, and one of them has everything on", () => {
        expect(features).to.include.members([
            "autoscaling-hpa.yaml",
            "autoscaling-keda.yaml",
            "everything.yaml",
            "gateway.yaml",
            "gpu-replace.yaml",
            "gpu-surge.yaml",
            "ingress.yaml",
            "labels-and-pull-secrets.yaml",
            "merge.yaml",
            "model-cache.yaml",
            "model-download.yaml",
            "model-image.yaml",
            "model-volume.yaml",
            "network.yaml",
            "observability.yaml",
            "secrets.yaml",
            "verify-candidate.yaml",
            "verify-off.yaml",
            "warm-up.yaml",
            "workers.yaml",
        ]);
    });

    for (const file of features) {
        it(`renders to its golden file: ${basename(file, ".yaml")}`, () => {
            const { own } = examples.find(({ name }) => name === `ci/${file}`) ?? { own: {} };
            expectGolden(join(goldenFolder, "ci", file), render(own, { release: "churn", namespace: "churn" }));
        });
    }

    it("passes helm lint --strict together", () => {
        const run = helm(["lint", "--strict", chartFolder, "-f", join(chartFolder, "ci/everything.yaml")]);
        expect(run.status, run.stdout + run.stderr).to.equal(0);
        expect(run.stderr).not.to.contain("are refused");
    });

    it("has no golden file that belongs to nothing", () => {
        const expected = [...environments.map((name) => `${name}.yaml`), ...features.map((file) => `ci/${file}`)];
        const found = readdirSync(goldenFolder, { recursive: true, encoding: "utf8" });
        expect(found.filter((file) => file.endsWith(".yaml"))).to.have.members(expected);
    });
});
