import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stringify } from "yaml";
import { packageChart, writeRepository } from "../../distribution/package";
import { ensureTools } from "../../local/tools";
import { chartFolder, helmBinary, smallest } from "../chart/helm";
import { helmWithHome, imageRegistry, webServer } from "../chart/repositories";

/** `helm install` by people who have no checkout: from a chart repository behind a web server, and from a registry for images. */
describe("the chart, installed from where it is published", function () {
    this.timeout(300_000);
    let folder: string;
    let values: string;
    let helm: (...args: string[]) => Promise<string>;
    const namespaces = ["from-web", "from-registry"];

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-published-"));
        values = path.join(folder, "values-churn.yaml");
        fs.writeFileSync(values, stringify(smallest));
        await writeRepository(await packageChart(helmBinary(), chartFolder), path.join(folder, "repository"));
        helm = helmWithHome(path.join(folder, "home"));
        for (const namespace of namespaces) kubectl("create", "namespace", namespace);
    });
    after(() => {
        for (const namespace of namespaces)
            kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false");
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const kubectl = (...args: string[]): string => execFileSync("kubectl", args, { encoding: "utf8" }).trim();
    const name = (): string =>
        fs.readdirSync(path.join(folder, "repository")).find((file) => file.endsWith(".tgz")) ?? "";

    /** It is what the folder of the checkout would install, and all of its pods are ready. */
    async function isInstalled(namespace: string): Promise<void> {
        const own = ["--namespace", namespace];
        const local = await helm("template", "churn", chartFolder, "--values", values, ...own, "--no-hooks");
        const live = await helm("get", "manifest", "churn", ...own);
        expect(live.trim()).to.equal(local.trim());
        const [release] = JSON.parse(await helm("list", "--output", "json", ...own)) as Record<string, string>[];
        expect(release).to.include({
            name: "churn",
            status: "deployed",
            revision: "1",
            chart: name().replace(".tgz", ""),
        });
        const ready = ["get", "deployment", "churn", "--output", "jsonpath={.status.readyReplicas}", ...own];
        expect(kubectl(...ready)).to.equal("1");
    }

    it("from a Helm repository: repo add, search, install", async () => {
        const server = await webServer(path.join(folder, "repository"));
        try {
            await helm("repo", "add", "ours", server.url);
            expect(await helm("search", "repo", "ours/ml-api", "--output", "json")).to.contain('"name":"ours/ml-api"');
            const to = ["--namespace", "from-web", "--values", values, "--wait", "--timeout", "3m"];
            await helm("install", "churn", "ours/ml-api", ...to);
        } finally {
            server.close();
        }
        await isInstalled("from-web");
    });

    it("from a registry for images: push, show values, install by version", async () => {
        const { crane } = await ensureTools(["crane"], { log: () => undefined });
        const registry = await imageRegistry(crane.path);
        try {
            const place = `oci://${registry.address}/charts`;
            await helm("push", path.join(folder, "repository", name()), place, "--plain-http");
            const shown = await helm("show", "values", `${place}/ml-api`, "--plain-http");
            expect(shown.trim()).to.equal(fs.readFileSync(path.join(chartFolder, "values.yaml"), "utf8").trim());
            const version = /-(\d[^-]*)\.tgz$/.exec(name())?.[1] ?? "";
            const to = ["--namespace", "from-registry", "--values", values, "--wait", "--timeout", "3m"];
            await helm("install", "churn", `${place}/ml-api`, "--version", version, "--plain-http", ...to);
        } finally {
            registry.process.kill();
        }
        await isInstalled("from-registry");
    });
});
