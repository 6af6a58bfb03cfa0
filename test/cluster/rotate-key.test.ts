import { expect } from "chai";
import { Checkout, type Ended, succeeded } from "./checkout";

const NAMESPACE = "mf-demo-dev";

/** The two deploys of a rotation. That no request is lost meanwhile is shown where pods serve: rotate-key-node.test.ts. */
describe("ml-api rotate-key", function () {
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = Checkout.whole();
        succeeded(await checkout.pulumi("stack", "init", "dev"));
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
    });

    const rotate = (...options: string[]): Promise<Ended> =>
        checkout.run("cli/ml-api.js", ["rotate-key", "dev", ...options]);
    /** The accepted keys, as the pods of the release get them. */
    async function accepted(): Promise<string[]> {
        const volumes = await checkout.kubectl("-n", NAMESPACE, "get", "deployment", "mf-demo", "-o", "json");
        const secret = /"secretName": "(mf-demo-key-[^"]+)"/.exec(volumes)?.[1] ?? "";
        const keys = await checkout.kubectl(
            ...["-n", NAMESPACE, "get", "secret", secret, "-o", "go-template={{.data.keys | base64decode}}"],
        );
        return [secret, ...keys.split("\n").filter((key) => key !== "")];
    }

    it("has nothing to rotate before the first deploy", async () => {
        const { code, text } = await rotate("--yes");
        expect(code).to.equal(1);
        expect(text).to.contain("nothing is deployed").and.to.contain("→ deploy first");
    });

    it("makes both keys valid, goes on where it was interrupted, and does nothing twice", async () => {
        succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
        const [first = "", old] = await accepted();
        expect(first).to.equal("mf-demo-key-1");
        expect(succeeded(await rotate("--edit-only")).text).to.contain("keyGeneration 2, acceptPreviousKey true");
        expect(succeeded(await rotate("--status")).text).to.contain("it is to be deployed");
        expect((await rotate("--finish", "--yes")).text).to.contain("key 2 is not deployed yet");
        const { text } = succeeded(await rotate("--yes"));
        expect(text).to.contain("the pods of this cluster only pretend to run").and.to.contain("give clients key 2");
        const [secret, fresh, previous, ...others] = await accepted();
        expect([secret, previous, others.length]).to.deep.equal(["mf-demo-key-2-with-1", old, 0]);
        expect(fresh)
            .to.match(/^[A-Za-z0-9]{40}$/)
            .and.not.to.equal(old);
        expect(text).not.to.contain(fresh).and.not.to.contain(previous);
        expect(succeeded(await rotate("--yes")).text).not.to.contain("Updating");
    });

    it("takes the old key away, once", async () => {
        const [, fresh] = await accepted();
        expect(succeeded(await rotate("--finish", "--yes")).text).to.contain("key 2 is the only one");
        expect(await accepted()).to.deep.equal(["mf-demo-key-2", fresh]);
        expect(succeeded(await rotate("--finish", "--yes")).text).not.to.contain("Updating");
        expect(checkout.read("Pulumi.dev.yaml")).to.contain("ml-api:environment: dev");
        succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "dev"));
    });
});
