import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { foreground } from "./process";

/** Milliseconds between two looks whether the program has given up. */
const LOOK_MS = 500;

/**
 * Runs `pulumi up` in the foreground, and interrupts it when its program says that it cannot succeed: Helm then takes back what it
 * has begun, minutes before its time would be up. The reason is shown at once, and again at the end.
 *
 * @returns its exit code
 */
export async function foregroundUntilHopeless(
    file: string,
    args: readonly string[],
    { env, cwd }: { env: NodeJS.ProcessEnv; cwd: string },
): Promise<number> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-up-"));
    const reasonFile = path.join(folder, "reason");
    const hopeless = new AbortController();
    let reason: string | undefined;
    const timer = setInterval(() => {
        if (reason !== undefined || !fs.existsSync(reasonFile)) return;
        reason = fs.readFileSync(reasonFile, "utf8");
        process.stderr.write(
            `\nThis cannot succeed any more, so it is ended now, and Helm takes back what it has begun:\n${reason}\n`,
        );
        hopeless.abort();
    }, LOOK_MS);
    try {
        const code = await foreground(file, args, {
            env: { ...env, ML_API_GIVE_UP_FILE: reasonFile },
            cwd,
            interrupt: hopeless.signal,
        });
        if (reason !== undefined) process.stderr.write(`\nIt was ended early, because:\n${reason}\n`);
        return code;
    } finally {
        clearInterval(timer);
        fs.rmSync(folder, { recursive: true, force: true });
    }
}
