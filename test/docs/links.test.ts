import { expect } from "chai";
import GithubSlugger from "github-slugger";
import type { Nodes } from "mdast";
import * as fs from "node:fs";
import * as path from "node:path";
import { checkoutRoot } from "../../local/paths";
import { lineOf, nodesOf, type Page, pages, readPage } from "./markdown";

const ALL = pages();

function textOf(node: Nodes): string {
    return [...nodesOf(node)].map((one) => ("value" in one ? one.value : "")).join("");
}

/** What a link may name behind `#`, as GitHub makes it from the headings. */
export function anchorsOf({ tree }: Page): ReadonlySet<string> {
    const slugger = new GithubSlugger();
    return new Set(
        [...nodesOf(tree)].filter(({ type }) => type === "heading").map((node) => slugger.slug(textOf(node))),
    );
}

function linksOf(page: Page): { readonly url: string; readonly line: number }[] {
    return [...nodesOf(page.tree)].flatMap((node) => {
        if (node.type !== "link" && node.type !== "image" && node.type !== "definition") return [];
        return [{ url: node.url, line: lineOf(node) }];
    });
}

/** Why a reader who follows it would get lost; undefined when not. */
export function faultOf(page: Page, url: string): string | undefined {
    if (/^[a-z][a-z0-9+.-]*:/i.test(url)) {
        if (!URL.canParse(url)) return `${url} is no address`;
        return /^https:|^mailto:/.test(url) ? undefined : `${url} is not https`;
    }
    const [name = "", anchor] = url.split("#");
    const file = name === "" ? page.file : path.normalize(path.join(path.dirname(page.file), decodeURI(name)));
    if (file.startsWith("..")) return `${url} leads out of the repository`;
    if (!fs.existsSync(path.join(checkoutRoot, file))) return `${url}: there is no ${file}`;
    if (anchor === undefined) return undefined;
    if (!file.endsWith(".md")) return `${url}: only pages have headings`;
    const anchors = anchorsOf(file === page.file ? page : readPage(file));
    return anchors.has(anchor) ? undefined : `${url}: ${file} has no such heading; it has ${[...anchors].join(", ")}`;
}

describe("the links of every page", () => {
    it("lead to files and headings that exist", () => {
        const lost = ALL.flatMap((page) =>
            linksOf(page).flatMap(({ url, line }) => {
                const fault = faultOf(page, url);
                return fault === undefined ? [] : [`${page.file}:${line}: ${fault}`];
            }),
        );
        expect(lost).to.deep.equal([]);
        const outside = new Set(ALL.flatMap((page) => linksOf(page).map(({ url }) => url)).filter(isOutside));
        const count = ALL.flatMap(linksOf).length;
        process.stdout.write(`    ${count} links; only their spelling is checked: ${[...outside].sort().join(", ")}\n`);
    });

    it("are not needed for files that are named in code: these exist, too", () => {
        const folders = fs.readdirSync(checkoutRoot, { withFileTypes: true }).filter((entry) => entry.isDirectory());
        const named = new RegExp(
            `^(?:${folders.map(({ name }) => name.replaceAll(".", "\\.")).join("|")})/[\\w./-]+\\.\\w+$`,
        );
        // That page is read in the package, which holds other files.
        const inPackage = "distribution/npm/README.md";
        const lost = ALL.filter(({ file }) => file !== inPackage).flatMap((page) =>
            [...nodesOf(page.tree)].flatMap((node) => {
                if (node.type !== "inlineCode" || !named.test(node.value)) return [];
                const known = fs.existsSync(path.join(checkoutRoot, node.value));
                return known ? [] : [`${page.file}:${lineOf(node)}: there is no ${node.value}`];
            }),
        );
        expect(lost).to.deep.equal([]);
    });

    it("reach every page from the README", () => {
        const reached = new Set<string>();
        const next = ["README.md"];
        for (let file = next.pop(); file !== undefined; file = next.pop()) {
            if (reached.has(file)) continue;
            reached.add(file);
            const page = readPage(file);
            const named = linksOf(page).filter(({ url }) => !isOutside(url));
            for (const { url } of named) {
                const target = path.normalize(path.join(path.dirname(file), url.split("#")[0] ?? ""));
                for (const found of [target, path.join(target, "README.md")])
                    if (found.endsWith(".md") && fs.existsSync(path.join(checkoutRoot, found))) next.push(found);
            }
        }
        // GitHub itself shows it.
        reached.add("SECURITY.md");
        expect(ALL.map(({ file }) => file).filter((file) => !reached.has(file))).to.deep.equal([]);
    });

    it("take over from a README that is read in ten minutes", () => {
        const words = [...nodesOf(readPage("README.md").tree)]
            .flatMap((node) => (node.type === "text" || node.type === "inlineCode" ? [node.value] : []))
            .flatMap((text) => text.split(/\s+/).filter((word) => word !== ""));
        // 230 words a minute is how fast people read.
        expect(words.length).to.be.at.most(2300);
    });

    it("are refused for each kind of fault", () => {
        const page = readPage("README.md");
        expect(faultOf(page, "docs/none.md")).to.contain("there is no docs/none.md");
        expect(faultOf(page, "#no-such-heading")).to.contain("no such heading");
        expect(faultOf(page, "docs/branching.md#nothing")).to.contain("docs/branching.md has no such heading");
        expect(faultOf(page, "index.ts#L3")).to.contain("only pages have headings");
        expect(faultOf(page, "../elsewhere.md")).to.contain("out of the repository");
        expect(faultOf(page, "http://example.org")).to.contain("not https");
        expect(faultOf(page, "https://exa mple")).to.contain("no address");
        expect(faultOf(page, "docs/branching.md#who-deploys")).to.equal(undefined);
    });
});

function isOutside(url: string): boolean {
    return /^[a-z]+:/i.test(url);
}
