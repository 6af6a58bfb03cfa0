import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import type { RunPluginRequest } from "@pulumi/pulumi/proto/language_pb";
import { PolicyProxy } from "./policy-proxy";
import { locateModule, programEnvironment, runtimeOptions } from "./program";

type Print = (stream: "stdout" | "stderr", text: Buffer) => void;

function variables(entries: readonly string[]): NodeJS.ProcessEnv {
    const env: NodeJS.ProcessEnv = {};
    for (const entry of entries) {
        const end = entry.indexOf("=");
        env[entry.slice(0, end)] = entry.slice(end + 1);
    }
    return env;
}

/** The stack's configuration, in the variables from which the SDK takes it in a policy pack. */
async function stackEnvironment(proxy: PolicyProxy): Promise<NodeJS.ProcessEnv> {
    const configuration = await proxy.configuration;
    if (configuration === undefined) return {};
    return {
        PULUMI_NODEJS_ORGANIZATION: configuration.getOrganization(),
        PULUMI_NODEJS_PROJECT: configuration.getProject(),
        PULUMI_NODEJS_STACK: configuration.getStack(),
        PULUMI_NODEJS_DRY_RUN: String(configuration.getDryRun()),
        PULUMI_CONFIG: JSON.stringify(Object.fromEntries(configuration.getConfigMap().toArray())),
    };
}

/** Starts a plugin that is written for Node.js. A policy pack gets a proxy in front of it. */
export async function startNodePlugin(
    request: RunPluginRequest,
    compileCache: string,
    print: Print,
): Promise<ChildProcess> {
    const info = request.getInfo();
    const directory = info?.getProgramDirectory() ?? request.getPwd();
    const options = runtimeOptions(info?.getOptions()?.toJavaScript() ?? {});
    const env = { ...programEnvironment(options, compileCache), ...variables(request.getEnvList()) };
    const locate = (runner: string): string => locateModule(runner, directory, `npm install in ${directory}`);

    if (request.getKind() !== "analyzer") {
        const runner = locate("@pulumi/pulumi/cmd/run-plugin");
        const child = spawn("node", [...options.nodeargs, runner, directory, ...request.getArgsList()], {
            cwd: request.getPwd(),
            stdio: ["ignore", "pipe", "pipe"],
            env,
        });
        child.stdout.on("data", (text: Buffer) => {
            print("stdout", text);
        });
        child.stderr.on("data", (text: Buffer) => {
            print("stderr", text);
        });
        return child;
    }

    const runner = locate("@pulumi/pulumi/cmd/run-policy-pack");
    const proxy = new PolicyProxy();
    print("stdout", Buffer.from(`${String(await proxy.start())}\n`));
    const child = spawn("node", [...options.nodeargs, runner, ...request.getArgsList(), directory], {
        cwd: directory,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...env, ...(await stackEnvironment(proxy)) },
    });
    proxy.attach(child.stdout, (text) => {
        print("stdout", text);
    });
    child.stderr.on("data", (text: Buffer) => {
        print("stderr", text);
    });
    child.once("close", () => {
        proxy.close();
    });
    return child;
}
