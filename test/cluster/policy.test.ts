import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { itThoroughly } from "../thorough";
import { Checkout, type Ended } from "./checkout";

/** The policy pack on a real engine. What each rule finds is tested in test/unit/policy.test.ts. */
describe("policy pack", () => {
    let checkout: Checkout;

    before(async () => {
        checkout = new Checkout();
        fs.cpSync(path.join(__dirname, "../../policy"), checkout.file("policy"), { recursive: true });
        for (const stack of ["dev", "production"])
            expect((await checkout.pulumi("stack", "init", stack)).code).to.equal(0);
    });
    after(async () => {
        for (const stack of ["dev", "production"]) await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        checkout.remove();
    });

    const preview = (stack: string): Promise<Ended> =>
        checkout.pulumi("preview", "--stack", stack, "--policy-pack", "policy");

    it("lets production as it is pass", async () => {
        const { code, text } = await preview("production");
        expect(code, text).to.equal(0);
        expect(text).to.match(/Policies:[\s\S]*ml-api/);
        expect(text).not.to.contain("→");
    });

    it("stops production that a node can take down, and a stack that nobody protects", async () => {
        checkout.edit("chart/environment/production/values-production.yaml", /^replicas: .*$/m, "replicas: 1");
        checkout.edit("Pulumi.production.yaml", 'protect: "true"', 'protect: "false"');
        const { code, text } = await preview("production");
        expect(code, text).not.to.equal(0);
        expect(text).to.contain("survives-a-node").and.to.contain("1 pod: nobody is served while its node restarts");
        expect(text).to.contain("protected").and.to.contain('set ml-api:protect: "true" in the stack file');
    });

    itThoroughly("only warns of the same in dev", async () => {
        checkout.edit("chart/environment/dev/values-dev.yaml", "localhost/mf-demo", "docker.io/team/churn");
        const { code, text } = await preview("dev");
        expect(code, text).to.equal(0);
        expect(text).to.contain("image-registry-advisory").and.to.contain("comes from none of localhost");
    });
});
