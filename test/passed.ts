import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { cacheDir, checkoutRoot } from "../local/paths";

export interface Passed {
    readonly before: boolean;
    readonly files: number;
    /** To be called once the check has passed. */
    readonly remember: () => void;
}

/**
 * Whether a check, whose result only depends on files and Node.js, has passed with these very ones, in any clone of this user.
 *
 * @param name what tells the check from all others, its options included
 * @param reads paths from the root that count; packages count by the lock file
 * @returns undefined where git does not tell the files
 */
export function passedBefore(
    name: readonly string[],
    reads: RegExp,
    root = checkoutRoot,
    cache = cacheDir(),
): Passed | undefined {
    const names = filesOf(root)?.filter((file) => reads.test(file) && fs.existsSync(path.join(root, file)));
    if (names === undefined) return undefined;
    const hash = createHash("sha256").update(JSON.stringify([name, process.version, names]));
    for (const file of names) {
        const text = fs.readFileSync(path.join(root, file));
        hash.update(`${text.length}\n`).update(text);
    }
    const mark = path.join(cache, "passed", hash.digest("hex"));
    return {
        before: fs.existsSync(mark),
        files: names.length,
        remember: () => {
            fs.mkdirSync(path.dirname(mark), { recursive: true });
            fs.writeFileSync(mark, "");
        },
    };
}

function filesOf(root: string): string[] | undefined {
    try {
        const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
            cwd: root,
            encoding: "utf8",
            stdio: ["ignore", "pipe", "ignore"],
        });
        return [...new Set(listed.split("\0"))].filter((file) => file !== "").sort();
    } catch {
        return undefined;
    }
}
