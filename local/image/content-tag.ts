import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { parseIgnore } from "./dockerignore";

/**
 * First 16 hex digits of a hash over what enters an image: the Dockerfile and every file the .dockerignore lets through,
 * by place, content and whether it can be executed. Times, owners and the place of the checkout do not count; a symbolic
 * link counts by what it says, and is not followed.
 */
export async function contentTag(folder: string): Promise<string> {
    const hash = createHash("sha256");
    for (const place of await imageFiles(folder)) {
        const file = path.join(folder, place);
        const stat = await fs.lstat(file);
        const content = stat.isSymbolicLink() ? Buffer.from(await fs.readlink(file)) : await fs.readFile(file);
        const kind = stat.isSymbolicLink() ? "link" : (stat.mode & 0o100) === 0 ? "file" : "program";
        // Lengths keep two neighbours from being read as one.
        hash.update(`${kind} ${Buffer.byteLength(place)} ${place} ${content.length}\n`).update(content);
    }
    return hash.digest("hex").slice(0, 16);
}

/** Places below the folder, with slashes and sorted, of what `docker build` would take from it. */
export async function imageFiles(folder: string): Promise<readonly string[]> {
    const ignored = parseIgnore(await fs.readFile(path.join(folder, ".dockerignore"), "utf8").catch(() => ""));
    const places: string[] = [];
    const walk = async (below: string): Promise<void> => {
        for (const entry of await fs.readdir(path.join(folder, below), { withFileTypes: true })) {
            const place = below === "" ? entry.name : `${below}/${entry.name}`;
            if (entry.isDirectory()) {
                // Not left out as a whole: a later rule may take something below it back in.
                await walk(place);
            } else if ((entry.isFile() || entry.isSymbolicLink()) && (place === "Dockerfile" || !ignored(place))) {
                places.push(place);
            }
        }
    };
    await walk("");
    return places.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
}
