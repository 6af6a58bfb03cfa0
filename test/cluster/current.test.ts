import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stateDir } from "../../local/paths";
import { cloneCheckout, newcomersEnvironment } from "../docs/clone";
import { readPage, shellBlocks } from "../docs/markdown";
import { Session } from "../docs/session";

/** The blocks of docs/your-cluster.md, typed into a clone: for it the lent cluster is one that a person already has. */
describe("CLUSTER=current", function () {
    this.timeout(240_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-current-"));
    let session: Session;
    let clone: string;
    let env: NodeJS.ProcessEnv;
    let kubeconfig: string;
    const [deploy = "", look = "", pin = "", ...others] = shellBlocks(readPage("docs/your-cluster.md")).map(
        ({ text }) => text,
    );

    before(() => {
        kubeconfig = process.env["ML_API_TEST_KUBECONFIG"] ?? "";
        if (kubeconfig === "") throw new Error("these tests need a cluster: run `make test`");
        env = { ...newcomersEnvironment(folder), KUBECONFIG: kubeconfig };
        clone = fs.realpathSync(cloneCheckout(folder, env));
        session = new Session(folder, clone, env);
    });
    after(async () => {
        if (fs.existsSync(stateDir(clone, env))) await session.run("npx --no ml-api cluster down --yes || true");
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const fails = async (text: string): Promise<string> =>
        session.run(text).then(
            () => {
                throw new Error(`it ended well: ${text}`);
            },
            (error: unknown) => String(error),
        );

    it("is what the page says, block by block", () => {
        expect(others).to.deep.equal([]);
    });

    it("says which cluster and credential it uses, how the image gets there, and deploys", async () => {
        const text = await fails(deploy);
        expect(text).to.contain("your own: context").and.to.contain("client certificate");
        expect(text).to.contain("kind load docker-image localhost/mf-demo:");
        // Pods that pretend to run answer nobody; everything before that has ended well.
        expect(text).to.contain("no pod of mf-demo answered through its Service");
        // A block that ended badly keeps none of its variables.
        await session.run("export CLUSTER=current");
    });

    it("works from the shell, and shows what runs", async () => {
        const text = await session.run(look);
        expect(text).to.contain("current cluster: up").and.to.contain("no change");
    });

    it("lets a protected stack name its cluster", async () => {
        expect(await session.run("pulumi preview --stack production")).to.contain(
            "does not say which cluster it belongs to",
        );
        await session.run(pin);
        const text = await session.run("pulumi preview --stack production");
        expect(text).not.to.contain("does not say which cluster it belongs to");
    });

    it("stays with its cluster", async () => {
        expect(await fails("CLUSTER=simulated npx --no ml-api up dev")).to.contain("has a cluster already (current)");
        const record = path.join(stateDir(clone, env), "cluster.json");
        const deployedTo = fs.readFileSync(record, "utf8");
        fs.writeFileSync(record, deployedTo.replace(/"server": "[^"]*"/, '"server": "https://127.0.0.1:9"'));
        expect(await fails("npx --no ml-api up dev")).to.contain("this checkout was deployed to https://127.0.0.1:9");
        fs.writeFileSync(record, deployedTo);
    });

    it("takes down what it deployed, and only when told so", async () => {
        expect(await fails("npx --no ml-api cluster down")).to.contain("nothing was removed");
        expect(await fails("npx --no ml-api cluster down --gone --yes")).to.contain("somebody still answers at");
        expect(await session.run("npx --no ml-api cluster down --yes")).to.contain(
            "nothing of this checkout is left on it",
        );
        expect(await session.run("kubectl get namespace")).not.to.contain("mf-demo-dev");
        expect(await session.run("npx --no ml-api cluster status")).to.contain("no cluster");
    });

    it("forgets a cluster that does not exist any more", async () => {
        const state = stateDir(clone, env);
        const info = { kind: "current", kubeconfig, context: "gone", server: "https://127.0.0.1:9", podsServe: true };
        fs.mkdirSync(state, { recursive: true });
        fs.writeFileSync(path.join(state, "cluster.json"), JSON.stringify({ kind: "current", info }));
        expect(await fails("npx --no ml-api cluster down --gone")).to.contain("--yes");
        expect(await session.run("npx --no ml-api cluster down --gone --yes")).to.contain("is forgotten");
        expect(fs.existsSync(state)).to.equal(false);
    });
});
