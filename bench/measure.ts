import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, platform, release, totalmem } from "node:os";
import { join, parse } from "node:path";
import { checkoutRoot } from "../local/paths";

/** Something to run again and again; rejects when it does not do what it should. */
export interface Contender {
    readonly name: string;
    readonly run: () => Promise<void>;
}

let interrupt: (reason: Error) => void = () => undefined;
const interrupted = new Promise<never>((_, reject) => (interrupt = reject));
interrupted.catch(() => undefined);

/** Runs a bench. Told to stop, it takes down what it has started before it ends. */
export function runBench(main: () => Promise<void>): void {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.once(signal, () => {
            interrupt(new Error(`${signal}: taking down what was started`));
        });
    }
    main().catch((error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
        process.exitCode = 1;
    });
}

/** Seconds of each run, by contender. */
export type Times = ReadonlyMap<string, readonly number[]>;

/**
 * Runs all contenders in turn, `rounds` times, after one round that is not counted. So whatever else the machine does in the
 * meantime meets all of them.
 */
export async function interleaved(
    contenders: readonly Contender[],
    rounds: number,
    onRound: (round: number) => void = () => undefined,
): Promise<Times> {
    const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
    for (let round = 0; round <= rounds; round++) {
        for (const { name, run } of contenders) {
            const began = performance.now();
            await Promise.race([run(), interrupted]);
            if (round > 0) times.get(name)?.push((performance.now() - began) / 1000);
        }
        onRound(round);
    }
    return times;
}

/** The middle value and the two ends. */
export interface Spread {
    readonly median: number;
    readonly least: number;
    readonly most: number;
}

export function spreadOf(numbers: readonly number[]): Spread {
    const sorted = [...numbers].sort((a, b) => a - b);
    const at = (index: number) => sorted[index] ?? NaN;
    const middle = (sorted.length - 1) / 2;
    return {
        median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
        least: at(0),
        most: at(sorted.length - 1),
    };
}

/** One contender's time over another's, round by round. */
export function ratio(times: Times, name: string, to: string): Spread {
    const base = times.get(to) ?? [];
    return spreadOf((times.get(name) ?? []).map((seconds, round) => seconds / (base[round] ?? NaN)));
}

/** What one contender takes more than another, round by round. */
export function difference(times: Times, name: string, than: string): Spread {
    const base = times.get(than) ?? [];
    return spreadOf((times.get(name) ?? []).map((seconds, round) => seconds - (base[round] ?? NaN)));
}

/** `2.41 (2.30–2.88)` */
export function spreadText({ median, least, most }: Spread, digits = 2): string {
    return `${median.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`;
}

/** Columns of the same width; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
    const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
    const line = (row: readonly string[]) =>
        row
            .map((cell, column) => cell.padEnd(width(column)))
            .join("  ")
            .trimEnd();
    const [head = [], ...body] = rows;
    return [line(head), line(head.map((_, column) => "─".repeat(width(column)))), ...body.map(line)].join("\n");
}

/** `--rounds 9` of the command line. */
export const roundsAsked = (byDefault: number): number => numberAsked("--rounds", byDefault);

/** A number from 1 after an option of the command line. */
export function numberAsked(option: string, byDefault: number): number {
    if (!process.argv.includes(option)) return byDefault;
    const text = process.argv[process.argv.indexOf(option) + 1];
    const number = Number(text);
    if (!Number.isSafeInteger(number) || number < 1)
        throw new Error(`${option} ${text ?? ""}: a number from 1 is needed`);
    return number;
}

/** What a figure must be read with: the machine, and how busy it was before the first run. Call it first. */
export function machineText(): string {
    const processors = cpus();
    const gibibytes = Math.round(totalmem() / 2 ** 30);
    const [load = NaN] = loadavg();
    return (
        `${processors.length} × ${processors[0]?.model ?? "processor"}, ${gibibytes} GiB, ${platform()} ${release()}, Node ${process.version}; ` +
        `load average at the start ${load.toFixed(1)}${load > 0.5 ? ": the machine was busy, read the ratios only" : ""}.`
    );
}

/** Prints what came out, and with `--keep` on the command line puts it into docs/results as well. */
export function report(bench: string, paragraphs: readonly string[]): void {
    const text = `${paragraphs.join("\n\n")}\n`;
    process.stdout.write(`\n${text}`);
    if (!process.argv.includes("--keep")) return;
    const folder = join(checkoutRoot, "docs", "results");
    mkdirSync(folder, { recursive: true });
    const args = process.argv.slice(2).filter((word) => word !== "--keep");
    const asked = args.length > 0 ? ` ARGS="${args.join(" ")}"` : "";
    writeFileSync(
        join(folder, `${bench}.txt`),
        `make bench BENCH=${parse(process.argv[1] ?? "").name}${asked}\n\n${text}`,
    );
}
