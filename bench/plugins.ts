/**
 * How long each of the three plugins takes from its start to its port, and Node.js for nothing at all. The engine starts all three
 * for every preview.
 *
 * node --require ts-node/register/transpile-only bench/plugins.ts [--rounds 15] [--keep]
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { cacheDir } from "../local/paths";
import { environment, withEnvironment } from "../local/environment";
import { choosePlugins } from "../local/plugins";
import { ensureTools } from "../local/tools";
import type { Environment } from "../test/lent-cluster";
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
} from "./measure";

const PLUGINS = ["pulumi-language-nodejs", "pulumi-resource-kubernetes", "pulumi-resource-random"];

async function main(): Promise<void> {
    const machine = machineText();
    const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    try {
        const tools = await ensureTools(["pulumi", "helm"]);
        const plugins = await choosePlugins({ ...tools, stateDir, cacheDir: cacheDir() });
        const variables = await environment({ stateDir, tools, plugins });
        const env = { ...withEnvironment(process.env, variables), ML_API_HELM: tools.helm.path };
        const contenders: Contender[] = [
            { name: "node", run: () => untilOutput("node", ["-p", "1"], env) },
            // The last argument is the engine's address; a plugin calls it only when it is told to do something.
            ...PLUGINS.map((name) => ({ name, run: () => untilOutput(findPlugin(name, env), ["127.0.0.1:1"], env) })),
        ];
        const rounds = roundsAsked(15);
        const times = await interleaved(contenders, rounds);
        const rows = contenders.map(({ name }) => [
            name,
            spreadText(spreadOf(times.get(name) ?? []), 3),
            spreadText(ratio(times, name, "node"), 1),
        ]);
        const how = `${plugins.kind} plugins, medians of ${rounds} interleaved rounds, least and most in brackets.`;
        report("plugins", [table([["start", "seconds", "× node"], ...rows]), how, machine]);
    } finally {
        fs.rmSync(stateDir, { recursive: true, force: true });
    }
}

/** Where Pulumi keeps the plugin, else its name, for PATH. */
function findPlugin(name: string, env: Environment): string {
    const folder = path.join(env["PULUMI_HOME"] ?? "", "plugins");
    const folders = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
    return folders.map((entry) => path.join(folder, entry, name)).find((file) => fs.existsSync(file)) ?? name;
}

/** Runs a program until it prints something, and ends it. */
async function untilOutput(file: string, args: readonly string[], env: Environment): Promise<void> {
    const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise<void>((resolve) =>
        child.once("close", () => {
            resolve();
        }),
    );
    await new Promise<void>((resolve, reject) => {
        child.stdout.once("data", () => {
            resolve();
        });
        child.once("error", reject);
        child.once("close", () => {
            reject(new Error(`${file} ended without a word`));
        });
    });
    child.kill("SIGKILL");
    await ended;
}

runBench(main);
