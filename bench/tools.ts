/** Programs that only benches use: on PATH in a fitting version, else in the tool cache, else built from the modules in `bench/tools`. */
import { join } from "node:path";
import { checkoutRoot } from "../local/paths";
import { ensureTools, type ToolName } from "../local/tools";
import type { ToolPin } from "../local/tools/pins";

const semver = String.raw`v?(\d+\.\d+\.\d+[-+.\w]*)`;

const pins = {
    vegeta: {
        version: "12.13.0",
        accepts: ">=12.8.0 <13.0.0-0",
        versionArguments: ["--version"],
        versionPattern: new RegExp(`^Version: ${semver}`),
        download: () => undefined,
        build: {
            group: "vegeta",
            module: "github.com/tsenart/vegeta/v12@v12.13.0",
            package: "github.com/tsenart/vegeta/v12",
            variables: { "main.Version": "v12.13.0" },
        },
    },
    "helm-4": {
        version: "4.3.1",
        accepts: ">=4.0.0 <5.0.0-0",
        versionArguments: ["version", "--template", "{{.Version}}"],
        versionPattern: new RegExp(`^${semver}`),
        download: () => undefined,
        build: {
            group: "helm-4",
            module: "helm.sh/helm/v4@v4.3.1",
            package: "helm.sh/helm/v4/cmd/helm",
            variables: { "helm.sh/helm/v4/internal/version.version": "v4.3.1" },
        },
    },
    helmfile: {
        version: "1.8.0",
        accepts: ">=1.0.0 <2.0.0-0",
        versionArguments: ["--version"],
        versionPattern: new RegExp(`^helmfile version ${semver}`),
        download: () => undefined,
        build: {
            group: "helmfile",
            module: "github.com/helmfile/helmfile@v1.8.0",
            package: "github.com/helmfile/helmfile",
            variables: { "go.szostok.io/version.version": "1.8.0" },
        },
    },
} satisfies Readonly<Record<string, ToolPin>>;

export type BenchTool = keyof typeof pins;

/** Paths of the programs. */
export async function benchTools<Name extends BenchTool>(names: readonly Name[]): Promise<Record<Name, string>> {
    // The tool chain looks names up in whatever pins it is given; its own names are only the default.
    const wanted = names as readonly string[] as readonly ToolName[];
    const log = (line: string): void => void process.stderr.write(`${line}\n`);
    const found: Partial<Record<string, { readonly path: string }>> = await ensureTools(wanted, {
        pins,
        modules: join(checkoutRoot, "bench", "tools"),
        log,
    });
    return Object.fromEntries(names.map((name) => [name, found[name]?.path ?? ""])) as Record<Name, string>;
}
