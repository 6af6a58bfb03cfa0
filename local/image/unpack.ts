import * as fs from "node:fs/promises";
import * as path from "node:path";
import { execute } from "../clusters/node/program";

/** What an image says of itself, as far as the image contract looks at it. */
export interface ImageConfig {
    readonly architecture: string;
    readonly user: string;
    readonly entrypoint: readonly string[];
    readonly command: readonly string[];
    /** `NAME=text` */
    readonly env: readonly string[];
    readonly workingDir: string;
    /** Port numbers of EXPOSE. */
    readonly ports: readonly number[];
    /** The commands that made its layers. */
    readonly history: readonly string[];
}

/** An image in a file as `docker save` writes it. */
export interface OpenImage {
    readonly file: string;
    readonly config: ImageConfig;
    /** Bytes of all layers, as they lie in the file. */
    readonly bytes: number;
    /** Files that {@link openImage} was asked for, in any layer, also those that a later layer removes; without a leading slash. */
    readonly files: readonly string[];
    readonly layers: readonly string[];
}

const LIMIT = 300_000;
/** Layer $2 of image $1 on stdout; it may be packed. Lists of files stay in the pipe: they can be longer than what a run keeps. */
const LAYER = 'tar --extract --to-stdout --file "$1" "$2" | { case $2 in *.gz) gzip -dc ;; *) cat ;; esac; }';

/**
 * Opens what `docker save`, `podman save` and `crane pull` write.
 *
 * @param wanted pattern, as `grep -E` reads it, of the files that matter
 * @throws Error when it is no such file
 */
export async function openImage(file: string, wanted: string): Promise<OpenImage> {
    const text = async (member: string): Promise<string> =>
        (await execute("tar", ["--extract", "--to-stdout", "--file", file, member], { timeLimit: LIMIT })).stdout;
    const manifest = await text("manifest.json").catch(() => {
        throw new Error(`${file} is no image: it has no manifest.json → docker save IMAGE -o FILE`);
    });
    const [image] = JSON.parse(manifest) as { Config: string; Layers: string[] }[];
    if (image === undefined) throw new Error(`${file} holds no image`);
    const config = configOf(JSON.parse(await text(image.Config)) as RawConfig);
    const files = new Set<string>();
    for (const layer of image.Layers) {
        const { stdout } = await execute(
            "sh",
            ["-c", `${LAYER} | tar --list | grep -E "$3" || true`, "sh", file, layer, wanted],
            {
                timeLimit: LIMIT,
            },
        );
        for (const name of stdout.split("\n")) if (name !== "") files.add(name.replace(/^(?:\.?\/)+/, ""));
    }
    return { file, config, bytes: (await fs.stat(file)).size, files: [...files].sort(), layers: image.Layers };
}

/** As the OCI image specification names it. */
interface RawConfig {
    readonly architecture?: string;
    readonly config?: {
        readonly User?: string;
        readonly Entrypoint?: readonly string[] | null;
        readonly Cmd?: readonly string[] | null;
        readonly Env?: readonly string[] | null;
        readonly WorkingDir?: string;
        readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
    };
    readonly history?: readonly { readonly created_by?: string }[];
}

export function configOf({ architecture = "", config = {}, history = [] }: RawConfig): ImageConfig {
    return {
        architecture,
        user: config.User ?? "",
        entrypoint: config.Entrypoint ?? [],
        command: config.Cmd ?? [],
        env: config.Env ?? [],
        workingDir: config.WorkingDir ?? "",
        ports: Object.keys(config.ExposedPorts ?? {}).flatMap((port) =>
            /^\d+(?:\/tcp)?$/.test(port) ? [parseInt(port, 10)] : [],
        ),
        history: history.flatMap(({ created_by: by = "" }) => (by === "" ? [] : [by])),
    };
}

/** Lays an image's files into an empty folder, as a container would see them. Needs root, or owners are lost. */
export async function layOut(image: OpenImage, folder: string): Promise<void> {
    for (const layer of image.layers) {
        // A layer removes what `.wh.NAME` names, and all that was in a folder with `.wh..wh..opq`.
        const one = path.join(folder, ".layer.tar");
        await execute("sh", ["-c", `${LAYER} > "$3"`, "sh", image.file, layer, one], { timeLimit: LIMIT });
        const list = ["-c", 'tar --list --file "$1" | grep -F .wh. || true', "sh", one];
        const { stdout } = await execute("sh", list, { timeLimit: LIMIT });
        for (const name of stdout.split("\n")) await whiteOut(folder, name);
        const rest = ["--exclude=.wh.*", "--numeric-owner", "--same-permissions", "--directory", folder];
        await execute("tar", ["--extract", "--file", one, ...rest], { timeLimit: LIMIT });
        await fs.rm(one, { force: true });
    }
}

async function whiteOut(folder: string, name: string): Promise<void> {
    const base = path.posix.basename(name);
    if (!base.startsWith(".wh.")) return;
    const parent = path.join(folder, path.posix.dirname(path.posix.normalize(`/${name}`)));
    if (base !== ".wh..wh..opq") {
        await fs.rm(path.join(parent, base.slice(".wh.".length)), { recursive: true, force: true });
        return;
    }
    for (const entry of await fs.readdir(parent).catch(() => []))
        await fs.rm(path.join(parent, entry), { recursive: true, force: true });
}
