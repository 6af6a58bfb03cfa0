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
import {
    type Change,
    nodeLearnsLateSeconds,
    type RolloutKind,
    rolloutKinds,
    Rollouts,
    shortcomings,
} from "./cluster/rollouts";

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
const drillSpecs = ["drills", "drills-node", "interference", "kills", "verify"].map(
    (name) => `test/cluster/${name}.test.ts`,
);
const drillRuns = 3;
/** Releases on one node, each with a load of its own: a rollout mostly waits, and its neighbours keep the node busy. */
const releases = 3;
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
    const rounds = Array.from({ length: wanted }, (_, round) =>
        rolloutKinds.filter((kind) => runsOf(kind).length <= round),
    );
    const waiting: (RolloutKind | "control")[] = rounds.flat();
    if (progress.control.length === 0) waiting.unshift("control");
    if (waiting.length === 0) return;
    const reasons = await noNodeBecause();
    if (reasons.length > 0) throw new Error(`Real pods cannot run here: ${reasons.join("; ")}`);

    const count = async (kind: RolloutKind | "control", rollouts: Rollouts, change: Change): Promise<void> => {
        const counted = await rollouts.counted(change);
        const { requests, failed } = counted;
        // One that shows nothing counts for nothing. The control's pods are not asked for long requests in flight.
        const nothing = kind === "control" ? [] : shortcomings(change, counted);
        if (nothing.length > 0 && Object.keys(failed).length === 0) {
            waiting.push(kind);
            say(`${kind}, once more: ${nothing.join("; ")}`);
            return;
        }
        const list = kind === "control" ? progress.control : runsOf(kind);
        list.push({ requests, failed });
        keep();
        const seconds = Math.round((change.to - change.from) / 1000);
        say(`${kind} ${list.length}: ${requests} requests in ${seconds} s, lost ${JSON.stringify(failed)}`);
        if (kind === "control") return;
        const ends = [...change.ended].map(([pod, at]) => `${pod} ${at - change.from}`);
        for (const { share, connection, began, ended, pod = "?", failure = "" } of counted.losses.slice(0, 10))
            say(
                `  ${failure}: ${share}, ${connection}, ${began - change.from} to ${ended - change.from} ms, ${pod}; SIGTERM: ${ends.join(", ")}`,
            );
    };
    const work = async (rollouts: Rollouts): Promise<void> => {
        const counting: Promise<void>[] = [];
        for (let kind = waiting.shift(); kind !== undefined; kind = waiting.shift()) {
            const change = await (kind === "control" ? rollouts.changeWithoutPreStop() : rollouts.change(kind));
            // The next one begins while the last answers are on their way.
            counting.push(count(kind, rollouts, change));
            if (kind === "control") await rollouts.heal();
            // What counted for nothing comes again.
            if (waiting.length === 0) await Promise.all(counting);
        }
        await Promise.all(counting);
    };

    const node = await ownNode("soak", "soak-1");
    const running: Rollouts[] = [];
    let learnInTime = (): void => undefined;
    // Whoever ends it, at any time, leaves no node behind.
    const ended = new Promise<never>((_, reject) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const)
            process.on(signal, () => {
                reject(new Error(`ended by ${signal}; the next run goes on here`));
            });
    });
    try {
        for (let number = 1; number <= releases; number++) {
            const namespace = `soak-${number}`;
            running.push(await Rollouts.start(number === 1 ? node : await node.beside(namespace), namespace));
        }
        learnInTime = await node.learnLate(nodeLearnsLateSeconds);
        await Promise.race([ended, Promise.all(running.map(work))]);
    } finally {
        learnInTime();
        await Promise.all(running.map((one) => one.stop()));
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
        const variables = {
            ...process.env,
            SPEC: drillSpecs.join(","),
            ML_API_TEST_ALL: "1",
            ML_API_TEST_REPORT: report,
        };
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
    // Rollouts that were ended half-way may still wait for something.
    process.exit(1);
});
