/** Ways to deploy our chart with the values of our dev stack, each with an API and a namespace of its own in the one cluster. */
import { execFile, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stringify } from "yaml";
import { mergeValues, type Values } from "../components/config/values";
import { checkoutRoot } from "../local/paths";
import { Checkout } from "../test/cluster/checkout";
import { keySecret } from "../test/cluster/own-node";
import type { Environment } from "../test/lent-cluster";
import { devValues, namedCheckout, plainProgram, stockProgram } from "./programs";

export interface Deployer {
    readonly name: string;
    /** The first deploy. */
    readonly setUp: (env: Environment) => Promise<void>;
    /** Shows what an update would do, and fails when that is not what is expected; missing where there is no such thing. */
    readonly preview?: (env: Environment, changes: boolean) => Promise<void>;
    readonly up: (env: Environment, changes: boolean) => Promise<void>;
    /** The one change: another log level, which restarts the pods. */
    readonly edit: () => void;
    readonly remove: () => void;
}

const levels = ["debug", "info"] as const;
/** Turns one into the other in a file that has just one of them. */
function turnLevel(file: string): void {
    const text = fs.readFileSync(file, "utf8");
    const found = /(logLevel"?: ?"?)(debug|info)/.exec(text);
    if (found === null) throw new Error(`${file} sets no log level`);
    const [whole, before = "", level] = found;
    fs.writeFileSync(file, text.replace(whole, before + (level === levels[0] ? levels[1] : levels[0])));
}

const seconds = "900s";

/** Runs a program to its end. @throws with all that it printed, unless it ended with one of these codes */
export function run(
    [file = "", ...args]: readonly string[],
    options: { readonly env: Environment; readonly cwd?: string; readonly codes?: readonly number[] },
): Promise<{ readonly code: number; readonly stdout: string }> {
    return new Promise((resolve, reject) => {
        const { codes = [0], ...rest } = options;
        execFile(file, args, { ...rest, maxBuffer: 256 << 20, timeout: 1_800_000 }, (error, stdout, stderr) => {
            const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
            if (codes.includes(code)) resolve({ code, stdout });
            else reject(new Error(`${file} ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`));
        });
    });
}

export interface PulumiDeployer extends Deployer {
    readonly root: string;
    readonly preview: (env: Environment, changes: boolean) => Promise<void>;
}

/** A Pulumi program whose stack is called dev. @param file that holds the log level */
export function pulumiDeployer(name: string, root: string, file: string): PulumiDeployer {
    const pulumi = async (env: Environment, changes: boolean, ...words: string[]): Promise<void> => {
        const all = ["pulumi", ...words, "--stack", "dev", "--non-interactive"];
        const { stdout } = await run([...all, ...(changes ? [] : ["--expect-no-changes"])], { env, cwd: root });
        if (changes && !/\d+ (to update|updated)/.test(stdout)) throw new Error(`${name} changes nothing:\n${stdout}`);
    };
    return {
        name,
        root,
        setUp: async (env) => {
            await run(["pulumi", "stack", "init", "dev", "--non-interactive"], { env, cwd: root });
            const words = ["up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"];
            await run(["pulumi", ...words], { env, cwd: root });
        },
        preview: (env, changes) => pulumi(env, changes, "preview"),
        up: (env, changes) => pulumi(env, changes, "up", "--yes", "--skip-preview"),
        edit: () => {
            turnLevel(path.join(root, file));
        },
        remove: () => {
            fs.rmSync(root, { recursive: true, force: true });
        },
    };
}

export const withoutJob: Values = { verify: { onDeploy: false } };
const valuesFile = "chart/environment/dev/values-dev.yaml";

export const names = {
    ours: "ours",
    oursWithoutJob: "ours, no verify Job",
    plain: "plain Release, no verify Job",
    stock: "stock template",
} as const;

export function pulumiDeployers(): readonly Deployer[] {
    const without = namedCheckout("no-job");
    without.edit(valuesFile, /^verify:$/m, "verify:\n  onDeploy: false");
    const plain = plainProgram("plain", new Map([["plain", mergeValues(devValues(), withoutJob)]]));
    return [
        pulumiDeployer(names.ours, new Checkout().root, valuesFile),
        pulumiDeployer(names.oursWithoutJob, without.root, valuesFile),
        pulumiDeployer(names.plain, plain, "values.json"),
        pulumiDeployer(names.stock, stockProgram(), "index.ts"),
    ];
}

interface Programs {
    readonly helm: string;
    readonly helm4: string;
    readonly helmfile: string;
}

