import { Command, CommanderError, Option } from "commander";
import { branchCommand, branchesCommand } from "./branch";
import { chartGenerateCommand, chartPackageCommand } from "./chart";
import { checkCommand } from "./check";
import { STEPS } from "./check-steps";
import { clusterDownCommand, clusterStatusCommand } from "./cluster";
import { diffCommand } from "./diff";
import { ExitCode } from "./exit-code";
import { environmentCommand } from "./environment";
import { imageCommand } from "./image";
import { renderCommand } from "./render";
import { installReceive, receiveCommand } from "./receive";
import { toolsCommand } from "./tools";
import { predictCommand, upCommand } from "./up";

/** The `ml-api` command: what people do around `pulumi`. Each command parses its words, calls one function and prints. */
export function program(): Command {
    const command = new Command("ml-api")
        .description("Deploys Python machine-learning APIs, and what belongs to it.")
        .showHelpAfterError("(ml-api --help lists the commands)");

    command
        .command("up")
        .argument("[stack]", "the stack to deploy", "dev")
        .description(
            "a cluster (CLUSTER=current|node|simulated), the sample image, `pulumi up` of a stack, and one prediction",
        )
        .action(upCommand);
    command
        .command("predict")
        .argument("[stack]", "the stack to ask", "dev")
        .description("send the values' verify.sample to a deployed API, with its key")
        .action(predictCommand);
    command
        .command("env")
        .description('print the variables for a shell: eval "$(npx --no ml-api env)"')
        .action(environmentCommand);
    command
        .command("image")
        .description("build the sample image, and say its content tag")
        .option("--write", "write the tag into the values files")
        .option("--check", "only compare the tag with the values files, build nothing")
        .action(imageCommand);
    command
        .command("render")
        .argument("<env>", "an environment or a stack")
        .addOption(new Option("--json", "as JSON: {stack, environment, release, namespace, digest, objects}"))
        .addOption(new Option("--out <folder>", "one YAML file per object, into a new folder").conflicts("json"))
        .description("print what would be installed: the chart's objects, hooks and tests included, as YAML")
        .addHelpText("after", RENDER_HELP)
        .action(renderCommand);
    command
        .command("diff")
        .argument("[env...]", "environments or stacks; all without one")
        .addOption(new Option("--base <commit>", "compare with this branch, tag or commit; needs no cluster"))
        .addOption(new Option("--across", "compare the environments with each other").conflicts("base"))
        .addOption(new Option("--markdown", "as the comment of a pull request").conflicts("json"))
        .addOption(new Option("--json", "as JSON, all of it"))
        .addOption(new Option("--exit-code", "end with 2 when something differs").conflicts("across"))
        .description("show what an update would change, object by object and field by field, without secrets")
        .addHelpText("after", DIFF_HELP)
        .action(diffCommand);
    command
        .command("check")
        .option(
            "--base <commit>",
            "the branch, tag or commit for the step diff; else the merge base with the default branch",
        )
        .option("--only <step...>", "these steps only")
        .option("--skip <step...>", "all but these steps")
        .option(
            "--json",
            "as JSON: {version, ok, steps: [{name, status: ok | failed | skipped, seconds, says?, details?}]}",
        )
        .option("--markdown <file>", "also write a comment for a pull request: every step, and what changes")
        .description("everything that can be checked without a cluster, a token or a secret; what CI runs")
        .addHelpText("after", CHECK_HELP)
        .action(checkCommand);
    command
        .command("branch")
        .argument("<ref>", "a branch, or a full ref such as refs/heads/feature/x")
        .option("--base <branch>", "of a pull request into this branch")
        .option("--fork", "the pull request comes from another repository")
        .option("--deleted", "the branch was deleted")
        .option("--strict", "fail when it means nothing, or may not be merged there")
        .option("--json", "as JSON: {action, stacks, approval, reason, …}")
        .description("say what a push of a branch does, or its pull request")
        .action(branchCommand);
    command
        .command("receive")
        .argument("[repository]", "with it: install the hook into this bare repository")
        .description("the post-receive hook of a repository: deploy what was pushed")
        .action((repository: string | undefined) =>
            repository === undefined ? receiveCommand() : installReceive(repository),
        );
    command
        .command("branches")
        .option(
            "--write",
            "write what is generated from the branch map: workflows, protection rules, deployment settings",
        )
        .description("check the branch map and what is generated from it")
        .action(branchesCommand);
    const cluster = command.command("cluster").description("the cluster of this checkout");
    cluster.command("status").description("which one it is, and how it is").action(clusterStatusCommand);
    cluster
        .command("down")
        .description("remove it, with the Pulumi state of what was deployed to it")
        .action(clusterDownCommand);
    const chart = command.command("chart").description("the Helm chart, for others to install");
    chart
        .command("package")
        .argument("<folder>", "where to; it is then a chart repository for any web server")
        .description("write the chart's package and its index")
        .action(chartPackageCommand);
    chart
        .command("generate")
        .option("--check", "only compare, write nothing")
        .description("bring the table of values in chart/README.md, and chart/index.yaml, up to date")
        .action(chartGenerateCommand);
    command
        .command("tools")
        .description("get the tools that the commands need, and say where each came from")
        .option("--clean", "remove what was downloaded or built")
        .action(toolsCommand);
    return command;
}

const RENDER_HELP = `
It is exactly what Helm would get; nothing is hidden.

Example:
  npx --no ml-api render staging > staging.yaml`;

const DIFF_HELP = `
Without --base it is compared with the live release, in the cluster that \`pulumi up\` would use.
--base renders that commit's chart, values and stack files.
--across compares values, and ends with 1 when a difference is not declared in chart/environment/differences.yaml.
Exit code: 0, 2 with --exit-code when something differs, 1 when something could not be compared.

JSON: {version, base: {ref, commit} | null, stacks: [{stack, environment, release, namespace, against, state, summary,
  notes: [text], problems: [{object, field, what, fix, blocking}], objects: [{name, action: create | update | delete, restartsPods,
  fields: [{path: [key], text, before?, after?, noise?}]}]}]}; state is compared, new, gone, no-base or failed; an absent
  before or after: the field is absent there. Where a hidden value changes, both are "[secret]".
JSON with --across: {version, apis: [{api, stacks, differences: [{path, declared, reason?, values: {stack: value},
  places: {stack: file:line}}], same: [path], stale: [{path, group, reason, place}], declaredIn}]}

Example:
  npx --no ml-api diff dev --base origin/master`;

const CHECK_HELP = `
Steps:
${STEPS.map(({ name, holds }) => `  ${name.padEnd(12)} ${holds}`).join("\n")}
Exit code: 1 when a step failed.

Example:
  npx --no ml-api check --skip unit --base origin/master`;

/** Runs the command; a fault is one message, and its stack trace only with ML_API_DEBUG=1. */
export function main(words: readonly string[]): void {
    const command = program();
    forEach(command, (one) => {
        one.exitOverride();
    });
    command.parseAsync([...words], { from: "user" }).catch((error: unknown) => {
        if (error instanceof CommanderError) {
            process.exitCode = error.exitCode;
            return;
        }
        const fault = error instanceof Error ? error : new Error(String(error));
        process.stderr.write(
            `ml-api: ${process.env["ML_API_DEBUG"] === "1" ? (fault.stack ?? fault.message) : fault.message}\n`,
        );
        process.exitCode = error instanceof ExitCode ? error.code : 1;
    });
}

function forEach(command: Command, visit: (one: Command) => void): void {
    visit(command);
    for (const child of command.commands) forEach(child, visit);
}
