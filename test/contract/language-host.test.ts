import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { version as typescriptVersion } from "typescript/package.json";
import { Project, removeProjects } from "./engine";

const program = `
import * as pulumi from "@pulumi/pulumi";
import { component } from "./part";

const config = new pulumi.Config();
const mode = config.require("mode");

// Wrong on purpose: with noCheck nobody looks.
const wrong: number = "text";

class Late extends pulumi.ComponentResource {
    constructor(name: string) {
        super("contract:index:Late", name);
    }
}

console.log("cwd", process.cwd());
console.log("entry", component);
console.log("run", JSON.stringify({
    organization: pulumi.getOrganization(),
    project: pulumi.getProject(),
    stack: pulumi.getStack(),
    preview: pulumi.runtime.isDryRun(),
    object: config.requireObject("object"),
}));
console.error("to standard error");

config.getSecret("password")?.apply((text) => console.log("length", text.length));
if (mode === "bug") throw new Error("a bug of the program");
if (mode === "rejection") void Promise.reject(new Error("nobody handles this"));
if (mode === "run-error") throw new pulumi.RunError("a message for people");
if (mode === "resource-error") throw new pulumi.ResourceError("about a resource", undefined, true);
if (mode === "exit") process.exit(3);
if (mode === "late") setTimeout(() => new Late("late"), 1500);
new Late("first");

export const answer = 42;
export const hidden = pulumi.secret("hidden");
`;

/** A policy pack without the policy SDK: it speaks the engine's protocol itself, and refuses every resource. */
const policyPack = `
const grpc = require("@grpc/grpc-js");
const pulumi = require("@pulumi/pulumi");
const { AnalyzerService } = require("@pulumi/pulumi/proto/analyzer_grpc_pb");
const analyzer = require("@pulumi/pulumi/proto/analyzer_pb");
const { PluginInfo } = require("@pulumi/pulumi/proto/plugin_pb");
const { Empty } = require("google-protobuf/google/protobuf/empty_pb");

const make = (message, values) => {
    for (const [setter, value] of Object.entries(values)) message[setter](value);
    return message;
};
const policy = make(new analyzer.PolicyInfo(), { setName: "nothing", setEnforcementlevel: analyzer.EnforcementLevel.MANDATORY });
const answers = {
    getAnalyzerInfo: () => make(new analyzer.AnalyzerInfo(), { setName: "pack", setVersion: "1.0.0", setPoliciesList: [policy] }),
    getPluginInfo: () => make(new PluginInfo(), { setVersion: "1.0.0" }),
    configure: () => new Empty(),
    configureStack: () => new analyzer.AnalyzerStackConfigureResponse(),
    analyze: ({ request }) => make(new analyzer.AnalyzeResponse(), {
        setDiagnosticsList: [make(new analyzer.AnalyzeDiagnostic(), {
            setPolicyname: "nothing",
            setPolicypackname: "pack",
            setPolicypackversion: "1.0.0",
            setEnforcementlevel: analyzer.EnforcementLevel.MANDATORY,
            setUrn: request.getUrn(),
            setMessage: "refused " + request.getName() + " in " + pulumi.getStack() + ", mode " + new pulumi.Config("host").get("mode"),
        })],
    }),
    analyzeStack: () => new analyzer.AnalyzeResponse(),
    remediate: () => new analyzer.RemediateResponse(),
    cancel: () => new Empty(),
};
const server = new grpc.Server();
const reply = (answer) => (call, callback) => callback(null, answer(call));
server.addService(AnalyzerService, Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, reply(answer)])));
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => console.log(port));
`;

