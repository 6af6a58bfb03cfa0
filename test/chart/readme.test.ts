import { expect } from "chai";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import type { Variables } from "../../local/paths";
import { run } from "../../local/run";
import { ensureTools } from "../../local/tools";
import { testKubeconfig } from "../contract/engine";
import { chartFolder, deploymentIn, renderObjects, type Values } from "./helm";

/** The commands at the top of the chart's README, run as they stand there. The pods of the cluster only say that they run. */
describe("chart: the README's three commands", function () {
    this.timeout(120_000);

    const text = readFileSync(join(chartFolder, "README.md"), "utf8");
    const commands = fenced("sh")[0] ?? "";
    const kubeconfig = testKubeconfig();
    let folder: string;
    let variables: Variables;

    function fenced(language: string): string[] {
        return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))].map(
            ([, block]) => block ?? "",
        );
    }

    async function shell(script: string): Promise<string> {
        const result = await run("bash", ["-euo", "pipefail", "-c", script], {
            cwd: folder,
            variables,
            timeLimit: 100_000,
        });
        expect(result.failure, `${script}\n${result.stdout}${result.stderr}`).to.equal(undefined);
        return result.stdout;
    }

    before(async function () {
        if (kubeconfig === undefined) this.skip();
        const { helm, kubectl } = await ensureTools(["helm", "kubectl"], { log: () => undefined });
        folder = mkdtempSync(join(tmpdir(), "ml-api-readme-"));
        symlinkSync(chartFolder, join(folder, "chart"));
        writeFileSync(join(folder, "values-churn.yaml"), fenced("yaml")[0] ?? "");
        const path = [dirname(helm.path), dirname(kubectl.path), process.env["PATH"]].join(":");
        variables = { ...process.env, KUBECONFIG: kubeconfig, PATH: path };
    });
    after(async () => {
        if (kubeconfig === undefined) return;
        await run("kubectl", ["delete", "namespace", "churn", "--wait=false"], { variables, timeLimit: 60_000 });
        rmSync(folder, { recursive: true });
    });

    it("are three, and wait as long as the release may take", () => {
        expect(commands.trim().split("\n")).to.have.length(3);
        const values = parse(fenced("yaml")[0] ?? "") as Values;
        const deployment = deploymentIn(renderObjects(values, { release: "churn", namespace: "churn" }));
        const needed = Number(deployment.metadata.annotations?.["ml-api/release-timeout-seconds"]);
        const given = Number(/--wait --timeout (\d+)m$/m.exec(commands)?.[1]) * 60;
        expect(given)
            .to.be.at.least(needed)
            .and.at.most(needed + 60);
    });

    it("end with a deployed release that says what to do next", async () => {
        const printed = await shell(commands);
        expect(printed).to.contain("STATUS: deployed").and.to.contain("--timeout");
        const pods = await shell("kubectl -n churn get deployment churn -o jsonpath='{.status.readyReplicas}'");
        expect(Number(pods)).to.be.at.least(1);
    });

    it("are followed by a test that the chart brings along", async () => {
        const command = /`(helm -n churn test churn[^`]*)`/.exec(text)?.[1] ?? "";
        expect(await shell(command)).to.contain("Phase:          Succeeded");
    });
});
