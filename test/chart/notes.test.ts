import { expect } from "chai";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { examples } from "./keys";
import { environmentValues, merged, only, renderObjects, smallest, withChartCopy, type Values } from "./helm";

/** NOTES.txt as an install prints it. `helm template` keeps it to itself, so a copy of the chart prints it in an object. */
function notes(values: Values): string {
    return withChartCopy(
        (chart) => {
            const file = join(chart, "templates/NOTES.txt");
            const body = readFileSync(file, "utf8");
            rmSync(file);
            const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: ";
            writeFileSync(
                join(chart, "templates/notes.yaml"),
                `{{- define "notes" }}${body}{{ end -}}\n${object}{{ include "notes" . | toJson }}\n`,
            );
        },
        (chart) => {
            const object = only(renderObjects(values, { chart, namespace: "shop" }), "ConfigMap");
            return (object as unknown as { data: { notes: string } }).data.notes;
        },
    );
}

const pinned: Values = {
    image: { digest: `sha256:${"0".repeat(64)}` },
    replicas: 2,
    verify: { sample: { text: "it's" } },
};

describe("chart: what an install prints", function () {
    this.timeout(20_000);

    it("says URL, access with the key, logs and test", () => {
        const text = notes(merged(environmentValues("production"), { service: { port: 8000 } }));
        for (const part of [
            "http://mf-demo.shop.svc:8000",
            "kubectl -n shop port-forward service/mf-demo 8080:8000",
            "KEY=$(kubectl -n shop get secret mf-demo-key-1 -o jsonpath='{.data.key}' | base64 -d)",
            `curl http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -H "Authorization: Bearer $KEY" -d '{"inputs":`,
            "kubectl -n shop logs -f --prefix --max-log-requests 4 -l app.kubernetes.io/instance=mf-demo",
            "helm -n shop test mf-demo --timeout 280s",
            "--timeout 1255s",
        ]) {
            expect(text).to.contain(part);
        }
    });

    it("says where it is reached from outside", () => {
        const ingress: Values = { enabled: true, className: "nginx", host: "a.example.org", path: "/churn" };
        const gateway: Values = { enabled: true, parent: { name: "public" }, host: "b.example.org" };
        expect(notes(merged(smallest, { ingress }))).to.contain("\n  http://a.example.org/churn\n");
        const text = notes(merged(smallest, { ingress: { ...ingress, tlsSecret: "tls" }, gateway }));
        expect(text).to.contain("\n  https://a.example.org/churn\n  https://b.example.org/\n");
    });

    it("asks where the API answers, and shows the logs of as many pods as there may be", () => {
        const text = notes(
            merged(smallest, {
                api: { paths: { predict: "/v2/infer" } },
                autoscaling: { enabled: true, maxReplicas: 20 },
            }),
        );
        expect(text).to.contain("curl http://127.0.0.1:8080/v2/infer ").and.to.contain("--max-log-requests 21 ");
    });

    it("asks for no key where none is needed, and warns", () => {
        const text = notes(merged(smallest, { apiKey: { enabled: false, existingSecret: "" } }));
        expect(text).not.to.match(/KEY|secret|Bearer/);
        expect(text).to.contain("- apiKey.enabled is false");
    });

    const warnings: [string, Values, string][] = [
        ["an image without digest", {}, "image.digest is not set"],
        ["one pod", {}, "there is one pod"],
        ["one pod at night", { autoscaling: { enabled: true, minReplicas: 1 } }, "there is one pod"],
        ["workers whose memory nobody planned", { api: { workers: 2 } }, "model.memory is empty"],
        ["a test without prediction", {}, "verify.sample is empty"],
        ["an open network", { network: { enabled: false } }, "network.enabled is false"],
        [
            "Prometheus that is cut off",
            { observability: { podMonitor: { enabled: true } } },
            "network.from is empty: an ingress controller, a gateway or Prometheus",
        ],
        [
            "an Ingress without a certificate",
            { ingress: { enabled: true, className: "nginx", host: "a" } },
            "ingress.tlsSecret is empty",
        ],
        [
            "a controller that the chart knows nothing about",
            { ingress: { enabled: true, className: "traefik", host: "a" } },
            'ingress.className is "traefik": set its time-out to 35s or more',
        ],
        [
            "rollouts that stop pods first",
            { gpu: { count: 1, rollout: "replace" } },
            "gpu.rollout is replace: a rollout stops each pod",
        ],
        [
            "fields that nobody has tested",
            { merge: { pod: { hostUsers: false }, container: { args: [] } } },
            "merge is in use (args, hostUsers)",
        ],
    ];
    for (const [what, values, says] of warnings) {
        it(`warns of ${what}`, () => {
            expect(notes(merged(smallest, values)))
                .to.match(/\nWarnings\n {2}- /)
                .and.to.contain(`\n  - ${says}`);
        });
    }

    it("warns of nothing when there is nothing, and quotes the sample for a shell", () => {
        const text = notes(merged(smallest, pinned));
        expect(text).not.to.contain("Warnings");
        expect(text).to.contain(`-d '{"text":"it'\\''s"}'`);
    });

    it("is whole lines without a template's leftovers", () => {
        const everything = examples.find(({ name }) => name === "ci/everything.yaml")?.values ?? {};
        for (const values of [smallest, environmentValues("dev"), merged(smallest, pinned), everything]) {
            const text = notes(values);
            expect(text).not.to.match(/<no value>|<nil>|\{\{|[ \t]\n|\n{3}/);
            expect(text).to.match(/^\S/);
        }
    });
});
