/**
 * Runs every check and test, fast to slow, and ends with one line `N passed, N failed`. What the slower suites need (tools, a
 * simulated cluster, the plugins, a Python environment for the sample API) is set up here, once, in a state folder of its own, so
 * that no test meets the cluster of `make up`.
 *
 * Suites that wait for pods and deploys most of the time run beside the others, and are shown after them.
 * SPEC=FILE,… narrows a suite to these files. ML_API_TEST_ALL=1 (`make test-all`) adds the files that would make a run too long.
 *
 * node --require ts-node/register/transpile-only test/run.ts [SUITE…]     (all suites without a name)
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { checkoutRoot } from "../local/paths";
import { pythonEnvironment } from "../local/python";
import { scan } from "../scan/scan";
import { type Environment, lentCluster } from "./lent-cluster";
import { passedBefore } from "./passed";
import { thorough } from "./thorough";

interface Outcome {
    readonly suite: string;
    readonly passed: number;
    readonly failed: number;
    readonly pending: number;
    readonly seconds: number;
}

const bin = (name: string) => path.join(checkoutRoot, "node_modules", ".bin", name);
const outcomes: Outcome[] = [];

/** What a suite runs with. */
interface Surroundings {
    /** The lent cluster; the first call starts it. */
    readonly cluster: () => Promise<Environment>;
    readonly print: (text: string) => void;
}

const suites: Readonly<Record<string, (surroundings: Surroundings) => Promise<void>>> = {
    types: (here) => check("types", bin("tsc"), ["--noEmit"], CODE, here),
    lint: (here) => check("lint", bin("eslint"), ["."], CODE, here),
    layout: (here) => check("layout", bin("prettier"), ["--check", "--log-level", "warn", "."], /^/, here),
    unit: (here) => mocha("unit", "test/unit/**/*.test.ts", process.env, here),
    process: (here) => mocha("process", "test/process/**/*.test.ts", process.env, here),
    fuzz: (here) => mocha("fuzz", "test/fuzz/**/*.test.ts", process.env, here),
    docs: (here) => mocha("docs", "test/docs/**/*.test.ts", process.env, here),
    sample: samplePython,
    scan: scanners,
    chart: async (here) => mocha("chart", "test/chart/**/*.test.ts", await here.cluster(), here),
    contract: async (here) => mocha("contract", "test/contract/**/*.test.ts", await here.cluster(), here),
    cluster: async (here) => mocha("cluster", "test/cluster/**/*.test.ts", await here.cluster(), here, ON_NODE),
    node: async (here) => mocha("node", ON_NODE, await here.cluster(), here),
};
/** What the compiler and ESLint read, their settings and versions included. */
const CODE = /\.(?:ts|m?js|json)$/;
/** Lanes beside that of all others: one after the other in each. */
const BESIDE = [
    ["cluster", "process"],
    ["node", "contract"],
];
const specs = (names: readonly string[]): string[] => names.map((name) => `test/cluster/${name}.test.ts`);
/** Those with real pods. */
const ON_NODE = specs([
    "node",
    "predict",
    "model",
    "rollouts",
    "drills-node",
    "verify",
    "lifecycle",
    "new",
    "promote-node",
    "rotate-key-node",
    "network-node",
]);
/** Each takes minutes and tests one room through and through; `make test` runs it in substance with its neighbours. */
const ONLY_IN_ALL = [
    "test/chart/upgrade.test.ts",
    "test/docs/commands.test.ts",
    ...specs([
        "push",
        "push-refused",
        "edits",
        "live",
        "lifecycle",
        "kills",
        "interference",
        "status",
        "drills",
        "drift",
        "rollback",
        "i-want-to",
        "workflows",
        "review",
        "promote-node",
        "pages",
        "rbac",
        "rotate-key",
        "rotate-key-node",
        "network-node",
        "secrecy-failures",
        "new",
        "verify",
        "adopt",
        "up-again",
        "current",
        "npm-package",
        "prometheus",
        "chart-repository",
        "pictures",
    ]),
];

async function main(): Promise<void> {
    const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
    const unknown = names.filter((name) => !(name in suites));
    if (unknown.length > 0)
        throw new Error(`there is no suite ${unknown.join(", ")}; they are ${Object.keys(suites).join(", ")}`);
    const print = (text: string): void => void process.stdout.write(text);
    const lent = lentCluster(() => {
        heading("set-up", print);
    });
    try {
        const others = names.filter((name) => names.length === 1 || !BESIDE.flat().includes(name));
        const beside = BESIDE.map(async (lane) => {
            const kept: string[] = [];
            for (const name of lane.filter((one) => names.includes(one) && !others.includes(one)))
                await runSuite(name, { cluster: lent.get, print: (text) => void kept.push(text) });
            return kept.join("");
        });
        for (const name of others) await runSuite(name, { cluster: lent.get, print });
        for (const text of await Promise.all(beside)) print(text);
    } finally {
        await lent.giveBack();
    }
    summary();
}

async function runSuite(name: string, here: Surroundings): Promise<void> {
    await suites[name]?.(here).catch((error: unknown) => {
        here.print(`${error instanceof Error ? error.message : String(error)}\n`);
        outcomes.push({ suite: name, passed: 0, failed: 1, pending: 0, seconds: 0 });
    });
}

/** A check of files that either holds or not, and need not be made again while they are the same. @param reads paths that count */
async function check(
    suite: string,
    file: string,
    args: readonly string[],
    reads: RegExp,
    here: Surroundings,
): Promise<void> {
    const passed = passedBefore([suite, ...args], reads);
    if (passed?.before === true) {
        heading(suite, here.print);
        here.print(`passed before, with the same ${passed.files} files and Node.js\n`);
        outcomes.push({ suite, passed: 1, failed: 0, pending: 0, seconds: 0 });
        return;
    }
    const { code, seconds } = await run(suite, file, args, process.env, here);
    if (code === 0) passed?.remember();
    outcomes.push({ suite, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, pending: 0, seconds });
}

