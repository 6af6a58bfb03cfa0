import {
    chmodSync,
    existsSync,
    readdirSync,
    readFileSync,
    realpathSync,
    renameSync,
    rmdirSync,
    rmSync,
    symlinkSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import type { ApiAccess } from "../../components/config/kubeconfig";
import { request } from "../../components/guarded-release/live/api";
import { isRecord, privateFolder, readJson, writePrivate } from "../files";
import { withLock } from "../lock";
import { freePorts as findFreePorts, isFree } from "../ports";
import { isAlive, killAll, listProcesses } from "../processes";
import { lastLines, run, type RunResult } from "../run";
import { ensureTools, type Tool, type ToolName } from "../tools";
import { pins } from "../tools/pins";
import type { Cluster, ClusterContext, ClusterInfo, ClusterStatus } from "./cluster";

/** Its name for kwok; the folder it lives in is what tells two of them apart. */
const clusterName = "ml-api";
const contextName = `kwok-${clusterName}`;
const nodeCount = 2;

/** What it is made of, for callers who want to get them all first. */
export const simulatedTools = [
    "kwokctl",
    "kwok",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
] as const satisfies readonly ToolName[];
type Needed = (typeof simulatedTools)[number];

/** Option of kwok's configuration file for each port, in the order in which ports are handed out. */
const portOptions = [
    "kubeApiserverPort",
    "etcdPort",
    "etcdPeerPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
] as const;

const binaryOptions: Readonly<Record<Exclude<Needed, "kwokctl">, string>> = {
    etcd: "etcdBinary",
    "kube-apiserver": "kubeApiserverBinary",
    "kube-controller-manager": "kubeControllerManagerBinary",
    "kube-scheduler": "kubeSchedulerBinary",
    kwok: "kwokControllerBinary",
    kubectl: "kubectlBinary",
};

/** Names under which kwok runs its parts. */
const parts = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"] as const;

/** Written when a creation has ended well: a work folder without it was left half-way. */
interface ClusterRecord {
    readonly ports: readonly number[];
    readonly binaries: Readonly<Record<string, string>>;
}

/** Milliseconds. Created and ready takes about 5 s; a loaded machine gets twelve times that. */
const startLimit = 60_000;
const probeLimit = 3000;
const attempts = 3;

const notice =
    "cluster  simulated: API server, scheduler and controllers are real; nodes and pods only report that all is well. No pod runs, no request is answered.";

/** For tests: where ports and tools come from. */
export interface SimulatedParts {
    readonly freePorts: (count: number, seed: string) => Promise<readonly number[]>;
    readonly tools: (context: ClusterContext) => Promise<Readonly<Record<Needed, Pick<Tool, "path">>>>;
}

const realParts: SimulatedParts = {
    freePorts: findFreePorts,
    tools: (context) =>
        ensureTools(simulatedTools, {
            log: context.log,
            variables: context.variables,
            cache: context.cacheDir,
            signal: context.signal,
            terminal: process.stdout.isTTY,
        }),
};

export const simulatedCluster: Cluster = createSimulatedCluster();

/** A control plane run by kwokctl as plain processes, needing neither root nor containers. */
export function createSimulatedCluster({ freePorts, tools: getTools }: SimulatedParts = realParts): Cluster {
    return {
        kind: "simulated",
        up: (context) =>
            withFolder(context, async (folder) => {
                const known = readRecord(folder);
                if (known !== undefined && (await problemOf(folder)) === undefined) return infoOf(folder, known);
                context.log(notice);
                const tools = await getTools(context);
                if (known === undefined) await create(folder, context, tools, freePorts);
                else await repair(folder, known, context, tools, freePorts);
                const record = readRecord(folder);
                if (record === undefined) throw new Error(`${recordFile(folder)} was just written and cannot be read.`);
                return infoOf(folder, record);
            }),
        down: async (context) => {
            if (!existsSync(folderOf(context))) return;
            await withFolder(context, async (folder) => {
                await endProcesses(folder);
                rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
            });
            removeIfEmpty(context.stateDir);
        },
        status: async (context): Promise<ClusterStatus> => {
            if (!existsSync(folderOf(context))) return { state: "absent" };
            const folder = realpathSync(folderOf(context));
            const record = readRecord(folder);
            if (record === undefined) return { state: "broken", reason: "its creation did not end" };
            const problem = await problemOf(folder);
            return problem === undefined
                ? { state: "up", info: infoOf(folder, record) }
                : { state: "broken", reason: problem };
        },
    };
}

function removeIfEmpty(folder: string): void {
    try {
        rmdirSync(folder);
    } catch {
        // Something else of this checkout is in it.
    }
}

/** kwokctl cuts its folder at the first blank and would write beside it. */
function refuseBlanks(stateDir: string): void {
    if (!/\s/.test(stateDir)) return;
    throw new Error(
        `The simulated cluster cannot live in "${stateDir}": kwokctl takes no folder with a blank in its name. Set XDG_STATE_HOME to one without.`,
    );
}

/** One start or stop at a time, in the folder that holds all of this cluster. */
async function withFolder<T>(context: ClusterContext, body: (folder: string) => Promise<T>): Promise<T> {
    refuseBlanks(context.stateDir);
    privateFolder(context.stateDir);
    const onWait = (pid: number): void => {
        context.log(`cluster  another run (process ${pid}) is starting or stopping it; waiting`);
    };
    const lock = join(context.stateDir, "simulated.lock");
    // Programs see the real path in their arguments, and are found by it.
    return withLock(lock, () => body(join(realpathSync(context.stateDir), "simulated")), {
        onWait,
        signal: context.signal,
    });
}

async function create(
    folder: string,
    context: ClusterContext,
    tools: Tools,
    freePorts: SimulatedParts["freePorts"],
): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
        await endProcesses(folder);
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
        privateFolder(folder);
        // Between the choice of ports and their use nobody else may choose.
        const outcome = await withPorts(context, async () => {
            const ports = await freePorts(portOptions.length, context.instance);
            const binaries = binariesOf(tools);
            writePrivate(configFile(folder), JSON.stringify(configuration(ports, binaries, folder)));
            const args = [
                ...[
                    "create",
                    "cluster",
                    "--runtime",
                    "binary",
                    "--config",
                    configFile(folder),
                    "--kubeconfig",
                    kwokKubeconfig(folder),
                ],
                // Nodes belong to whoever runs: after a crash nobody waits for the lease of a dead controller. (0 in the file means "not set".)
                ...["--node-lease-duration-seconds", "0"],
            ];
            const started = await start(folder, tools, context, args);
            return started ?? { record: { ports, binaries } };
        });
        if ("record" in outcome) {
            writeKubeconfig(folder, outcome.record);
            await finish(folder, outcome.record, context, tools);
            return;
        }
        if (!outcome.clash || attempt === attempts) {
            throw new Error(
                `The simulated cluster did not start: ${outcome.problem}\nIts logs are in ${logsFolder(folder)}. Run the same command again; if it fails the same way, run \`make down\` first.`,
            );
        }
        context.log("cluster  somebody took one of its ports; trying others");
    }
}

