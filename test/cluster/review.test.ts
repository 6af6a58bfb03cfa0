import { expect } from "chai";
import { Checkout, type Ended, succeeded } from "./checkout";

const STACK = "dev-review-7";
const NAMESPACE = "mf-demo-dev-review-7";

/** A stack for a pull request, with the commands of docs/branching.md, from its first deploy to its end; the pods are simulated. */
describe("ml-api review", function () {
    this.timeout(300_000);
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = Checkout.whole();
        for (const args of [
            ["init", "--quiet"],
            ["config", "user.name", "ada"],
            ["config", "user.email", "a@example.org"],
        ])
            succeeded(await checkout.run("git", args));
        await commit();
    });
    after(async () => {
        await review("down", "7");
        checkout.remove();
    });

    async function commit(): Promise<void> {
        succeeded(await checkout.run("git", ["add", "--all"]));
        succeeded(await checkout.run("git", ["commit", "--quiet", "--message", "x"]));
    }
    const review = (...words: string[]): Promise<Ended> => checkout.run("cli/ml-api.js", ["review", ...words]);
    const kubectl = (...words: string[]): Promise<string> => checkout.kubectl("-n", NAMESPACE, ...words);

    it("is off, and says how it is turned on", async () => {
        const { code, text } = await review("up", "7");
        expect(code).to.equal(1);
        expect(text).to.contain("review stacks are off → add to branching/branches.yaml: review:");
    });

    it("deploys to a namespace of its own, small, within a quota", async () => {
        checkout.edit("branching/branches.yaml", "# review: {", "review: {");
        checkout.edit("branching/branches.yaml", "atMost: 5", "atMost: 1");
        checkout.edit("chart/environment/dev/values-dev.yaml", /^replicas: 1$/m, "replicas: 3");
        await commit();
        const { stdout } = succeeded(await review("up", "7"));
        expect(stdout).to.contain(`http://mf-demo.${NAMESPACE}.svc`).and.to.contain("port-forward");
        expect(await kubectl("get", "deployment", "mf-demo", "-o=jsonpath={.spec.replicas}")).to.equal("1");
        const hard = await kubectl("get", "resourcequota", "ml-api", "-o=jsonpath={.status.hard}");
        expect(JSON.parse(hard))
            .to.include({ "services.loadbalancers": "0" })
            .and.to.include.keys("pods", "requests.cpu");
        const labels = await checkout.kubectl("get", "namespace", NAMESPACE, "-o=jsonpath={.metadata.labels}");
        expect(JSON.parse(labels)).to.include({
            "ml-api/review": "7",
            "pod-security.kubernetes.io/enforce": "restricted",
        });
        expect(succeeded(await checkout.run("git", ["status", "--porcelain"])).stdout).to.equal("");
    });

    it("deploys again to the same one, and only what the commit changes", async () => {
        expect(succeeded(await review("up", "7", "--base", "HEAD")).text).to.contain("no review stack is needed");
        expect(succeeded(await review("up", "7", "--base", "HEAD^")).text).to.contain(`${STACK} runs until 72 hours`);
    });

    it("lets no more of them be than the map allows, and removes none before its time", async () => {
        const { code, text } = await review("up", "8");
        expect(code).to.equal(1);
        expect(text).to.contain("allows 1: 7 → close one");
        expect(succeeded(await review("sweep")).text).to.contain("no review stack has had its time");
        const { stdout } = succeeded(await review("list", "--json"));
        const { stacks } = JSON.parse(stdout) as { stacks: { stack: string; number: number; lastUpdate: string }[] };
        expect(stacks.map(({ stack, number }) => [stack, number])).to.deep.equal([[STACK, 7]]);
        expect(Date.now() - Date.parse(stacks[0]?.lastUpdate ?? "")).to.be.within(-60_000, 600_000);
    });

    it("is gone when the pull request is closed, namespace and state; a second time there is nothing to do", async () => {
        expect(succeeded(await review("down", "7")).text).to.contain(`${STACK} is removed`);
        expect(
            await checkout.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o=jsonpath={.status.phase}"),
        ).to.be.oneOf(["", "Terminating"]);
        expect(succeeded(await review("list")).stdout).to.equal("there is no review stack\n");
        expect(succeeded(await review("down", "7")).text).to.contain("pull request 7 has no review stack");
    });
});
