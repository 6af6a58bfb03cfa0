/**
 * What grows with the number of APIs in one program and of values of one API: a preview without a change and an update of one API,
 * ours and by a Release without our guards; with its pods: an update; where the time goes; and what the state weighs. On a simulated
 * cluster, where pods are ready at once. Prints tables, asserts nothing about seconds.
 *
 * node --require ts-node/register/transpile-only bench/growth.ts [--rounds 3] [--apis 50] [--values 1000] [--pods 50] [--keep]
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { mergeValues, type Values } from "../components/config/values";
import { type Environment, lentCluster } from "../test/lent-cluster";
import { type PulumiDeployer, pulumiDeployer, run, withoutJob } from "./deployers";
import {
    interleaved,
    machineText,
    numberAsked,
    ratio,
    report,
    roundsAsked,
    runBench,
    spreadOf,
    spreadText,
    table,
    type Times,
} from "./measure";
import { devValues, plainProgram, severalApis } from "./programs";
import { partNames, parts } from "./trace";

const steps = ["preview, no change", "up, one change"] as const;
type Step = (typeof steps)[number];

/** One size, ours and without guards. */
interface Size {
    readonly what: string;
    readonly apis: number;
    readonly ours: PulumiDeployer;
    readonly plain: PulumiDeployer;
}

const log = (line: string): void => void process.stderr.write(`${line}\n`);

async function main(): Promise<void> {
    const machine = machineText();
    const rounds = roundsAsked(3);
    const upTo = (option: string, sizes: readonly number[]) => {
        const most = numberAsked(option, Math.max(...sizes));
        return sizes.filter((size) => size <= most);
    };
    const sizes = [...upTo("--apis", [1, 5, 20, 50]).map(apis), ...upTo("--values", [10, 100, 1000]).map(variables)];
    const rollouts = upTo("--pods", [10, 50]).map(pods);
    const deployers = sizes.flatMap(({ ours, plain }) => [ours, plain]);
    const cluster = lentCluster();
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    try {
        const env = await cluster.get();
        for (const deployer of deployers) {
            log(`${deployer.name}: first deploy in ${await secondsOf(() => deployer.setUp(env))} s`);
        }
        const contenders = deployers.flatMap(({ name, preview, edit, up }) => [
            { name: named(name, steps[0]), run: () => preview(env, false) },
            {
                name: named(name, steps[1]),
                run: async () => {
                    edit();
                    await up(env, true);
                },
            },
        ]);
        const times = await interleaved(contenders, rounds, (round) => {
            log(round === 0 ? "warm" : `round ${round} of ${rounds}`);
        });
        report("growth", [
            secondsTable(sizes, times),
            oneMore(sizes, times),
            await rolloutTable(rollouts, env),
            await whereItGoes(deployers, env, folder),
            await weights(deployers, env),
            `Medians of ${rounds} interleaved rounds, least and most in brackets.`,
            machine,
        ]);
    } finally {
        for (const deployer of [...deployers, ...rollouts]) deployer.remove();
        fs.rmSync(folder, { recursive: true, force: true });
        await cluster.giveBack();
    }
}

const named = (deployer: string, step: Step): string => `${deployer}/${step}`;

/** So many APIs in one program; the first of them is changed. */
function apis(count: number): Size {
    const names = Array.from({ length: count }, (_, index) => `n${count}-${index + 1}`);
    return pair(`${count} API${count === 1 ? "" : "s"}`, new Map(names.map((name) => [name, {}])));
}

/** One API with so many values: environment variables, of which the chart takes any number. */
function variables(count: number): Size {
    const names = Array.from({ length: count }, (_, index) => `VALUE_${index + 1}`);
    const env = Object.fromEntries(names.map((name) => [name, `the text of ${name}`]));
    return pair(`${count} values`, new Map([[`v${count}`, { env }]]));
}

function pods(count: number): PulumiDeployer {
    return oursOf(`${count} pods`, withoutJobs(new Map([[`p${count}`, { replicas: count }]])));
}

function pair(what: string, values: ReadonlyMap<string, Values>): Size {
    const own = withoutJobs(values);
    const whole = new Map([...own].map(([api, more]) => [api, mergeValues(devValues(), more)]));
    return {
        what,
        apis: values.size,
        ours: oursOf(what, own),
        plain: pulumiDeployer(`no guards, ${what}`, plainProgram(folderOf(what), whole), "values.json"),
    };
}

