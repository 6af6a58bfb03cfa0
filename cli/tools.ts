import * as fs from "node:fs";
import { cacheDir } from "../local/paths";
import { ensureTools, toolNames } from "../local/tools";

export async function toolsCommand(options: { clean?: boolean }): Promise<void> {
    if (options.clean !== true) {
        await ensureTools(toolNames);
        return;
    }
    const folder = cacheDir();
    fs.rmSync(folder, { recursive: true, force: true });
    process.stdout.write(`removed ${folder}\n`);
}
