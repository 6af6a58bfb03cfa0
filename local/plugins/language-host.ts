import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import type * as grpc from "@grpc/grpc-js";
import { LanguageRuntimeService } from "@pulumi/pulumi/proto/language_grpc_pb";
import type * as messages from "@pulumi/pulumi/proto/language_pb";
import {
    AboutResponse,
    DependencyInfo,
    GetProgramDependenciesResponse,
    GetRequiredPackagesResponse,
    GetRequiredPluginsResponse,
    InstallDependenciesResponse,
    LanguageHandshakeResponse,
    RunPluginResponse,
    RuntimeOptionPrompt,
    RuntimeOptionsResponse,
    TemplateResponse,
} from "@pulumi/pulumi/proto/language_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { packageVersion } from "./package-version";
import { startNodePlugin } from "./node-plugin";
import { interrupt, runProgram } from "./program";
import { requiredPackages } from "./required-packages";
import { serviceError, Unimplemented } from "./rpc/failure";
import { engineAddress, servePlugin, unary } from "./rpc/serve";

function programDirectory(request: { getInfo(): messages.ProgramInfo | undefined }): string {
    return request.getInfo()?.getProgramDirectory() ?? process.cwd();
}

function versionIn(find: () => string): string | undefined {
    try {
        return (JSON.parse(readFileSync(find(), "utf8")) as { version?: string }).version;
    } catch {
        return undefined;
    }
}

/** Read, not asked for: npm takes a tenth of a second to say its version, and the engine wants it at every preview. */
function npmVersion(): string {
    const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => existsSync(join(folder, "npm")));
    const [folder = ""] = folders;
    return versionIn(() => join(dirname(realpathSync(join(folder, "npm"))), "..", "package.json")) ?? "";
}

interface LockFile {
    packages?: Record<string, { version?: string; dependencies?: object; devDependencies?: object }>;
}

/** Name and version of what the nearest package-lock.json holds. */
function installedVersions(directory: string, transitive: boolean): [string, string][] {
    let text: string;
    try {
        text = readFileSync(join(directory, "package-lock.json"), "utf8");
    } catch {
        if (directory !== dirname(directory)) return installedVersions(dirname(directory), transitive);
        throw new Error("no package-lock.json beside the program or above it: run 'npm install'");
    }
    const packages = (JSON.parse(text) as LockFile).packages ?? {};
    const root = packages[""];
    const direct = new Set([...Object.keys(root?.dependencies ?? {}), ...Object.keys(root?.devDependencies ?? {})]);
    return Object.entries(packages).flatMap(([path, { version = "" }]): [string, string][] => {
        const name = path.split("node_modules/").at(-1) ?? "";
        const wanted = path !== "" && (transitive || (direct.has(name) && path === `node_modules/${name}`));
        return wanted ? [[name, version]] : [];
    });
}

function npmPrompt(): RuntimeOptionPrompt {
    const value = new RuntimeOptionPrompt.RuntimeOptionValue();
    value.setPrompttype(RuntimeOptionPrompt.RuntimeOptionType.STRING);
    value.setStringvalue("npm");
    const prompt = new RuntimeOptionPrompt();
    prompt.setKey("packagemanager");
    prompt.setDescription("The package manager to use for installing dependencies");
    prompt.setPrompttype(RuntimeOptionPrompt.RuntimeOptionType.STRING);
    prompt.setChoicesList([value]);
    prompt.setDefault(value);
    return prompt;
}

/** The language host: runs programs and plugins (policy packs) written for Node.js. */
class LanguageHost {
    private readonly children = new Set<ChildProcess>();

    constructor(
        private engine: string,
        private readonly compileCache: string,
    ) {}

    async cancel(): Promise<void> {
        await Promise.all(
            [...this.children].map(
                (child) =>
                    new Promise((resolve) => {
                        child.once("close", resolve);
                        interrupt(child);
                    }),
            ),
        );
    }

