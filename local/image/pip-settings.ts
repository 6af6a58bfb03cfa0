import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Variables } from "../paths";

/**
 * Files that lie over others while an image's RUN steps run: [from this machine, place in the build]. Their content enters no
 * layer; a RUN step leaves empty files in their place, so the last stage of a Dockerfile should only copy.
 */
export type BuildMounts = readonly (readonly [string, string])[];

/**
 * What lets pip work on this machine, handed into the build and only there: pip's own settings files, the PIP_ variables
 * as a third one, local package folders, and the certificates that this machine trusts.
 */
export async function pipMounts(variables: Variables, folder: string): Promise<BuildMounts> {
    const home = variables["HOME"] ?? "/root";
    const files = [
        ["/etc/pip.conf", "/etc/pip.conf"],
        [path.join(home, ".pip/pip.conf"), "/root/.pip/pip.conf"],
        [path.join(variables["XDG_CONFIG_HOME"] ?? path.join(home, ".config"), "pip/pip.conf"), "/root/.pip/pip.conf"],
    ] as const;
    const mounts = new Map<string, string>();
    for (const [from, to] of files) {
        if (await exists(from)) {
            mounts.set(to, from);
        }
    }
    const settings = pipSettings(variables);
    if (settings !== undefined) {
        const file = path.join(folder, "pip.conf");
        await fs.writeFile(file, settings, { mode: 0o600 });
        mounts.set("/root/.config/pip/pip.conf", file);
    }
    for (const place of certificatePlaces(variables)) {
        if (await exists(place)) {
            mounts.set(place, place);
        }
    }
    for (const place of packageFolders(variables)) {
        if ((await fs.readdir(place).catch(() => [])).length > 0) {
            mounts.set(place, place);
        }
    }
    return [...mounts].map(([to, from]) => [from, to] as const);
}

/** PIP_INDEX_URL=… as `index-url = …`; of pip's settings the file in the user's folder has the last word, as variables have. */
export function pipSettings(variables: Variables): string | undefined {
    const lines = Object.entries(variables).flatMap(([name, value]) => {
        const key = /^PIP_([A-Z_]+)$/.exec(name)?.[1];
        const told = key !== undefined && key !== "CONFIG_FILE" && value !== undefined && value !== "";
        return told ? [`${key.toLowerCase().replaceAll("_", "-")} = ${value.trim().split(/\s+/).join("\n    ")}`] : [];
    });
    const bundle = variables["PIP_CERT"] ?? variables["REQUESTS_CA_BUNDLE"] ?? variables["SSL_CERT_FILE"];
    const cert =
        variables["PIP_CERT"] === undefined && bundle !== undefined && bundle !== "" ? [`cert = ${bundle}`] : [];
    const all = [...lines, ...cert];
    return all.length === 0 ? undefined : ["[global]", ...all.sort(), ""].join("\n");
}

function certificatePlaces(variables: Variables): readonly string[] {
    const common = "/etc/ssl/certs";
    const named = ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"].flatMap(
        (name) => variables[name] ?? [],
    );
    return [
        common,
        ...named.filter((place) => path.isAbsolute(place) && place !== common && !place.startsWith(`${common}/`)),
    ];
}

function packageFolders(variables: Variables): readonly string[] {
    return (variables["PIP_FIND_LINKS"] ?? "").split(/\s+/).filter((place) => path.isAbsolute(place));
}

async function exists(place: string): Promise<boolean> {
    return fs.access(place).then(
        () => true,
        () => false,
    );
}
