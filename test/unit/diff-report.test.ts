import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { commentMarker, reportMarkdown } from "../../cli/diff-markdown";
import { type DiffReport, exitCodeOf, reportJson, type StackDiff } from "../../cli/diff-report";
import { reportText } from "../../cli/diff-terminal";
import { changesBetween, type ObjectChange, redactedObject } from "../../components/guarded-release/changes/changes";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import type { SafetyProblem } from "../../components/guarded-release/safety/safety";
import { expectGolden } from "../chart/golden";
import { OURS, outsideCode } from "./outside-code";

const GOLDEN = path.join(__dirname, "golden", "diff");
const plain = (_: unknown, text: string) => text;

const labels = (version: string) => ({ "helm.sh/chart": `ml-api-${version}` });
const service = (version: string): RenderedObject => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "mf-demo", labels: labels(version) },
});
const deployment = (version: string, spec: object, deadline = 305): RenderedObject => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
        name: "mf-demo",
        labels: labels(version),
        annotations: { "ml-api/progress-deadline-seconds": `${deadline}` },
    },
    spec,
});
const pod = (api: object, volumes: object[] = []) => ({ template: { spec: { containers: [api], volumes } } });
const config = (kind: string, data: object): RenderedObject => ({
    apiVersion: "v1",
    kind,
    metadata: { name: "mf-demo" },
    ...{ data },
});

const before: readonly RenderedObject[] = [
    service("0.1.0"),
    deployment("0.1.0", {
        replicas: 2,
        ...pod({
            name: "api",
            image: "localhost/mf-demo:1",
            args: ["--port", "8080", "--workers", "1", "--log-level", "warning", "--timeout", "30"],
            env: [
                { name: "LOG_LEVEL", value: "info" },
                { name: "HF_TOKEN", value: "hunter2" },
                { name: "OLD", value: "1" },
            ],
        }),
    }),
    config("ConfigMap", { "settings.ini": "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n", count: "3" }),
    config("Secret", { key: "YQ==" }),
];
const after: readonly RenderedObject[] = [
    service("0.2.0"),
    deployment(
        "0.2.0",
        {
            replicas: 3,
            ...pod(
                {
                    name: "api",
                    image: "localhost/mf-demo:2",
                    args: ["--port", "8080", "--workers", "2", "--log-level", "warning", "--timeout", "30"],
                    env: [
                        { name: "LOG_LEVEL", value: "debug" },
                        { name: "HF_TOKEN", value: "hunter3" },
                        { name: "MODEL_URL", value: "https://user:hunter4@models.example.org/m.onnx" },
                    ],
                },
                [{ name: "keys", secret: { secretName: "mf-demo-key-1", items: [{ key: "keys", path: "keys" }] } }],
            ),
        },
        335,
    ),
    config("ConfigMap", { "settings.ini": "a = 1\nb = 2\nc = 30\nd = 4\ne = 5\n", count: 3 }),
    config("Secret", { key: "Yg==" }),
    { apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: { name: "mf-demo" } },
];

const diffOf = (more: Partial<StackDiff>): StackDiff => ({
    stack: "dev",
    environment: "dev",
    release: "mf-demo",
    namespace: "mf-demo-dev",
    against: "commit 1a2b3c4 (origin/main)",
    state: "compared",
    notes: [],
    problems: [],
    objects: [],
    ...more,
});
const objects = changesBetween(before, after).map(redactedObject);
const problems: readonly SafetyProblem[] = [
    {
        object: "Deployment/mf-demo",
        field: "spec.selector",
        what: "cannot be changed",
        fix: "give the release another name",
        blocking: true,
        serverKnows: true,
    },
];
const report: DiffReport = {
    base: { ref: "origin/main", commit: "1a2b3c4d5e6f708192a3b4c5d6e7f80910111213" },
    stacks: [
        diffOf({ stack: "production", environment: "production", namespace: "mf-demo-production", objects, problems }),
        diffOf({ objects: changesBetween([service("0.1.0")], [service("0.2.0")]) }),
        diffOf({ stack: "staging", environment: "staging", namespace: "mf-demo-staging" }),
        diffOf({
            stack: "guest-dev",
            release: "guest",
            namespace: "guest-dev",
            state: "failed",
            notes: ['stack "guest-dev": 1 problem\n  apis/guest/values-dev.yaml:3: `replica` is no key'],
        }),
        diffOf({ stack: "old", environment: "eu", state: "gone", notes: ["Pulumi.old.yaml is gone"] }),
    ],
};

