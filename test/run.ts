/**
 * Runs every check and test, fast to slow, and ends with one line `N passed, N failed`. What the slower suites need (tools, a
 * simulated cluster, the plugins, a Python environment for the sample API) is set up here, once, in a state folder of its own, so
 * that no test meets the cluster of `make up`.
 *
 * SPEC=FILE narrows a suite to one file.
 *
 * node --require ts-node/register/transpile-only test/run.ts [SUITE…]     (all suites without a name)
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { clusterContext } from "../local/clusters/cluster";
import { simulatedCluster } from "../local/clusters/simulated";
import { environment, withEnvironment } from "../local/environment";
import { cacheDir, checkoutHash, checkoutRoot } from "../local/paths";
import { choosePlugins } from "../local/plugins";
import { ensureTools } from "../local/tools";

interface Outcome {
    readonly suite: string;
    readonly passed: number;
    readonly failed: number;
    readonly pending: number;
    readonly seconds: number;
}

type Environment = Record<string, string | undefined>;
const bin = (name: string) => path.join(checkoutRoot, "node_modules", ".bin", name);
const outcomes: Outcome[] = [];

const suites: Readonly<Record<string, (cluster: () => Promise<Environment>) => Promise<void>>> = {
    types: () => check("types", bin("tsc"), ["--noEmit"]),
    lint: () => check("lint", bin("eslint"), ["."]),
    layout: () => check("layout", bin("prettier"), ["--check", "--log-level", "warn", "."]),
    unit: () => mocha("unit", "test/unit/**/*.test.ts", process.env),
    sample: () => samplePython(),
    chart: async (cluster) => mocha("chart", "test/chart/**/*.test.ts", await cluster()),
    contract: async (cluster) => mocha("contract", "test/contract/**/*.test.ts", await cluster()),
    cluster: async (cluster) => mocha("cluster", "test/cluster/**/*.test.ts", await cluster()),
};

async function main(): Promise<void> {
    const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
    const unknown = names.filter((name) => !(name in suites));
    if (unknown.length > 0)
        throw new Error(`there is no suite ${unknown.join(", ")}; they are ${Object.keys(suites).join(", ")}`);
    const cluster = lentCluster();
    try {
        for (const name of names) {
            await suites[name]?.(cluster.get).catch((error: unknown) => {
                process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
                outcomes.push({ suite: name, passed: 0, failed: 1, pending: 0, seconds: 0 });
            });
        }
    } finally {
        await cluster.giveBack();
    }
    summary();
}

/** A check that either holds or not. */
async function check(suite: string, file: string, args: readonly string[]): Promise<void> {
    const { code, seconds } = await run(suite, file, args, process.env);
    outcomes.push({ suite, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, pending: 0, seconds });
}

async function mocha(suite: string, spec: string, env: Environment): Promise<void> {
    const args = [
        "--config",
        ".mocharc.json",
        "--reporter",
        "spec",
        "--timeout",
        suite === "unit" ? "10000" : "300000",
        "--spec",
        process.env["SPEC"] ?? spec,
    ];
    const { code, seconds, output } = await run(suite, bin("mocha"), args, env);
    const count = (word: string) => Number(new RegExp(`^\\s+(\\d+) ${word}`, "m").exec(output)?.[1] ?? 0);
    record(suite, { passed: count("passing"), failed: count("failing"), pending: count("pending") }, code, seconds);
}

/** A run that broke down before its summary, or ran no test at all, has failed, whatever it counted. */
function record(suite: string, counts: Omit<Outcome, "suite" | "seconds">, code: number, seconds: number): void {
    const broken = counts.failed === 0 && (code !== 0 || counts.passed + counts.pending === 0);
    outcomes.push({ suite, ...counts, failed: broken ? 1 : counts.failed, seconds });
}

/** The sample API's own tests, in a Python environment of the cache that its pinned requirements name. */
async function samplePython(): Promise<void> {
    const sample = path.join(checkoutRoot, "examples", "mf-demo");
    const requirements = path.join(sample, "requirements-test.txt");
    const key = createHash("sha256").update(fs.readFileSync(requirements)).digest("hex").slice(0, 16);
    const venv = path.join(cacheDir(), `python-${key}`);
    const python = path.join(venv, "bin", "python");
    if (!fs.existsSync(path.join(venv, "complete"))) {
        fs.rmSync(venv, { recursive: true, force: true });
        await check("python packages", "sh", [
            "-ec",
            'python3 -m venv "$1"; "$1/bin/python" -m pip install --quiet --no-cache-dir --require-hashes --only-binary :all: --requirement "$2"; touch "$1/complete"',
            "sh",
            venv,
            requirements,
        ]);
    }
    // pytest keeps the temporary files of its last three runs; here they go with the run.
    const TMPDIR = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-pytest-"));
    const { code, seconds, output } = await run(
        "sample API",
        python,
        ["-m", "pytest", "-p", "no:cacheprovider"],
        { ...process.env, PYTHONDONTWRITEBYTECODE: "1", TMPDIR },
        sample,
    );
    fs.rmSync(TMPDIR, { recursive: true, force: true });
    const count = (word: string) =>
        Number(new RegExp(`(\\d+) ${word}`).exec(output.trimEnd().split("\n").at(-1) ?? "")?.[1] ?? 0);
    const counts = { passed: count("passed"), failed: count("failed") + count("error"), pending: count("skipped") };
    record("sample API", counts, code, seconds);
}

/** A simulated cluster for the suites that need one, started for the first of them, and the variables to work on it. */
function lentCluster(): { get: () => Promise<Environment>; giveBack: () => Promise<void> } {
    const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-test-"));
    const context = clusterContext({ stateDir, instance: checkoutHash(stateDir) });
    let started: Promise<Environment> | undefined;
    const start = async (): Promise<Environment> => {
        process.stdout.write(`\n── set-up ${"─".repeat(54)}\n`);
        const tools = await ensureTools(["pulumi", "helm", "kubectl"]);
        const { pulumi, helm } = tools;
        const plugins = await choosePlugins({ pulumi, helm, stateDir, cacheDir: context.cacheDir });
        const cluster = await simulatedCluster.up(context);
        const values = await environment({ stateDir, tools, plugins, cluster });
        return {
            ...withEnvironment(process.env, values),
            ML_API_TEST_KUBECONFIG: cluster.kubeconfig,
            ML_API_HELM: helm.path,
        };
    };
    return {
        get: () => (started ??= start()),
        giveBack: async () => {
            await started?.catch(() => undefined);
            await simulatedCluster.down(context);
            fs.rmSync(stateDir, { recursive: true, force: true });
        },
    };
}

/** Runs a program, shows what it prints and keeps it. */
async function run(
    suite: string,
    file: string,
    args: readonly string[],
    env: Environment,
    cwd = checkoutRoot,
): Promise<{ code: number; seconds: number; output: string }> {
    process.stdout.write(`\n── ${suite} ${"─".repeat(Math.max(1, 60 - suite.length))}\n`);
    const began = performance.now();
    const child = spawn(file, args, { cwd, env: env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        process.stdout.write(text);
    });
    child.stderr.pipe(process.stderr);
    const code = await new Promise<number>((resolve) => {
        child.on("error", (error) => {
            process.stderr.write(`${error.message}\n`);
            resolve(127);
        });
        child.on("close", (exit) => {
            resolve(exit ?? 130);
        });
    });
    return { code, seconds: (performance.now() - began) / 1000, output };
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
