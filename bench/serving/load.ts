/** A constant load by vegeta, which begins each request when its time has come, however many are still unanswered, and tries none again. */
import { spawn } from "node:child_process";

export interface Target {
    readonly url: string;
    /** What is posted, in turn. */
    readonly bodies: readonly string[];
}

export interface Answered {
    /** Requests a second. */
    readonly rate: number;
    readonly requests: number;
    readonly failed: number;
    /** Milliseconds. */
    readonly p50: number;
    readonly p99: number;
    /** What the failures were: a status, or the client's words. */
    readonly failures: readonly string[];
}

export interface Pace {
    /** Requests a second. */
    readonly rate: number;
    readonly seconds: number;
}

/** Longer without an answer is a failure; short enough that a server which is overrun has soon seen the last of it. */
const patience = "2s";

/** @param command vegeta, and what goes before it */
export async function load(command: readonly string[], { url, bodies }: Target, pace: Pace): Promise<Answered> {
    const targets = bodies.map((body) =>
        JSON.stringify({
            method: "POST",
            url,
            header: { "Content-Type": ["application/json"] },
            body: Buffer.from(body).toString("base64"),
        }),
    );
    const flags = [`-rate=${pace.rate}/s`, `-duration=${pace.seconds}s`, `-timeout=${patience}`, "-format=json"];
    const results = await piped([...command, "attack", ...flags], `${targets.join("\n")}\n`);
    const text = (await piped([...command, "report", "-type=json"], results)).toString();
    const report = JSON.parse(text) as {
        latencies: { "50th": number; "99th": number };
        requests: number;
        success: number;
        status_codes: Readonly<Record<string, number>>;
        errors: readonly string[] | null;
    };
    const failed = report.requests - (report.status_codes["200"] ?? 0);
    const other = Object.entries(report.status_codes).filter(([status]) => status !== "200");
    return {
        rate: pace.rate,
        requests: report.requests,
        failed,
        p50: report.latencies["50th"] / 1e6,
        p99: report.latencies["99th"] / 1e6,
        failures: [...other.map(([status, count]) => `${status}: ${count}`), ...(report.errors ?? [])],
    };
}

/** What a program prints that is given this to read. */
function piped([file = "", ...args]: readonly string[], input: string | Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
        const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
        const out: Buffer[] = [];
        let said = "";
        child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
        child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
        child.once("error", reject);
        child.once("close", (code) => {
            if (code === 0) resolve(Buffer.concat(out));
            else reject(new Error(`${file} ${args[0] ?? ""} ended with ${code ?? "a signal"}: ${said}`));
        });
        child.stdin.on("error", () => undefined).end(input);
    });
}

const step = 1.1;
/** Requests a second of a rung. */
export const rateOf = (rung: number): number => Math.round(20 * step ** rung);
const stride = 4;

/**
 * The highest rate that is still answered well, on a ladder whose rungs are a tenth apart: up in strides, then one by one between the
 * last good one and the first bad one. So a server is overrun by half at most, and once.
 *
 * @param from rung to begin at
 * @returns its rung; -1 when not even the lowest rate is answered well
 */
export async function highest(from: number, answersWell: (rate: number) => Promise<boolean>): Promise<number> {
    const well = (rung: number) => answersWell(rateOf(rung));
    let good = Math.max(from, 0);
    while (!(await well(good))) {
        if (good === 0) return -1;
        good = Math.max(good - stride, 0);
    }
    let bad = good + stride;
    while (await well(bad)) {
        good = bad;
        bad += stride;
    }
    while (bad - good > 1) {
        const middle = Math.floor((good + bad) / 2);
        if (await well(middle)) good = middle;
        else bad = middle;
    }
    return good;
}
