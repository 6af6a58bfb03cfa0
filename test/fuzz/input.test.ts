import { expect } from "chai";
import { CommanderError, InvalidArgumentError } from "commander";
import fc from "fast-check";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { gzipSync } from "node:zlib";
import { stringify } from "yaml";
import { imagePatterns, parseImageReference } from "../../branching/image-reference";
import { parseBranchMap } from "../../branching/map";
import { parseRecords, running } from "../../branching/record";
import { resolve } from "../../branching/resolve";
import { setValues } from "../../branching/values-edit";
import { choose } from "../../cli/check";
import { findTarget as findDoctorTarget } from "../../cli/doctor-target";
import { program } from "../../cli/main";
import { readRequest } from "../../cli/new-request";
import { parseSubject } from "../../cli/rbac";
import { findStack } from "../../cli/stacks";
import { parseBlocked } from "../../components/config/blocked";
import {
    credentialOf,
    findTarget,
    KubeconfigProblem,
    readKubeconfig,
    staticAccess,
} from "../../components/config/kubeconfig";
import { InputError, type Problem } from "../../components/config/problem";
import { readProject } from "../../components/config/project-file";
import { checkProject } from "../../components/config/project";
import { readStack } from "../../components/config/stack";
import { parseValues } from "../../components/config/values";
import { decodeRecord, type RecordSecret, recordsIn } from "../../components/guarded-release/live/record";
import { hostileText, hostileValue, mutationsOf, hostileYaml, OBEYED, PATIENCE_MS, RUNS } from "./hostile";
import { ProjectFolder } from "../unit/project-folder";

const ROOT = path.join(__dirname, "..", "..");
const read = (name: string): string => fs.readFileSync(path.join(ROOT, name), "utf8");

/** Fails unless a function ends well, or with the one kind of error that is a message for a person, and a safe one. */
function onlyRefuses(kind: new (...args: never[]) => Error, run: () => unknown): void {
    try {
        run();
    } catch (error) {
        if (!(error instanceof kind)) throw error;
        expect(error.message).not.to.match(OBEYED);
    }
}

/** Fails when the program's own fault comes up: with its words a person could do nothing. */
function onlySaysWhy(run: () => unknown): void {
    try {
        run();
    } catch (error) {
        const faults = [TypeError, RangeError, SyntaxError, ReferenceError];
        if (!(error instanceof Error) || faults.some((kind) => error instanceof kind)) throw error;
    }
}