async function mocha(
    suite: string,
    spec: string | readonly string[],
    env: Environment,
    here: Surroundings,
    otherwhere: readonly string[] = [],
): Promise<void> {
    const report = process.env["ML_API_TEST_REPORT"];
    const ignored = [...otherwhere, ...(thorough ? [] : ONLY_IN_ALL)];
    const args = [
        "--config",
        ".mocharc.json",
        // A report is for a program that asked for it (test/soak.ts): an outcome for each test.
        ...(report === undefined
            ? ["--reporter", "spec"]
            : ["--reporter", "json", "--reporter-option", `output=${report}`]),
        "--timeout",
        suite === "unit" ? "10000" : "300000",
        // Only these: they share nothing, while others share a cluster, and the processors with what they start.
        ...(suite === "unit" ? ["--parallel", "--jobs", String(os.availableParallelism())] : []),
        ...[process.env["SPEC"]?.split(",") ?? spec].flat().flatMap((file) => ["--spec", file]),
        ...(process.env["SPEC"] === undefined ? ignored.flatMap((file) => ["--ignore", file]) : []),
    ];
    const { code, seconds, output } = await run(suite, bin("mocha"), args, env, here);
    const count = (word: string) => Number(new RegExp(`^\\s+(\\d+) ${word}`, "m").exec(output)?.[1] ?? 0);
    record(suite, { passed: count("passing"), failed: count("failing"), pending: count("pending") }, code, seconds);
}

/** A run that broke down before its summary, or ran no test at all, has failed, whatever it counted. */
function record(suite: string, counts: Omit<Outcome, "suite" | "seconds">, code: number, seconds: number): void {
    const broken = counts.failed === 0 && (code !== 0 || counts.passed + counts.pending === 0);
    outcomes.push({ suite, ...counts, failed: broken ? 1 : counts.failed, seconds });
}

/** The sample API's own tests, in a Python environment of the cache that its pinned requirements name. */
async function samplePython(here: Surroundings): Promise<void> {
    const sample = path.join(checkoutRoot, "examples", "mf-demo");
    const python = await pythonEnvironment(path.join(sample, "requirements-test.txt"), {
        log: (line) => {
            here.print(`${line}\n`);
        },
    });
    // pytest keeps the temporary files of its last three runs; here they go with the run.
    const TMPDIR = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-pytest-"));
    const { code, seconds, output } = await run(
        "sample API",
        python,
        ["-m", "pytest", "-p", "no:cacheprovider"],
        { ...process.env, PYTHONDONTWRITEBYTECODE: "1", TMPDIR },
        here,
        sample,
    );
    fs.rmSync(TMPDIR, { recursive: true, force: true });
    const count = (word: string) =>
        Number(new RegExp(`(\\d+) ${word}`).exec(output.trimEnd().split("\n").at(-1) ?? "")?.[1] ?? 0);
    const counts = { passed: count("passed"), failed: count("failed") + count("error"), pending: count("skipped") };
    record("sample API", counts, code, seconds);
}

/** Every scanner over every render of the chart. A scanner whose service does not answer is pending. */
async function scanners({ cluster, print }: Surroundings): Promise<void> {
    heading("scan", print);
    const began = performance.now();
    const { passed, failed, notAudited } = await scan({
        log: (line) => {
            print(`${line}\n`);
        },
        kubeconfig: async () => (await cluster())["ML_API_TEST_KUBECONFIG"] ?? "",
        requireAudits: process.env["ML_API_REQUIRE_AUDITS"] === "1",
    });
    outcomes.push({ suite: "scan", passed, failed, pending: notAudited, seconds: (performance.now() - began) / 1000 });
}

/** Runs a program, shows what it prints and keeps it. */
async function run(
    suite: string,
    file: string,
    args: readonly string[],
    env: Environment,
    { print }: Surroundings,
    cwd = checkoutRoot,
): Promise<{ code: number; seconds: number; output: string }> {
    heading(suite, print);
    const began = performance.now();
    // Most of a test's work is Go programs that end soon. Collecting garbage less often, a render of the chart takes a third less.
    const child = spawn(file, args, { cwd, env: { GOGC: "400", ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        print(text);
    });
    child.stderr.setEncoding("utf8").on("data", print);
    const code = await new Promise<number>((resolve) => {
        child.on("error", (error) => {
            print(`${error.message}\n`);
            resolve(127);
        });
        child.on("close", (exit) => {
            resolve(exit ?? 130);
        });
    });
    return { code, seconds: (performance.now() - began) / 1000, output };
}

function heading(suite: string, print: Surroundings["print"]): void {
    print(`\n── ${suite} ${"─".repeat(Math.max(1, 60 - suite.length))}\n`);
}

function summary(): void {
    const sum = (key: "passed" | "failed" | "pending") => outcomes.reduce((total, outcome) => total + outcome[key], 0);
    process.stdout.write("\n");
    for (const { suite, passed, failed, pending, seconds } of outcomes) {
        const skipped = pending === 0 ? "" : `, ${pending} pending`;
        process.stdout.write(
            `${failed === 0 ? "✓" : "✗"} ${suite.padEnd(16)} ${passed} passed, ${failed} failed${skipped}  (${seconds.toFixed(1)} s)\n`,
        );
    }
    process.stdout.write(
        `\n${sum("passed")} passed, ${sum("failed")} failed${sum("pending") === 0 ? "" : `, ${sum("pending")} skipped`}\n`,
    );
    if (sum("failed") > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
