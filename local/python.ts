import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { onPath } from "./tools";
import { withLock } from "./lock";
import { cacheDir, type Variables } from "./paths";
import { lastLines, run } from "./run";

export interface PythonOptions {
    /** One line for people. */
    readonly log: (line: string) => void;
    readonly variables?: Variables;
}

/** Milliseconds. The largest set of packages is 300 MB. */
const installLimit = 15 * 60_000;

/**
 * The Python of an environment in the cache that holds just what a file of pinned packages with hashes names. It is made when
 * it is not there; another file, even one that differs in a hash, is another environment.
 */
export async function pythonEnvironment(requirements: string, options: PythonOptions): Promise<string> {
    const variables = options.variables ?? process.env;
    const cache = cacheDir(variables);
    const key = createHash("sha256")
        .update(await readFile(requirements))
        .digest("hex")
        .slice(0, 16);
    const folder = join(cache, `python-${key}`);
    const python = join(folder, "bin", "python");
    // Written last: an environment without it is not whole.
    const complete = join(folder, "complete");
    if (existsSync(complete)) return python;
    await mkdir(cache, { recursive: true });
    const make = async (): Promise<string> => {
        if (existsSync(complete)) return python;
        options.log(`Python packages of ${basename(requirements)}: installing into the cache`);
        await rm(folder, { recursive: true, force: true });
        const own = onPath("python3", variables);
        if (own === undefined) throw new Error("There is no python3 on PATH. → Install Python 3.11 or newer.");
        // Wheels only: what would have to be compiled on this machine is not the same on the next.
        const pinned = ["--no-cache-dir", "--require-hashes", "--only-binary", ":all:", "--requirement", requirements];
        const steps = [
            [own, "-m", "venv", folder],
            [python, "-m", "pip", "install", "--quiet", ...pinned],
        ];
        for (const [program = "", ...args] of steps) {
            const result = await run(program, args, { variables, timeLimit: installLimit });
            if (result.failure !== undefined) {
                throw new Error(
                    `Python packages of ${requirements}: ${[program, ...args.slice(0, 3)].join(" ")} ${result.failure}.\n` +
                        lastLines(result.stderr, 6),
                );
            }
        }
        await writeFile(complete, "");
        return python;
    };
    return withLock(join(cache, ".locks", `python-${key}`), make);
}
