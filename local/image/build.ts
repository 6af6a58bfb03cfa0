import * as fs from "node:fs/promises";
import * as path from "node:path";
import { execute, ProgramError } from "../clusters/node/program";
import { withLock } from "../lock";
import { checkoutRoot } from "../paths";
import { isAlive } from "../processes";
import { duration } from "../tools";
import type { ImageArchive } from "./archive";
import { chooseBase, localBase } from "./base";
import { openBuilder, type Builder, type ImageContext } from "./builder";
import { contentTag } from "./content-tag";
import { pipMounts } from "./pip-settings";

export interface ImageSource {
    /** Folder with a Dockerfile. */
    readonly folder: string;
    /** The image's name below `localhost/`. */
    readonly name: string;
}

export const demoImage: ImageSource = { folder: path.join(checkoutRoot, "examples", "mf-demo"), name: "mf-demo" };

const buildLimit = 1_200_000;
/** Archives of one name that stay in the cache, newest first: enough to go back and forth between a few versions. */
const keptArchives = 5;
const storeLimitMegabytes = 5000;

/** The image's name, known without building it. */
export async function imageReference(source: ImageSource = demoImage): Promise<string> {
    return `localhost/${source.name}:${await contentTag(source.folder)}`;
}

/**
 * Builds an image without Docker, unless the cache has it: buildah on the published base, or where that cannot be had on a
 * Debian made here. Steps whose input did not change come from buildah's store.
 */
export async function buildImage(context: ImageContext, source: ImageSource = demoImage): Promise<ImageArchive> {
    const reference = await imageReference(source);
    const folder = path.join(context.cacheDir, "images");
    const file = path.join(folder, `${reference.slice("localhost/".length).replace(":", "-")}.tar`);
    if (await isThere(file)) {
        return { reference, file };
    }
    await fs.mkdir(folder, { recursive: true });
    const onWait = (pid: number): void => {
        context.log(`Image ${reference}: another run (process ${pid}) builds an image; waiting for it.`);
    };
    return withLock(
        path.join(context.cacheDir, ".locks", "buildah"),
        async () => {
            if (!(await isThere(file))) {
                await build(context, source, reference, file);
                await removeOldArchives(folder, source.name);
            }
            return { reference, file };
        },
        { onWait, signal: context.signal },
    );
}

async function build(context: ImageContext, source: ImageSource, reference: string, file: string): Promise<void> {
    const begun = Date.now();
    await sweep(path.dirname(file));
    await limitStore(context);
    const builder = await openBuilder(context);
    // Working containers of a build that was killed.
    await builder.buildah("rm", ["--all"], { timeLimit: 60_000 });
    const base = await chooseBase(builder, context, await fs.readFile(path.join(source.folder, "Dockerfile"), "utf8"));
    context.log(`Image ${reference}: building`);
    const settings = path.join(context.cacheDir, "buildah", "settings");
    await fs.mkdir(settings, { recursive: true, mode: 0o700 });
    const partial = `${file}.partial-${process.pid}`;
    try {
        const mounts = await pipMounts(context.variables, settings);
        await bud(builder, context, [
            ...["--isolation", "chroot", "--layers", "--pull-never", "--tag", reference],
            ...(base === undefined ? [] : ["--build-arg", `BASE=${base}`]),
            ...mounts.flatMap(([from, to]) => ["--volume", `${from}:${to}:ro`]),
            source.folder,
        ]);
        await builder.buildah("push", ["--quiet", reference, `docker-archive:${partial}:${reference}`], {
            timeLimit: 300_000,
        });
        await fs.rename(partial, file);
        await forgetOldImages(builder, source.name, reference);
    } finally {
        await fs.rm(settings, { recursive: true, force: true });
        await fs.rm(partial, { force: true });
        // What buildah put there for the run alone; the layers stay.
        await fs.rm(path.join(context.cacheDir, "buildah", "tmp"), { recursive: true, force: true });
    }
    context.log(`Image ${reference}: built in ${duration(Date.now() - begun)}`);
}

/** Shows each step as it begins, and of a failed one what it said. */
async function bud(builder: Builder, context: ImageContext, args: readonly string[]): Promise<void> {
    try {
        await builder.buildah("bud", args, {
            timeLimit: buildLimit,
            onErrorLine: (line) => {
                if (/^(\[\d\/\d\] )?STEP /.test(line)) context.log(`  ${shortened(line)}`);
            },
        });
    } catch (error) {
        if (error instanceof ProgramError && /No space left on device/.test(error.result.stderr)) {
            throw new Error(
                `Building the image failed: the disk with ${context.cacheDir} is full.\n    → Free about 2 GB there, or set ML_API_CACHE.`,
                {
                    cause: error,
                },
            );
        }
        throw error;
    }
}

/** Removes what killed runs left half-made. */
async function sweep(folder: string): Promise<void> {
    for (const name of await fs.readdir(folder)) {
        const pid = /\.(?:partial|root)-(\d+)$/.exec(name)?.[1];
        if (pid !== undefined && !isAlive(Number(pid))) {
            await fs.rm(path.join(folder, name), { recursive: true, force: true });
        }
    }
}

/** Layers of steps that nobody repeats any more pile up; past a limit all go, and the next build makes what it needs. */
async function limitStore(context: ImageContext): Promise<void> {
    const store = path.join(context.cacheDir, "buildah", "storage");
    if (await isThere(store)) {
        const { stdout } = await execute("du", ["--summarize", "--block-size=1M", store], {
            timeLimit: 60_000,
            signal: context.signal,
        });
        if (Number.parseInt(stdout, 10) > storeLimitMegabytes) {
            await fs.rm(store, { recursive: true, force: true });
        }
    }
}

/** Of earlier versions buildah keeps nothing; the layers that the new one shares with them stay. */
async function forgetOldImages(builder: Builder, name: string, current: string): Promise<void> {
    const listed = await builder.buildah("images", ["--format", "{{.Name}}:{{.Tag}}"], { timeLimit: 30_000 });
    const old = listed.stdout
        .split("\n")
        .filter((image) => image.startsWith(`localhost/${name}:`) && image !== current && image !== localBase);
    if (old.length > 0) {
        await builder.buildah("rmi", [...old], { timeLimit: 60_000 });
    }
}

async function removeOldArchives(folder: string, name: string): Promise<void> {
    const pattern = new RegExp(`^${name}-[0-9a-f]{16}\\.tar$`);
    const names = (await fs.readdir(folder)).filter((entry) => pattern.test(entry));
    const dated = await Promise.all(
        names.map(async (entry) => ({ entry, time: (await fs.stat(path.join(folder, entry))).mtimeMs })),
    );
    for (const { entry } of dated.sort((one, other) => other.time - one.time).slice(keptArchives)) {
        await fs.rm(path.join(folder, entry), { force: true });
    }
}

function isThere(file: string): Promise<boolean> {
    return fs.access(file).then(
        () => true,
        () => false,
    );
}

function shortened(line: string): string {
    const single = line.replace(/\s+/g, " ");
    return single.length > 110 ? `${single.slice(0, 109)}…` : single;
}
