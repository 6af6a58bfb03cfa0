import { type Command, Help } from "commander";
import { cell, table } from "../distribution/table";

/** Characters of a line of help: what a page shows without a scroll bar. */
const WIDTH = 110;

/** The page about the commands: what `--help` says of each. */
export function commandReference(program: Command): string {
    const all = leavesOf(program);
    return [
        "# The ml-api command",
        "",
        "<!-- Made by `ml-api docs generate` from the command's own help. -->",
        "",
        "In a clone, `npx --no ml-api status --help` says the same of one of them.",
        "",
        "<!-- prettier-ignore -->",
        table(
            ["command", "what it does"],
            all.map((one) => [`[\`${nameOf(one)}\`](#${slugOf(one)})`, cell(one.description())]),
        ),
        "",
        ...all.flatMap((one) => [`## ${nameOf(one)}`, "", "```text", helpOf(one), "```", ""]),
    ].join("\n");
}

function leavesOf(command: Command): readonly Command[] {
    return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

function nameOf(command: Command): string {
    return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

function slugOf(command: Command): string {
    return nameOf(command).replaceAll(" ", "-");
}

/** The help as a terminal of a certain width shows it, with what stands after the options. */
function helpOf(command: Command): string {
    let text = "";
    command.configureOutput({
        writeOut: (part) => (text += part),
        getOutHelpWidth: () => WIDTH,
        getOutHasColors: () => false,
    });
    command.createHelp = () => new Help();
    command.outputHelp();
    return text.trimEnd();
}
