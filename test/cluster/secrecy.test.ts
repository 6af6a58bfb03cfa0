import { expect } from "chai";
import { gzipSync } from "node:zlib";
import { findCanary, formsOf } from "./canary";
import { canary, CANARY_NAMESPACE, CanaryStack, SECRETS } from "./canary-stack";
import { succeeded } from "./checkout";

describe("the search for a secret", () => {
    const secret = canary();

    it("finds it in every form, packed and cut", () => {
        for (const [name, form] of formsOf(secret)) {
            expect(findCanary(secret, `before ${form} after`), name).to.be.a("string");
            const cut = `before\n  ${form.slice(0, 9)}\n  ${form.slice(9)}\n`;
            expect(findCanary(secret, cut), `${name}, cut`).to.be.a("string");
        }
        const text = `a: ${secret}\n`;
        const record = Buffer.from(gzipSync(text).toString("base64")).toString("base64");
        expect(findCanary(secret, JSON.stringify({ release: record }))).to.equal("base64 > base64 > gzip > plain");
        expect(findCanary(secret, record.replaceAll(/(.{60})/g, "$1\n  "))).to.equal("base64 > base64 > gzip > plain");
        expect(findCanary(secret, Buffer.from(`xy${text}`).toString("base64url"))).to.be.a("string");
    });

    it("does not find what is not there", () => {
        expect(findCanary(secret, `before ${canary()} after ${secret.slice(1)}`)).to.equal(undefined);
        expect(findCanary(secret, gzipSync(canary()))).to.equal(undefined);
    });
});

/** Two API keys that a stack gives, one in a Secret that the values name, and one that a template writes into a Secret. */
describe("a secret", function () {
    // Looking takes a minute, and more where other things run.
    this.timeout(600_000);
    let stack: CanaryStack;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        stack = await CanaryStack.begin();
        await stack.look("preview", ["preview"]);
        await stack.look("preview --diff", ["preview", "--diff"]);
        await stack.look("preview --json", ["preview", "--json"]);
        const detail = ["--show-full-output", "--show-config", "--show-replacement-steps"];
        await stack.look("preview in detail", ["preview", "--diff", ...detail]);
        await stack.look("preview with logs", ["preview", "--logtostderr", "-v=8", "--logflow"]);
        for (const form of [[], ["--markdown"], ["--json"]]) {
            const { text } = await stack.command(["diff", "dev", ...form]);
            expect(text).to.contain("named");
        }
        await stack.look("up", ["up", "--yes", "--diff"]);
        await stack.look("up --json", ["up", "--yes", "--json"]);
        await stack.lookAtRefusal("a failed preview", "protect=maybe");
        await stack.lookAtState();
        await stack.command(["diff", "dev", "--markdown"]);
    });
    after(() => stack.remove());

    for (const [name, what] of SECRETS) {
        it(`${what} is in no preview, diff, log or state`, () => {
            expect(stack.leaks(stack[name])).to.deep.equal([]);
        });
    }

    it("that is the API key is not in Helm's record either", async () => {
        const { checkout, key, previousKey, named, rendered } = stack;
        const listed = ["get", "secrets", "-l", "owner=helm", "-o", "json"];
        const records = await checkout.kubectl("-n", CANARY_NAMESPACE, ...listed);
        const { text } = succeeded(await checkout.run("helm", ["get", "all", "mf-demo", "-n", CANARY_NAMESPACE]));
        for (const secret of [key, previousKey, named]) expect(findCanary(secret, records + text)).to.equal(undefined);
        // What a template writes into a Secret is part of the release.
        expect(findCanary(rendered, records)).to.match(/^base64 > base64 > gzip > base64/);
    });

    it("is found where it belongs: in the cluster's Secret, and in the state for who holds the stack's key", async () => {
        const { checkout, key, previousKey, rendered } = stack;
        const secret = await checkout.kubectl(
            ...["-n", CANARY_NAMESPACE, "get", "secret", "mf-demo-key-2-with-1", "-o", "yaml"],
        );
        expect(findCanary(key, secret)).to.be.a("string");
        expect(findCanary(previousKey, secret)).to.be.a("string");
        const { text } = succeeded(await checkout.pulumi("stack", "export", "--show-secrets", "--stack", "dev"));
        for (const one of [key, previousKey, rendered]) expect(findCanary(one, text)).to.be.a("string");
    });
});
