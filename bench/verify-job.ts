/**
 * What the Job that verifies a deploy costs on a real local node: an upgrade with it and without it, beside a Job of the same pod that
 * does nothing. Goal: its own pod's start and one request. Prints a table, asserts nothing about seconds.
 *
 * node --require ts-node/register/transpile-only bench/verify-job.ts [--rounds 7] [--keep]
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { checkoutRoot } from "../local/paths";
import { environmentValues, merged, type Values } from "../test/chart/helm";
import { noNodeBecause, ownNode, type OwnNode } from "../test/cluster/own-node";
import { withoutJob } from "./deployers";
import {
    difference,
    interleaved,
    machineText,
    report,
    roundsAsked,
    runBench,
    spreadOf,
    spreadText,
    table,
} from "./measure";

const release = "wine";
const chart = path.join(checkoutRoot, "chart");
const names = {
    without: "upgrade, no verify Job",
    with: "upgrade, verify Job",
    idle: "a Job of the same pod that does nothing",
} as const;

interface Job {
    readonly kind: string;
    readonly metadata: { name: string; annotations?: unknown; labels?: unknown };
    readonly spec: { template: { spec: { containers: [{ command: readonly string[] }] } } };
}

async function main(): Promise<void> {
    const machine = machineText();
    const reasons = await noNodeBecause();
    if (reasons.length > 0) throw new Error(`real pods cannot run here: ${reasons.join("; ")}`);
    const rounds = roundsAsked(7);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    const node = await ownNode("verify bench", "bench");
    try {
        const values = merged(environmentValues("dev"), {
            image: { ...node.image },
            apiKey: { existingSecret: "key" },
        });
        let round = 0;
        // Each upgrade restarts the pods, as one that changes something does.
        const upgrade = (own: Values) => helm(node, merged(merged(values, own), { env: { ROUND: String(round++) } }));
        const idle = await idleJob(node, values);
        const file = path.join(folder, "job.yaml");
        fs.writeFileSync(file, stringify(idle));
        await upgrade({});
        const times = await interleaved(
            [
                { name: names.without, run: () => upgrade(withoutJob) },
                { name: names.with, run: () => upgrade({}) },
                {
                    name: names.idle,
                    run: async () => {
                        await node.kubectl("create", "--filename", file);
                        await node.kubectl(
                            "wait",
                            "--for",
                            "condition=complete",
                            `job/${idle.metadata.name}`,
                            "--timeout",
                            "60s",
                        );
                        await node.kubectl("delete", "--filename", file, "--wait=false");
                    },
                },
            ],
            rounds,
            (done) => void process.stderr.write(done === 0 ? "warm\n" : `round ${done} of ${rounds}\n`),
        );
        const rows = Object.values(names).map((name) => [name, spreadText(spreadOf(times.get(name) ?? []))]);
        const cost = spreadText(difference(times, names.with, names.without));
        report("verify-job", [
            table([["on a real node", "seconds"], ...rows, ["what the verify Job adds", cost]]),
            `Medians of ${rounds} interleaved rounds, least and most in brackets.`,
            machine,
        ]);
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
        await node.down();
    }
}

async function helm(node: OwnNode, values: Values): Promise<void> {
    const flags = ["--install", "--atomic", "--timeout", "300s", "--values", node.valuesFile(values)];
    const { failure, stderr } = await node.helm("upgrade", release, chart, ...flags);
    if (failure !== undefined) throw new Error(`helm upgrade ${failure}: ${stderr}`);
}

/** The Job that verifies, as the chart renders it, with nothing to do and nothing that makes it a hook. */
async function idleJob(node: OwnNode, values: Values): Promise<Job> {
    const words = [release, chart, "--show-only", "templates/job.yaml", "--values", node.valuesFile(values)];
    const { failure, stdout, stderr } = await node.helm("template", ...words);
    if (failure !== undefined) throw new Error(`helm template ${failure}: ${stderr}`);
    const objects = parseAllDocuments(stdout).map((document) => document.toJS() as Job | null);
    const job = objects.find((object) => object?.kind === "Job");
    if (job === undefined || job === null) throw new Error("the chart renders no Job");
    job.metadata.name = "idle";
    delete job.metadata.annotations;
    job.spec.template.spec.containers[0].command = ["python3", "-I", "-c", ""];
    return job;
}

runBench(main);
