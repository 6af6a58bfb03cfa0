/**
 * The sample API beside MLServer, BentoML and LitServe with the same model, the same requests and one core each: how many requests a
 * second are answered in time, latency at a rate that all of them bear, memory, and the time from start to the first prediction. In
 * each round every server is started anew, so that whatever else the machine does meets all of them. Prints a table, asserts nothing
 * about speed.
 *
 * node --require ts-node/register/transpile-only bench/serving.ts [--rounds 5] [--seconds 4] [--keep]
 */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { checkoutRoot } from "../local/paths";
import { freePorts } from "../local/ports";
import { pythonEnvironment } from "../local/python";
import { onPath } from "../local/tools";
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
} from "./measure";
import { type Answered, highest, load, rateOf } from "./serving/load";
import { memoryOf, type Row, type Running, type Server, servers, start, versionOf } from "./serving/servers";
import { benchTools } from "./tools";

/** Milliseconds within which 99 of 100 requests are to be answered, and every one of them well. */
const inTime = 50;
/** Of ten requests, nine ask about one bottle and one about so many. */
const bottlesAtOnce = 32;
const startSeconds = 60;
/** Where the first search for the highest rate begins: 43 requests a second. */
const firstRung = 8;

const sample = path.join(checkoutRoot, "examples", "mf-demo");
const log = (line: string): void => void process.stderr.write(`${line}\n`);

interface Measured {
    readonly throughput: number;
    readonly p50: number;
    readonly p99: number;
    readonly memory: number;
    readonly start: number;
    readonly end: number;
}

/** What a server is measured with. */
interface Bench {
    readonly vegeta: readonly string[];
    readonly seconds: number;
    readonly card: Card;
    readonly folder: string;
    readonly model: string;
    readonly pin: readonly string[];
    readonly pythons: ReadonlyMap<Server, string>;
}

