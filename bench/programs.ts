import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { readStack } from "../components/config/stack";
import { mergeValues, type Values } from "../components/config/values";
import { releaseValues } from "../components/ml-api/values";
import { checkoutRoot } from "../local/paths";
import { Checkout } from "../test/cluster/checkout";

/** A program that ours is compared with, in a folder of its own. */
export function writeProgram(files: Readonly<Record<string, string>>): string {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(root, name), text);
    fs.symlinkSync(path.join(checkoutRoot, "node_modules"), path.join(root, "node_modules"));
    return root;
}

/** What makes a folder a program that is loaded in the same way as ours: no types are checked. */
function loadedAsOurs(name: string): Readonly<Record<string, string>> {
    const own = (file: string) => fs.readFileSync(path.join(checkoutRoot, file), "utf8");
    return {
        "Pulumi.yaml": `name: bench-${name}\nruntime:\n  name: nodejs\n  options: {typescript: true, tsconfig: tsconfig.pulumi.json}\n`,
        "package.json": `{"name": "bench-${name}", "main": "index.ts"}\n`,
        "tsconfig.json": own("tsconfig.json"),
        "tsconfig.pulumi.json": own("tsconfig.pulumi.json"),
    };
}

/** The least that talks to the same provider: one Namespace. */
export function namespaceProgram(): string {
    return writeProgram({
        ...loadedAsOurs("namespace"),
        "index.ts": `import { Namespace } from "@pulumi/kubernetes/core/v1/namespace";

export const name = new Namespace("bench", { metadata: { name: "bench-namespace" } }).metadata.name;
`,
    });
}

/** The values of our dev stack as its release gets them, for those who do not have our program. */
export const devValues = (): Values => mergeValues(releaseValues(readStack(checkoutRoot, "dev")), {});

/** A copy of this checkout whose API and project have another name, so that several of them fit into one cluster and one back end. */
export function namedCheckout(name: string): Checkout {
    const copy = new Checkout();
    copy.edit("Pulumi.yaml", "name: ml-api", `name: ml-api-${name}`);
    for (const stack of ["dev", "staging", "production"]) {
        const file = `Pulumi.${stack}.yaml`;
        copy.write(file, copy.read(file).replaceAll("ml-api:", `ml-api-${name}:`));
    }
    copy.edit("Pulumi.dev.yaml", /$/, `  ml-api-${name}:name: ${name}\n`);
    return copy;
}

/**
 * Our program for several APIs in one stack, as a platform team would write it.
 *
 * @param values laid over those of our dev stack, by the API's name
 */
export function severalApis(name: string, values: ReadonlyMap<string, Values>): Checkout {
    const copy = namedCheckout(name);
    copy.write("values.json", JSON.stringify(Object.fromEntries(values)));
    copy.write(
        "index.ts",
        `import "./components/prelude";
import { readFileSync } from "node:fs";
import { MlApi } from "./components/ml-api/ml-api";

const valuesFile = "chart/environment/dev/values-dev.yaml";
for (const [name, values] of Object.entries<object>(JSON.parse(readFileSync("values.json", "utf8"))))
    new MlApi(name, { valuesFile, values });
`,
    );
    return copy;
}

/**
 * What `pulumi new helm-kubernetes-typescript` gives, with our chart and the values of our dev stack: the whole SDK, types
 * checked at every run, and a Release that is not rendered.
 */
export function stockProgram(): string {
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
    values: ${JSON.stringify(devValues())},
});

export const releaseName = release.name;
`,
    });
    withChart(root);
    return root;
}

/**
 * Our chart by a Release alone, loaded in the same way as ours, with the same key, the same namespace and the same promise of Helm
 * (atomic, bounded, waits for Jobs): all but the guards. Each API has a namespace of its own.
 *
 * @param values of each API, by its name
 */
export function plainProgram(name: string, values: ReadonlyMap<string, Values>): string {
    const root = writeProgram({
        ...loadedAsOurs(name),
        "values.json": JSON.stringify(Object.fromEntries(values)),
        "index.ts": `import { readFileSync } from "node:fs";
import { Namespace } from "@pulumi/kubernetes/core/v1/namespace";
import { Secret } from "@pulumi/kubernetes/core/v1/secret";
import { Release } from "@pulumi/kubernetes/helm/v3/release";
import { RandomPassword } from "@pulumi/random/randomPassword";

for (const [name, values] of Object.entries(JSON.parse(readFileSync("values.json", "utf8")))) {
    const namespace = \`\${name}-plain\`;
    const made = new Namespace(name, { metadata: { name: namespace } });
    const { result } = new RandomPassword(name, { length: 40, special: false });
    const secret = new Secret(
        name,
        { metadata: { name: values.apiKey.existingSecret, namespace }, stringData: { key: result, keys: result } },
        { dependsOn: [made] },
    );
    new Release(
        name,
        { chart: "./chart", name, namespace, values, timeout: 900, atomic: true, waitForJobs: true, maxHistory: 10 },
        { dependsOn: [made, secret] },
    );
}
`,
    });
    withChart(root);
    return root;
}

function withChart(root: string): void {
    fs.cpSync(path.join(checkoutRoot, "chart"), path.join(root, "chart"), { recursive: true });
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
