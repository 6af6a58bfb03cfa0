import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { RunRequest } from "@pulumi/pulumi/proto/language_pb";
import { RunResponse } from "@pulumi/pulumi/proto/language_pb";

/** `runtime.options` of Pulumi.yaml, as far as they matter for running. */
export interface RuntimeOptions {
    typescript: boolean;
    tsconfig: string;
    nodeargs: string[];
}

export function runtimeOptions(options: Record<string, unknown>): RuntimeOptions {
    const { typescript = true, tsconfig = "", nodeargs = "" } = options;
    if (typeof typescript !== "boolean") throw new Error("typescript option must be a boolean");
    if (typeof tsconfig !== "string") throw new Error("tsconfig option must be a string");
    if (typeof nodeargs !== "string") throw new Error("nodeargs option must be a string");
    return { typescript, tsconfig, nodeargs: nodeargs.split(/\s+/).filter((arg) => arg !== "") };
}

/** A module of the SDK that the program itself uses. */
export function locateModule(name: string, programDirectory: string, installCommand: string): string {
    try {
        return createRequire(join(programDirectory, "package.json")).resolve(name);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
        throw new Error(`It looks like the Pulumi SDK has not been installed. Have you run ${installCommand}?`);
    }
}

/** "project:name" as "project:config:name", the form in which the SDK reads the configuration of its environment. */
function configKey(key: string): string {
    const [namespace = "", ...name] = key.split(":");
    return `${namespace}:config:${name.join(":")}`;
}

/** What the SDK's runner of programs reads from its environment. */
export function programEnvironment(options: RuntimeOptions, compileCache: string): NodeJS.ProcessEnv {
    return {
        ...process.env,
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? compileCache,
        ...(options.typescript && { PULUMI_NODEJS_TYPESCRIPT: "true" }),
        ...(options.tsconfig !== "" && { PULUMI_NODEJS_TSCONFIG_PATH: options.tsconfig }),
    };
}

function argumentsOf(request: RunRequest, engine: string): string[] {
    const info = request.getInfo();
    const flags: [string, string][] = [
        ["monitor", request.getMonitorAddress()],
        ["engine", engine],
        ["organization", request.getOrganization()],
        ["project", request.getProject()],
        ["root-directory", info?.getRootDirectory() ?? ""],
        ["stack", request.getStack()],
        ["pwd", info?.getProgramDirectory() ?? request.getPwd()],
        ["parallel", String(request.getParallel())],
    ];
    return [
        ...flags.filter(([, value]) => value !== "").flatMap(([flag, value]) => [`--${flag}`, value]),
        ...(request.getDryrun() ? ["--dry-run"] : []),
        info?.getEntryPoint() ?? ".",
        ...request.getArgsList(),
    ];
}

/** The runner's way to say: the user has been told everything already. */
const exitedAfterActionableMessage = 32;

function responseTo(code: number | null): RunResponse {
    const response = new RunResponse();
    if (code === exitedAfterActionableMessage) response.setBail(true);
    else if (code !== 0) response.setError(`Program exited with non-zero exit code: ${String(code ?? -1)}`);
    return response;
}

/** Asks the process to end, and ends it five seconds later. */
export function interrupt(child: ChildProcess): void {
    child.kill("SIGINT");
    setTimeout(() => child.kill("SIGKILL"), 5000).unref();
}

export interface RunningProgram {
    child: ChildProcess;
    ended: Promise<RunResponse>;
}

/**
 * Runs a program by the SDK's own runner, in a process of its own, exactly as the stock host does. Loading it into the
 * host instead would save one start of Node.js, but a program may exit, be interrupted, or go on after its last
 * `await`, and the engine deletes what a program that ended too early did not register.
 */
export function runProgram(request: RunRequest, engine: string, compileCache: string): RunningProgram {
    if (request.getAttachDebugger()) {
        throw new Error("the stand-in language host cannot attach a debugger: use the published one");
    }
    const info = request.getInfo();
    const options = runtimeOptions(info?.getOptions()?.toJavaScript() ?? {});
    const directory = info?.getProgramDirectory() ?? request.getPwd();
    const runner = locateModule("@pulumi/pulumi/cmd/run", directory, "pulumi install");
    const config = request
        .getConfigMap()
        .toArray()
        .map(([key, value]) => [configKey(key), value] as const);

    const child = spawn("node", [...options.nodeargs, runner, ...argumentsOf(request, engine)], {
        // The program's output is the host's: the engine shows what the host prints.
        stdio: ["ignore", "inherit", "inherit"],
        env: {
            ...programEnvironment(options, compileCache),
            PULUMI_CONFIG: JSON.stringify(Object.fromEntries(config)),
            PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
        },
    });
    const ended = new Promise<RunResponse>((resolve, reject) => {
        child.once("error", (error) => {
            reject(new Error(`Problem executing program (could not run Node.js): ${error.message}`));
        });
        child.once("close", (code) => {
            resolve(responseTo(code));
        });
    });
    return { child, ended };
}
