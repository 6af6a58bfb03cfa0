import { expect } from "chai";
import fc from "fast-check";
import * as fs from "node:fs";
import * as path from "node:path";
import { MAP_FILE, parseBranchMap, stacksByEnvironment } from "../../branching/map";
import { matches, overlap } from "../../branching/pattern";
import { type Decision, type GitEvent, resolve } from "../../branching/resolve";
import { checkoutRoot } from "../../local/paths";

const stacks = stacksByEnvironment(checkoutRoot);
const map = parseBranchMap(fs.readFileSync(path.join(checkoutRoot, MAP_FILE), "utf8"), stacks);
const decide = (event: GitEvent): Decision => resolve(map, stacks, event);
const push = (branch: string): Decision => decide({ event: "push", ref: `refs/heads/${branch}` });

describe("branches: rules for any name", () => {
    /** What `unit: "binary"` means, which first makes a table of a million entries: half a second. */
    const anyCharacter = fc
        .integer({ min: 0, max: 0x10ffff })
        .filter((code) => code < 0xd800 || code > 0xdfff)
        .map((code) => String.fromCodePoint(code));
    const characters = fc.constantFrom(...Array.from("abzAZ019-_./<>\n\r\t $`'\"\\é\u200bо"));
    const names = fc.oneof(
        fc.string({ unit: characters, maxLength: 20 }),
        fc
            .tuple(
                fc.constantFrom(
                    "master",
                    "main",
                    "production",
                    "release-1.2.3",
                    "release",
                    "staging",
                    "dev",
                    "feature/a",
                ),
                fc.string({ unit: characters, minLength: 1, maxLength: 3 }),
                fc.boolean(),
            )
            .map(([name, more, before]) => (before ? more + name : name + more)),
        fc.string({ unit: anyCharacter }),
    );

    it("production is deployed by five spellings and by nothing else, and never without approval", () => {
        fc.assert(
            fc.property(names, (name) => {
                const decision = push(name);
                if (decision.action !== "deploy" || decision.environment !== "production") return;
                expect(name).to.match(/^(?:master|main|production|release-\d{1,6}\.\d{1,6}\.\d{1,6})$(?![\s\S])/);
                expect(decision.approval).to.equal(true);
            }),
            { numRuns: 2000 },
        );
    });

    it("never throws, answers the same twice, and prints no control character", () => {
        fc.assert(
            fc.property(names, names, fc.constantFrom("push", "pull_request", "x"), (ref, base, event) => {
                const one = decide({ event, ref: `refs/heads/${ref}`, base });
                expect(decide({ event, ref: `refs/heads/${ref}`, base })).to.deep.equal(one);
                // A base that the map knows is printed as it is; everything else is escaped.
                expect(one.reason).not.to.match(/[\u0000-\u001f\u007f-\u009f\u200b]/);
            }),
            { numRuns: 2000 },
        );
    });

    it("at most one rule matches a name", () => {
        fc.assert(
            fc.property(names, (name) => {
                const found = Object.entries(map.branches).filter(
                    ([pattern, { alias }]) => matches(pattern, name) || alias === name,
                );
                expect(found.length).to.be.at.most(1);
            }),
            { numRuns: 2000 },
        );
    });

    it("overlap finds every pair that a name can match both of", () => {
        const prefixes = fc.constantFrom("a", "release-", "release-1.", "feature/", "feature/x-", "a/");
        const pattern = fc
            .tuple(prefixes, fc.constantFrom("", "<name>", "<issue>", "<version>"))
            .map(([prefix, placeholder]) =>
                placeholder === "" ? prefix.replace(/[^a-z0-9]+$/, "") : prefix + placeholder,
            );
        const examples = [
            "a",
            "release",
            "release-1",
            "release-1.2.3",
            "feature",
            "feature/x",
            "feature/x-1",
            "a/b",
            "ab",
        ];
        fc.assert(
            fc.property(pattern, pattern, fc.constantFrom(...examples), (one, other, name) => {
                if (matches(one, name) && matches(other, name)) expect(overlap(one, other)).to.equal(true);
            }),
        );
    });
});
