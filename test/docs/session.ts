import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** What is typed before each block, and kept after it: a page is read in one shell. */
const BEFORE = `set -euo pipefail
. "$ML_API_PAGE_STATE"
cd "$ML_API_PAGE_FOLDER"
trap '{ export -p; printf "ML_API_PAGE_FOLDER=%q\\n" "$PWD"; } > "$ML_API_PAGE_STATE"' EXIT
set -a
`;

/** A shell in which the blocks of a page are typed one after the other: its folder and its variables carry over. */
export class Session {
    private readonly state: string;

    /** @param folder for what the session keeps; not the one that it works in */
    constructor(
        folder: string,
        private readonly start: string,
        private readonly env: NodeJS.ProcessEnv,
    ) {
        this.state = path.join(folder, `session-${process.hrtime.bigint()}`);
        fs.writeFileSync(this.state, "");
    }

    /**
     * Runs a block; every command of it has to end with 0.
     *
     * @returns what it printed, both streams
     * @throws an error with what it printed
     */
    async run(text: string): Promise<string> {
        const env = { ...this.env, ML_API_PAGE_STATE: this.state, ML_API_PAGE_FOLDER: this.start };
        const child = spawn("bash", ["-c", BEFORE + text], { env, stdio: ["ignore", "pipe", "pipe"] });
        let printed = "";
        for (const stream of [child.stdout, child.stderr])
            stream.setEncoding("utf8").on("data", (chunk: string) => (printed += chunk));
        const code = await new Promise<number | undefined>((resolve, reject) => {
            child.on("error", reject);
            child.on("close", (exit) => {
                resolve(exit ?? undefined);
            });
        });
        if (code !== 0) throw new Error(`ended with ${code ?? "a signal"}:\n${text}\n${printed}`);
        return printed;
    }
}
