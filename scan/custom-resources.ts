import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { onPath } from "../local/tools";
import { lastLines, run } from "../local/run";

/** A Go module that holds definitions of custom resources, and which of them the chart renders. */
interface Source {
    readonly module: string;
    /** As in a go.sum; another content is refused. */
    readonly sum: string;
    readonly files: readonly string[];
}

const sources: readonly Source[] = [
    {
        module: "github.com/kedacore/keda/v2@v2.21.0",
        sum: "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        files: ["config/crd/bases/keda.sh_scaledobjects.yaml"],
    },
    {
        module: "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        files: [
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ],
    },
    {
        module: "sigs.k8s.io/gateway-api@v1.4.1",
        sum: "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=",
        files: ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
    },
];

/** Milliseconds, for one module of at most 30 MB. */
const downloadLimit = 5 * 60_000;

/** Paths of the definitions (CustomResourceDefinition) of all optional kinds that the chart renders, in the cache. */
export async function customResources(cache: string, log: (line: string) => void): Promise<readonly string[]> {
    const key = createHash("sha256").update(JSON.stringify(sources)).digest("hex").slice(0, 10);
    const folder = join(cache, `custom-resources-${key}`);
    const files = sources.flatMap((source) => source.files.map((file) => join(folder, basename(file))));
    if (existsSync(folder)) return files;
    log("Definitions of custom resources: taking them out of their Go modules");
    await mkdir(cache, { recursive: true });
    const aside = await mkdtemp(`${folder}.partial-`);
    try {
        for (const source of sources) {
            const module = await downloaded(source, aside);
            for (const file of source.files) await copyFile(join(module, file), join(aside, basename(file)));
        }
        await rename(aside, folder).catch((error: unknown) => {
            // Another run was faster.
            if (!existsSync(folder)) throw error;
        });
    } finally {
        await rm(aside, { recursive: true, force: true });
    }
    return files;
}

/** The folder of a module in Go's own cache. */
async function downloaded({ module, sum }: Source, cwd: string): Promise<string> {
    const go = onPath("go", process.env);
    if (go === undefined) {
        throw new Error(
            `${module} holds definitions that are needed here, and no Go is on PATH to get it. → Install Go (https://go.dev/dl/).`,
        );
    }
    const result = await run(go, ["mod", "download", "-json", module], {
        cwd,
        variables: { ...process.env, GOFLAGS: "", GOWORK: "off", GOTOOLCHAIN: "local" },
        timeLimit: downloadLimit,
    });
    if (result.failure !== undefined) {
        throw new Error(`go mod download ${module} ${result.failure}:\n${lastLines(result.stdout + result.stderr, 6)}`);
    }
    const { Dir, Sum } = JSON.parse(result.stdout) as { readonly Dir: string; readonly Sum: string };
    if (Sum !== sum) throw new Error(`${module} is ${Sum}, not ${sum} as pinned in scan/custom-resources.ts.`);
    return Dir;
}
