import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { readStack } from "../components/config/stack";
import { mergeValues } from "../components/config/values";
import { releaseValues } from "../components/ml-api/values";
import { checkoutRoot } from "../local/paths";

/** A program that ours is compared with, in a folder of its own. */
export function writeProgram(files: Readonly<Record<string, string>>): string {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(root, name), text);
    fs.symlinkSync(path.join(checkoutRoot, "node_modules"), path.join(root, "node_modules"));
    return root;
}

/** The least that talks to the same provider, loaded in the same way as ours: one Namespace, no type check. */
export function namespaceProgram(): string {
    const own = (name: string) => fs.readFileSync(path.join(checkoutRoot, name), "utf8");
    return writeProgram({
        "Pulumi.yaml":
            "name: bench-namespace\nruntime:\n  name: nodejs\n  options: {typescript: true, tsconfig: tsconfig.pulumi.json}\n",
        "package.json": '{"name": "bench-namespace", "main": "index.ts"}\n',
        "tsconfig.json": own("tsconfig.json"),
        "tsconfig.pulumi.json": own("tsconfig.pulumi.json"),
        "index.ts": `import { Namespace } from "@pulumi/kubernetes/core/v1/namespace";

export const name = new Namespace("bench", { metadata: { name: "bench-namespace" } }).metadata.name;
`,
    });
}

/**
 * What \`pulumi new helm-kubernetes-typescript\` gives, with our chart and the values of our dev stack: the whole SDK, types
 * checked at every run, and a Release that is not rendered.
 */
export function stockProgram(): string {
    const values = mergeValues(releaseValues(readStack(checkoutRoot, "dev")), {});
    const root = writeProgram({
        "Pulumi.yaml": "name: bench-stock\nruntime: nodejs\n",
        "package.json": '{"name": "bench-stock", "main": "index.ts"}\n',
        "tsconfig.json": JSON.stringify({
            compilerOptions: {
                strict: true,
                outDir: "bin",
                target: "es2020",
                module: "commonjs",
                moduleResolution: "node",
                sourceMap: true,
                noFallthroughCasesInSwitch: true,
                noImplicitReturns: true,
                forceConsistentCasingInFileNames: true,
            },
            files: ["index.ts"],
        }),
        "index.ts": `import * as pulumi from "@pulumi/pulumi";
import * as kubernetes from "@pulumi/kubernetes";

const config = new pulumi.Config();
const k8sNamespace = config.get("k8sNamespace") || "bench-stock";

const namespace = new kubernetes.core.v1.Namespace("bench", { metadata: { name: k8sNamespace } });
const release = new kubernetes.helm.v3.Release("bench", {
    chart: "./chart",
    namespace: namespace.metadata.name,
    values: ${JSON.stringify(values)},
});

export const releaseName = release.name;
`,
    });
    fs.cpSync(path.join(checkoutRoot, "chart"), path.join(root, "chart"), { recursive: true });
    return root;
}

/** A template that renders to many small objects, as a chart of several services does. */
export function manyObjects(count: number): string {
    return `{{- range $index := until ${count} }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.Release.Name }}-{{ $index }}
  labels:
    app.kubernetes.io/name: {{ $.Chart.Name }}
    app.kubernetes.io/instance: {{ $.Release.Name }}
    app.kubernetes.io/managed-by: {{ $.Release.Service }}
data:
  settings.yaml: |
    index: {{ $index }}
    {{- range $line := until 20 }}
    line{{ $line }}: "the value of line {{ $line }} of object {{ $index }}"
    {{- end }}
{{- end }}
`;
}
