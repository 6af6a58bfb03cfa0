/**
 * How long a preview takes that has nothing to change, of our program, of one Namespace and of the stock template with the same
 * chart, on one cluster and on one that does not answer; and what a chart of 300 objects costs. Prints a table, asserts nothing.
 *
 * node --require ts-node/register/transpile-only bench/preview.ts [--rounds 9] [--keep]
 */
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { promisify } from "node:util";
import { Checkout } from "../test/cluster/checkout";
import { type Environment, lentCluster } from "../test/lent-cluster";
import {
    type Contender,
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
import { manyObjects, namedCheckout, namespaceProgram, stockProgram } from "./programs";

const OBJECTS = 300;

interface Program {
    readonly name: "one Namespace" | "ours" | "stock template" | "ours, 300 objects";
    readonly root: string;
}

async function main(): Promise<void> {
    const machine = machineText();
    const rounds = roundsAsked(9);
    const cluster = lentCluster();
    const silent = await silentServer();
    const ours = new Checkout();
    const many = namedCheckout("many");
    many.write("chart/templates/many.yaml", manyObjects(OBJECTS));
    const programs: Program[] = [
        { name: "one Namespace", root: namespaceProgram() },
        { name: "ours", root: ours.root },
        { name: "stock template", root: stockProgram() },
        { name: "ours, 300 objects", root: many.root },
    ];
    try {
        const env = await cluster.get();
        for (const { root } of programs) await setUp(root, env);
        const deadFolder = programs[0]?.root ?? "";
        const clusters: readonly (readonly [string, Environment])[] = [
            ["live", env],
            ["refuses", { ...env, ...dead(deadFolder, "refuses", 1) }],
            ["is silent", { ...env, ...dead(deadFolder, "silent", silent.port) }],
        ];
        const contenders = programs.flatMap(({ name, root }): Contender[] =>
            clusters
                .filter(([answer]) => answer === "live" || name === "one Namespace" || name === "ours")
                .map(([answer, variables]) => ({ name: `${name}/${answer}`, run: () => preview(root, variables) })),
        );
        const times = await interleaved(contenders, rounds, (round) =>
            process.stderr.write(round === 0 ? "warm\n" : `round ${round} of ${rounds}\n`),
        );
        print(times, contenders, rounds, await stateSize(many.root, env), machine);
    } finally {
        silent.close();
        for (const { root } of programs) fs.rmSync(root, { recursive: true, force: true });
        await cluster.giveBack();
    }
}

function print(times: Times, contenders: readonly Contender[], rounds: number, state: string, machine: string): void {
    const rows = contenders.map(({ name }) => {
        const [program = "", answer = ""] = name.split("/");
        const isOurs = program.startsWith("ours");
        return [
            program,
            answer,
            spreadText(spreadOf(times.get(name) ?? [])),
            isOurs ? spreadText(ratio(times, name, `one Namespace/${answer}`)) : "",
            isOurs && answer === "live" ? spreadText(ratio(times, name, "stock template/live")) : "",
        ];
    });
    const head = ["preview without a change", "cluster", "seconds", "× one Namespace", "× stock template"];
    report("preview", [
        table([head, ...rows]),
        `Medians of ${rounds} interleaved rounds, least and most in brackets.`,
        `Goals: at most 1.3 × one Namespace (2 s more where the cluster is silent), at most 0.5 × stock.`,
        state,
        machine,
    ]);
}

const run = promisify(execFile);

async function pulumi(root: string, env: Environment, ...args: string[]): Promise<string> {
    const options = { cwd: root, env, maxBuffer: 256 << 20, timeout: 300_000 };
    const { stdout } = await run("pulumi", [...args, "--stack", "dev", "--non-interactive"], options);
    return stdout;
}

async function setUp(root: string, env: Environment): Promise<void> {
    await run("pulumi", ["stack", "init", "dev", "--non-interactive"], { cwd: root, env });
    await pulumi(root, env, "up", "--yes", "--skip-preview");
}

async function preview(root: string, env: Environment): Promise<void> {
    await pulumi(root, env, "preview", "--expect-no-changes");
}

/** What the state and Helm's record of the chart with many objects weigh. */
async function stateSize(root: string, env: Environment): Promise<string> {
    const state = JSON.parse(await pulumi(root, env, "stack", "export")) as {
        deployment: { resources: { type: string }[] };
    };
    const shown = state.deployment.resources.filter(({ type }) => type === "ml-api:index:RenderedObjects");
    const selector = ["--selector", "owner=helm,name=many", "--output", "jsonpath={.items[0].data.release}"];
    const { stdout } = await run("kubectl", ["get", "secrets", "--namespace", "many-dev", ...selector], { env });
    const kib = (value: string) => `${Math.round(value.length / 1024)} KiB`;
    return (
        `State of the ${OBJECTS} objects: ${kib(JSON.stringify(state))}, of which the rendered objects ${kib(JSON.stringify(shown))}; ` +
        `Helm's own record: ${kib(stdout)}.`
    );
}

/** A kubeconfig of a cluster on this machine that nobody answers for. */
function dead(folder: string, name: string, port: number): Environment {
    const file = path.join(folder, `${name}.kubeconfig`);
    fs.writeFileSync(
        file,
        JSON.stringify({
            "current-context": name,
            contexts: [{ name, context: { cluster: name, user: name } }],
            clusters: [{ name, cluster: { server: `https://127.0.0.1:${port}` } }],
            users: [{ name, user: { token: "none" } }],
        }),
    );
    return { KUBECONFIG: file, ML_API_CONTEXT: undefined };
}

/** Takes every connection and never says a word. */
async function silentServer(): Promise<{ port: number; close: () => void }> {
    const open = new Set<Socket>();
    const server = createServer((socket) => {
        open.add(socket);
        socket.on("close", () => open.delete(socket)).on("error", () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const close = () => {
        server.close();
        for (const socket of open) socket.destroy();
    };
    return { port: (server.address() as AddressInfo).port, close };
}

runBench(main);
