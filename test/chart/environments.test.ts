import { expect } from "chai";
import { join } from "node:path";
import { readDifferences, staleDeclarations, undeclaredDifferences } from "../../components/config/differences";
import { expectGolden } from "./golden";
import {
    chartFolder,
    environments,
    environmentValues,
    helm,
    merged,
    render,
    valuesFile,
    withDefaults,
    type Values,
} from "./helm";

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
                expectGolden(join(__dirname, "golden", `${environment}.yaml`), rendered);
            });

            it("says in its values file which environment it is", () => {
                expect(environmentValues(environment).environment).to.equal(environment);
            });
        });
    }

    describe("differ only where chart/environment/differences.yaml says so", () => {
        const declared = readDifferences(join(chartFolder, "environment/differences.yaml"));
        const values = Object.fromEntries(
            environments.map((environment) => [environment, withDefaults(environmentValues(environment))]),
        );
        const undeclaredWith = (environment: string, change: Values): string[] =>
            undeclaredDifferences(
                { ...values, [environment]: merged(values[environment] ?? {}, change) },
                declared,
            ).map(({ path }) => path);

        it("as they are", () => {
            expect(undeclaredDifferences(values, declared)).to.deep.equal([]);
        });

        it("and the declarations are all needed", () => {
            expect(staleDeclarations(values, declared)).to.deep.equal([]);
        });

        it("so a difference that nobody declared is found", () => {
            expect(undeclaredWith("staging", { api: { requestTimeoutSeconds: 60 } })).to.deep.equal([
                "api.requestTimeoutSeconds",
            ]);
            expect(undeclaredWith("dev", { network: { enabled: false } })).to.deep.equal(["network.enabled"]);
            // Only dev may log otherwise: staging shows what production will do.
            expect(undeclaredWith("staging", { api: { logLevel: "warning" } })).to.deep.equal(["api.logLevel"]);
        });
    });
});
