import * as fs from "node:fs";
import { cacheDir } from "../local/paths";
import { ensureTools, toolNames } from "../local/tools";

export async function toolsCommand(): Promise<void> {
    await ensureTools(toolNames);
}

export function cleanTools(): void {
    const folder = cacheDir();
    fs.rmSync(folder, { recursive: true, force: true });
    process.stdout.write(`removed ${folder}\n`);
}
