import * as fs from "node:fs";
import * as path from "node:path";
import { readProject } from "../components/config/project-file";
import { checkoutRoot } from "../local/paths";
import { capture } from "./process";
import { backendFolder, backendOf } from "./stack-lock";

/**
 * After a good deploy: takes the notes away that a run has left which was killed while it made something. Pulumi keeps them until a
 * person at a terminal, or a flag, tells it what has become of that. By now everything is there, and noted.
 *
 * @param root the project's folder
 */
export async function clearPendingCreates(
    stack: string,
    env: NodeJS.ProcessEnv,
    say: (text: string) => void,
    root = checkoutRoot,
): Promise<void> {
    if (!hasPendingCreates(backendOf(root, env), readProject(root).name, stack)) return;
    say("a killed run had begun to make something; that is noted as done now");
    const args = ["refresh", "--stack", stack, "--yes", "--skip-preview", "--clear-pending-creates"];
    await capture("pulumi", args, { env, cwd: root });
}

/** @returns false for a back end that is no folder */
function hasPendingCreates(backend: string, project: string, stack: string): boolean {
    const folder = backendFolder(backend);
    if (folder === undefined) return false;
    try {
        const state = JSON.parse(
            fs.readFileSync(path.join(folder, ".pulumi", "stacks", project, `${stack}.json`), "utf8"),
        ) as { checkpoint?: { latest?: { pending_operations?: { type?: string }[] } } };
        const pending = state.checkpoint?.latest?.pending_operations ?? [];
        return pending.some(({ type }) => type === "creating");
    } catch {
        return false; // Packed, or kept in another way: Pulumi itself tells of them.
    }
}
