import * as fs from "node:fs";
import * as path from "node:path";
import type { Problem } from "../../components/config/problem";
import { checkoutImages } from "../../local/image/sources";
import type { BranchMap } from "../map";
import { deploymentSettings } from "./deployments";
import { deployerTable, environments, rulesets } from "./github";
import { imageWorkflow } from "./image";
import { pullRequestWorkflow } from "./pull-request";
import { pushWorkflow } from "./push";
import { reviewWorkflow } from "./review";
import { scanWorkflow } from "./scan";

/** The part of docs/branching.md that is generated. */
const TABLE = { file: "docs/branching.md", begin: "<!-- deployers: begin -->", end: "<!-- deployers: end -->" };

/** The text of a file that is not there, and is not to be. */
const NOT_THERE = "";

/** Everything that follows from the branch map: path from the root → text. */
export function generated(
    root: string,
    map: BranchMap,
    stacks: Readonly<Record<string, readonly string[]>>,
): ReadonlyMap<string, string> {
    const images = checkoutImages(root);
    return new Map([
        [".github/workflows/pull-request.yaml", pullRequestWorkflow(map)],
        [".github/workflows/push.yaml", pushWorkflow(map)],
        [".github/workflows/scan.yaml", scanWorkflow()],
        ...(images.length === 0 ? [] : [[".github/workflows/image.yaml", imageWorkflow(map, images)] as const]),
        [".github/workflows/review.yaml", reviewWorkflow(map) ?? NOT_THERE],
        [".github/rulesets.json", rulesets(map)],
        [".github/environments.json", environments(map)],
        ["deployments/settings.json", deploymentSettings(map, stacks)],
        [TABLE.file, between(read(root, TABLE.file), deployerTable(map))],
    ]);
}

/** The generated files that are not what the branch map says. */
export function stale(root: string, files: ReadonlyMap<string, string>): Problem[] {
    return [...files]
        .filter(([file, text]) => read(root, file) !== text)
        .map(([file]) => ({
            where: file,
            what: "it is not what branching/branches.yaml says",
            fix: "npx --no ml-api branches --write; change the map, never this file",
        }));
}

export function write(root: string, files: ReadonlyMap<string, string>): void {
    for (const [file, text] of files) {
        if (text === NOT_THERE) {
            fs.rmSync(path.join(root, file), { force: true });
            continue;
        }
        fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        fs.writeFileSync(path.join(root, file), text);
    }
}

function read(root: string, file: string): string {
    const full = path.join(root, file);
    return fs.existsSync(full) ? fs.readFileSync(full, "utf8") : NOT_THERE;
}

function between(document: string, text: string): string {
    const begin = document.indexOf(TABLE.begin);
    const end = document.indexOf(TABLE.end);
    if (begin < 0 || end < begin) throw new Error(`${TABLE.file} has no ${TABLE.begin} … ${TABLE.end}`);
    return `${document.slice(0, begin + TABLE.begin.length)}\n\n${text}\n\n${document.slice(end)}`;
}
