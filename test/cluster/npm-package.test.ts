import { expect } from "chai";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { packNpm, readManifest } from "../../distribution/npm-package";
import { checkoutRoot } from "../../local/paths";
import { chartFolder, helmBinary } from "../chart/helm";
import { type Ended, succeeded } from "./checkout";

const PAGE = fs.readFileSync(path.join(checkoutRoot, "docs", "many-apis.md"), "utf8");
/** The page's program: two APIs in one namespace. */
const [PROGRAM = ""] = blocks("ts");
/** The page's commands, each to be run as it stands. */
const COMMANDS = blocks("sh run=test/cluster/npm-package.test.ts").flatMap((text) => text.trim().split("\n"));

/** What a library that Pulumi generates from the schema registers, in any language. */
const REMOTE = `const pulumi = require("@pulumi/pulumi");

const outputs = Object.fromEntries(["url", "image", "status"].map((name) => [name, undefined]));
const values = { environment: "dev", image: { repository: "localhost/remote", tag: "1" } };
const remote = new pulumi.ComponentResource("ml-api:index:MlApi", "remote", { ...outputs, values, apiKey: "given-key-of-16-or-more" }, {}, true);
module.exports = { url: remote.url, status: remote.status };
`;

const VALUES = `environment: dev
image:
    repository: localhost/model
    tag: "1"
`;
/** Nobody is there to be asked, and packages that this machine has had are not fetched again. */
const UNATTENDED = { PULUMI_SKIP_CONFIRMATIONS: "true", npm_config_prefer_offline: "true", npm_config_audit: "false" };

function blocks(fence: string): readonly string[] {
    const all = [...PAGE.matchAll(/^```(.+)\n([^]*?)^```$/gm)];
    return all.flatMap(([, info, text = ""]) => (info === fence ? [text] : []));
}

