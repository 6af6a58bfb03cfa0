import * as fs from "node:fs";
import * as path from "node:path";
import { generated, stale } from "../branching/generators";
import { loadBranchMap, MAP_FILE, stacksByEnvironment } from "../branching/map";
import { InputError } from "../components/config/problem";
import { onInterrupt } from "../local/interrupt";
import { FILE_MODE, type NewPlan } from "./new-plan";

/** What was written, relative to the project's root. */
export interface Written {
    readonly created: readonly string[];
    readonly changed: readonly string[];
}

/**
 * Writes a plan: its new files, its edits, and what is generated from the list of stacks. When anything goes wrong, or `verify`
 * does not agree with the result, everything is as it was before.
 *
 * @throws what went wrong
 */
export async function writeApi(root: string, plan: NewPlan, verify: () => Promise<void>): Promise<Written> {
    const there = [...plan.files.keys()].filter((file) => fs.existsSync(path.join(root, file)));
    if (there.length > 0)
        throw new InputError(
            "new API",
            there.map((file) => ({
                where: file,
                what: "it is there already, and nothing is overwritten",
                fix: "choose another name",
            })),
        );
    const created: string[] = [];
    const folders: string[] = [];
    const before = new Map<string, string>();
    const change = (file: string, text: string): void => {
        const full = path.join(root, file);
        if (!before.has(file)) before.set(file, fs.readFileSync(full, "utf8"));
        fs.writeFileSync(full, text);
    };
    const undo = (): void => {
        for (const [file, text] of before) fs.writeFileSync(path.join(root, file), text);
        for (const file of created) fs.rmSync(path.join(root, file), { force: true });
        // Folders that were made for it, unless they hold something else by now.
        for (const folder of folders.reverse()) removeEmpty(folder);
    };
    const release = onInterrupt(undo);
    try {
        for (const [file, text] of plan.files) {
            const full = path.join(root, file);
            const folder = fs.mkdirSync(path.dirname(full), { recursive: true });
            if (folder !== undefined) folders.push(folder);
            const bytes = typeof text === "string" ? text : fs.readFileSync(text.copyOf);
            fs.writeFileSync(full, bytes, { flag: "wx", mode: FILE_MODE });
            created.push(file);
            fs.chmodSync(full, FILE_MODE);
        }
        for (const [file, text] of plan.edits) change(file, text);
        if (fs.existsSync(path.join(root, MAP_FILE))) {
            const stacks = stacksByEnvironment(root);
            const files = generated(root, loadBranchMap(root, stacks), stacks);
            for (const { where } of stale(root, files)) change(where, files.get(where) ?? "");
        }
        await verify();
    } catch (error) {
        undo();
        throw error;
    } finally {
        release();
    }
    return { created, changed: [...before.keys()] };
}

function removeEmpty(folder: string): void {
    if (!fs.existsSync(folder)) return;
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
        if (entry.isDirectory()) removeEmpty(path.join(folder, entry.name));
    }
    if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
}