describe("hostile input", function () {
    this.timeout(PATIENCE_MS);
    let project: ProjectFolder;
    before(() => {
        project = new ProjectFolder();
        project.addStack("dev", "replicas: 1\n");
    });
    after(() => {
        project.remove();
    });
    afterEach(() => {
        expect(({} as Record<string, unknown>)["polluted"], "a prototype was changed").to.equal(undefined);
    });

    it("in a stack file is refused in words", () => {
        const good = "config:\n  ml-api:environment: dev\n";
        const filled = fc
            .dictionary(hostileText, hostileValue, { maxKeys: 4 })
            .map((config) => stringify({ config: { "ml-api:environment": "dev", ...config } }));
        const known = fc
            .tuple(
                fc.constantFrom(
                    "name",
                    "namespace",
                    "keyGeneration",
                    "protect",
                    "valuesDir",
                    "values",
                    "apiKey",
                    "environment",
                ),
                hostileValue,
            )
            .map(([key, value]) => stringify({ config: { "ml-api:environment": "dev", [`ml-api:${key}`]: value } }));
        fc.assert(
            fc.property(
                fc.oneof(hostileText, filled, known, mutationsOf(good, read("Pulumi.production.yaml"))),
                (text) => {
                    project.write("Pulumi.dev.yaml", text);
                    onlyRefuses(InputError, () => readStack(project.root, "dev"));
                    onlyRefuses(InputError, () => checkProject(project.root));
                    onlySaysWhy(() => findStack(project.root, "constructor"));
                },
            ),
            { numRuns: RUNS },
        );
        project.write("Pulumi.dev.yaml", good);
    });

    it("in a values file is refused in words, or read as it is", () => {
        const file = "chart/environment/dev/values-dev.yaml";
        const sample = read("chart/environment/production/values-production.yaml");
        fc.assert(
            fc.property(hostileYaml(sample), (text) => {
                onlyRefuses(InputError, () => parseValues(text, file));
                project.write(file, text);
                onlyRefuses(InputError, () => readStack(project.root, "dev"));
            }),
            { numRuns: RUNS },
        );
        project.addStack("dev", "replicas: 1\n");
    });

    it("in Pulumi.yaml is refused in words", () => {
        const good = project.read("Pulumi.yaml");
        fc.assert(
            fc.property(hostileYaml(good, read("Pulumi.yaml")), (text) => {
                project.write("Pulumi.yaml", text);
                onlyRefuses(InputError, () => readProject(project.root));
                onlyRefuses(InputError, () => readStack(project.root, "dev"));
            }),
            { numRuns: RUNS },
        );
        project.write("Pulumi.yaml", good);
    });

    it("is set into a values file as a text, and as nothing else", () => {
        const sample = "# first\nimage:\n  repository: a # last\n  tag: 'x'\n";
        fc.assert(
            fc.property(hostileText, (text) => {
                onlyRefuses(InputError, () => {
                    const edited = setValues(sample, [["image.tag", text]], "values.yaml");
                    expect(parseValues(edited, "values.yaml").values).to.deep.equal({
                        image: { repository: "a", tag: text },
                    });
                    expect(edited).to.contain("# first\n").and.to.contain("# last\n");
                });
            }),
            { numRuns: RUNS },
        );
    });

    it("in the branch map is refused in words", () => {
        const stacks = { dev: ["dev"], staging: ["staging"], production: ["production"] };
        const sample = read("branching/branches.yaml");
        fc.assert(
            fc.property(hostileYaml(sample), (text) => {
                onlyRefuses(InputError, () => parseBranchMap(text, stacks));
            }),
            { numRuns: Math.min(RUNS, 1000) },
        );
    });

    it("as a branch, a base or an event means nothing, and is shown safely", () => {
        const stacks = { dev: ["dev"], staging: ["staging"], production: ["production"] };
        const map = parseBranchMap(read("branching/branches.yaml"), stacks);
        const ref = fc.oneof(
            hostileText,
            hostileText.map((text) => `refs/heads/${text}`),
            hostileText.map((text) => `refs/heads/feature/${text}`),
        );
        fc.assert(
            fc.property(
                ref,
                fc.constantFrom("push", "pull_request", "delete"),
                hostileText,
                hostileText,
                (name, event, base, commit) => {
                    const decision = resolve(map, stacks, { event, ref: name, base, commit });
                    expect(decision.reason).to.match(/^[\x20-\x7e…]*$/);
                    if (decision.action === "deploy") expect(name).to.match(/^refs\/heads\/[A-Za-z0-9._/-]+$/);
                },
            ),
            { numRuns: RUNS },
        );
    });

    it("as words of the command is refused in words", async () => {
        const command = program();
        for (const one of [command, ...command.commands, ...command.commands.flatMap(({ commands }) => commands)]) {
            one.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
            one.action(() => undefined);
        }
        const names = command.commands.map((one) => one.name());
        const options = command.commands.flatMap((one) => one.options.flatMap(({ long }) => long ?? []));
        const word = fc.oneof(fc.constantFrom(...names), fc.constantFrom(...options), hostileText);
        await fc.assert(
            fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (words) => {
                await command.parseAsync(words, { from: "user" }).catch((error: unknown) => {
                    if (!(error instanceof CommanderError)) throw error;
                });
            }),
            { numRuns: RUNS },
        );
    });

    it("as a name that a person types is refused in words", () => {
        const patterns = imagePatterns(ROOT);
        const words: readonly ((text: string) => unknown)[] = [
            (text) => findStack(project.root, text),
            (text) => findStack(project.root, "dev", text),
            (text) => findDoctorTarget(ROOT, text),
            (text) => parseImageReference(text, patterns),
            (text) => choose({ only: [text] }),
            (text) => {
                const given = { environments: text, image: text, owner: text, memory: text, port: text, sample: text };
                const request = readRequest(project.root, text, given);
                // Nothing of this is all that together.
                if (!Array.isArray(request)) throw new TypeError("it was taken");
                throw new InputError(text, request as Problem[]);
            },
        ];
        fc.assert(
            fc.property(hostileText, (text) => {
                for (const run of words) onlySaysWhy(() => run(text));
                try {
                    const subject = parseSubject(text);
                    expect(Object.values(subject).join("")).to.match(/^[\x21-\x7e]+$/);
                } catch (error) {
                    expect(error).to.be.instanceOf(InvalidArgumentError);
                }
            }),
            { numRuns: RUNS },
        );
    });

    it("in the record of deploys or the list of blocked images is refused in words", () => {
        const hash = (line: string) => createHash("sha256").update(line).digest("hex");
        const first = JSON.stringify({ after: "", record: { stack: "dev", outcome: "deployed" } });
        const second = JSON.stringify({ after: hash(first), record: { stack: "dev", outcome: "failed" } });
        const lines = fc.oneof(
            hostileText,
            fc.array(fc.oneof(hostileValue, fc.record({ after: fc.constant(""), record: hostileValue })), {
                maxLength: 3,
            }),
            mutationsOf(`${first}\n${second}\n`),
        );
        const sample = `blocked:\n  - digest: sha256:${"a".repeat(64)}\n    reason: r\n    who: w\n    when: 2026-01-02\n`;
        fc.assert(
            fc.property(lines, hostileValue, mutationsOf(sample), (record, value, list) => {
                const text = typeof record === "string" ? record : record.map((one) => JSON.stringify(one)).join("\n");
                onlySaysWhy(() => running(parseRecords(text, "dev.jsonl"), "dev"));
                onlySaysWhy(() => parseBlocked(list));
                onlySaysWhy(() => parseBlocked(stringify(value)));
            }),
            { numRuns: RUNS },
        );
    });

    it("in a kubeconfig is refused in words", () => {
        const sample = stringify({
            "current-context": "a",
            contexts: [{ name: "a", context: { cluster: "b", user: "c" } }],
            clusters: [{ name: "b", cluster: { server: "https://example.org" } }],
            users: [{ name: "c", user: { token: "t" } }],
        });
        const entry = (key: string) => fc.oneof(hostileValue, fc.record({ name: hostileText, [key]: hostileValue }));
        const shaped = fc
            .record({
                "current-context": hostileText,
                contexts: fc.array(entry("context")),
                clusters: fc.array(entry("cluster")),
                users: fc.array(entry("user")),
            })
            .map((value) => stringify(value));
        const file = project.file("kubeconfig");
        fc.assert(
            fc.property(
                fc.oneof(
                    hostileText,
                    hostileValue.map((value) => stringify(value)),
                    shaped,
                    mutationsOf(sample),
                ),
                (text) => {
                    fs.writeFileSync(file, text);
                    onlyRefuses(KubeconfigProblem, () => {
                        const kubeconfig = readKubeconfig({ KUBECONFIG: file });
                        if (kubeconfig === undefined) return;
                        for (const name of ["a", ...kubeconfig.contexts.keys()]) {
                            onlyRefuses(KubeconfigProblem, () => {
                                const target = findTarget(kubeconfig, name);
                                staticAccess(target, credentialOf(target), {});
                            });
                        }
                    });
                },
            ),
            { numRuns: RUNS },
        );
        fs.rmSync(file, { force: true });
    });

    it("in Helm's records is an error, and no crash", () => {
        const release = {
            name: "a",
            namespace: "b",
            version: 1,
            info: { status: "deployed" },
            config: {},
            manifest: "a: b\n",
            hooks: [],
        };
        const packed = (value: unknown) =>
            Buffer.from(gzipSync(JSON.stringify(value)).toString("base64")).toString("base64");
        const content = fc.oneof(
            hostileText,
            hostileValue.map(packed),
            fc
                .record({
                    info: hostileValue,
                    version: hostileValue,
                    config: hostileValue,
                    manifest: hostileValue,
                    hooks: hostileValue,
                })
                .map(packed),
            mutationsOf(packed(release)),
        );
        fc.assert(
            fc.property(content, hostileValue, (text, metadata) => {
                const secret = { metadata, data: { release: text } } as unknown as RecordSecret;
                onlyRefuses(Error, () => {
                    try {
                        for (const { secret: one } of recordsIn(JSON.stringify({ items: [secret] }))) decodeRecord(one);
                        decodeRecord(secret);
                    } catch (error) {
                        // Whoever reads a record says in other words that it cannot be read.
                        if (!(error instanceof Error) || error instanceof RangeError) throw error;
                    }
                });
            }),
            { numRuns: RUNS },
        );
    });
});
