/** A local node of a test's own with the sample API's image on it, and plain Helm to put releases there. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stringify } from "yaml";
import { clusterContext, type ClusterInfo } from "../../local/clusters/cluster";
import { enterNode, nodeCluster, runInNode } from "../../local/clusters/node";
import { daemonCgroup, members } from "../../local/clusters/node/cgroups";
import { containerdSocket, serviceRange } from "../../local/clusters/node/configuration";
import { nodeDevice } from "../../local/clusters/node/network";
import { execute } from "../../local/clusters/node/program";
import { nodeParts, type Site, siteOf } from "../../local/clusters/node/site";
import { buildImage } from "../../local/image/build";
import { loadImage } from "../../local/image/load";
import { environment, withEnvironment } from "../../local/environment";
import { cacheDir, checkoutHash, checkoutRoot } from "../../local/paths";
import { choosePlugins } from "../../local/plugins";
import { run, type RunResult } from "../../local/run";
import { ensureTools } from "../../local/tools";
import type { Values } from "../chart/helm";

export interface OwnNode {
    readonly info: ClusterInfo;
    /** localhost/mf-demo, and the tag under which the node has it. */
    readonly image: { readonly repository: string; readonly tag: string };
    /** Standard output; an error when it fails. */
    kubectl(...args: readonly string[]): Promise<string>;
    /** Whatever it ends with. */
    helm(...args: readonly string[]): Promise<RunResult>;
    /** A values file for Helm. */
    valuesFile(values: Values): string;
    /** Gives the image on the node another tag. */
    tagImage(tag: string): Promise<void>;
    /** The same node, with another namespace of that kind. */
    beside(namespace: string): Promise<OwnNode>;
    /** Starts a program of this checkout (TypeScript) inside the node's network, where Services have their addresses. */
    start(program: string, ...args: readonly string[]): Promise<ChildProcess>;
    /** Runs a program in the node's namespaces, with the node's own iptables. @returns its standard output; an error when it fails */
    inside(...command: readonly string[]): Promise<string>;
    /** Starts one there, which ends with the node at the latest. */
    startInside(command: readonly string[], variables?: NodeJS.ProcessEnv): Promise<ChildProcess>;
    /** Lets the node learn of pods so many seconds late, as nodes of a large or busy cluster do. @returns ends it */
    learnLate(seconds: number): Promise<() => void>;
    down(): Promise<void>;
}

/** Why this machine has no real node; empty where it can. */
export async function noNodeBecause(): Promise<readonly string[]> {
    const { ok, reasons } = await nodeCluster.canRun();
    return ok ? [] : reasons;
}

/** For a `before`: skips the tests where real pods cannot run, and says why. */
export async function skipWithoutNode(test: Mocha.Context): Promise<void> {
    const reasons = await noNodeBecause();
    if (reasons.length > 0) {
        process.stdout.write(`    not shown here, real pods cannot run: ${reasons.join("; ")}\n`);
        test.skip();
    }
}

/** What Pulumi finds around it when it deploys to a node; its state goes into this folder. */
export async function deployingTo(cluster: ClusterInfo, stateDir: string): Promise<NodeJS.ProcessEnv> {
    const tools = await ensureTools(["pulumi", "helm", "kubectl"], { log: () => undefined });
    const { pulumi, helm } = tools;
    const plugins = await choosePlugins({ pulumi, helm, stateDir, cacheDir: cacheDir() });
    const variables = await environment({ stateDir, tools, plugins, cluster });
    return { ...withEnvironment(process.env, variables), ML_API_HELM: helm.path };
}

/**
 * Starts it.
 *
 * @param name tells this test's node from those of other tests
 * @param namespace made there under restricted Pod Security, with a Secret `key` that accepts `the-key`
 */
