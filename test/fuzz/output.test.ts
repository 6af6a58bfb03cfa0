import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { code, codeBlock } from "../../cli/diff-markdown";
import { findCommit } from "../../cli/commit";
import { passHarmless } from "../../cli/process";
import { parse as parseYaml, parseAllDocuments } from "yaml";
import { InputError } from "../../components/config/problem";
import { visible, visibleLines } from "../../components/config/visible";
import { accessCommand, curlCommand, logsCommand } from "../../components/ml-api/outputs";
import { writeYaml } from "../../local/plugins/kubernetes/manifest";
import { Git } from "../../branching/git";
import { toYaml, grant } from "../../rbac/manifests";
import { hostileText, hostileValue, OBEYED, PATIENCE_MS, RUNS } from "./hostile";
import { ProjectFolder } from "../unit/project-folder";

/** What a program can be given as an argument; the last character is the one by which this test tells programs apart. */
const argument = hostileText.filter((text) => !text.includes("\0") && !text.includes("\u001e"));
/** Programs are started for these. */
const FEW = Math.max(20, Math.ceil(RUNS / 10));

describe("hostile text on its way out", function () {
    this.timeout(PATIENCE_MS);

    it("moves no cursor, and hides nothing", () => {
        fc.assert(
            fc.property(hostileText, (text) => {
                expect(visible(text))
                    .not.to.match(OBEYED)
                    .and.not.to.match(/[\n\t\u2028\u2029]/);
                expect(visibleLines(text)).not.to.match(OBEYED);
                expect(new InputError(text, [{ where: text, what: text, fix: text }]).message).not.to.match(OBEYED);
            }),
            { numRuns: RUNS },
        );
    });

    it("in the lines of a log moves no cursor either, wherever they are cut on their way", async () => {
        const bytes = fc.array(fc.oneof(hostileText, fc.constant("\r\n")), { maxLength: 5 });
        await fc.assert(
            fc.asyncProperty(bytes, fc.array(fc.nat(40), { maxLength: 4 }), async (lines, cuts) => {
                const all = Buffer.from(lines.join("\n"));
                const places = [0, ...cuts.map((cut) => Math.min(cut, all.length)).sort((a, b) => a - b), all.length];
                const chunks = places.slice(1).map((place, index) => all.subarray(places[index], place));
                const to = new PassThrough();
                await passHarmless(Readable.from(chunks, { objectMode: false }), to);
                to.end();
                const shown = await text(to);
                expect(shown).not.to.match(OBEYED);
                expect(shown.split("\n")).to.have.lengthOf(all.toString().split("\n").length);
            }),
            { numRuns: RUNS },
        );
    });

    it("is text in a pull request's comment: no HTML, no mention, no link, no end of a block", () => {
        fc.assert(
            fc.property(fc.array(hostileText, { minLength: 1, maxLength: 4 }), (lines) => {
                for (const line of lines) expect(code(line)).to.match(/^<code>(?:[A-Za-z0-9 /,()-]|&#\d+;)*<\/code>$/);
                const [, opening = "", inside = "", closing] =
                    /^\n(`{3,})diff\n([\s\S]*)\n(`{3,})\n$/.exec(codeBlock(lines, "diff")) ?? [];
                expect(closing).to.equal(opening);
                for (const line of inside.split("\n")) expect(line.includes(opening), line).to.equal(false);
                expect(inside.split("\n")).to.have.lengthOf(lines.length);
            }),
            { numRuns: RUNS },
        );
    });

    it("is a value in what Helm is given, as YAML", () => {
        fc.assert(
            fc.property(fc.dictionary(hostileText, hostileValue), (values) => {
                const written = writeYaml(values as Parameters<typeof writeYaml>[0]);
                expect(parseAllDocuments(written)).to.have.lengthOf(1);
                expect(parseYaml(written, { version: "1.1" })).to.deep.equal(JSON.parse(JSON.stringify(values)));
            }),
            { numRuns: RUNS },
        );
    });

    it("is a name in a role binding", () => {
        const need = { group: "", resource: "pods", verbs: ["get"], why: "x" } as const;
        fc.assert(
            fc.property(hostileText, hostileText, (name, why) => {
                const text = toYaml(grant("a", "b", [{ ...need, why }], { kind: "Group", name }));
                const [role, binding] = parseAllDocuments(text).map(
                    (document) => document.toJS() as Record<string, unknown>,
                );
                expect((binding?.["subjects"] as { name: string }[])[0]?.name).to.equal(name);
                expect(role?.["rules"]).to.have.lengthOf(1);
            }),
            { numRuns: RUNS, examples: [["", "\n\u2028"]] },
        );
    });

    it("is one word of the commands that people are told to type", () => {
        // Everything but the context comes from checked settings: Kubernetes names.
        const service = {
            apiVersion: "v1",
            kind: "Service",
            metadata: { name: "api" },
            spec: { ports: [{ port: 80 }] },
        };
        fc.assert(
            fc.property(argument, argument, (context, sample) => {
                const where = { name: "api", namespace: "ns", context, keySecret: "key" };
                const values = { verify: { sample } };
                expect(words(logsCommand(where))[0]?.slice(0, 5)).to.deep.equal([
                    "kubectl",
                    "--context",
                    context,
                    "--namespace",
                    "ns",
                ]);
                for (const line of [
                    accessCommand(where, [service], values),
                    curlCommand(where, "http://127.0.0.1:1", values),
                ]) {
                    const calls = words(line);
                    for (const call of calls.filter(([program]) => program === "kubectl"))
                        expect(call[2]).to.equal(context);
                    expect(calls.find(([program]) => program === "curl")?.at(-1)).to.equal(sample);
                }
            }),
            { numRuns: FEW },
        );
    });

    it("is never an option of git", async () => {
        const project = new ProjectFolder();
        const commit = project.commit();
        const git = new Git(project.root);
        await fc.assert(
            fc.asyncProperty(argument, async (ref) => {
                const found = await findCommit(project.root, ref).catch((error: unknown) => error);
                if (!(found instanceof Error)) expect((found as { id: string }).id).to.equal(commit);
                const same = await git.commit(ref);
                if (same !== undefined) expect(same).to.equal(commit);
                expect(project.git("status", "--porcelain", "--ignored")).to.equal("");
            }),
            { numRuns: FEW },
        );
        project.remove();
    });
});

/** What a shell makes of a line: the words of each program that it would start. */
function words(line: string): string[][] {
    // Two of them run at the same time: each call is one write, or the words of one get among those of the other.
    const say = (program: string): string => `${program}() { printf '%s\\0' ${program} "$@" '' '\u001e' >&2; }`;
    const script = `${say("kubectl")}\n${say("curl")}\n${line}\nwait`;
    const printed = execFileSync("sh", ["-c", `{ ${script}\n} 2>&1 >/dev/null`], { encoding: "utf8" });
    return printed
        .split("\u001e\0")
        .slice(0, -1)
        .map((call) => call.split("\0").slice(0, -2));
}
