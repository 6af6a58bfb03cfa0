import { Command, CommanderError } from "commander";
import { branchCommand } from "./branch";
import { clusterDownCommand, clusterStatusCommand } from "./cluster";
import { ExitCode } from "./exit-code";
import { environmentCommand } from "./environment";
import { imageCommand } from "./image";
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
        .command("branch")
        .argument("<ref>", "a branch, or a full ref such as refs/heads/feature/x")
        .option("--base <branch>", "of a pull request into this branch")
        .option("--fork", "the pull request comes from another repository")
        .option("--deleted", "the branch was deleted")
        .option("--json", "as JSON: {action, stacks, approval, reason, …}")
        .description("say what a push of a branch does, or its pull request")
        .action(branchCommand);
    const cluster = command.command("cluster").description("the cluster of this checkout");
    cluster.command("status").description("which one it is, and how it is").action(clusterStatusCommand);
    cluster
        .command("down")
        .description("remove it, with the Pulumi state of what was deployed to it")
        .action(clusterDownCommand);
    command
        .command("tools")
        .description("get the tools that the commands need, and say where each came from")
        .option("--clean", "remove what was downloaded or built")
        .action(toolsCommand);
    return command;
}

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