async function main(): Promise<void> {
    const machine = machineText();
    const rounds = roundsAsked(5);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    try {
        const on = cores();
        const { vegeta } = await benchTools(["vegeta"]);
        const pythons = new Map<Server, string>();
        for (const server of servers) pythons.set(server, await pythonEnvironment(server.requirements, { log }));
        const model = path.join(folder, "model");
        const bench: Bench = {
            vegeta: [...on.load, vegeta],
            seconds: numberAsked("--seconds", 4),
            card: await train(model),
            folder,
            model,
            pin: on.server,
            pythons,
        };
        const results = new Map<Server, Measured[]>(servers.map((server) => [server, []]));
        const rungs = new Map<Server, number>();
        let equalRate: number | undefined;
        const contenders = servers.map((server) => ({
            name: server.name,
            run: async () => {
                const from = (rungs.get(server) ?? firstRung + 4) - 4;
                const { rung, ...measured } = await measure(server, bench, from, equalRate);
                rungs.set(server, rung);
                if (equalRate !== undefined) results.get(server)?.push(measured);
            },
        }));
        await interleaved(contenders, rounds, (round) => {
            // Half of what the slowest bears is a burden for none of them.
            equalRate ??= Math.max(1, Math.floor(Math.min(...[...rungs.values()].map(rateOf)) / 2));
            log(round === 0 ? `warm; the equal load is ${equalRate}/s` : `round ${round} of ${rounds}`);
        });
        report("serving", [
            ...tables(results, pythons),
            `Medians of ${rounds} interleaved rounds, least and most in brackets. One request in ten asks about ${bottlesAtOnce} bottles, the others about one. ` +
                `Throughput: the highest rate, in steps of a tenth, at which 99 of 100 answers come within ${inTime} ms and none fails. ` +
                `Equal load: ${equalRate ?? 0} requests a second. ${on.text}`,
            machine,
        ]);
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** One life of a server. @param from where to begin looking for its highest rate */
async function measure(
    server: Server,
    bench: Bench,
    from: number,
    equalRate: number | undefined,
): Promise<Measured & { readonly rung: number }> {
    const { card, seconds } = bench;
    const folder = fs.mkdtempSync(path.join(bench.folder, "server-"));
    const ports = await freePorts(3, folder);
    const began = performance.now();
    const python = bench.pythons.get(server) ?? "";
    const running = await start(server, { ...bench, python, ports, folder });
    try {
        const [label] = await firstAnswer(running, server, card.row);
        const started = (performance.now() - began) / 1000;
        if (label !== card.label) throw new Error(`${server.name} answers ${String(label)} instead of ${card.label}`);
        const one = server.body([card.row]);
        const bodies = [...Array<string>(9).fill(one), server.body(Array<Row>(bottlesAtOnce).fill(card.row))];
        const under = async (rate: number, time: number): Promise<Answered> => {
            const answered = await load(bench.vegeta, { url: running.url, bodies }, { rate, seconds: time });
            // What is still queued belongs to this rate, and not to the next one.
            await firstAnswer(running, server, card.row);
            const failures = answered.failed > 0 ? `, ${answered.failed} failed: ${answered.failures[0] ?? ""}` : "";
            log(`  ${server.name}: ${rate}/s, p99 ${answered.p99.toFixed(1)} ms${failures}`);
            return answered;
        };
        await under(rateOf(0), 2);
        const { p50, p99 } = equalRate === undefined ? { p50: NaN, p99: NaN } : await under(equalRate, 2 * seconds);
        const memory = memoryOf(running.pid);
        const rung = await highest(from, async (rate) => {
            const answered = await under(rate, seconds);
            return answered.failed === 0 && answered.p99 <= inTime;
        });
        const end = await running.end();
        return { rung, throughput: rung < 0 ? 0 : rateOf(rung), p50, p99, memory, start: started, end };
    } catch (error) {
        log(running.said());
        throw error;
    } finally {
        running.kill();
    }
}

/** Asks until it answers, as somebody who waits for it does. */
async function firstAnswer(running: Running, server: Server, row: Row): Promise<readonly string[]> {
    const until = performance.now() + startSeconds * 1000;
    const headers = { "content-type": "application/json" };
    for (;;) {
        try {
            const answer = await fetch(running.url, { method: "POST", headers, body: server.body([row]) });
            const text = await answer.text();
            if (answer.ok) return server.labels(JSON.parse(text));
        } catch {
            // It does not listen yet.
        }
        if (running.ended()) throw new Error(`${server.name} ended by itself`);
        if (performance.now() > until) throw new Error(`${server.name}: no prediction within ${startSeconds} s`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

interface Card {
    readonly row: Row;
    readonly label: string;
}

async function train(model: string): Promise<Card> {
    const python = await pythonEnvironment(path.join(sample, "requirements-test.txt"), { log });
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
    execFileSync(python, [path.join(sample, "train.py"), "--out", model], {
        env,
        stdio: ["ignore", "ignore", "inherit"],
    });
    const card = JSON.parse(fs.readFileSync(path.join(model, "model.json"), "utf8")) as {
        sample: { input: Row; label: string };
    };
    return { row: card.sample.input, label: card.sample.label };
}

/** The server has the last core for itself, as a pod with a limit of one would, and the load the others. */
function cores(): { readonly server: readonly string[]; readonly load: readonly string[]; readonly text: string } {
    const taskset = onPath("taskset", process.env);
    const last = os.availableParallelism() - 1;
    if (taskset === undefined || last < 1)
        return {
            server: [],
            load: [],
            text: "Server and load shared all cores, for lack of taskset or of a second core.",
        };
    return {
        server: [taskset, "--cpu-list", String(last)],
        load: [taskset, "--cpu-list", `0-${last - 1}`],
        text: "Each server had one core for itself.",
    };
}

function tables(
    results: ReadonlyMap<Server, readonly Measured[]>,
    pythons: ReadonlyMap<Server, string>,
): readonly string[] {
    const column = (key: keyof Measured) =>
        new Map([...results].map(([{ name }, all]) => [name, all.map((one) => one[key])]));
    const digits: Readonly<Record<keyof Measured, number>> = {
        throughput: 0,
        p50: 1,
        p99: 1,
        memory: 0,
        start: 2,
        end: 2,
    };
    const heads = {
        throughput: "requests/s",
        p50: "p50 ms",
        p99: "p99 ms",
        memory: "MiB",
        start: "s to start",
        end: "s to end",
    };
    const keys = Object.keys(heads) as (keyof Measured)[];
    const rows = servers.map((server) => [
        server.name,
        versionOf(server, pythons.get(server) ?? ""),
        ...keys.map((key) => spreadText(spreadOf(column(key).get(server.name) ?? []), digits[key])),
    ]);
    const [ours, ...others] = servers;
    const times = others.map((server) => [
        server.name,
        ...keys.map((key) => spreadText(ratio(column(key), server.name, ours?.name ?? ""))),
    ]);
    return [
        table([["server", "version", ...Object.values(heads)], ...rows]),
        table([["× mf-demo", ...Object.values(heads)], ...times]),
    ];
}

runBench(main);
