import { expect } from "chai";
import type { Command } from "commander";
import * as fs from "node:fs";
import * as path from "node:path";
import { program } from "../../cli/main";
import { checkoutRoot } from "../../local/paths";
import { codeBlocks, lineOf, nodesOf, type Page, pages, shellBlocks } from "./markdown";

/** The targets of the Makefile. */
const TARGETS = [...fs.readFileSync(path.join(checkoutRoot, "Makefile"), "utf8").matchAll(/^([a-z-]+):/gm)].map(
    ([, name]) => name ?? "",
);

/** The `ml-api` and `make` commands of a text, each as its words. What a page leaves open (`<env>`, `NAME`, `…`) is a word, too. */
export function commandsIn(text: string): readonly (readonly string[])[] {
    return text
        .replace(/\\\n/g, " ")
        .split(/\n|&&|\|\|?|;|\$\(|\)|#|(?<=\s)>/)
        .map((part) => [...part.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word))
        .map((words) => words.slice(words.findIndex((word) => !/^[A-Z_]+=|^\.?\/?npx$|^--no$/.test(word))))
        .filter(([first]) => first === "ml-api" || first === "./cli/ml-api.js" || first === "make");
}

/** Why a typed command cannot be meant; undefined when it can. */
export function faultOf([first, ...words]: readonly string[]): string | undefined {
    // npx takes an option right behind the name for its own, and prints its own help.
    if (first === "ml-api" && words[0]?.startsWith("--") === true)
        return `npx does not hand on ${words[0]} → ml-api help`;
    if (first === "make") {
        const target = words.find((word) => !word.includes("="));
        return target === undefined || TARGETS.includes(target) ? undefined : `there is no make ${target}`;
    }
    let command: Command = program();
    if (words[0] === "help") words.shift();
    while (words.length > 0) {
        const next = command.commands.find((one) => one.name() === words[0]);
        if (next === undefined) break;
        command = next;
        words.shift();
    }
    const options = new Set(["--help", ...command.options.flatMap(({ long, short }) => [long ?? "", short ?? ""])]);
    const unknown = words.map((word) => word.split("=")[0] ?? "").filter((word) => /^--?[a-z]/.test(word));
    const wrong = unknown.find((word) => !options.has(word));
    if (wrong !== undefined) return `ml-api ${command.name()} has no ${wrong}`;
    // A group has no words of its own: what stands there names a command that does not exist.
    if (command.commands.length > 0 && words.length > 0 && /^[a-z]/.test(words[0] ?? ""))
        return `there is no ml-api ${words[0] ?? ""}`;
    const takes = command.registeredArguments;
    const most = takes.some(({ variadic }) => variadic) ? Infinity : takes.length;
    const given = words.findIndex((word) => word.startsWith("-"));
    const before = given < 0 ? words.length : given;
    return before > most ? `ml-api ${command.name()} takes ${most} words before its options` : undefined;
}

function mentioned(page: Page): { readonly line: number; readonly text: string }[] {
    const inline = [...nodesOf(page.tree)].flatMap((node) =>
        node.type === "inlineCode" ? [{ line: lineOf(node), text: node.value }] : [],
    );
    // Examples in the help of commands.
    const examples = codeBlocks(page)
        .filter(({ lang }) => lang === "text")
        .flatMap(({ value, position }) =>
            value
                .split("\n")
                .flatMap((text, index) =>
                    /^\s*npx --no ml-api /.test(text) ? [{ line: (position?.start.line ?? 0) + index + 1, text }] : [],
                ),
        );
    return [...inline, ...shellBlocks(page), ...examples];
}

describe("the commands that pages mention", () => {
    it("exist, with their options", () => {
        let count = 0;
        const wrong = pages().flatMap((page) =>
            mentioned(page).flatMap(({ line, text }) =>
                commandsIn(text).flatMap((words) => {
                    count++;
                    const fault = faultOf(words);
                    return fault === undefined ? [] : [`${page.file}:${line}: ${fault} (${words.join(" ")})`];
                }),
            ),
        );
        expect(wrong).to.deep.equal([]);
        expect(count).to.be.above(100);
    });

    it("name every command that there is", () => {
        const names = new Set(
            pages()
                .filter(({ file }) => !file.startsWith("docs/reference/"))
                .flatMap((page) =>
                    mentioned(page).flatMap(({ text }) => commandsIn(text).map(([, name]) => name ?? "")),
                ),
        );
        const silent = program().commands.map((command) => command.name());
        expect(silent.filter((name) => !names.has(name))).to.deep.equal([]);
    });

    it("are refused for each kind of fault", () => {
        const fault = (text: string) => faultOf(commandsIn(text)[0] ?? []);
        expect(fault("npx --no ml-api statsu")).to.equal("there is no ml-api statsu");
        expect(fault("npx --no ml-api chart pack out")).to.equal("there is no ml-api pack");
        expect(fault("npx --no ml-api status dev --jsn")).to.equal("ml-api status has no --jsn");
        expect(fault("ml-api predict dev staging")).to.equal("ml-api predict takes 1 words before its options");
        expect(fault("npx --no ml-api --help")).to.equal("npx does not hand on --help → ml-api help");
        expect(fault("npx --no ml-api help up")).to.equal(undefined);
        expect(fault("make upp")).to.equal("there is no make upp");
        expect(fault("CLUSTER=current make up")).to.equal(undefined);
        expect(fault('echo x && ML_API_KEY=… npx --no ml-api doctor URL --sample "a b"')).to.equal(undefined);
        expect(fault('eval "$(npx --no ml-api env)"')).to.equal(undefined);
        expect(commandsIn("npx --no ml-api debts || echo owed")).to.deep.equal([["ml-api", "debts"]]);
    });
});