describe("the report of ml-api diff", () => {
    const used: string[] = [];
    const golden = (name: string, text: string) => {
        used.push(name);
        expectGolden(path.join(GOLDEN, name), text);
    };

    it("at a terminal, is as the golden file has it", () => {
        golden("terminal.txt", reportText(report, plain));
    });

    it("as a comment of a pull request, is as the golden file has it", () => {
        golden("comment.md", reportMarkdown(report, "all"));
    });

    it("as JSON, is as the golden file has it", () => {
        golden("report.json", reportJson(report));
    });

    it("has no other golden files", () => {
        expect(fs.readdirSync(GOLDEN).sort()).to.deep.equal([...used].sort());
    });

    it("is coloured by what becomes of a line", () => {
        const marked = reportText(report, (format, text) => `<${String(format)}>${text}</>`);
        expect(marked).to.contain("<yellow>~   spec.replicas: 2 → 3</>");
        expect(marked).to.contain("<green>+ PodDisruptionBudget/mf-demo</>");
        expect(marked).to.match(/<red>- {3}spec\.template\.spec\.containers\[api\]\.env\[OLD\]/);
    });

    it("shows a secret in none of its forms", () => {
        for (const text of [reportText(report, plain), reportMarkdown(report, "all"), reportJson(report)])
            expect(text).not.to.match(/hunter|YQ==|Yg==/);
    });

    it("counts as different what is new, gone or changed, and as failed what could not be compared", () => {
        const code = (stacks: StackDiff[], count = true) => exitCodeOf({ base: undefined, stacks }, count);
        expect(code([diffOf({})])).to.equal(0);
        expect(code([diffOf({}), diffOf({ objects })])).to.equal(2);
        expect(code([diffOf({ state: "new" })])).to.equal(2);
        expect(code([diffOf({ objects })], false)).to.equal(0);
        expect(code([diffOf({ objects }), diffOf({ state: "failed" })], false)).to.equal(1);
    });

    it("writes what would move the cursor or turn the text as codes", () => {
        const evil = changesBetween(
            [config("ConfigMap", { a: "x" })],
            [config("ConfigMap", { a: "\u001b[2J\u202e", ["b\u0007\n::error::"]: "\r\n::add-mask::x" })],
        );
        for (const text of [
            reportText({ base: undefined, stacks: [diffOf({ objects: evil, notes: ["a\u001b[1m"] })] }, plain),
            reportMarkdown({ base: undefined, stacks: [diffOf({ objects: evil, notes: ["a\u001b[1m"] })] }, "all"),
        ]) {
            expect(text).not.to.match(/[\u0000-\u0009\u000b-\u001f\u202e]/);
            // Workflow commands of GitHub begin a line.
            expect(text).not.to.match(/^\s*(?:::|##\[)/m);
        }
    });

    it("cuts a long line to where it begins to differ, and says how long it is", () => {
        const long = (end: string) => config("ConfigMap", { a: `${"x ".repeat(500)}${end}` });
        const text = reportText(
            { base: undefined, stacks: [diffOf({ objects: changesBetween([long("1")], [long("2")]) })] },
            plain,
        );
        expect(text).to.match(/data\.a: ….{10,50}1 → ….{10,50}2\n/);
        expect(Math.max(...text.split("\n").map((line) => line.length))).to.be.below(300);
    });
});

describe("the comment, whatever a chart renders,", () => {
    it("has at most 60 000 characters, and says what was cut and where it stands", () => {
        const big = (count: number, size: number): readonly ObjectChange[] =>
            Array.from({ length: count }, (_, index) => ({
                name: `Deployment/d${index}`,
                action: "update",
                restartsPods: true,
                fields: [{ path: ["spec", "text"], before: "a\n", after: "`line\n".repeat(size) }],
            }));
        for (const [count, size, stacks] of [
            [1, 1, 3],
            [300, 30, 3],
            [5000, 1, 3],
            [10, 10, 200],
            [1, 1, 2000],
        ] as const) {
            const all = Array.from({ length: stacks }, (_, index) =>
                diffOf({ stack: `s${index}`, environment: `e${index}`, objects: big(count, size) }),
            );
            const comment = reportMarkdown({ base: undefined, stacks: all }, "all");
            expect(comment.length).to.be.at.most(60_000);
            if (count * size * stacks > 10) expect(comment).to.match(/are cut here, because|The rest is cut/);
            else expect(comment).not.to.contain("cut");
            for (const line of outsideCode(comment)) expect(line).to.match(OURS);
        }
    });

    it("names every object while there is room for the names", () => {
        const objects: readonly ObjectChange[] = Array.from({ length: 300 }, (_, index) => ({
            name: `ConfigMap/c${index}`,
            action: "update",
            restartsPods: false,
            fields: [{ path: ["data", "x"], before: "1", after: "y".repeat(200) }],
        }));
        const comment = reportMarkdown(
            { base: undefined, stacks: [diffOf({ objects }), diffOf({ stack: "b" })] },
            "all",
        );
        for (const { name } of objects) expect(comment).to.contain(`! ${name}\n`);
    });

    it("begins with a marker by which a later run finds it", () => {
        expect(reportMarkdown(report, "all").split("\n", 1)).to.deep.equal(["<!-- ml-api diff all -->"]);
        expect(commentMarker("diff dev")).to.equal("<!-- ml-api diff dev -->");
        expect(commentMarker("diff --> <b>")).to.equal("<!-- ml-api diff - -b- -->");
    });
});
