/** The servers that are compared: how each is started with the sample's model, and how it is asked. */
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { checkoutRoot } from "../../local/paths";

/** One bottle of wine: the model's features by name, in the model's order. */
export type Row = Readonly<Record<string, number>>;

export interface Server {
    readonly name: string;
    /** The package whose version is told. */
    readonly distribution?: string;
    /** Pinned packages with hashes. */
    readonly requirements: string;
    readonly path: string;
    /** A request for these rows. */
    readonly body: (rows: readonly Row[]) => string;
    /** What it answered, row by row. */
    readonly labels: (answer: unknown) => readonly string[];
    /** Its command; `folder` is its own to write to. */
    readonly command: (start: Start) => {
        readonly words: readonly string[];
        readonly cwd: string;
        readonly env?: Readonly<Record<string, string>>;
    };
}

interface Start {
    readonly python: string;
    /** Three that are free; the first one answers predictions. */
    readonly ports: readonly number[];
    readonly folder: string;
}

const here = path.join(checkoutRoot, "bench", "serving");
const sample = path.join(checkoutRoot, "examples", "mf-demo");

const named = {
    path: "/predict",
    body: (rows: readonly Row[]) => JSON.stringify({ inputs: rows.length === 1 ? rows[0] : rows }),
    labels: (answer: unknown) =>
        (answer as { predictions: readonly { label: string }[] }).predictions.map(({ label }) => label),
};

const port = ({ ports }: Start): string => String(ports[0]);

const mfDemo: Server = {
    ...named,
    name: "mf-demo",
    requirements: path.join(sample, "requirements.txt"),
    // The chart's own limit: what comes above it is answered with 429, which counts as failed here.
    command: (start) => ({
        words: [start.python, "-m", "mf_demo"],
        cwd: start.folder,
        env: { PORT: port(start), MAX_CONCURRENT_REQUESTS: "16" },
    }),
};

/** @param fastQueue its own switch for a faster way between its processes */
const litServe = (name: string, fastQueue: boolean): Server => ({
    ...named,
    name,
    distribution: "litserve",
    requirements: path.join(here, "litserve", "requirements.txt"),
    command: (start) => ({
        words: [start.python, path.join(here, "litserve", "server.py")],
        cwd: start.folder,
        env: { PORT: port(start), FAST_QUEUE: fastQueue ? "1" : "" },
    }),
});

const bentoml: Server = {
    ...named,
    name: "BentoML",
    distribution: "bentoml",
    requirements: path.join(here, "bentoml", "requirements.txt"),
    command: (start) => ({
        words: [
            ...[start.python, "-m", "bentoml", "serve", "server:WineApi"],
            ...["--host", "127.0.0.1", "--port", port(start)],
        ],
        cwd: path.join(here, "bentoml"),
        env: { BENTOML_HOME: start.folder, BENTOML_DO_NOT_TRACK: "True" },
    }),
};

/** @param workers processes beside the one that answers HTTP; with none, that one asks the model itself */
const mlserver = (name: string, workers: number): Server => ({
    name,
    distribution: "mlserver",
    requirements: path.join(here, "mlserver", "requirements.txt"),
    // The Open Inference Protocol knows tensors, so the names of the features stay with the caller.
    path: "/v2/models/wine/infer",
    body: (rows) => {
        const values = rows.map((row) => Object.values(row));
        const shape = [rows.length, values[0]?.length ?? 0];
        return JSON.stringify({ inputs: [{ name: "input", shape, datatype: "FP32", data: values.flat() }] });
    },
    labels: (answer) =>
        (answer as { outputs: readonly { name: string; data: readonly string[] }[] }).outputs.find(
            ({ name }) => name === "label",
        )?.data ?? [],
    command: ({ python, ports: [http_port, grpc_port, metrics_port], folder }) => {
        const ports = { host: "127.0.0.1", http_port, grpc_port, metrics_port };
        const settings = { ...ports, debug: false, parallel_workers: workers };
        fs.writeFileSync(path.join(folder, "settings.json"), JSON.stringify(settings));
        const model = { name: "wine", implementation: "server.WineApi" };
        fs.writeFileSync(path.join(folder, "model-settings.json"), JSON.stringify(model));
        fs.copyFileSync(path.join(here, "mlserver", "server.py"), path.join(folder, "server.py"));
        return { words: [path.join(path.dirname(python), "mlserver"), "start", folder], cwd: folder };
    },
});

