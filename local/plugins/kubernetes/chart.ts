import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Properties } from "../rpc/properties";
import { isObject, objectsIn, textOf } from "../rpc/properties";
import type { Helm } from "./helm";
import { HelmError } from "./helm";
import { readYaml } from "./manifest";

export interface ChartMetadata {
    name: string;
    version: string;
    appVersion: string;
    type: string;
}

function present(folder: string): string[] {
    try {
        return readdirSync(join(folder, "charts"));
    } catch {
        return [];
    }
}

/** Dependencies that Chart.yaml names and the folder `charts` lacks. */
function missingDependencies(folder: string, metadata: Properties): string[] {
    const wanted = objectsIn(metadata.dependencies);
    const entries = present(folder);
    return wanted
        .map((dependency) => textOf(dependency.name))
        .filter(
            (name) =>
                !entries.some((entry) => entry === name || (entry.startsWith(`${name}-`) && entry.endsWith(".tgz"))),
        );
}

/** Loads a chart by Helm itself, which checks it, and returns what its Chart.yaml says. */
export async function loadChart(
    helm: Helm,
    chart: string,
    flags: string[],
    dependencyUpdate: boolean,
): Promise<ChartMetadata> {
    const [metadata] = readYaml(await helm.run({ args: ["show", "chart", chart, ...flags] }));
    if (!isObject(metadata)) throw new HelmError(`Chart.yaml of ${chart} is empty`);
    const missing = dependencyUpdate || chart.endsWith(".tgz") ? [] : missingDependencies(chart, metadata);
    if (missing.length > 0) {
        throw new HelmError(`found in Chart.yaml, but missing in charts/ directory: ${missing.join(", ")}`);
    }
    return {
        name: textOf(metadata.name),
        version: textOf(metadata.version),
        // Chart.yaml may hold a number here, which Helm reads as text.
        appVersion:
            isObject(metadata.appVersion) || Array.isArray(metadata.appVersion)
                ? ""
                : String(metadata.appVersion ?? ""),
        type: textOf(metadata.type),
    };
}
