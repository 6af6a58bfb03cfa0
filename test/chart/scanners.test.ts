import { expect } from "chai";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { cacheDir } from "../../local/paths";
import { ensureTools } from "../../local/tools";
import { customResources } from "../../scan/custom-resources";
import { kubeScore } from "../../scan/kube-score";
import { kubeconform } from "../../scan/kubeconform";
import type { Render } from "../../scan/renders";
import { writeSchemas } from "../../scan/schemas";
import { testKubeconfig } from "../contract/engine";
import { chartFolder, objectsIn, render, type Values } from "./helm";

/** That the scanners of `make scan` find what is wrong: their silence about the chart means nothing without it. */
describe("chart: the scanners", function () {
    // Built at first.
    this.timeout(600_000);

    const kubeconfig = testKubeconfig();
    let folder: string;
    let everything: Render;
    let score: string;
    let conform: string;

    before(async function () {
        if (kubeconfig === undefined) this.skip();
        const log = (): void => undefined;
        const tools = await ensureTools(["kubectl", "kubeconform", "kube-score"], { log });
        score = tools["kube-score"].path;
        conform = tools.kubeconform.path;
        folder = mkdtempSync(join(tmpdir(), "ml-api-scanners-"));
        const values = parse(readFileSync(join(chartFolder, "ci", "everything.yaml"), "utf8")) as Values;
        const text = render(values, { release: "everything", namespace: "scan" });
        everything = { name: "everything", file: join(folder, "everything.yaml"), text, objects: objectsIn(text) };
        const cache = cacheDir();
        await writeSchemas(join(folder, "schemas"), {
            cache,
            kubectl: tools.kubectl.path,
            kubeconfig: () => Promise.resolve(kubeconfig),
            customResources: await customResources(cache, log),
        });
    });
    after(() => {
        if (kubeconfig !== undefined) rmSync(folder, { recursive: true });
    });

    function changed(from: string | RegExp, to: string): readonly [Render] {
        const text = everything.text.replace(from, to);
        expect(text, String(from)).not.to.equal(everything.text);
        writeFileSync(everything.file, text);
        return [{ ...everything, text, objects: objectsIn(text) }];
    }

    for (const [what, from, to, message] of [
        [
            "a field that the API does not have",
            /^ {2}minReadySeconds:/m,
            "  minReadySecond:",
            "at '/spec': additional properties 'minReadySecond' not allowed",
        ],
        [
            "text where a number belongs",
            /containerPort: 9000/,
            'containerPort: "9000"',
            "at '/spec/template/spec/containers/0/ports/0/containerPort': got string, want integer",
        ],
        [
            "a field that a custom resource does not have",
            "podMetricsEndpoints:",
            "podMetricsEndpoint:",
            "at '/spec': additional properties 'podMetricsEndpoint' not allowed",
        ],
        ["a kind that nobody knows", "kind: PodMonitor", "kind: PodMonitors", "could not find schema for PodMonitors"],
    ] as const) {
        it(`kubeconform finds ${what}`, async () => {
            const { findings } = await kubeconform(conform, changed(from, to), join(folder, "schemas"));
            expect(findings.map((finding) => finding.message)).to.deep.equal([message]);
            expect(findings[0]?.render).to.equal("everything");
        });
    }

    it("kube-score finds a pod without a policy for its network", async () => {
        const { findings } = await kubeScore(score, changed(/kind: NetworkPolicy/g, "kind: NetworkPolicies"));
        const found = findings.filter(({ check }) => check === "pod-networkpolicy").map(({ object }) => object);
        expect(found).to.have.members(["Deployment/everything", "Job/everything-verify", "Job/everything-test"]);
    });

    it("kube-score that cannot read a file is an error, not silence", async () => {
        const error = await kubeScore(score, changed(/containerPort: 9000/, 'containerPort: "http"')).catch(String);
        expect(error).to.contain("kube-score ended with code");
    });
});
