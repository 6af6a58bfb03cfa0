import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { isScalar, LineCounter, parseDocument, visit } from "yaml";
import { checkoutRoot } from "../local/paths";
import { lastLines, run } from "../local/run";
import type { Finding, Looked } from "./scanner";

interface Fault {
    readonly message: string;
    readonly filepath: string;
    readonly line: number;
    readonly kind: string;
}

/** The workflows: expressions, contexts, inputs of actions, shell injection; and every action named by a commit. */
export async function actionlint(program: string, root = checkoutRoot): Promise<Looked> {
    const workflows = filesIn(join(root, ".github", "workflows"));
    if (workflows.length === 0) throw new Error(".github/workflows holds no workflow");
    // What is not installed everywhere would find more on one machine than on another.
    const args = ["-shellcheck", "", "-pyflakes", "", "-format", "{{json .}}"];
    const result = await run(program, [...args, ...workflows], {
        cwd: root,
        variables: process.env,
        timeLimit: 60_000,
    });
    const faults = parsed(result.stdout);
    if (faults === undefined)
        throw new Error(`actionlint ${result.failure ?? "said nothing"}:\n${lastLines(result.stderr, 6)}`);
    const all = [...workflows, ...filesIn(join(root, ".github", "actions"))];
    const findings = [
        ...faults.map(({ kind, message, filepath, line }) => ({
            check: kind,
            object: `${relative(root, resolve(root, filepath))}:${line}`,
            message,
        })),
        ...all.flatMap((file) => movingActions(readFileSync(file, "utf8"), relative(root, file))),
    ];
    return { findings, at: `${workflows.length} workflows` };
}

/** Actions and images that somebody else can move to other code: everything but a commit, a digest, and this repository's own. */
export function movingActions(text: string, file: string): Finding[] {
    const lines = new LineCounter();
    const found: Finding[] = [];
    visit(parseDocument(text, { lineCounter: lines }), {
        Pair(_, { key, value }) {
            if (!isScalar(key) || key.value !== "uses" || !isScalar(value)) return;
            const uses = String(value.value);
            if (/^(?:[^@]+@[0-9a-f]{40}|\.\/.+|docker:\/\/[^@]+@sha256:[0-9a-f]{64})$/.test(uses)) return;
            const line = lines.linePos(value.range?.[0] ?? 0).line;
            found.push({
                check: "moving-action",
                object: `${file}:${line}`,
                message: `${uses} is not named by a commit: whoever moves its tag runs code here`,
            });
        },
    });
    return found;
}

function filesIn(folder: string): string[] {
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((name) => /\.ya?ml$/.test(name))
        .sort()
        .map((name) => join(folder, name));
}

function parsed(text: string): readonly Fault[] | undefined {
    try {
        return JSON.parse(text) as Fault[];
    } catch {
        return undefined;
    }
}