/** Starts what is on disk again, with everything that was deployed to it. */
async function repair(
    folder: string,
    known: ClusterRecord,
    context: ClusterContext,
    tools: Tools,
    freePorts: SimulatedParts["freePorts"],
): Promise<void> {
    context.log("cluster  parts of it are not running; starting them again, with what was deployed");
    for (let attempt = 1; ; attempt += 1) {
        await endProcesses(folder);
        // A number in a stale file may belong to anybody by now.
        for (const name of filesIn(join(home(folder), "pids"))) rmSync(join(home(folder), "pids", name));
        setLogsAside(folder);
        const outcome = await withPorts(context, async () => {
            const taken = attempt > 1 || (await Promise.all(known.ports.map(isFree))).includes(false);
            const ports = taken ? await freePorts(portOptions.length, context.instance) : known.ports;
            const record: ClusterRecord = { ports, binaries: binariesOf(tools) };
            move(folder, record);
            return (await start(folder, tools, context, ["start", "cluster"])) ?? { record };
        });
        if ("record" in outcome) {
            writeKubeconfig(folder, outcome.record);
            await finish(folder, outcome.record, context, tools);
            return;
        }
        if (!outcome.clash || attempt === attempts) {
            throw new Error(
                `The simulated cluster did not start again: ${outcome.problem}\nIts logs are in ${logsFolder(folder)}. \`make down\` removes it together with what was deployed to it, \`make up\` then makes a new one.`,
            );
        }
    }
}

type Tools = Readonly<Record<Needed, Pick<Tool, "path">>>;
interface NotStarted {
    readonly problem: string;
    readonly clash: boolean;
}