export async function ownNode(name: string, namespace: string): Promise<OwnNode> {
    const instance = createHash("sha256").update(`${checkoutHash()} ${name}`).digest("hex").slice(0, 10);
    const stateDir = path.join(os.tmpdir(), `ml-api-test-${instance}`);
    const context = clusterContext({ instance, stateDir, log: () => undefined });
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-node-"));
    const tools = await ensureTools(["helm", "kubectl"], { log: () => undefined });
    await nodeCluster.down(context);
    const info = await nodeCluster.up(context);
    await prefer(await siteOf(context));
    const archive = await buildImage(context);
    await loadImage(context, archive);
    const [repository = "", tag = ""] = archive.reference.split(":");
    const variables = { ...process.env, KUBECONFIG: info.kubeconfig, KUBECACHEDIR: path.join(folder, "kubectl") };
    const started: ChildProcess[] = [];
    let files = 0;

    const inNamespace = async (namespace: string): Promise<Pick<OwnNode, "kubectl" | "helm">> => {
        const kubectl: OwnNode["kubectl"] = async (...args) => {
            const words = ["--namespace", namespace, ...args];
            return (await execute(tools.kubectl.path, words, { variables, timeLimit: 120_000 })).stdout;
        };
        const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
        const objects = [
            { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } },
            keySecret("key", ["the-key"]),
        ];
        const file = path.join(folder, `objects-${namespace}.yaml`);
        fs.writeFileSync(file, objects.map((one) => stringify(one)).join("---\n"));
        await eventually(() => kubectl("apply", "--filename", file), 60);
        return {
            kubectl,
            helm: (...args) =>
                run(tools.helm.path, ["--namespace", namespace, ...args], { variables, timeLimit: 400_000 }),
        };
    };
    const node: OwnNode = {
        ...(await inNamespace(namespace)),
        beside: async (other) => ({ ...node, ...(await inNamespace(other)) }),
        info,
        image: { repository, tag },
        valuesFile: (values) => {
            const file = path.join(folder, `values-${files++}.yaml`);
            fs.writeFileSync(file, stringify(values));
            return file;
        },
        tagImage: async (other) => {
            const parts = await nodeParts(context);
            const [program = "", ...words] = await enterNode(context);
            const ctr = [parts.program("usr/bin/ctr"), "--address", containerdSocket, "--namespace", "k8s.io"];
            const names = [`${repository}:${tag}`, `${repository}:${other}`];
            const options = { timeLimit: 30_000, variables: parts.env };
            await execute(program, [...words, ...ctr, "images", "tag", "--force", ...names], options);
        },
        start: async (file, ...args) => {
            const [program = "", ...words] = await enterNode(context);
            // A process of the node itself has no route to a Service's address, which is no device's, until it has one here.
            const route = ["ip", "route", "replace", serviceRange, "dev", nodeDevice];
            await execute(program, [...words, ...route], { timeLimit: 10_000 });
            // Inside, the current folder is another one.
            const typescript = ["--require", require.resolve("ts-node/register/transpile-only"), file];
            const env = { ...process.env, TS_NODE_PROJECT: path.join(checkoutRoot, "tsconfig.json") };
            return spawn(program, [...words, process.execPath, ...typescript, ...args], {
                env,
                stdio: ["pipe", "pipe", "inherit"],
            });
        },
        inside: async (...command) => (await runInNode(context, command, { timeLimit: 60_000 })).stdout,
        startInside: async (command, more = {}) => {
            const [program = "", ...words] = [...(await enterNode(context)), ...command];
            const { env } = await nodeParts(context);
            const child = spawn(program, words, { env: { ...env, ...more }, stdio: ["ignore", "pipe", "pipe"] });
            started.push(child);
            return child;
        },
        learnLate: async (seconds) => {
            const { mounts, cgroup } = await siteOf(context);
            const [proxy] = await members(daemonCgroup(mounts, cgroup, "kube-proxy"));
            if (proxy === undefined) throw new Error("no kube-proxy runs");
            const wake = () => process.kill(proxy, "SIGCONT");
            let waking: NodeJS.Timeout | undefined;
            const turn = () => {
                process.kill(proxy, "SIGSTOP");
                waking = setTimeout(wake, seconds * 1000);
            };
            turn();
            // Awake for long enough to take in what has happened in between, on a busy machine too.
            const timer = setInterval(turn, seconds * 1000 + 2500);
            return () => {
                clearInterval(timer);
                clearTimeout(waking);
                wake();
            };
        },
        down: async () => {
            for (const child of started) child.kill("SIGKILL");
            await nodeCluster.down(context);
            fs.rmSync(folder, { recursive: true, force: true });
        },
    };
    return node;
}

/**
 * Gives the node more of a busy machine than its neighbours get, eight times one of theirs: pods that starve are taken out of
 * service, and no rollout would be to blame.
 */
async function prefer({ mounts, cgroup }: Site): Promise<void> {
    const files = mounts.version === 1 ? { "cpu.shares": "8192" } : { "cpu.weight": "800" };
    for (const root of mounts.roots)
        for (const [name, value] of Object.entries(files)) {
            const file = path.join(root, cgroup, name);
            if (fs.existsSync(file)) await fs.promises.writeFile(file, value);
        }
}

/** What the program makes of the keys of one generation. */
export function keySecret(name: string, keys: readonly string[]): object {
    const stringData = { keys: `${keys.join("\n")}\n`, key: keys[0] ?? "" };
    return { apiVersion: "v1", kind: "Secret", metadata: { name }, stringData };
}

/** Looks until it does not throw, for so many seconds. */
export async function eventually<T>(look: () => Promise<T>, seconds = 60): Promise<T> {
    for (const end = Date.now() + seconds * 1000; ;) {
        try {
            return await look();
        } catch (error) {
            if (Date.now() > end) throw error;
            await new Promise((resolve) => setTimeout(resolve, 250));
        }
    }
}
