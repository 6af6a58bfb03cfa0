import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../../branching/git";
import { type DeployRecord, readRecords } from "../../branching/record";
import { Checkout, succeeded } from "./checkout";
import { deployingTo, ownNode, type OwnNode, skipWithoutNode } from "./own-node";

const values = (environment: string): string => `chart/environment/${environment}/values-${environment}.yaml`;

/** From a push to dev to staging and production, with pods that serve: nobody writes "verified" but the deploys themselves. */
describe("promotion of what was verified, on the local node", function () {
    this.timeout(400_000);
    let node: OwnNode | undefined;
    let checkout: Checkout | undefined;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-promote-"));
    const [stateDir, origin] = [path.join(folder, "state"), path.join(folder, "origin")];

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        node = await ownNode("promotion test", "promotion");
        fs.mkdirSync(stateDir);
        checkout = Checkout.whole({ ...(await deployingTo(node.info, stateDir)), XDG_STATE_HOME: stateDir });
        for (const environment of ["dev", "staging"]) {
            // Usually it is the same one.
            const file = values(environment);
            checkout.write(file, checkout.read(file).replace(/^  tag: .*$/m, `  tag: "${node.image.tag}"`));
            succeeded(await checkout.pulumi("stack", "init", environment));
        }
        // One pod in each is enough here.
        checkout.edit(values("staging"), /^replicas: 2$/m, "replicas: 1");
        await node.tagImage("better");
        succeeded(await checkout.run("git", ["init", "--quiet", "--bare", origin]));
        succeeded(await checkout.run("cli/ml-api.js", ["receive", origin]));
        await git("init", "--quiet", "--initial-branch=master");
        await git("config", "user.name", "ada");
        await git("config", "user.email", "ada@example.org");
        await git("remote", "add", "origin", origin);
        await git("add", "--all");
        await git("commit", "--quiet", "--message", "first");
        // Where a promotion is prepared; nothing is deployed of it yet.
        await git("--git-dir", origin, "fetch", "--quiet", work().root, "HEAD:refs/heads/develop");
    });
    after(async () => {
        await node?.down();
        checkout?.remove();
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const work = (): Checkout => {
        if (checkout === undefined) throw new Error("no checkout");
        return checkout;
    };
    const git = async (...args: string[]): Promise<string> => succeeded(await work().run("git", args)).stdout.trim();
    const push = async (from: string, branch: string): Promise<string> => {
        const args = ["push", "origin", `${from}:refs/heads/${branch}`];
        const { text } = succeeded(await work().run("git", args, { seconds: 380 }));
        return text.replace(/^remote: ?/gm, "");
    };
    const newest = async (environment: string): Promise<DeployRecord | undefined> =>
        (await readRecords(new Git(origin), environment)).at(-1);

    it("a push to dev is recorded as verified, because a real pod answered verify.sample", async () => {
        work().edit(values("dev"), /^  tag: .*$/m, '  tag: "better"');
        await git("commit", "--quiet", "--all", "--message", "better");
        expect(await push("HEAD", "dev")).to.contain("dev: verified: the Job mf-demo-verify got a prediction");
        expect(await newest("dev")).to.deep.include({
            outcome: "deployed",
            verified: true,
            actor: os.userInfo().username,
        });
    });

    it("is promoted to staging by that record, deployed by a push, and verified there once more", async () => {
        const { stdout } = succeeded(
            await work().run("cli/ml-api.js", ["promote", "dev", "staging", "--json", "--no-diff"]),
        );
        const plan = JSON.parse(stdout) as { branch: string; changes: object[]; refusals: object[] };
        expect(plan.refusals).to.deep.equal([]);
        expect(plan.changes).to.deep.equal([{ path: "image.tag", before: node?.image.tag, after: "better" }]);
        const text = await push(plan.branch, "develop");
        expect(text).to.contain("staging: verified: the Job mf-demo-verify got a prediction");
        const [before, record] = [await newest("dev"), await newest("staging")];
        expect(record).to.deep.include({ outcome: "deployed", verified: true, artifacts: before?.artifacts });
    });

    it("waits for its soak before production", async () => {
        const { code, text } = await work().run("cli/ml-api.js", ["promote", "staging", "production", "--no-diff"]);
        expect(code).to.equal(1);
        expect(text).to.match(/it has run in staging \(staging\) for \d+ minutes? of the 60 minutes/);
        expect(text).not.to.contain("nobody saw it answer");
    });
});