/** The Job that verifies is left out everywhere: it costs a pod, and not the program. */
function withoutJobs(values: ReadonlyMap<string, Values>): ReadonlyMap<string, Values> {
    // What is changed stands in the first API's values, and nowhere before.
    const changed = (index: number): Values => (index === 0 ? { api: { logLevel: "debug" } } : {});
    return new Map(
        [...values].map(([api, more], index) => [api, mergeValues(mergeValues(withoutJob, changed(index)), more)]),
    );
}

const folderOf = (what: string): string => what.toLowerCase().replace(" ", "-");

function oursOf(what: string, values: ReadonlyMap<string, Values>): PulumiDeployer {
    return pulumiDeployer(`ours, ${what}`, severalApis(folderOf(what), values).root, "values.json");
}

function secondsTable(sizes: readonly Size[], times: Times): string {
    const rows = sizes.map(({ what, ours, plain }) => [
        what,
        ...steps.flatMap((step) => [
            spreadText(spreadOf(times.get(named(ours.name, step)) ?? [])),
            spreadText(spreadOf(times.get(named(plain.name, step)) ?? [])),
            spreadText(ratio(times, named(ours.name, step), named(plain.name, step))),
        ]),
    ]);
    return table([["seconds", ...steps.flatMap((step) => [step, "no guards", "×"])], ...rows]);
}

/** What one API more costs, by the largest program and the smallest. */
function oneMore(sizes: readonly Size[], times: Times): string {
    const sorted = [...sizes].sort((a, b) => a.apis - b.apis);
    const [least, most] = [sorted[0], sorted.at(-1)];
    if (least === undefined || most === undefined || most.apis === least.apis) return "One size of program only.";
    const cost = (who: "ours" | "plain", step: Step): string => {
        const median = (size: Size) => spreadOf(times.get(named(size[who].name, step)) ?? []).median;
        const more = (median(most) - median(least)) / (most.apis - least.apis);
        return `${more.toFixed(2)} s, ${((100 * more) / median(least)).toFixed(0)} % of the first`;
    };
    const rows = steps.map((step) => [step, cost("ours", step), cost("plain", step)]);
    return table([[`one API more, up to ${most.apis}`, "ours", "no guards"], ...rows]);
}

/** Once, and ours alone: pod after pod the cluster waits, and whoever deploys waits with it. */
async function rolloutTable(deployers: readonly PulumiDeployer[], env: Environment): Promise<string> {
    const rows: string[][] = [];
    for (const { name, setUp, edit, up } of deployers) {
        await setUp(env);
        edit();
        const seconds = await secondsOf(() => up(env, true));
        log(`${name}: updated in ${seconds} s`);
        rows.push([name, seconds]);
    }
    return table([["one update, once", "seconds"], ...rows]);
}

/** What it takes, in whole ones. */
async function secondsOf(work: () => Promise<void>): Promise<string> {
    const began = performance.now();
    await work();
    return ((performance.now() - began) / 1000).toFixed(0);
}

/** One traced run of each, which is counted nowhere else. */
async function whereItGoes(deployers: readonly PulumiDeployer[], env: Environment, folder: string): Promise<string> {
    const rows: string[][] = [];
    for (const { name, preview, edit, up } of deployers) {
        for (const step of steps) {
            const file = path.join(folder, `${rows.length}.json`);
            const traced = { ...env, PULUMI_OPTION_OTEL_TRACES: `file://${file}` };
            if (step === steps[0]) await preview(traced, false);
            else {
                edit();
                await up(traced, true);
            }
            const found = parts(fs.readFileSync(file, "utf8"));
            rows.push([name, step, ...partNames.map((part) => found[part].toFixed(2))]);
        }
    }
    return table([["seconds of one traced run", "", ...partNames], ...rows]);
}

/** What each leaves behind. */
async function weights(deployers: readonly PulumiDeployer[], env: Environment): Promise<string> {
    const rows: string[][] = [];
    for (const { name, root } of deployers) {
        const words = ["pulumi", "stack", "export", "--stack", "dev", "--non-interactive"];
        const { stdout } = await run(words, { env, cwd: root });
        const state = JSON.parse(stdout) as { deployment: { resources: readonly unknown[] } };
        const kibibytes = JSON.stringify(state).length / 1024;
        rows.push([name, String(state.deployment.resources.length), kibibytes.toFixed(0)]);
    }
    return table([["state", "resources", "KiB"], ...rows]);
}

runBench(main);