/** Runs kwokctl, and stops it early when one of its parts cannot have its port: by itself it would wait for minutes. */
async function start(
    folder: string,
    tools: Tools,
    context: ClusterContext,
    args: readonly string[],
): Promise<NotStarted | undefined> {
    const clash = new AbortController();
    const signal = context.signal === undefined ? clash.signal : AbortSignal.any([clash.signal, context.signal]);
    let over = false;
    const watch = async (): Promise<void> => {
        while (!over) {
            if (portTaken(folder)) clash.abort();
            await sleep(250);
        }
    };
    const running = kwokctl(
        tools,
        folder,
        context,
        [...args, "--name", clusterName, "--timeout", `${startLimit / 1000}s`],
        signal,
    ).finally(() => {
        over = true;
    });
    const [result] = await Promise.all([running, watch()]);
    context.signal?.throwIfAborted();
    if (result.failure === undefined && !portTaken(folder)) return undefined;
    if (portTaken(folder)) return { problem: "one of its ports was taken meanwhile.", clash: true };
    return { problem: `kwokctl ${result.failure ?? "failed"}.\n${lastLines(result.stderr, 5)}`, clash: false };
}

/** Adds the nodes and waits until pods can be made; only then is the cluster written down as made. */
async function finish(folder: string, record: ClusterRecord, context: ClusterContext, tools: Tools): Promise<void> {
    const access = accessOf(folder, record);
    const deadline = Date.now() + startLimit;
    await until(deadline, folder, context, async () =>
        (await request(access, { path: "/readyz", timeoutMs: probeLimit })).status === 200
            ? undefined
            : "its API server is not ready",
    );
    const scaled = await kwokctl(tools, folder, context, [
        "scale",
        "node",
        "--replicas",
        String(nodeCount),
        "--name",
        clusterName,
        // kwok's nodes have none by default, and the chart asks for some.
        "--param",
        '.allocatable["ephemeral-storage"]="100Gi"',
    ]);
    if (scaled.failure !== undefined)
        throw new Error(
            `Adding nodes to the simulated cluster failed: kwokctl ${scaled.failure}.\n${lastLines(scaled.stderr, 5)}`,
        );
    await until(deadline, folder, context, () => unreadiness(access));
    writePrivate(recordFile(folder), JSON.stringify(record));
}

/** Undefined when every part runs and answers. */
async function problemOf(folder: string): Promise<string | undefined> {
    const record = readRecord(folder);
    if (record === undefined) return "its creation did not end";
    const running = new Set(ownProcesses(folder).map(({ program }) => basename(program)));
    const stopped = parts.filter((part) => !running.has(part));
    if (stopped.length > 0) return `${stopped.join(", ")} not running`;
    try {
        const { status } = await request(accessOf(folder, record), { path: "/readyz", timeoutMs: probeLimit });
        return status === 200 ? undefined : "its API server is not ready";
    } catch {
        return "its API server does not answer";
    }
}

/** What is still missing before a Deployment can have pods: nodes, and the controllers that make service accounts. */
async function unreadiness(access: ApiAccess): Promise<string | undefined> {
    const [nodes, account] = await Promise.all([
        request(access, { path: "/api/v1/nodes", timeoutMs: probeLimit }),
        request(access, { path: "/api/v1/namespaces/default/serviceaccounts/default", timeoutMs: probeLimit }),
    ]);
    if (readyNodes(nodes.body) < nodeCount) return "its nodes are not ready";
    return account.status === 200 ? undefined : "its controllers are not at work";
}

function readyNodes(body: string): number {
    const list: unknown = JSON.parse(body);
    const items: unknown = isRecord(list) ? list["items"] : undefined;
    if (!Array.isArray(items)) return 0;
    return items.filter((node: unknown) => {
        const status = isRecord(node) && isRecord(node["status"]) ? node["status"] : {};
        const conditions: unknown = status["conditions"];
        return (
            Array.isArray(conditions) &&
            conditions.some(
                (condition: unknown) =>
                    isRecord(condition) && condition["type"] === "Ready" && condition["status"] === "True",
            )
        );
    }).length;
}

async function until(
    deadline: number,
    folder: string,
    context: ClusterContext,
    look: () => Promise<string | undefined>,
): Promise<void> {
    for (;;) {
        context.signal?.throwIfAborted();
        const problem = await look().catch(() => "its API server does not answer");
        if (problem === undefined) return;
        if (Date.now() > deadline)
            throw new Error(
                `The simulated cluster is not ready after ${startLimit / 1000} s: ${problem}. Its logs are in ${logsFolder(folder)}.`,
            );
        await sleep(200);
    }
}

