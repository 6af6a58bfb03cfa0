/** Something to run again and again; rejects when it does not do what it should. */
export interface Contender {
    readonly name: string;
    readonly run: () => Promise<void>;
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
            await run();
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
export function roundsAsked(byDefault: number): number {
    const text = process.argv[process.argv.indexOf("--rounds") + 1];
    if (!process.argv.includes("--rounds")) return byDefault;
    const rounds = Number(text);
    if (!Number.isSafeInteger(rounds) || rounds < 1)
        throw new Error(`--rounds ${text ?? ""}: a number from 1 is needed`);
    return rounds;
}