describe("The language host", function () {
    let project: Project;

    before(async () => {
        project = await Project.create("host", {
            "Pulumi.yaml":
                "name: host\nmain: source/\nruntime: {name: nodejs, options: {typescript: true, tsconfig: tsconfig.pulumi.json}}\n",
            "source/index.ts": program,
            "source/part.ts": `export const component: string = "part";\n`,
        });
        project.write("source/package.json", project.read("package.json"));
        project.write("source/tsconfig.pulumi.json", project.read("tsconfig.pulumi.json"));
        project.write("source/tsconfig.strict.json", project.read("tsconfig.json"));
    });
    after(removeProjects);

    const inMode = (mode: string): void => {
        project.configure({ "host:mode": mode, "host:object": { list: [1, "two"] } });
    };

    it("runs the program of `main` in its own folder, with its configuration, organization and stack", async () => {
        inMode("plain");
        const { code, output } = await project.preview();
        expect(code, output).to.equal(0);
        expect(output).to.include(`cwd ${project.directory}/source`);
        expect(output).to.include("entry part");
        const line = /run (\{.*\})/.exec(output)?.[1] ?? "";
        expect(JSON.parse(line)).to.deep.equal({
            organization: "organization",
            project: "host",
            stack: "dev",
            preview: true,
            object: { list: [1, "two"] },
        });
    });

    it("hands over secrets, shows what the program prints on both streams, and keeps its outputs", async () => {
        inMode("plain");
        const set = await project.run(["config", "set", "--stack", "dev", "--secret", "password", "correct horse"]);
        expect(set.code, set.output).to.equal(0);
        const { code, output } = await project.up();
        expect(code, output).to.equal(0);
        expect(output).to.include("to standard error");
        expect(output).to.include("length 13");
        expect(output).not.to.include("correct horse");
        expect(output).to.match(/answer\s*: 42/);
        expect(output).to.match(/hidden\s*: \[secret\]/);
        expect(output).to.match(/"preview":false/);
        expect(await project.outputs()).to.deep.equal({ answer: 42, hidden: "hidden" });
    });

    it("shows a bug of the program with its stack trace, and fails", async () => {
        inMode("bug");
        const { code, output } = await project.preview();
        expect(code).not.to.equal(0);
        expect(output).to.include("failed with an unhandled exception");
        expect(output).to.include("Error: a bug of the program");
        expect(output).to.match(/at .*source\/index\.ts:\d+:\d+/);
        expect(output).not.to.include("non-zero exit code");
    });

    it("shows a promise that nobody handled, and fails", async () => {
        inMode("rejection");
        const { code, output } = await project.preview();
        expect(code).not.to.equal(0);
        expect(output).to.include("nobody handles this");
    });

    it("shows only the message of a RunError, and of a ResourceError that hides its stack", async () => {
        for (const [mode, message] of [
            ["run-error", "a message for people"],
            ["resource-error", "about a resource"],
        ] as const) {
            inMode(mode);
            const { code, output } = await project.preview();
            expect(code).not.to.equal(0);
            expect(output).to.include(`error: ${message}`);
            expect(output).not.to.match(/at .*index\.ts/);
        }
    });

    it("fails when the program ended itself", async () => {
        inMode("exit");
        const ended = await project.preview();
        expect(ended.code).not.to.equal(0);
        expect(ended.output).to.include("Program exited with non-zero exit code: 3");
    });

    it("waits for what the program still does after its last line", async () => {
        inMode("late");
        const { code, output } = await project.up();
        expect(code, output).to.equal(0);
        expect(await project.resource("late")).to.not.equal(undefined);
    });

    it("names an entry point that does not exist", async () => {
        inMode("plain");
        const yaml = project.read("Pulumi.yaml");
        project.write("Pulumi.yaml", yaml.replace("source/", "nowhere.ts"));
        const { code, output } = await project.preview();
        project.write("Pulumi.yaml", yaml);
        expect(code).not.to.equal(0);
        expect(output).to.match(/nowhere/);
    });

    it("checks types where the tsconfig does not say noCheck", async () => {
        inMode("plain");
        const yaml = project.read("Pulumi.yaml");
        project.write("Pulumi.yaml", yaml.replace("tsconfig.pulumi.json", "tsconfig.strict.json"));
        const { code, output } = await project.preview();
        project.write("Pulumi.yaml", yaml);
        expect(code).not.to.equal(0);
        expect(output).to.include("Type 'string' is not assignable to type 'number'");
    });

    it("runs a plugin written for Node.js", async () => {
        project.write("plugin/PulumiPlugin.yaml", "runtime: nodejs\n");
        project.write("plugin/package.json", JSON.stringify({ name: "greeter", version: "1.0.0", main: "index.js" }));
        project.write(
            "plugin/index.js",
            `const provider = require("${project.directory}/node_modules/@pulumi/pulumi/provider");
            provider.main({
                version: "1.0.0",
                getSchema: async () => JSON.stringify({ name: "greeter", version: "1.0.0", description: "says hello" }),
            }, process.argv.slice(2));`,
        );
        const { code, output } = await project.run(["package", "get-schema", "./plugin"]);
        expect(code, output).to.equal(0);
        expect(output).to.include("says hello");
    });

    it("runs a policy pack, and gives it the stack's configuration", async () => {
        inMode("plain");
        project.write("policy/PulumiPolicy.yaml", "runtime: nodejs\nversion: 1.0.0\n");
        project.write("policy/package.json", JSON.stringify({ name: "pack", version: "1.0.0", main: "index.js" }));
        project.write("policy/index.js", policyPack);
        const { code, output } = await project.preview({ args: ["--policy-pack", "policy"] });
        expect(code).not.to.equal(0);
        expect(output).to.include("refused first in dev, mode plain");
    });

    it("tells about itself", async () => {
        const { code, stdout, output } = await project.run(["about", "--json", "--stack", "dev"]);
        expect(code, output).to.equal(0);
        const { runtime } = JSON.parse(stdout) as {
            runtime: { language: string; version: string; packagemanagerVersion: string; typescriptVersion: string };
        };
        expect(runtime).to.include({ language: "nodejs", version: process.version });
        expect(runtime.packagemanagerVersion).to.equal(execFileSync("npm", ["--version"], { encoding: "utf8" }).trim());
        expect(runtime.typescriptVersion).to.equal(typescriptVersion);
    });
});
