import { expect } from "chai";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { cacheDir } from "../../local/paths";
import { run, type RunResult } from "../../local/run";
import { ensureTools } from "../../local/tools";
import { customResources } from "../../scan/custom-resources";
import { type Render, renderAll } from "../../scan/renders";
import { testKubeconfig } from "../contract/engine";
import { helmBinary } from "./helm";

const quiet = (): void => undefined;

/**
 * Every object of every render, sent to a real API server as a dry run: defaults, validation, admission and Pod Security have
 * their say, nothing is stored.
 */
describe("chart: the API server", function () {
    this.timeout(120_000);

    const kubeconfig = testKubeconfig();
    const namespace = "chart-dry-run";
    let kubectl: (...args: string[]) => Promise<RunResult>;
    let folder: string;
    let renders: readonly Render[];
    let definitions: readonly string[];

    before(async function () {
        if (kubeconfig === undefined) this.skip();
        const tools = await ensureTools(["kubectl"], { log: quiet });
        kubectl = (...args) =>
            run(tools.kubectl.path, ["--kubeconfig", kubeconfig, ...args], {
                variables: process.env,
                timeLimit: 100_000,
            });
        folder = mkdtempSync(join(tmpdir(), "ml-api-dry-run-"));
        renders = await renderAll({ helm: helmBinary(), namespace, folder: join(folder, "manifests") });
        definitions = await customResources(cacheDir(), quiet);
        const labels = { enforce: "restricted", warn: "restricted" };
        const place = {
            apiVersion: "v1",
            kind: "Namespace",
            metadata: {
                name: namespace,
                labels: Object.fromEntries(
                    Object.entries(labels).map(([mode, level]) => [`pod-security.kubernetes.io/${mode}`, level]),
                ),
            },
        };
        writeFileSync(join(folder, "namespace.yaml"), stringify(place));
        const files = [join(folder, "namespace.yaml"), ...definitions].flatMap((file) => ["-f", file]);
        expect((await kubectl("apply", "--server-side", ...files)).failure).to.equal(undefined);
        const crds = definitions.flatMap((file) => ["-f", file]);
        expect((await kubectl("wait", "--for", "condition=Established", "--timeout", "30s", ...crds)).failure).to.equal(
            undefined,
        );
    });
    after(async () => {
        if (kubeconfig === undefined) return;
        const files = definitions.flatMap((file) => ["-f", file]);
        await kubectl("delete", "--wait=false", ...files);
        await kubectl("delete", "--wait=false", "namespace", namespace);
        rmSync(folder, { recursive: true });
    });

    const dryRun = (place: string): Promise<RunResult> =>
        kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", place);

    it("takes every object without an error or a warning, Pod Security's included", async () => {
        const result = await dryRun(join(folder, "manifests"));
        expect({ failure: result.failure, stderr: result.stderr }).to.deep.equal({ failure: undefined, stderr: "" });
        const taken = result.stdout.trim().split("\n");
        expect(taken).to.have.length(renders.flatMap(({ objects }) => objects).length);
        for (const line of taken) expect(line).to.match(/serverside-applied \(server dry run\)$/);
    });

    it("would have told of a pod that may do too much, and of a field that does not exist", async () => {
        const container = { name: "api", image: "busybox:1.37.0", securityContext: { privileged: true } };
        const template = { metadata: { labels: { app: "bad" } }, spec: { containers: [container] } };
        const deployment = {
            apiVersion: "apps/v1",
            kind: "Deployment",
            metadata: { name: "bad", namespace },
            spec: { selector: { matchLabels: { app: "bad" } }, template },
        };
        mkdirSync(join(folder, "bad"));
        const file = join(folder, "bad", "deployment.yaml");
        writeFileSync(file, stringify(deployment));
        expect((await dryRun(file)).stderr)
            .to.contain("would violate PodSecurity")
            .and.to.contain("privileged");
        writeFileSync(file, stringify({ ...deployment, spec: { ...deployment.spec, replica: 2 } }));
        expect((await dryRun(file)).stderr).to.contain("replica");
    });
});
