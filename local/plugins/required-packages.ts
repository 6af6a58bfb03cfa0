import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PackageDependency } from "@pulumi/pulumi/proto/plugin_pb";

interface Manifest {
    name?: string;
    version?: string;
    pulumi?: { resource?: boolean; name?: string; version?: string; server?: string };
}

function entries(directory: string): string[] {
    try {
        return readdirSync(directory);
    } catch {
        return [];
    }
}

function* installedPackages(modules: string): Generator<string> {
    for (const entry of entries(modules)) {
        if (entry.startsWith(".")) continue;
        if (entry.startsWith("@")) {
            for (const scoped of entries(join(modules, entry))) yield join(modules, entry, scoped);
        } else yield join(modules, entry);
    }
}

function pluginOf(directory: string): PackageDependency | undefined {
    let text: string;
    try {
        text = readFileSync(join(directory, "package.json"), "utf8");
    } catch {
        return undefined;
    }
    // A few hundred manifests: parsed are only those that may name a plugin.
    if (!text.includes('"pulumi"')) return undefined;
    const { name = "", version = "", pulumi } = JSON.parse(text) as Manifest;
    if (pulumi?.resource !== true) return undefined;
    const dependency = new PackageDependency();
    dependency.setKind("resource");
    dependency.setName(pulumi.name ?? name.replace(/^@pulumi\//, ""));
    dependency.setVersion(`v${(pulumi.version ?? version).replace(/^v/, "")}`);
    dependency.setServer(pulumi.server ?? "");
    return dependency;
}

/** The provider plugins of the npm packages that are installed in the program's own folder. */
export function requiredPackages(programDirectory: string): PackageDependency[] {
    return [...installedPackages(join(programDirectory, "node_modules"))]
        .map(pluginOf)
        .filter((plugin) => plugin !== undefined);
}