/** Each as it is by default, and those that have a setting for a single core with that, too. The first one is ours. */
export const servers: readonly Server[] = [
    mfDemo,
    litServe("LitServe", false),
    litServe("LitServe, fast_queue", true),
    bentoml,
    mlserver("MLServer", 1),
    mlserver("MLServer, no worker", 0),
];

export interface Running {
    readonly pid: number;
    readonly url: string;
    /** The last that it printed. */
    readonly said: () => string;
    readonly ended: () => boolean;
    /** Ends it as an orchestrator does. @returns seconds that it took */
    readonly end: () => Promise<number>;
    /** Whatever is left of it. */
    readonly kill: () => void;
}

export interface Surroundings extends Start {
    /** What goes before its command, to keep it on its core. */
    readonly pin: readonly string[];
    /** Folder of the trained model. */
    readonly model: string;
}

export async function start(server: Server, { pin, model, ...own }: Surroundings): Promise<Running> {
    const { words, cwd, env } = server.command(own);
    const [file = "", ...args] = [...pin, ...words];
    const output = path.join(own.folder, "output");
    const log = fs.openSync(output, "w");
    // Compiled Python of the sample goes beside the model, for every start, and not into the checkout.
    const PYTHONPYCACHEPREFIX = path.join(model, "compiled");
    const child = spawn(file, args, {
        cwd,
        detached: true,
        stdio: ["ignore", log, log],
        env: { ...process.env, PYTHONPATH: sample, PYTHONPYCACHEPREFIX, MODEL_DIR: model, ...env },
    });
    fs.closeSync(log);
    const ended = new Promise((resolve) => child.once("close", resolve));
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
    const pid = child.pid ?? 0;
    const killGroup = (): void => {
        try {
            process.kill(-pid, "SIGKILL");
        } catch {
            // None of them is left.
        }
    };
    process.once("exit", killGroup);
    return {
        pid,
        url: `http://127.0.0.1:${port(own)}${server.path}`,
        said: () => fs.readFileSync(output, "utf8").slice(-2000),
        ended: () => child.exitCode !== null || child.signalCode !== null,
        end: async () => {
            const began = performance.now();
            child.kill("SIGTERM");
            const timer = setTimeout(killGroup, 30_000);
            await ended;
            clearTimeout(timer);
            return (performance.now() - began) / 1000;
        },
        kill: () => {
            killGroup();
            process.off("exit", killGroup);
        },
    };
}

/** Mebibytes of a process and all that it started; what several of them share is counted once. */
export function memoryOf(pid: number): number {
    const parents = fs.readdirSync("/proc").flatMap((entry): [number, number][] => {
        if (!/^\d+$/.test(entry)) return [];
        try {
            const stat = fs.readFileSync(`/proc/${entry}/stat`, "utf8");
            return [[Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])]];
        } catch {
            return [];
        }
    });
    const family = [pid];
    for (const one of family) family.push(...parents.filter(([, parent]) => parent === one).map(([child]) => child));
    const kibibytes = family.map((one) => {
        const text = fs.readFileSync(`/proc/${one}/smaps_rollup`, "utf8");
        return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1] ?? NaN);
    });
    return kibibytes.reduce((sum, one) => sum + one, 0) / 1024;
}

/** The version of the package that serves; nothing for ours. */
export function versionOf({ distribution }: Server, python: string): string {
    if (distribution === undefined) return "";
    const program = `import importlib.metadata as m; print(m.version("${distribution}"))`;
    return execFileSync(python, ["-c", program], { encoding: "utf8" }).trim();
}
