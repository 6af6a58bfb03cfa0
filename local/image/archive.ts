import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { execute } from "../clusters/node/program";

/** An image as a file that containerd, Docker and Podman can load. */
export interface ImageArchive {
    /** The name pods use: `localhost/mf-demo:<content tag>`. Its tag tells the content, so the same name is the same image. */
    readonly reference: string;
    readonly file: string;
}

export interface FolderImage {
    readonly folder: string;
    readonly reference: string;
    readonly file: string;
    readonly config: Readonly<Record<string, unknown>>;
    /** Options of GNU tar: what to leave out, whose files they become. */
    readonly tar: readonly string[];
    readonly signal?: AbortSignal | undefined;
}

/** Makes a one-layer archive of a folder; it appears whole or not at all. */
export async function archiveFolder(image: FolderImage): Promise<ImageArchive> {
    const partial = `${image.file}.partial-${process.pid}`;
    await fs.mkdir(partial, { recursive: true });
    try {
        const layer = path.join(partial, "layer.tar");
        await tar(image.folder, layer, ["."], image);
        const hash = createHash("sha256");
        await pipeline(createReadStream(layer), hash);
        const config = {
            architecture: process.arch === "x64" ? "amd64" : process.arch,
            os: "linux",
            config: image.config,
            // buildah builds on no image that has more layers than history.
            created: "1970-01-01T00:00:00Z",
            history: [{ created: "1970-01-01T00:00:00Z" }],
            rootfs: { type: "layers", diff_ids: [`sha256:${hash.digest("hex")}`] },
        };
        await fs.writeFile(path.join(partial, "config.json"), JSON.stringify(config));
        const manifest = [{ Config: "config.json", RepoTags: [image.reference], Layers: ["layer.tar"] }];
        await fs.writeFile(path.join(partial, "manifest.json"), JSON.stringify(manifest));
        await tar(partial, path.join(partial, "image.tar"), ["manifest.json", "config.json", "layer.tar"], image);
        await fs.rename(path.join(partial, "image.tar"), image.file);
    } finally {
        await fs.rm(partial, { recursive: true, force: true });
    }
    return { reference: image.reference, file: image.file };
}

async function tar(folder: string, file: string, names: readonly string[], image: FolderImage): Promise<void> {
    const same = ["--sort=name", "--mtime=@0", "--numeric-owner", "--format=gnu", ...image.tar];
    const args = ["--create", "--file", file, ...same, "--directory", folder, ...names];
    await execute("tar", args, { timeLimit: 180_000, signal: image.signal });
}
