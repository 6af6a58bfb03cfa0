import { readdirSync, rmSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { onInterrupt } from "../interrupt";
import type { Variables } from "../paths";
import { isAlive } from "../processes";
import type { Run } from "../run";
import type { Platform, ToolPin } from "./pins";
import { askVersion } from "./version";

/**
 * The tool cache: one folder per tool, version and platform, holding the program under its own name, so that the
 * folder can be put on PATH. A folder appears whole, by a rename, or not at all.
 */
export function storeFolder(cache: string, name: string, version: string, platform: Platform): string {
    return join(cache, `${name}-${version}-${platform.os}-${platform.arch}`);
}

export type Stored =
    | { readonly state: "good"; readonly program: string }
    | { readonly state: "absent" }
    | { readonly state: "bad"; readonly reason: string };

/** Milliseconds: a good program on a machine that is busy building must not be thrown away. */
const versionLimit = 60_000;

/** What was found out about a program the last time it was run. */
interface Stamp {
    readonly size: number;
    readonly modified: number;
}

/** Looks whether a stored program is whole. It is run only when it changed since it was last run. */
export async function checkStored(
    folder: string,
    name: string,
    pin: ToolPin,
    run: Run,
    variables: Variables,
): Promise<Stored> {
    const program = join(folder, name);
    const found = await stat(program).catch(() => undefined);
    if (found === undefined)
        return (await stat(folder).catch(() => undefined)) === undefined
            ? { state: "absent" }
            : { state: "bad", reason: "the program is missing" };
    if (!found.isFile() || found.size === 0) return { state: "bad", reason: "the file is empty" };
    const stamp: Stamp = { size: found.size, modified: found.mtimeMs };
    if (JSON.stringify(stamp) === (await readFile(stampFile(folder), "utf8").catch(() => "")))
        return { state: "good", program };
    const asked = await askVersion(program, pin, run, variables, versionLimit);
    if ("problem" in asked) return { state: "bad", reason: asked.problem };
    if (asked.version !== pin.version) return { state: "bad", reason: `it says it is ${asked.version}` };
    await writeFile(stampFile(folder), JSON.stringify(stamp)).catch(() => undefined); // A cache that cannot be written to can be read.
    return { state: "good", program };
}

/** Lets `fill` make the program in a folder aside, tries it out, and moves it into place. */
export async function install(
    folder: string,
    name: string,
    pin: ToolPin,
    run: Run,
    variables: Variables,
    fill: (aside: string) => Promise<void>,
): Promise<string> {
    const cache = dirname(folder);
    await mkdir(cache, { recursive: true });
    sweep(cache);
    const aside = await mkdtemp(join(cache, `${asidePrefix}${process.pid}-${basename(folder)}-`));
    const forget = onInterrupt(() => {
        rmSync(aside, removal);
    });
    try {
        await fill(aside);
        for (const scratch of [".go", ".unpacked"]) await rm(join(aside, scratch), removal);
        const made = await checkStored(aside, name, pin, run, variables);
        if (made.state !== "good") {
            const why = made.state === "bad" ? made.reason : "there is none";
            throw new Error(`${name} ${pin.version} was made, but the result is not usable: ${why}.`);
        }
        await chmod(aside, 0o755); // mkdtemp makes it for its owner only; what a service account runs must be readable to it.
        await rm(folder, removal);
        await rename(aside, folder).catch(async (error: unknown) => {
            // Another run was faster; what it put there is as good, or else the next look says so.
            if ((await checkStored(folder, name, pin, run, variables)).state !== "good") throw error;
        });
        return join(folder, name);
    } finally {
        forget();
        await rm(aside, removal);
    }
}

const asidePrefix = ".making-";
const removal = { recursive: true, force: true, maxRetries: 5 } as const;

function stampFile(folder: string): string {
    return join(folder, ".tried");
}

/** Takes away what killed runs left. */
function sweep(cache: string): void {
    for (const entry of readdirSync(cache)) {
        const pid = new RegExp(`^${asidePrefix.replace(".", String.raw`\.`)}(\\d+)-`).exec(entry)?.[1];
        if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(cache, entry), removal);
    }
}
