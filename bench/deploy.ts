/**
 * Previews and updates of one API with and without a change: ours, ours without the Job that verifies, the same chart by a Release
 * without our guards, the stock template, and deployers that are no Pulumi. All on one simulated cluster, where pods are ready at
 * once, so what is measured is the deployer. Prints tables, asserts nothing about seconds.
 *
 * node --require ts-node/register/transpile-only bench/deploy.ts [--rounds 7] [--keep] [--guards]
 *
 * --guards: only what tells the cost of the guards and of the Job.
 */
import { ensureTools } from "../local/tools";
import { type Environment, lentCluster } from "../test/lent-cluster";
import { commandDeployers, type Deployer, names, pulumiDeployers, run } from "./deployers";
import {
    type Contender,
    difference,
    interleaved,
    machineText,
    ratio,
    report,
    roundsAsked,
    runBench,
    spreadOf,
    spreadText,
    table,
    type Times,
} from "./measure";
import { benchTools } from "./tools";

const steps = ["preview, no change", "preview, one change", "up, one change", "up, no change"] as const;
type Step = (typeof steps)[number];

const bareJob = "a Job alone";

async function main(): Promise<void> {
    const machine = machineText();
    const rounds = roundsAsked(7);
    const log = (line: string): void => void process.stderr.write(`${line}\n`);
    const { helm } = await ensureTools(["helm"], { log });
    const cluster = lentCluster();
    const deployers = process.argv.includes("--guards")
        ? pulumiDeployers().filter(({ name }) => name !== names.stock)
        : [...pulumiDeployers(), ...(await others(helm.path))];
    try {
        const env = await cluster.get();
        for (const deployer of deployers) {
            await deployer.setUp(env);
            log(`${deployer.name}: deployed`);
        }
        const contenders = [
            ...deployers.flatMap((deployer) => contendersOf(deployer, env)),
            { name: bareJob, run: () => jobAlone(env) },
        ];
        const times = await interleaved(contenders, rounds, (round) => {
            log(round === 0 ? "warm" : `round ${round} of ${rounds}`);
        });
        const how = `Medians of ${rounds} interleaved rounds, least and most in brackets.`;
        report(process.argv.includes("--guards") ? "guards" : "deploy", [...tables(times, deployers), how, machine]);
    } finally {
        for (const deployer of deployers) deployer.remove();
        await cluster.giveBack();
    }
}

async function others(helm: string): Promise<readonly Deployer[]> {
    const built = await benchTools(["helm-4", "helmfile"]);
    return commandDeployers({ helm, helm4: built["helm-4"], helmfile: built.helmfile });
}

const named = (deployer: string, step: Step): string => `${deployer}/${step}`;

/** In the order of a day's work, so that each finds what the one before left. */
function contendersOf({ name, edit, preview, up }: Deployer, env: Environment): readonly Contender[] {
    const all: Readonly<Record<Step, (() => Promise<void>) | undefined>> = {
        "preview, no change": preview && (() => preview(env, false)),
        "preview, one change": preview && (() => preview(env, true)),
        "up, one change": () => up(env, true),
        "up, no change": () => up(env, false),
    };
    const first = steps.find((step) => step !== "preview, no change" && all[step] !== undefined);
    return steps.flatMap((step): Contender[] => {
        const work = all[step];
        if (work === undefined) return [];
        const run = async () => {
            if (step === first) edit();
            await work();
        };
        return [{ name: named(name, step), run }];
    });
}

/** What the least Job takes here, from its creation until it is complete, by kubectl. */
async function jobAlone(env: Environment): Promise<void> {
    const job = ["kubectl", "--namespace", "default"];
    await run([...job, "create", "job", "alone", "--image", "localhost/alone:1"], { env });
    await run([...job, "wait", "--for", "condition=complete", "job/alone", "--timeout", "60s"], { env });
    await run([...job, "delete", "job", "alone", "--wait=false"], { env });
}

function tables(times: Times, deployers: readonly Deployer[]): readonly string[] {
    const cells = (name: string, cell: (contender: string) => string) =>
        steps.map((step) => (times.has(named(name, step)) ? cell(named(name, step)) : "–"));
    const rows = deployers.map(({ name }) => [
        name,
        ...cells(name, (contender) => spreadText(spreadOf(times.get(contender) ?? []))),
    ]);
    const ratios = deployers
        .filter(({ name }) => name !== names.ours)
        .map(({ name }) => [
            name,
            ...cells(name, (contender) =>
                spreadText(ratio(times, contender, named(names.ours, contender.slice(name.length + 1) as Step))),
            ),
        ]);
    const costs = [
        ["the guards, without the Job", names.oursWithoutJob, names.plain],
        ["the Job that verifies", names.ours, names.oursWithoutJob],
    ] as const;
    const more = costs.map(([what, one, other]) => [
        what,
        ...steps.map((step) => spreadText(difference(times, named(one, step), named(other, step)))),
    ]);
    const alone = spreadText(spreadOf(times.get(bareJob) ?? []));
    return [
        table([["seconds", ...steps], ...rows]),
        table([["× ours", ...steps], ...ratios]),
        table([["seconds more, round by round", ...steps], ...more]),
        `A Job alone, by three commands of kubectl: ${alone} s. Goal: the guards cost under 1 s of an up, the Job its own pod's start and one request.`,
    ];
}

runBench(main);
