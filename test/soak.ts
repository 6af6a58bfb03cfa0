/**
 * Rollouts and drills again and again: `make soak N=20`. What has been done is kept in the checkout's state folder, so that a
 * run which was ended goes on where it was, as long as chart, components and examples are the same. When all is done, and only then,
 * it writes docs/results/soak.json. Exit code 1 when anything failed.
 *
 * node --require ts-node/register/transpile-only test/soak.ts N
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { execute } from "../local/clusters/node/program";
import { isRecord, readJson, writePrivate } from "../local/files";
import { checkoutRoot, stateDir } from "../local/paths";
import { run } from "../local/run";
import { noNodeBecause, ownNode } from "./cluster/own-node";
import { type Counted, rolloutKinds, Rollouts } from "./cluster/rollouts";

interface Sum {
    readonly requests: number;
    /** Lost requests by kind. */
    readonly failed: Readonly<Record<string, number>>;
}
interface Progress {
    /** Of what is tested. */
    readonly tree: string;
    readonly rollouts: Record<string, Sum[]>;
    readonly control: Sum[];
    readonly drills: Record<string, string[]>;
}

/** A drill is a test of these files. */
const drillSpecs = "test/cluster/drills*.test.ts";
const drillRuns = 3;
const tested = ["chart", "components", "examples"];
const progressFile = path.join(stateDir(), "soak.json");
const resultFile = path.join(checkoutRoot, "docs", "results", "soak.json");

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function main(wanted: number): Promise<void> {
    if (!Number.isInteger(wanted) || wanted < 1) throw new Error("How often? `make soak N=20`.");
    const git = async (...args: readonly string[]): Promise<string> =>
        (await execute("git", ["-C", checkoutRoot, ...args], { timeLimit: 30_000 })).stdout.trimEnd();
    const changed = await git("status", "--porcelain", "--", ...tested);
    if (changed !== "")
        throw new Error(`A result is of a commit, and these files are not committed:\n${changed}\n→ commit them first`);
    const names = tested.map((name) => `HEAD:${name}`);
    const tree = createHash("sha256")
        .update(await git("rev-parse", ...names))
        .digest("hex")
        .slice(0, 16);
    const progress = progressOf(tree);
    const keep = (): void => {
        writePrivate(progressFile, JSON.stringify(progress, undefined, 2));
    };
    await soakRollouts(progress, wanted, keep);
    await soakDrills(progress, keep);

    const sums = Object.entries(progress.rollouts).map(([kind, runs]) => [kind, { runs: runs.length, ...total(runs) }]);
    const result = {
        commit: await git("rev-parse", "HEAD"),
        date: new Date().toISOString().slice(0, 10),
        rollouts: Object.fromEntries(sums) as Record<string, { runs: number; requests: number; failed: number }>,
        control: total(progress.control),
        drills: progress.drills,
    };
    fs.mkdirSync(path.dirname(resultFile), { recursive: true });
    fs.writeFileSync(resultFile, `${JSON.stringify(result, undefined, 4)}\n`);
    say(`wrote ${path.relative(checkoutRoot, resultFile)}`);
    const lost = Object.values(result.rollouts).some(({ failed }) => failed > 0);
    const red = Object.values(result.drills)
        .flat()
        .some((outcome) => outcome !== "passed");
    if (lost || red || result.control.failed === 0) process.exitCode = 1;
}

/** What an earlier run has done with the same chart, components and examples; nothing when they were others. */
function progressOf(tree: string): Progress {
    const found = readJson(progressFile);
    if (isRecord(found) && found["tree"] === tree) return found as unknown as Progress;
    return { tree, rollouts: {}, control: [], drills: {} };
}

async function soakRollouts(progress: Progress, wanted: number, keep: () => void): Promise<void> {
    const runsOf = (kind: string): Sum[] => (progress.rollouts[kind] ??= []);
    const left = () => rolloutKinds.filter((kind) => runsOf(kind).length < wanted);
    if (left().length === 0 && progress.control.length > 0) return;
    const reasons = await noNodeBecause();
    if (reasons.length > 0) throw new Error(`Real pods cannot run here: ${reasons.join("; ")}`);
    const node = await ownNode("soak", "soak");
    try {
        const rollouts = await Rollouts.start(node, "soak");
        try {
            const note = (what: string, list: Sum[], { requests, failed }: Counted): void => {
                list.push({ requests, failed });
                keep();
                say(`${what} ${list.length}: ${requests} requests, lost ${JSON.stringify(failed)}`);
            };
            if (progress.control.length === 0) {
                const change = await rollouts.changeWithoutPreStop();
                await rollouts.heal();
                note("control", progress.control, await rollouts.counted(change));
            }
            while (left().length > 0) for (const kind of left()) note(kind, runsOf(kind), await rollouts.rollout(kind));
        } finally {
            await rollouts.stop();
        }
    } finally {
        await node.down();
    }
}

/** Each drill three times; which there are is known when they have run once. */
async function soakDrills(progress: Progress, keep: () => void): Promise<void> {
    const done = (): number => Math.min(drillRuns, ...Object.values(progress.drills).map(({ length }) => length));
    const first = Object.keys(progress.drills).length === 0 ? 0 : done();
    for (let round = first; round < drillRuns; round++) {
        const report = path.join(path.dirname(progressFile), "soak-drills.json");
        const program = path.join(checkoutRoot, "test", "run.ts");
        const args = ["--require", "ts-node/register/transpile-only", program, "cluster"];
        const variables = { ...process.env, SPEC: drillSpecs, ML_API_TEST_ALL: "1", ML_API_TEST_REPORT: report };
        fs.rmSync(report, { force: true });
        await run(process.execPath, args, { cwd: checkoutRoot, variables, timeLimit: 3_600_000 });
        const outcomes = readJson(report);
        if (!isRecord(outcomes) || !Array.isArray(outcomes["tests"])) throw new Error("The drills left no report.");
        for (const { fullTitle, err } of outcomes["tests"] as { fullTitle: string; err?: { message?: string } }[]) {
            const message = err?.message?.split("\n")[0];
            (progress.drills[fullTitle] ??= []).push(message === undefined ? "passed" : `failed: ${message}`);
        }
        keep();
        say(`drills, round ${round + 1} of ${drillRuns}`);
    }
}

function total(runs: readonly Sum[]): { requests: number; failed: number } {
    const sum = (numbers: readonly number[]): number => numbers.reduce((so, far) => so + far, 0);
    return {
        requests: sum(runs.map(({ requests }) => requests)),
        failed: sum(runs.flatMap(({ failed }) => Object.values(failed))),
    };
}

main(Number(process.argv[2])).catch((error: unknown) => {
    say(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
});