/** What a deployer without Pulumi has: its folder with values, its namespace with the key. */
interface Place {
    readonly folder: string;
    readonly values: string;
    readonly namespace: string;
}
interface Commands {
    readonly preview?: (place: Place, env: Environment, changes: boolean) => Promise<void>;
    readonly up: (place: Place, env: Environment) => Promise<void>;
}

const release = "wine";
const chart = path.join(checkoutRoot, "chart");

function commandDeployer(name: string, { preview, up }: Commands): Deployer {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-bench-"));
    const values = path.join(folder, "values.json");
    const secret = keySecret("key", ["the-key"]);
    fs.writeFileSync(values, JSON.stringify(mergeValues(devValues(), { apiKey: { existingSecret: "key" } })));
    const namespace = `bench-${path.basename(folder).slice(-6).toLowerCase()}`;
    const place = { folder, values, namespace };
    // What they keep for themselves stays in their folder.
    const own = (env: Environment): Environment => ({
        ...env,
        HELM_CACHE_HOME: path.join(folder, "cache"),
        HELM_CONFIG_HOME: path.join(folder, "config"),
        HELM_DATA_HOME: path.join(folder, "data"),
        HELMFILE_CACHE_HOME: path.join(folder, "helmfile"),
    });
    return {
        name,
        setUp: async (env) => {
            await run(["kubectl", "create", "namespace", namespace], { env });
            const file = path.join(folder, "key.yaml");
            fs.writeFileSync(file, stringify(secret));
            await run(["kubectl", "create", "--namespace", namespace, "--filename", file], { env });
            await up(place, own(env));
        },
        ...(preview && { preview: (env, changes) => preview(place, own(env), changes) }),
        up: (env) => up(place, own(env)),
        edit: () => {
            turnLevel(values);
        },
        remove: () => {
            fs.rmSync(folder, { recursive: true, force: true });
        },
    };
}

export function commandDeployers({ helm, helm4, helmfile }: Programs): readonly Deployer[] {
    const upgrade = (program: string, flag: string): Commands => {
        const words = ({ values, namespace }: Place) => [
            ...[program, "upgrade", release, chart, "--install", "--namespace", namespace, "--values", values],
        ];
        return {
            preview: async (place, env) => {
                await run([...words(place), "--dry-run=server"], { env });
            },
            up: async (place, env) => {
                await run([...words(place), flag, "--wait", "--wait-for-jobs", "--timeout", seconds], { env });
            },
        };
    };
    return [
        commandDeployer("helm upgrade --atomic --wait", upgrade(helm, "--atomic")),
        commandDeployer("helm 4 upgrade --rollback-on-failure --wait", upgrade(helm4, "--rollback-on-failure")),
        commandDeployer("helmfile sync", {
            // Its preview is helm-diff's, a plugin that is no Go module to be had.
            up: async ({ folder, values, namespace }, env) => {
                const file = path.join(folder, "helmfile.yaml");
                const helmDefaults = { atomic: true, wait: true, waitForJobs: true, timeout: 900 };
                const releases = [{ name: release, namespace, createNamespace: false, chart, values: [values] }];
                fs.writeFileSync(file, stringify({ helmDefaults, releases }));
                await run([helmfile, "--file", file, "--helm-binary", helm, "sync"], { env, cwd: folder });
            },
        }),
        commandDeployer("kubectl apply", {
            preview: async ({ values, namespace }, env, changes) => {
                const code = await applied(helm, ["diff"], { values, namespace, env });
                if (code !== (changes ? 1 : 0)) throw new Error(`kubectl diff ended with ${code}`);
            },
            up: async ({ values, namespace }, env) => {
                const code = await applied(helm, ["apply"], { values, namespace, env });
                if (code !== 0) throw new Error(`kubectl apply ended with ${code}`);
                const words = ["rollout", "status", `deployment/${release}`, "--namespace", namespace];
                await run(["kubectl", ...words], { env });
            },
        }),
    ];
}

/** Hands what the chart renders to (its hooks excepted) to kubectl. @returns how that ended */
async function applied(
    helm: string,
    verb: readonly string[],
    { values, namespace, env }: { values: string; namespace: string; env: Environment },
): Promise<number> {
    const words = [helm, "template", release, chart, "--no-hooks", "--namespace", namespace, "--values", values];
    const { stdout } = await run(words, { env });
    const child = spawn("kubectl", [...verb, "--namespace", namespace, "--filename", "-"], {
        env,
        stdio: ["pipe", "ignore", "inherit"],
    });
    child.stdin.on("error", () => undefined).end(stdout);
    return new Promise((resolve, reject) => {
        child.once("error", reject).once("close", (code) => {
            resolve(code ?? -1);
        });
    });
}