/** Everything of this cluster that runs, by the program's place and not by numbers in files. */
function ownProcesses(folder: string): readonly { readonly pid: number; readonly program: string }[] {
    const binaries = `${join(home(folder), "bin")}/`;
    return listProcesses().flatMap(({ pid, argv }) => {
        const line = argv.join(" ");
        if (line.startsWith(binaries))
            return [
                { pid, program: line.slice(0, binaries.length) + (line.slice(binaries.length).split(" ")[0] ?? "") },
            ];
        // A kwokctl whose caller was killed goes on starting things.
        const starter = basename(argv[0] ?? "");
        const isStarter =
            (starter === "kwokctl" || starter === "kubectl") &&
            argv.some((argument) => argument.includes(`${folder}/`));
        return isStarter ? [{ pid, program: argv[0] ?? "" }] : [];
    });
}

async function endProcesses(folder: string): Promise<void> {
    const deadline = Date.now() + 20_000;
    for (;;) {
        const running = ownProcesses(folder);
        if (running.length === 0) return;
        // Those that start others go first, else there are new ones a moment later.
        const starters = running.filter(({ program }) => basename(program) === "kwokctl");
        killAll((starters.length > 0 ? starters : running).map(({ pid }) => pid));
        while (running.some(({ pid }) => isAlive(pid)) && starters.length === 0 && Date.now() < deadline)
            await sleep(20);
        if (Date.now() > deadline)
            throw new Error(
                `Processes of the simulated cluster do not end: ${running.map(({ pid }) => pid).join(", ")}.`,
            );
    }
}

function kwokctl(
    tools: Tools,
    folder: string,
    context: ClusterContext,
    args: readonly string[],
    signal: AbortSignal | undefined = context.signal,
): Promise<RunResult> {
    return run(tools.kwokctl.path, args, {
        cwd: folder,
        variables: {
            ...context.variables,
            KWOK_WORKDIR: folder,
            KUBECONFIG: kwokKubeconfig(folder),
            // kwokctl prefers a kubectl on PATH to the configured one.
            PATH: `${dirname(tools.kubectl.path)}:${context.variables["PATH"] ?? ""}`,
        },
        timeLimit: 2 * startLimit,
        signal,
    });
}

function withPorts<T>(context: ClusterContext, body: () => Promise<T>): Promise<T> {
    return withLock(join(context.cacheDir, ".locks", "ports"), body, { signal: context.signal });
}

function configuration(ports: readonly number[], binaries: Readonly<Record<string, string>>, folder: string): unknown {
    return {
        apiVersion: "config.kwok.x-k8s.io/v1alpha1",
        kind: "KwokctlConfiguration",
        options: {
            runtime: "binary",
            bindAddress: "127.0.0.1",
            kubeVersion: `v${pins["kube-apiserver"].version}`,
            ...Object.fromEntries(portOptions.map((option, index) => [option, ports[index]])),
            ...Object.fromEntries(Object.entries(binaryOptions).map(([tool, option]) => [option, binaries[tool]])),
        },
        // Alone, they need no election: after a crash they would wait for the dead holder's lease to run out.
        componentsPatches: ["kube-controller-manager", "kube-scheduler"].map((name) => {
            // Its default is a folder of the system, which the controller manager would make.
            const plugins = { key: "flex-volume-plugin-dir", value: join(folder, "volume-plugins") };
            const own = name === "kube-controller-manager" ? [plugins] : [];
            return { name, extraArgs: [{ key: "leader-elect", value: "false" }, ...own] };
        }),
    };
}

function binariesOf(tools: Tools): Readonly<Record<string, string>> {
    return Object.fromEntries(Object.keys(binaryOptions).map((name) => [name, tools[name as Needed].path]));
}

/**
 * Lets what kwok wrote down point at these ports and binaries. What it points at now is read from the files, so that
 * a move that was cut short is finished by the next one.
 */
function move(folder: string, to: ClusterRecord): void {
    const file = join(home(folder), "kwok.yaml");
    const text = readFileSync(file, "utf8");
    const options = kwokOptions(text);
    const ports = new Map(portOptions.map((option, index) => [String(options[option]), String(to.ports[index])]));
    let moved = withPortsReplaced(text, ports);
    for (const [tool, option] of Object.entries(binaryOptions)) {
        moved = moved.replaceAll(`${option}: ${String(options[option])}\n`, `${option}: ${to.binaries[tool] ?? ""}\n`);
    }
    writePrivate(file, moved);

    const kubeconfig = join(home(folder), "kubeconfig.yaml");
    const server = readFileSync(kubeconfig, "utf8").replace(
        /(server: https:\/\/127\.0\.0\.1:)\d+/,
        `$1${to.ports[0] ?? 0}`,
    );
    writePrivate(kubeconfig, server);

    for (const part of parts) {
        const link = join(home(folder), "bin", part);
        rmSync(link, { force: true });
        symlinkSync(to.binaries[part === "kwok-controller" ? "kwok" : part] ?? "", link);
    }
}