describe("the npm package", function () {
    this.timeout(600_000);
    let root: string;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-package-"));
        await packNpm(helmBinary(), chartFolder, path.join(root, "dist"));
        // The program's own versions are ours, so that what is tested is what is pinned.
        const { dependencies } = await readManifest();
        const shared = Object.entries(dependencies).filter(([name]) => /^@pulumi\/|^typescript$|^ts-node$/.test(name));
        write("package.json", JSON.stringify({ private: true, dependencies: Object.fromEntries(shared) }));
        write("Pulumi.yaml", "name: shop\nruntime: nodejs\n");
        write("index.ts", PROGRAM);
        for (const name of ["churn", "prices"]) write(`apis/${name}/values-dev.yaml`, VALUES);
        await typed(/^npm install/);
    });
    after(async () => {
        for (const [stack, cwd] of [
            ["shop", root],
            ["remote", path.join(root, "remote")],
        ] as const) {
            await run("pulumi", ["destroy", "--yes", "--skip-preview", "--stack", stack, "--non-interactive"], cwd);
            await run("pulumi", ["stack", "rm", "--yes", "--force", stack], cwd);
        }
        fs.rmSync(root, { recursive: true, force: true });
    });

    const write = (name: string, text: string): void => {
        fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
        fs.writeFileSync(path.join(root, name), text);
    };
    const run = (program: string, args: readonly string[], cwd = root): Promise<Ended> =>
        new Promise((resolve) => {
            const env = { ...process.env, ...UNATTENDED };
            execFile(program, args, { cwd, env, timeout: 300_000, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
                const code = error === null ? 0 : typeof error.code === "number" ? error.code : 130;
                resolve({ code, stdout, text: stdout + stderr });
            });
        });
    /** The commands of the page that begin so, as they stand there. */
    const typed = async (beginning: RegExp): Promise<string> => {
        const lines = COMMANDS.filter((line) => beginning.test(line));
        expect(lines, String(beginning)).to.have.length(1);
        return succeeded(await run("sh", ["-c", lines.join("\n")])).stdout;
    };
    const pulumi = (...args: string[]): Promise<Ended> => run("pulumi", [...args, "--non-interactive"]);
    const kubectl = async (...args: string[]): Promise<string> =>
        succeeded(await run("kubectl", [...args, "-o", "name"])).stdout.trim();

    it("holds compiled components with types, the chart and the plugin, and needs what it declares", () => {
        const folder = path.join(root, "node_modules", "ml-api");
        const files = fs.readdirSync(folder, { recursive: true, encoding: "utf8" });
        expect(files).to.include.members([
            ...["package.json", "README.md", "components/index.js", "components/index.d.ts"],
            ...["components/guarded-release/recover/begin.js", "components/guarded-release/diagnose/companion.js"],
            ...["components/plugin/index.js", "components/plugin/PulumiPlugin.yaml", "components/plugin/schema.json"],
            ...["chart/Chart.yaml", "chart/values.schema.json", "chart/templates/NOTES.txt", "chart/files/ask.py"],
        ]);
        expect(
            files.filter((name) => /(?<!\.d)\.ts$|(^|\/)(environment|ci|node_modules)(\/|$)/.test(name)),
        ).to.deep.equal([]);
        const { dependencies, peerDependencies } = JSON.parse(
            fs.readFileSync(path.join(folder, "package.json"), "utf8"),
        ) as Record<"dependencies" | "peerDependencies", Record<string, string>>;
        const wanted = files
            .filter((name) => name.endsWith(".js"))
            .flatMap((name) => [
                ...fs.readFileSync(path.join(folder, name), "utf8").matchAll(/require\("((?:@[\w-]+\/)?[\w.-]+)/g),
            ])
            .map(([, name = ""]) => name)
            .filter((name) => !/^(\.|node$)/.test(name));
        expect([...new Set(wanted)].sort()).to.deep.equal(
            [...Object.keys(dependencies), ...Object.keys(peerDependencies)].sort(),
        );
    });

    it("previews and deploys two APIs of one program, and changes one of them alone", async () => {
        await typed(/^pulumi stack init/);
        expect(await typed(/^pulumi preview/)).to.contain("prices");
        const seen = succeeded(await pulumi("preview", "--stack", "shop", "--diff"));
        expect(seen.text).to.match(/chart\s*: "\.\/node_modules\/ml-api\/chart"/);
        expect(seen.text).to.contain("Deployment/prices");
        await typed(/^pulumi up/);
        const outputs = succeeded(await pulumi("stack", "output", "--json", "--stack", "shop"));
        expect(JSON.parse(outputs.stdout)).to.deep.equal({
            urls: ["churn", "prices"].map((name) => `http://${name}.shop.svc.cluster.local`),
            status: ["deployed", "deployed"],
        });
        expect(await kubectl("get", "deployments", "-n", "shop")).to.equal(
            "deployment.apps/churn\ndeployment.apps/prices",
        );
        expect(await kubectl("get", "secrets", "-n", "shop", "--field-selector", "type=Opaque")).to.equal(
            "secret/churn-key-1\nsecret/prices-key-1",
        );
        succeeded(await pulumi("preview", "--stack", "shop", "--expect-no-changes"));
        write("apis/churn/values-dev.yaml", `${VALUES}api: { requestTimeoutSeconds: 20 }\n`);
        const changed = succeeded(await pulumi("up", "--yes", "--skip-preview", "--stack", "shop"));
        expect(changed.text).to.match(/kubernetes:helm.sh\/v3:Release churn updated/);
        expect(changed.text).not.to.match(/Release prices (updated|replaced|created)/);
    });

    it("refuses values that the chart does not take, by file and line, and those that are not plain, before anything is touched", async () => {
        write("apis/churn/values-dev.yaml", `${VALUES}replcas: 2\n`);
        const refused = await pulumi("preview", "--stack", "shop");
        expect(refused.code).not.to.equal(0);
        expect(refused.text).to.contain("apis/churn/values-dev.yaml:5").and.to.contain("replicas");
        write("apis/churn/values-dev.yaml", VALUES);
        write(
            "index.ts",
            PROGRAM.replace('valuesFile: "apis/prices/values-dev.yaml"', "values: { image: { tag: churn.image } }"),
        );
        const unknown = await pulumi("preview", "--stack", "shop");
        expect(unknown.text)
            .to.contain("values.image.tag: it is an Output")
            .and.not.to.match(/^\s+at /m);
        write("index.ts", PROGRAM);
    });

    it("is started as a plugin by Pulumi, for a program that registers it as libraries of other languages do", async () => {
        const plugin = path.join(root, "node_modules", "ml-api", "components", "plugin");
        const schema = fs.readFileSync(path.join(checkoutRoot, "components", "plugin", "schema.json"), "utf8");
        const answered = await typed(/^pulumi package get-schema/);
        expect(JSON.parse(answered)).to.deep.equal({ config: {}, ...(JSON.parse(schema) as object) });
        succeeded(await run("pulumi", ["schema", "check", path.join(plugin, "schema.json")]));
        // Pulumi runs npm where a plugin is: other versions there would be another SDK, and other providers.
        expect(fs.existsSync(path.join(root, "node_modules", "ml-api", "node_modules"))).to.equal(false);
        write("remote/index.js", REMOTE);
        write("remote/package.json", JSON.stringify({ private: true, main: "index.js" }));
        write(
            "remote/Pulumi.yaml",
            `name: remote\nruntime: nodejs\nplugins:\n  providers:\n    - { name: ml-api, path: ${plugin} }\n`,
        );
        fs.symlinkSync(path.join(root, "node_modules"), path.join(root, "remote", "node_modules"));
        const remote = (...args: string[]): Promise<Ended> =>
            run("pulumi", [...args, "--non-interactive"], path.join(root, "remote"));
        succeeded(await remote("stack", "init", "remote"));
        succeeded(await remote("up", "--yes", "--stack", "remote"));
        const outputs = JSON.parse(succeeded(await remote("stack", "output", "--json")).stdout) as object;
        expect(outputs).to.deep.equal({
            url: "http://remote.remote-remote.svc.cluster.local",
            status: "deployed",
        });
        succeeded(await remote("preview", "--expect-no-changes", "--stack", "remote"));
    });
});
