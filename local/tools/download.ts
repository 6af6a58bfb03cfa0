import { createHash } from "node:crypto";
import { chmod, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Variables } from "../paths";
import { lastLines, type Run } from "../run";
import { networkProblem, type Origins } from "./origins";
import type { PublishedDownload } from "./pins";

export interface DownloadOptions {
    readonly origins: Origins;
    readonly run: Run;
    readonly variables: Variables;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: (text: string) => void;
    /** Milliseconds without a byte after which a download is given up. */
    readonly stallLimit?: number;
}

/** Milliseconds. A stalled connection is noticed long before the whole limit. */
const defaultStallLimit = 20_000;
const wholeLimit = 15 * 60_000;
const unpackLimit = 2 * 60_000;

/**
 * Puts a published program into `folder` under `name`. Returns why that was not possible; then the folder's content
 * means nothing. A wrong checksum is thrown: that is no ordinary network trouble.
 */
export async function download(
    published: PublishedDownload,
    name: string,
    folder: string,
    options: DownloadOptions,
): Promise<string | undefined> {
    const unusable = await options.origins.problem(published.url);
    if (unusable !== undefined) return unusable;
    const file = join(folder, basename(new URL(published.url).pathname));
    let sum: string;
    let expected: string | undefined;
    try {
        const list = await (await get(published.checksums, options)).text();
        expected = findChecksum(list, basename(file));
        sum = await save(published.url, file, options);
    } catch (error) {
        const why =
            error instanceof HttpProblem
                ? error.message
                : `${new URL(published.url).host} ${networkProblem(error, limitOf(options))}`;
        options.signal?.throwIfAborted();
        options.origins.giveUp(published.url, why);
        return why;
    }
    if (expected === undefined) return `${published.checksums} has no checksum for ${basename(file)}`;
    if (sum !== expected) {
        throw new Error(
            `The download of ${name} is not what its publisher lists.\n` +
                `  ${published.url} has SHA-256 ${sum},\n  ${published.checksums} says ${expected}.\n` +
                `Nothing was installed. Something between here and there changes downloads; find out what, or install ${name} yourself.`,
        );
    }
    return unpack(published, file, name, folder, options);
}

/** Reads "sum", "sum  file" and "sum *file" lines; a list of one sum needs no file name. */
export function findChecksum(list: string, file: string): string | undefined {
    const entries = list.split("\n").flatMap((line) => {
        const match = /^([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*$/.exec(line.trim());
        return match === null ? [] : [{ sum: (match[1] ?? "").toLowerCase(), file: match[2] }];
    });
    const named = entries.find((entry) => entry.file !== undefined && basename(entry.file) === file);
    if (named !== undefined) return named.sum;
    return entries.length === 1 && entries[0]?.file === undefined ? entries[0]?.sum : undefined;
}

class HttpProblem extends Error {}

const limitOf = (options: DownloadOptions): number => options.stallLimit ?? defaultStallLimit;

async function get(
    url: string,
    options: DownloadOptions,
    watch: AbortSignal = AbortSignal.timeout(limitOf(options)),
): Promise<Response> {
    const signals = options.signal === undefined ? [watch] : [watch, options.signal];
    const response = await fetch(url, { signal: AbortSignal.any(signals) });
    if (!response.ok)
        throw new HttpProblem(`${new URL(url).host} answers ${response.status} for ${new URL(url).pathname}`);
    return response;
}

/** Returns the SHA-256 of what was written. */
async function save(url: string, file: string, options: DownloadOptions): Promise<string> {
    const stalled = new AbortController();
    const giveUp = (): void => {
        stalled.abort(new DOMException("no byte came", "TimeoutError"));
    };
    let timer = setTimeout(giveUp, limitOf(options));
    const whole = setTimeout(giveUp, wholeLimit);
    const handle = await open(file, "w");
    try {
        const response = await get(url, options, stalled.signal);
        const size = Number(response.headers.get("content-length") ?? "0");
        const hash = createHash("sha256");
        let written = 0;
        for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
            clearTimeout(timer);
            timer = setTimeout(giveUp, limitOf(options));
            hash.update(chunk);
            await handle.write(chunk);
            written += chunk.length;
            const of = size > 0 ? ` of ${megabytes(size)}` : "";
            options.onProgress?.(`${megabytes(written)}${of} MB`);
        }
        if (size > 0 && written < size)
            throw new HttpProblem(`${new URL(url).host} ended the download after ${written} of ${size} bytes`);
        return hash.digest("hex");
    } finally {
        clearTimeout(timer);
        clearTimeout(whole);
        await handle.close();
    }
}

async function unpack(
    published: PublishedDownload,
    file: string,
    name: string,
    folder: string,
    options: DownloadOptions,
): Promise<string | undefined> {
    const program = join(folder, name);
    if (published.member === undefined) {
        if (file !== program) await rename(file, program);
        await chmod(program, 0o755);
        return undefined;
    }
    const aside = join(folder, ".unpacked");
    await mkdir(aside);
    const result = await options.run("tar", ["-xf", file, "-C", aside], {
        variables: options.variables,
        timeLimit: unpackLimit,
        signal: options.signal,
    });
    if (result.failure !== undefined) return `tar ${result.failure}: ${lastLines(result.stderr, 2)}`;
    await rm(file);
    const source = join(aside, published.member);
    if (published.withNeighbours === true) {
        for (const entry of await readdir(dirname(source))) {
            await rename(join(dirname(source), entry), join(folder, entry));
        }
    } else {
        await rename(source, program);
    }
    await rm(aside, { recursive: true });
    await chmod(program, 0o755);
    return undefined;
}

function megabytes(bytes: number): string {
    return String(Math.round(bytes / 1_000_000));
}
