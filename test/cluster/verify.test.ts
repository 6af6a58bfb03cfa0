import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { checkoutRoot } from "../../local/paths";
import { environmentValues, merged, type Values } from "../chart/helm";
import { eventually, skipWithoutNode, ownNode, type OwnNode } from "./own-node";

const slowApi = fs.readFileSync(path.join(__dirname, "slow_api.py"), "utf8");
const release = "wine";

/** The chart's Jobs on real pods: a version that is ready and predicts nothing. */
describe("a deploy that asks the new version, on the local node", function () {
    this.timeout(240_000);
    let node: OwnNode | undefined;
    let good: Values;

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        node = await ownNode("verify test", "verify");
        good = merged(environmentValues("dev"), {
            image: { ...node.image },
            apiKey: { existingSecret: "key" },
            merge: { container: { command: ["/opt/venv/bin/python", "-c", slowApi] } },
        });
        const { failure, stderr, seconds } = await deploy(good);
        expect(failure, stderr).to.equal(undefined);
        process.stdout.write(`    the first install took ${seconds.toFixed(1)} s\n`);
    });
    after(() => node?.down());

    const running = (): OwnNode => {
        if (node === undefined) throw new Error("no node");
        return node;
    };
    const broken = (more: Values = {}): Values => merged(good, merged({ env: { BROKEN: "1" } }, more));

    async function deploy(values: Values) {
        const chart = path.join(checkoutRoot, "chart");
        const began = Date.now();
        const flags = ["--install", "--atomic", "--timeout", "180s", "--values", running().valuesFile(values)];
        const result = await running().helm("upgrade", release, chart, ...flags);
        return { ...result, seconds: (Date.now() - began) / 1000 };
    }
    async function json<T>(...args: readonly string[]): Promise<T> {
        return JSON.parse(await running().kubectl(...args, "--output", "json")) as T;
    }
    const generation = async (): Promise<number> =>
        (await json<{ metadata: { generation: number } }>("get", "deployment", release)).metadata.generation;
    interface Pod {
        readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
        readonly status: { readonly containerStatuses?: readonly { readonly restartCount: number }[] };
    }
    const pods = async (): Promise<readonly Pod[]> => {
        const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=api`;
        return (await json<{ items: Pod[] }>("get", "pods", "--selector", selector)).items;
    };
    const jobLog = (name: string): Promise<string> => running().kubectl("logs", `job/${release}-${name}`);
    const history = async (): Promise<readonly string[]> => {
        const { stdout } = await running().helm("history", release, "--output", "json");
        return (JSON.parse(stdout) as { status: string; description: string }[]).map(
            ({ status, description }) => `${status}: ${description}`,
        );
    };

    it("leaves nothing of the verification behind when all is well", async () => {
        const { stdout } = await running().helm("status", release, "--output", "json");
        const { hooks } = JSON.parse(stdout) as {
            hooks: { kind: string; name: string; last_run: { started_at: string; completed_at: string } }[];
        };
        const { started_at: start, completed_at: end } = hooks.find(
            ({ name, kind }) => kind === "Job" && /-verify$/.test(name),
        )?.last_run ?? { started_at: "", completed_at: "" };
        process.stdout.write(`    the Job took ${((Date.parse(end) - Date.parse(start)) / 1000).toFixed(1)} s\n`);
        expect(await running().kubectl("get", "jobs,services", "--output", "name")).to.equal(`service/${release}\n`);
    });

    it("fails with a version that is ready and predicts nothing, and the version before never stops serving", async () => {
        const before = await pods();
        const { failure, stderr, stdout, seconds } = await deploy(broken());
        expect(failure).not.to.equal(undefined);
        expect(stderr)
            .to.match(/post-upgrade hooks failed.* wine-verify/s)
            .and.to.contain("rolled back");
        expect((await history()).slice(-2).map((line) => line.split(":")[0])).to.deep.equal(["failed", "deployed"]);
        // Plain Helm shows the Job's own words.
        expect(stdout + stderr).to.contain("POST /predict: expected 200, got 500");
        expect(await jobLog("verify")).to.match(
            /^\S+Z GET \/readyz: 200 .*POST \/predict: expected 200, got 500 from/s,
        );
        process.stdout.write(`    the refusal took ${seconds.toFixed(1)} s\n`);
        await eventually(async () => {
            const left = (await pods()).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
            expect(left).to.have.lengthOf(1);
        });
        expect(before).to.have.lengthOf(1);
    });

    it("asks a candidate first: with one that predicts nothing, the Deployment is not touched", async () => {
        const [was, before] = [await generation(), await pods()];
        const { failure, stderr } = await deploy(broken({ verify: { candidate: true } }));
        expect(failure).not.to.equal(undefined);
        expect(stderr).to.match(/pre-upgrade hooks failed.* wine-candidate/s);
        expect(await jobLog("candidate")).to.contain("POST /predict: expected 200, got 500 from http://127.0.0.1:8080");
        expect(await generation()).to.equal(was);
        const names = (list: readonly Pod[]) =>
            list
                .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
                .map(({ metadata }) => metadata.name);
        expect(names(await pods())).to.deep.equal(names(before));
    });

    it("goes on with a candidate that answers, and removes it", async () => {
        const was = await generation();
        const { failure, stderr, seconds } = await deploy(
            merged(good, { env: { NEW: "1" }, verify: { candidate: true } }),
        );
        expect(failure, stderr).to.equal(undefined);
        expect(await generation()).to.be.above(was);
        expect(await running().kubectl("get", "jobs", "--output", "name")).to.equal("");
        process.stdout.write(`    with a candidate it took ${seconds.toFixed(1)} s\n`);
    });
});