    service(): grpc.UntypedServiceImplementation {
        return {
            handshake: unary((request: messages.LanguageHandshakeRequest) => {
                this.engine = request.getEngineAddress();
                return new LanguageHandshakeResponse();
            }),
            getPluginInfo: unary(() => {
                const info = new PluginInfo();
                info.setVersion(packageVersion("@pulumi/pulumi"));
                return info;
            }),
            getRequiredPlugins: unary(() => new GetRequiredPluginsResponse()),
            getRequiredPackages: unary((request: messages.GetRequiredPackagesRequest) => {
                const response = new GetRequiredPackagesResponse();
                response.setPackagesList(requiredPackages(programDirectory(request)));
                return response;
            }),
            run: unary((request: messages.RunRequest, call) => {
                const { child, ended } = runProgram(request, this.engine, this.compileCache);
                call.once("cancelled", () => {
                    interrupt(child);
                });
                this.track(child);
                return ended;
            }),
            about: unary((request: messages.AboutRequest) => this.about(programDirectory(request))),
            getProgramDependencies: unary((request: messages.GetProgramDependenciesRequest) => {
                const response = new GetProgramDependenciesResponse();
                const versions = installedVersions(programDirectory(request), request.getTransitivedependencies());
                for (const [name, version] of versions) {
                    const dependency = new DependencyInfo();
                    dependency.setName(name);
                    dependency.setVersion(version);
                    response.addDependencies(dependency);
                }
                return response;
            }),
            runtimeOptionsPrompts: unary((request: messages.RuntimeOptionsRequest) => {
                const response = new RuntimeOptionsResponse();
                const options = request.getInfo()?.getOptions()?.toJavaScript() ?? {};
                if (!("packagemanager" in options)) response.addPrompts(npmPrompt());
                return response;
            }),
            template: unary(() => new TemplateResponse()),
            installDependencies: (
                call: grpc.ServerWritableStream<messages.InstallDependenciesRequest, InstallDependenciesResponse>,
            ): void => {
                this.installDependencies(call);
            },
            runPlugin: (call: grpc.ServerWritableStream<messages.RunPluginRequest, RunPluginResponse>): void => {
                this.runPlugin(call).catch((error: unknown) => {
                    call.emit("error", serviceError(error));
                });
            },
            cancel: unary(() => {
                void this.cancel();
                return new Empty();
            }),
            ...Object.fromEntries(
                ["generateProgram", "generateProject", "generatePackage", "pack", "link"].map((method) => [
                    method,
                    unary(() => {
                        throw new Unimplemented(`the stand-in language host does not implement ${method}`);
                    }),
                ]),
            ),
        };
    }

    private track(child: ChildProcess): void {
        this.children.add(child);
        child.once("close", () => this.children.delete(child));
    }

    private about(directory: string): AboutResponse {
        const response = new AboutResponse();
        response.setExecutable(process.execPath);
        response.setVersion(process.version);
        const metadata = response.getMetadataMap();
        metadata.set("packagemanager", "npm");
        metadata.set("packagemanagerVersion", npmVersion());
        const typescript = versionIn(() =>
            createRequire(join(directory, "index.ts")).resolve("typescript/package.json"),
        );
        if (typescript !== undefined) metadata.set("typescriptVersion", typescript);
        return response;
    }

    private installDependencies(
        call: grpc.ServerWritableStream<messages.InstallDependenciesRequest, InstallDependenciesResponse>,
    ): void {
        const child = spawn("npm", ["install", "--loglevel=error"], {
            cwd: programDirectory(call.request),
            stdio: ["ignore", "pipe", "pipe"],
        });
        this.track(child);
        child.stdout.on("data", (text: Buffer) => {
            const message = new InstallDependenciesResponse();
            message.setStdout(text);
            call.write(message);
        });
        child.stderr.on("data", (text: Buffer) => {
            const message = new InstallDependenciesResponse();
            message.setStderr(text);
            call.write(message);
        });
        endWith(call, child, (code) => `'npm install' ended with exit code ${code}`);
    }

    private async runPlugin(
        call: grpc.ServerWritableStream<messages.RunPluginRequest, RunPluginResponse>,
    ): Promise<void> {
        const print = (stream: "stdout" | "stderr", text: Buffer): void => {
            const message = new RunPluginResponse();
            if (stream === "stdout") message.setStdout(text);
            else message.setStderr(text);
            call.write(message);
        };
        const child = await startNodePlugin(call.request, this.compileCache, print);
        this.track(child);
        if (call.cancelled) interrupt(child);
        call.once("cancelled", () => {
            interrupt(child);
        });
        endWith(call, child, (code) => `Program exited with non-zero exit code: ${code}`);
    }
}

/** Ends a stream of output as its process ended. */
function endWith<Request, Response>(
    call: grpc.ServerWritableStream<Request, Response>,
    child: ChildProcess,
    failure: (code: string) => string,
): void {
    child.once("error", (error) => call.emit("error", serviceError(error)));
    child.once("close", (code) => {
        if (code === 0 || call.cancelled) call.end();
        else call.emit("error", serviceError(new Error(failure(String(code ?? -1)))));
    });
}

export async function main(args: readonly string[], compileCache: string): Promise<void> {
    const host = new LanguageHost(engineAddress(args), compileCache);
    const service = LanguageRuntimeService as grpc.ServiceDefinition;
    await servePlugin(service, host.service(), () => host.cancel());
}
