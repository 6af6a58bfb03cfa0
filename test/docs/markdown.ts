import type { Code, Nodes, Root } from "mdast";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { fromMarkdown } from "mdast-util-from-markdown";
import { checkoutRoot } from "../../local/paths";

/** One Markdown file of the repository. */
export interface Page {
    /** From the root of the checkout. */
    readonly file: string;
    readonly text: string;
    readonly tree: Root;
}

/** A fenced block of a shell language. */
export interface ShellBlock {
    readonly file: string;
    /** Of its first command. */
    readonly line: number;
    readonly language: string;
    readonly text: string;
    /** What its fence says behind the language, such as `needs=docker`, or the page's comment `<!-- sh: … -->` before it. */
    readonly tags: Readonly<Record<string, string>>;
}

/** Every Markdown file that is written by hand: committed ones, and new ones that git does not ignore. */
export function pages(): readonly Page[] {
    const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], {
        cwd: checkoutRoot,
        encoding: "utf8",
    });
    return [...new Set(listed.split("\0"))]
        .filter((file) => file !== "" && !file.includes("golden/") && fs.existsSync(path.join(checkoutRoot, file)))
        .sort()
        .map(readPage);
}

export function readPage(file: string): Page {
    const text = fs.readFileSync(path.join(checkoutRoot, file), "utf8");
    return { file, text, tree: fromMarkdown(text) };
}

/** A tree's nodes in the order of the page. */
export function* nodesOf(node: Nodes): Generator<Nodes> {
    yield node;
    if ("children" in node) for (const child of node.children) yield* nodesOf(child);
}

export function lineOf(node: Nodes): number {
    return node.position?.start.line ?? 0;
}

export function codeBlocks({ tree }: Page): readonly Code[] {
    return [...nodesOf(tree)].filter((node): node is Code => node.type === "code");
}

const SHELLS = ["sh", "bash", "shell", "zsh", "console", "shell-session", "terminal"];

/** The blocks that a reader would type. */
export function shellBlocks({ file, tree }: Page): readonly ShellBlock[] {
    let wholePage = "";
    const blocks: ShellBlock[] = [];
    for (const node of nodesOf(tree)) {
        if (node.type === "html") wholePage = /^<!-- sh: (.*) -->$/.exec(node.value)?.[1] ?? wholePage;
        if (node.type !== "code" || !SHELLS.includes(node.lang ?? "")) continue;
        const tags = tagsOf(node.meta ?? wholePage);
        blocks.push({ file, line: lineOf(node) + 1, language: node.lang ?? "", text: node.value, tags });
    }
    return blocks;
}

function tagsOf(text: string): Readonly<Record<string, string>> {
    const words = text.split(/\s+/).filter((word) => word !== "");
    return Object.fromEntries(words.map((word) => [word.split("=")[0] ?? "", word.split("=").slice(1).join("=")]));
}
