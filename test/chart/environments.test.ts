import { expect } from "chai";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expectGolden } from "./golden";
import {
    chartFolder,
    containerIn,
    deploymentIn,
    environmentOf,
    environments,
    environmentValues,
    helm,
    render,
    renderObjects,
    valuesFile,
} from "./helm";

const goldenFolder = join(__dirname, "golden");

describe("chart: the three environments", function () {
    this.timeout(20_000);

    for (const environment of environments) {
        describe(environment, () => {
            it("passes helm lint --strict", () => {
                const secret = ["--set", "apiKey.existingSecret=mf-demo-key-1,apiKey.generation=1"];
                const run = helm(["lint", "--strict", chartFolder, "-f", valuesFile(environment), ...secret]);
                expect(run.status, run.stdout + run.stderr).to.equal(0);
                // A refusal by the validation template is only a remark to lint.
                expect(run.stderr).not.to.contain("are refused");
            });

            it("renders to its golden file", () => {
                const rendered = render(environmentValues(environment), { namespace: `mf-demo-${environment}` });
                expectGolden(join(goldenFolder, `${environment}.yaml`), rendered);
            });

            it("renders to the same bytes twice", () => {
                const values = environmentValues(environment);
                expect(render(values)).to.equal(render(values));
            });

            it("says in its values file which environment it is", () => {
                expect(environmentValues(environment).environment).to.equal(environment);
            });
        });
    }

    it("has no golden file that belongs to no environment", () => {
        expect(readdirSync(goldenFolder).sort()).to.deep.equal(environments.map((name) => `${name}.yaml`).sort());
    });

    it("differs visibly between any two environments: pods, memory, log level", () => {
        const seen = environments.map((environment) => {
            const { spec } = deploymentIn(renderObjects(environmentValues(environment)));
            const container = containerIn(spec.template);
            return {
                replicas: spec.replicas,
                memory: container.resources?.requests?.memory,
                logLevel: environmentOf(container).LOG_LEVEL,
            };
        });
        for (const key of ["replicas", "memory", "logLevel"] as const) {
            expect(new Set(seen.map((one) => one[key])).size, key).to.equal(environments.length);
        }
    });
});
