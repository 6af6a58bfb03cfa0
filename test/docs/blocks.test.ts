import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { checkoutRoot } from "../../local/paths";
import { codeBlocks, lineOf, pages, type ShellBlock, shellBlocks } from "./markdown";
import { REASONS } from "./reasons";

/** Languages of blocks that nobody types into a shell. */
const NOT_TYPED = ["yaml", "json", "python", "ts", "dockerfile", "mermaid", "text", "diff"];
const ALL = pages();
const BLOCKS = ALL.flatMap(shellBlocks);

/** What is wrong with how a block says who runs it; see CONTRIBUTING.md. */
export function faultsOf({ language, text, tags }: ShellBlock, file: string): readonly string[] {
    const { run, needs, ...unknown } = tags;
    return [
        ...(language === "sh" ? [] : [`it is called ${language} → sh`]),
        ...(text.trim() === "" ? ["it is empty"] : []),
        ...Object.keys(unknown).map((tag) => `it has a tag "${tag}" → run= or needs=`),
        ...(run !== undefined && needs !== undefined ? ["it is run, and cannot be run → one of the two tags"] : []),
        ...(needs === undefined || needs in REASONS ? [] : [`needs=${needs} is no reason of test/docs/reasons.ts`]),
        ...(run === undefined || run === "cluster" ? [] : specFaults(run, file)),
    ];
}

function specFaults(spec: string, file: string): readonly string[] {
    const source = path.join(checkoutRoot, spec);
    if (!/^(?:test\/.*\.test\.ts|examples\/.*\/test_.*\.py)$/.test(spec) || !fs.existsSync(source))
        return [`run=${spec} is no spec`];
    const name = path.basename(file);
    return fs.readFileSync(source, "utf8").includes(name) ? [] : [`${spec} does not read ${name}`];
}

describe("the blocks of every page", () => {
    it("say in which language they are", () => {
        const typed = new Set(BLOCKS.map(({ file, line }) => `${file}:${line}`));
        const wrong = ALL.flatMap((page) =>
            codeBlocks(page)
                .filter((node) => !typed.has(`${page.file}:${lineOf(node) + 1}`))
                .filter(({ lang }) => !NOT_TYPED.includes(lang ?? ""))
                .map((node) => `${page.file}:${lineOf(node)} is in "${node.lang ?? ""}" → sh, ${NOT_TYPED.join(", ")}`),
        );
        expect(wrong).to.deep.equal([]);
    });

    it("are run by a test, or say why they cannot be", () => {
        const wrong = BLOCKS.flatMap((block) =>
            faultsOf(block, block.file).map((fault) => `${block.file}:${block.line}: ${fault}`),
        );
        expect(wrong).to.deep.equal([]);
    });

    it("that nobody runs are counted, with the reason", () => {
        const count = (holds: (tags: ShellBlock["tags"]) => boolean) => BLOCKS.filter(({ tags }) => holds(tags)).length;
        const kinds = [
            `${count(({ run, needs }) => run === undefined && needs === undefined)} without a cluster`,
            `${count(({ run }) => run === "cluster")} on a cluster`,
            `${count(({ run }) => run !== undefined && run !== "cluster")} by a spec of the page's own`,
        ];
        process.stdout.write(`    ${BLOCKS.length} blocks of commands; run: ${kinds.join(", ")}\n`);
        const unused: string[] = [];
        for (const [reason, sentence] of Object.entries(REASONS)) {
            const places = BLOCKS.filter(({ tags }) => tags["needs"] === reason).map(
                ({ file, line }) => `${file}:${line}`,
            );
            if (places.length === 0) unused.push(reason);
            process.stdout.write(`    not run: ${places.length} for ${reason}, ${sentence} (${places.join(", ")})\n`);
        }
        expect(unused, "reasons that no block has").to.deep.equal([]);
    });

    it("are refused for each kind of fault", () => {
        const block = { file: "x.md", line: 1, language: "sh", text: "true", tags: {} };
        const faults = (change: Partial<ShellBlock>): string => faultsOf({ ...block, ...change }, "x.md").join("; ");
        expect(faults({})).to.equal("");
        expect(faults({ language: "bash" })).to.contain("→ sh");
        expect(faults({ text: " " })).to.contain("empty");
        expect(faults({ tags: { neeeds: "docker" } })).to.contain('a tag "neeeds"');
        expect(faults({ tags: { needs: "courage" } })).to.contain("no reason");
        expect(faults({ tags: { needs: "docker", run: "cluster" } })).to.contain("one of the two");
        expect(faults({ tags: { run: "test/cluster/none.test.ts" } })).to.contain("no spec");
        expect(faults({ tags: { run: "test/cluster/edits.test.ts" } })).to.contain("does not read x.md");
    });
});
