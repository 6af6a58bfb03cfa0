import { expect } from "chai";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

describe("chart: what an install prints", () => {
    it("says URL, access with the key, logs and test", () => {
        const text = notes(merged(environmentValues("production"), { service: { port: 8000 } }));
        for (const part of [
            "http://mf-demo.shop.svc:8000",
            "kubectl -n shop port-forward service/mf-demo 8080:8000",
            "KEY=$(kubectl -n shop get secret mf-demo-key-1 -o jsonpath='{.data.key}' | base64 -d)",
            `curl http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -H "Authorization: Bearer $KEY" -d '{"inputs":`,
            "kubectl -n shop logs -f --prefix --max-log-requests 4 -l app.kubernetes.io/instance=mf-demo",
            "helm -n shop test mf-demo --timeout 280s",
            "--timeout 1005s",
        ]) {
            expect(text).to.contain(part);
        }
    });

    it("asks for no key where none is needed, and warns", () => {
        const text = notes(merged(smallest, { apiKey: { enabled: false, existingSecret: "" } }));
        expect(text).not.to.match(/KEY|secret|Bearer/);
        expect(text).to.contain("- apiKey.enabled is false");
    });

    it("warns of an image without digest, of one replica and of a test without prediction", () => {
        const text = notes(smallest);
        expect(text).to.contain("Warnings\n  - image.digest is not set");
        expect(text).to.contain("\n  - replicas is 1");
        expect(text).to.contain("\n  - verify.sample is empty");
    });

    it("warns of nothing when there is nothing, and quotes the sample for a shell", () => {
        const text = notes(merged(smallest, pinned));
        expect(text).not.to.contain("Warnings");
        expect(text).to.contain(`-d '{"text":"it'\\''s"}'`);
    });

    it("is whole lines without a template's leftovers", () => {
        for (const values of [smallest, environmentValues("dev"), merged(smallest, pinned)]) {
            const text = notes(values);
            expect(text).not.to.match(/<no value>|<nil>|\{\{|[ \t]\n|\n{3}/);
            expect(text).to.match(/^\S/);
        }
    });
});
