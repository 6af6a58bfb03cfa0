import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/**
 * A stack of the local, passphrase-encrypted back end writes its salt into `Pulumi.<stack>.yaml`. It is of no use to anybody
 * else, so this clone's git is told not to see it: `git status` stays empty, and no commit carries it. Everything is kept
 * below `.git`; a folder that is no git checkout is left as it is.
 *
 * @param stackFiles the stack files, relative to the checkout; call it again once Pulumi has written the salts
 */
export function hideStackSalt(checkout: string, stackFiles: readonly string[]): void {
    let gitDir: string;
    try {
        gitDir = git(checkout, "rev-parse", "--path-format=absolute", "--git-common-dir");
    } catch {
        return;
    }
    git(checkout, "config", "--local", `filter.${FILTER}.clean`, "sed '/^encryptionsalt:/d'");
    addLine(path.join(gitDir, "info", "attributes"), `/Pulumi.*.yaml filter=${FILTER}`);
    // git takes a file of another size for changed without looking into it. Adding it makes git look; only files that are
    // the same but for the salt are added, so nobody's edit is staged.
    for (const file of stackFiles) {
        const staged = git(checkout, "ls-files", "--stage", "--", file).split(/\s/)[1];
        if (staged !== undefined && staged === git(checkout, "hash-object", "--", file))
            git(checkout, "add", "--", file);
    }
}

/**
 * Takes the salt out of a stack file, where it belongs to a passphrase that is gone: Pulumi would refuse to make the stack
 * anew. A file with secrets is left alone, they can be read with that passphrase only.
 */
export function forgetStackSalt(checkout: string, stackFile: string): void {
    const file = path.join(checkout, stackFile);
    const text = fs.readFileSync(file, "utf8");
    const without = text.replace(/^encryptionsalt:.*\n?/m, "");
    if (without !== text && !/^\s+secure:/m.test(text)) fs.writeFileSync(file, without);
}

const FILTER = "ml-api-stack-salt";

function addLine(file: string, line: string): void {
    const present = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
    if (present.split("\n").includes(line)) return;
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.appendFileSync(file, `${present === "" || present.endsWith("\n") ? "" : "\n"}${line}\n`);
}

function git(checkout: string, ...args: string[]): string {
    return execFileSync("git", ["-C", checkout, ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
    }).trim();
}
