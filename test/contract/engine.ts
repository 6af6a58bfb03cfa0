import { type ChildProcess, spawn } from "node:child_process";
import {
    accessSync,
    constants,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    realpathSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { stripVTControlCharacters } from "node:util";

/**
 * Runs small programs by the real `pulumi`, each in a folder and a back end of its own, on whatever plugins the
 * environment provides: the stand-ins of this repository or the published ones.
 */

const repository = join(__dirname, "../..");

export interface Result {
    code: number | null;
    /** Standard output and standard error, in the order in which they came. */
    output: string;
    stdout: string;
    seconds: number;
}

export interface State {
    urn: string;
    type: string;
    id?: string;
    inputs?: Record<string, unknown>;
    outputs?: Record<string, unknown>;
    initErrors?: string[];
}

export interface Step {
    op: string;
    urn: string;
    oldState?: State;
    newState?: State;
    diffReasons?: string[];
    replaceReasons?: string[];
    detailedDiff?: Record<string, { kind: string; inputDiff: boolean }> | null;
}

/** The file that PATH leads to, if any. */
function onPath(name: string): string | undefined {
    for (const directory of (process.env.PATH ?? "").split(delimiter)) {
        const file = join(directory, name);
        try {
            accessSync(file, constants.X_OK);
            return file;
        } catch {
            // Not here.
        }
    }
    return undefined;
}

/** The folder of `pulumi` itself: where it keeps plugins that it downloaded. */
function installedPlugins(): string {
    return join(process.env.PULUMI_HOME ?? join(homedir(), ".pulumi"), "plugins");
}

/** Fails with what to do when there is nothing to test with. */
export function requirePulumi(): void {
    if (onPath("pulumi") !== undefined) return;
    throw new Error("`pulumi` is not on PATH: the contract tests run real programs. 'make test' puts it there.");
}

/** Whether the Kubernetes provider under test is this repository's own. */
export function isStandIn(): boolean {
    const name = "pulumi-resource-kubernetes";
    const installed = existsSync(installedPlugins()) ? readdirSync(installedPlugins()) : [];
    const candidates = [
        process.env.PULUMI_IGNORE_AMBIENT_PLUGINS === "true" ? undefined : onPath(name),
        ...installed
            .filter((entry) => entry.startsWith("resource-kubernetes-v"))
            .map((entry) => join(installedPlugins(), entry, name)),
    ];
    const [plugin] = candidates.filter((file) => file !== undefined && existsSync(file));
    return plugin !== undefined && realpathSync(plugin).startsWith(join(repository, "local", "plugins"));
}

/** The kubeconfig of a cluster for these tests, or undefined when the caller said that there is none. */
export function testKubeconfig(): string | undefined {
    const kubeconfig = process.env.ML_API_TEST_KUBECONFIG;
    if (kubeconfig !== undefined && kubeconfig !== "") return kubeconfig;
    if (process.env.ML_API_TEST_NO_CLUSTER === "1") return undefined;
    throw new Error(
        "ML_API_TEST_KUBECONFIG is not set: these tests need a cluster. 'make test' starts a simulated one. " +
            "Set ML_API_TEST_NO_CLUSTER=1 to leave them out.",
    );
}

export interface RunOptions {
    env?: NodeJS.ProcessEnv;
    timeoutSeconds?: number;
    /** Called with the process and with everything it printed so far, whenever it prints. */
    watch?: (child: ChildProcess, output: string) => void;
}

const roots = new Set<string>();

/** Removes the folders of every project that was created. */
export function removeProjects(): void {
    for (const root of roots) rmSync(root, { recursive: true, force: true });
    roots.clear();
}

export class Project {
    private readonly home: string;
    readonly directory: string;

    private constructor(private readonly root: string) {
        this.home = join(root, "home");
        this.directory = join(root, "program");
    }

    /**
     * A project with one stack, `dev`. `files` are written into its folder, whose node_modules are the repository's.
     */
    static async create(name: string, files: Record<string, string>): Promise<Project> {
        requirePulumi();
        // The real path: what a program prints of its own place has to be comparable.
        const project = new Project(realpathSync(mkdtempSync(join(tmpdir(), "contract-"))));
        roots.add(project.root);
        for (const folder of ["home", "state", "program"]) mkdirSync(join(project.root, folder));
        if (existsSync(installedPlugins())) symlinkSync(installedPlugins(), join(project.home, "plugins"));
        symlinkSync(join(repository, "node_modules"), join(project.directory, "node_modules"));
        project.write("package.json", JSON.stringify({ name, private: true }));
        project.write(
            "Pulumi.yaml",
            `name: ${name}\nruntime:\n  name: nodejs\n  options:\n    tsconfig: tsconfig.pulumi.json\n`,
        );
        const compilerOptions = { target: "ES2022", module: "node20", strict: true, esModuleInterop: true };
        project.write("tsconfig.json", JSON.stringify({ compilerOptions }));
        project.write(
            "tsconfig.pulumi.json",
            JSON.stringify({ compilerOptions: { ...compilerOptions, noCheck: true } }),
        );
        for (const [path, text] of Object.entries(files)) project.write(path, text);
        const created = await project.run(["stack", "init", "dev"]);
        if (created.code !== 0) throw new Error(`pulumi stack init failed:\n${created.output}`);
        return project;
    }

    write(path: string, text: string): void {
        const file = join(this.directory, path);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, text);
    }

    read(path: string): string {
        return readFileSync(join(this.directory, path), "utf8");
    }

    /** Settings of the stack, as in Pulumi.dev.yaml. */
    configure(config: Record<string, unknown>): void {
        const file = join(this.directory, "Pulumi.dev.yaml");
        const salt = existsSync(file) ? (/^encryptionsalt: .*$/m.exec(readFileSync(file, "utf8"))?.[0] ?? "") : "";
        writeFileSync(file, `${salt}\nconfig: ${JSON.stringify(config)}\n`);
    }

    async run(args: string[], { env = {}, timeoutSeconds = 120, watch }: RunOptions = {}): Promise<Result> {
        const started = Date.now();
        const child = spawn("pulumi", [...args, "--non-interactive", "--color", "never"], {
            cwd: this.directory,
            stdio: ["ignore", "pipe", "pipe"],
            env: { ...process.env, ...this.environment(), ...env },
        });
        let output = "";
        let stdout = "";
        const print = (chunk: Buffer): void => {
            // Stack traces come in colours, whatever --color says.
            output += stripVTControlCharacters(chunk.toString());
            watch?.(child, output);
        };
        child.stdout.on("data", (chunk: Buffer) => {
            stdout += chunk.toString();
            print(chunk);
        });
        child.stderr.on("data", print);
        const timer = setTimeout(() => child.kill("SIGKILL"), timeoutSeconds * 1000);
        const code = await new Promise<number | null>((resolve, reject) => {
            child.once("error", reject);
            child.once("close", resolve);
        });
        clearTimeout(timer);
        const seconds = (Date.now() - started) / 1000;
        if (seconds >= timeoutSeconds) output += `\n(ended by the test after ${String(timeoutSeconds)} s)`;
        return { code, output, stdout, seconds };
    }

    preview(options: RunOptions & { args?: string[] } = {}): Promise<Result> {
        return this.run(["preview", "--stack", "dev", "--diff", ...(options.args ?? [])], options);
    }

    up(options: RunOptions & { args?: string[] } = {}): Promise<Result> {
        return this.run(["up", "--stack", "dev", "--yes", "--skip-preview", ...(options.args ?? [])], options);
    }

    /** The steps of a preview. */
    async steps(options: RunOptions & { args?: string[] } = {}): Promise<Step[]> {
        const result = await this.run(["preview", "--stack", "dev", "--json", ...(options.args ?? [])], options);
        try {
            const { steps } = JSON.parse(result.stdout) as { steps: Step[] };
            return steps;
        } catch {
            throw new Error(`pulumi preview --json printed no JSON:\n${result.output}`);
        }
    }

    async step(name: string, options: RunOptions & { args?: string[] } = {}): Promise<Step> {
        const steps = await this.steps(options);
        const found = steps.find(({ urn, op }) => urn.endsWith(`::${name}`) && op !== "refresh");
        if (found === undefined) throw new Error(`no step for ${name} among ${steps.map(({ urn }) => urn).join(", ")}`);
        return found;
    }

    /** The stack as it is stored, without a secret in clear. */
    async exported(...args: string[]): Promise<{ text: string; resources: State[] }> {
        const { stdout, code, output } = await this.run(["stack", "export", "--stack", "dev", ...args]);
        if (code !== 0) throw new Error(output);
        const { deployment } = JSON.parse(stdout) as { deployment: { resources?: State[] } };
        return { text: stdout, resources: deployment.resources ?? [] };
    }

    async resource(name: string): Promise<State | undefined> {
        const { resources } = await this.exported();
        return resources.find(({ urn }) => urn.endsWith(`::${name}`));
    }

    async outputs(): Promise<Record<string, unknown>> {
        const { stdout, code, output } = await this.run([
            "stack",
            "output",
            "--stack",
            "dev",
            "--json",
            "--show-secrets",
        ]);
        if (code !== 0) throw new Error(output);
        return JSON.parse(stdout) as Record<string, unknown>;
    }

    private environment(): NodeJS.ProcessEnv {
        return {
            PULUMI_HOME: this.home,
            PULUMI_BACKEND_URL: `file://${join(this.root, "state")}`,
            PULUMI_CONFIG_PASSPHRASE: "contract",
            PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
            PULUMI_SKIP_UPDATE_CHECK: "true",
            // A test that forgets to name its cluster reaches none.
            KUBECONFIG: join(this.root, "no-kubeconfig"),
        };
    }
}

/** A kubeconfig whose server refuses connections. */
export function deadKubeconfig(user: object = { token: "none" }): string {
    return JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "dead", cluster: { server: "https://127.0.0.1:1" } }],
        users: [{ name: "nobody", user }],
        contexts: [{ name: "dead", context: { cluster: "dead", user: "nobody" } }],
        "current-context": "dead",
    });
}

/** A secret in an exported state. */
export function isStoredSecret(value: unknown): boolean {
    return (
        typeof value === "object" &&
        value !== null &&
        "4dabf18193072939515e22adb298388d" in value &&
        value["4dabf18193072939515e22adb298388d"] === "1b47061264138c4ac30d75fd1eb44270" &&
        "ciphertext" in value
    );
}