/** Numbers that are ports, and no other: an address, or the value of something called port. */
function withPortsReplaced(text: string, ports: ReadonlyMap<string, string>): string {
    return text.replaceAll(
        /(127\.0\.0\.1:|[pP]ort(?:=|: ))(\d+)/g,
        (_, before: string, port: string) => before + (ports.get(port) ?? port),
    );
}

function kwokOptions(text: string): Readonly<Record<string, unknown>> {
    const first: unknown = parse(text.split("\n---\n")[0] ?? "");
    const options = isRecord(first) ? first["options"] : undefined;
    return isRecord(options) ? options : {};
}

/** kwok's own kubeconfig names files; this one stands alone, so that it can be copied. */
function writeKubeconfig(folder: string, record: ClusterRecord): void {
    const data = (name: string): string => readFileSync(join(home(folder), "pki", name)).toString("base64");
    const content = {
        apiVersion: "v1",
        kind: "Config",
        clusters: [
            { name: contextName, cluster: { server: serverOf(record), "certificate-authority-data": data("ca.crt") } },
        ],
        users: [
            {
                name: contextName,
                user: { "client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key") },
            },
        ],
        contexts: [{ name: contextName, context: { cluster: contextName, user: contextName } }],
        "current-context": contextName,
    };
    writePrivate(kubeconfigFile(folder), `${JSON.stringify(content, undefined, 2)}\n`);
    for (const file of [kwokKubeconfig(folder), join(home(folder), "kubeconfig.yaml")])
        if (existsSync(file)) chmodSync(file, 0o600);
}

function accessOf(folder: string, record: ClusterRecord): ApiAccess {
    const read = (name: string): string => readFileSync(join(home(folder), "pki", name), "utf8");
    return {
        server: serverOf(record),
        ca: read("ca.crt"),
        clientCertificate: read("admin.crt"),
        clientKey: read("admin.key"),
    };
}

function infoOf(folder: string, record: ClusterRecord): ClusterInfo {
    return {
        kind: "simulated",
        kubeconfig: kubeconfigFile(folder),
        context: contextName,
        server: serverOf(record),
        podsServe: false,
    };
}

function serverOf(record: ClusterRecord): string {
    return `https://127.0.0.1:${record.ports[0] ?? 0}`;
}

function readRecord(folder: string): ClusterRecord | undefined {
    const value = readJson(recordFile(folder));
    if (!isRecord(value) || !Array.isArray(value["ports"]) || !isRecord(value["binaries"])) return undefined;
    const binaries = Object.entries(value["binaries"]).filter(
        (entry): entry is [string, string] => typeof entry[1] === "string",
    );
    const ports = (value["ports"] as unknown[]).filter((port): port is number => typeof port === "number");
    return ports.length === portOptions.length ? { ports, binaries: Object.fromEntries(binaries) } : undefined;
}

/** The logs of the last start are about that start only; those before are kept once, for whoever looks for the reason. */
function setLogsAside(folder: string): void {
    const logs = logsFolder(folder);
    for (const name of filesIn(logs).filter((entry) => entry.endsWith(".log"))) {
        renameSync(join(logs, name), join(logs, `${name}.previous`));
    }
}

function portTaken(folder: string): boolean {
    const logs = logsFolder(folder);
    return filesIn(logs)
        .filter((name) => name.endsWith(".log"))
        .some((name) => readFileSync(join(logs, name), "utf8").includes("address already in use"));
}

function filesIn(folder: string): readonly string[] {
    return existsSync(folder) ? readdirSync(folder) : [];
}

const folderOf = (context: ClusterContext): string => join(context.stateDir, "simulated");
const home = (folder: string): string => join(folder, "clusters", clusterName);
const logsFolder = (folder: string): string => join(home(folder), "logs");
const recordFile = (folder: string): string => join(folder, "record.json");
const configFile = (folder: string): string => join(folder, "kwokctl.json");
const kwokKubeconfig = (folder: string): string => join(folder, "kwok-kubeconfig");
const kubeconfigFile = (folder: string): string => join(folder, "kubeconfig");
