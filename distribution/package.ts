import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { gzipSync } from "fflate";
import { parse, stringify } from "yaml";
import { lastLines, run } from "../local/run";

export interface Package {
    /** As Helm names it: "ml-api-0.1.0.tgz". */
    readonly name: string;
    readonly content: Uint8Array;
    /** The index of a chart repository that holds just this package, without the times at which either was made. */
    readonly index: string;
}

/**
 * Packs a chart as `helm package` does: Helm decides what belongs to it (.helmignore) and how it is written. The same chart
 * gives the same bytes on every machine and at any time.
 *
 * @param helm path of Helm, 3.18 or later
 */
export async function packageChart(helm: string, chart: string): Promise<Package> {
    const folder = await mkdtemp(join(tmpdir(), "ml-api-package-"));
    try {
        await ask(helm, ["package", chart, "--destination", folder]);
        const [name = "", ...others] = await readdir(folder);
        if (!name.endsWith(".tgz") || others.length > 0) {
            throw new Error(`helm package ${chart} made ${[name, ...others].join(", ")}; one .tgz was expected`);
        }
        const content = withoutTimes(await readFile(join(folder, name)));
        await writeFile(join(folder, name), content);
        await ask(helm, ["repo", "index", folder]);
        return { name, content, index: indexWithoutTimes(await readFile(join(folder, "index.yaml"), "utf8")) };
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

/** Writes package and index into a folder, which is then a chart repository for any web server. */
export async function writeRepository(made: Package, folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, made.name), made.content);
    await writeFile(join(folder, "index.yaml"), made.index);
}

export function digestOf(content: Uint8Array): string {
    return createHash("sha256").update(content).digest("hex");
}

/** 1980-01-01: the earliest time that every archive format can tell. */
const noTime = 315_532_800;
const block = 512;

/**
 * The archive with one fixed time on every entry, where Helm writes the time of packing (it has no flag for it and does not
 * read SOURCE_DATE_EPOCH). Packed by a library in plain JavaScript: what Node's own zlib writes depends on the processor.
 */
function withoutTimes(archive: Uint8Array): Uint8Array {
    const tar = gunzipSync(archive);
    const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");
    for (let at = 0; at < tar.length && tar[at] !== 0;) {
        tar.write(`${octal(noTime, 11)}\0`, at + 136, "latin1");
        // The checksum counts its own eight bytes as spaces.
        tar.fill(" ", at + 148, at + 156);
        const sum = tar.subarray(at, at + block).reduce((total, byte) => total + byte, 0);
        tar.write(`${octal(sum, 6)}\0 `, at + 148, "latin1");
        const size = parseInt(tar.toString("latin1", at + 124, at + 135), 8);
        at += block + Math.ceil(size / block) * block;
    }
    return gzipSync(tar, { level: 9, mtime: 0 });
}

interface Index {
    readonly entries: Readonly<Record<string, readonly { created?: string }[]>>;
    generated?: string;
}

/** Helm reads an index without times as well; with them, no two would be equal. */
function indexWithoutTimes(text: string): string {
    const index = parse(text) as Index;
    delete index.generated;
    for (const entry of Object.values(index.entries).flat()) delete entry.created;
    return `# Made by \`ml-api chart generate\`. The package's address is relative to this file's own.\n${stringify(index, { lineWidth: 0 })}`;
}

async function ask(helm: string, args: readonly string[]): Promise<void> {
    const { failure, stderr } = await run(helm, args, { variables: process.env, timeLimit: 60_000 });
    if (failure !== undefined)
        throw new Error(`helm ${args.slice(0, 2).join(" ")} ${failure}:\n${lastLines(stderr, 6)}`);
}
