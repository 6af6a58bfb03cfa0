import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { generated, stale, write } from "../../branching/generators";
import { rulesetFilter, workflowFilter } from "../../branching/generators/refs";
import { MAP_FILE, parseBranchMap, stacksByEnvironment } from "../../branching/map";
import { matches } from "../../branching/pattern";
import { type Decision, type GitEvent, resolve } from "../../branching/resolve";

const root = path.resolve(__dirname, "../..");
const source = fs.readFileSync(path.join(root, MAP_FILE), "utf8");
const stacks = stacksByEnvironment(root);
const map = parseBranchMap(source, stacks);
const decide = (event: GitEvent): Decision => resolve(map, stacks, event);
const push = (branch: string, more: Partial<GitEvent> = {}): Decision =>
    decide({ event: "push", ref: `refs/heads/${branch}`, ...more });
const request = (branch: string, base: string, more: Partial<GitEvent> = {}): Decision =>
    decide({ event: "pull_request", ref: `refs/heads/${branch}`, base, ...more });

/** As short as a line of a table: `deploy staging`, `deploy production!` with approval, `?` only if changed. */
const short = ({ action, stacks: of, approval, onlyIfChanged }: Decision): string =>
    action === "nothing" ? action : `${action} ${of.join(",")}${approval ? "!" : ""}${onlyIfChanged ? "?" : ""}`;

describe("branches: what a push does", () => {
    const table: readonly (readonly [string, string])[] = [
        ["feature/login", "preview dev"],
        ["feature/GH-12_new.model", "preview dev"],
        ["dev", "deploy dev"],
        ["develop", "deploy staging"],
        ["staging", "deploy staging"],
        ["release", "preview production"],
        ["release-1.2.3", "deploy production!"],
        ["release-0.0.1", "deploy production!"],
        ["release-10.20.30", "deploy production!"],
        ["master", "deploy production!?"],
        ["main", "deploy production!?"],
        ["production", "deploy production!?"],
        ["hotfix/123", "preview production"],
        ["hotfix/GH-7", "preview production"],
        // Nobody knows these.
        ["feature", "nothing"],
        ["feature/", "nothing"],
        ["feature/a/b", "nothing"],
        ["feature/..", "nothing"],
        ["feature/a..b", "nothing"],
        ["feature/.a", "nothing"],
        ["feature/-a", "nothing"],
        ["feature/a.lock", "nothing"],
        ["feature/a b", "nothing"],
        ["feature/$(id)", "nothing"],
        ["feature/ü", "nothing"],
        ["feature/a\n", "nothing"],
        ["Feature/a", "nothing"],
        ["hotfix", "nothing"],
        ["hotfix/", "nothing"],
        ["fix/1", "nothing"],
        ["release-1.2", "nothing"],
        ["release-1.2.3.4", "nothing"],
        ["release-1.2.3-rc1", "nothing"],
        ["release-v1.2.3", "nothing"],
        ["release-01.2.3", "nothing"],
        ["release-1.2.3\n", "nothing"],
        ["release-1.2.3 ", "nothing"],
        ["release-1.2.٣", "nothing"],
        ["release/1.2.3", "nothing"],
        ["release-", "nothing"],
        ["Production", "nothing"],
        ["production/x", "nothing"],
        ["xproduction", "nothing"],
        ["production-2", "nothing"],
        ["staging-production", "nothing"],
        ["production\n", "nothing"],
        ["production\u200b", "nothing"],
        ["prоduction", "nothing"],
        ["master\r", "nothing"],
        ["Master", "nothing"],
        ["mаster", "nothing"],
        ["MAIN", "nothing"],
        ["main/x", "nothing"],
        ["origin/master", "nothing"],
        ["refs/heads/master", "nothing"],
        ["dev ", "nothing"],
        ["development", "nothing"],
        ["dev/x", "nothing"],
        ["toString", "nothing"],
        ["__proto__", "nothing"],
        ["constructor", "nothing"],
        ["deployments", "nothing"],
        ["gh-pages", "nothing"],
        ["", "nothing"],
    ];
    for (const [branch, expected] of table) {
        it(`${JSON.stringify(branch)} → ${expected}`, () => {
            expect(short(push(branch))).to.equal(expected);
        });
    }

    it("is nothing for tags, deleted branches, forks, other events and things that are no commit", () => {
        const commit = "a".repeat(40);
        for (const event of [
            { event: "push", ref: "refs/tags/production" },
            { event: "push", ref: "refs/tags/release-1.2.3" },
            { event: "push", ref: "master" },
            { event: "push", ref: "heads/master" },
            { event: "push", ref: "refs/heads/master", deleted: true },
            { event: "push", ref: "refs/heads/master", commit: "0".repeat(40) },
            { event: "push", ref: "refs/heads/master", commit: "HEAD" },
            { event: "push", ref: "refs/heads/master", commit: `${commit}\n` },
            { event: "push", ref: "refs/heads/master", fork: true },
            { event: "pull_request", ref: "refs/heads/master", base: "production", fork: true },
            { event: "schedule", ref: "refs/heads/master" },
            { event: "Push", ref: "refs/heads/master" },
            { event: "workflow_dispatch", ref: "refs/heads/production" },
        ]) {
            expect(short(decide(event)), JSON.stringify(event)).to.equal("nothing");
        }
        expect(short(push("master", { commit }))).to.equal("deploy production!?");
    });

    it("names what the commits owe, and who deploys", () => {
        expect(push("hotfix/1").mustReach).to.deep.equal(["master", "develop"]);
        expect(push("release-1.2.3").mustReach).to.deep.equal(["master"]);
        expect(push("dev").deployer).to.equal("pulumi-deployments");
        expect(push("master").deployer).to.equal("github-actions");
        expect(push("master").reason).to.equal(
            "a push to master deploys production, after approval, if its tree differs from what runs",
        );
    });

    it("ranks the branches of one environment: staging above develop, master above the rest", () => {
        const rank = (branch: string): number => push(branch).rank ?? 0;
        expect(rank("staging")).to.be.above(rank("develop"));
        expect(rank("master")).to.be.above(rank("release-1.0.0"));
        expect(rank("release-1.0.0")).to.be.above(rank("production"));
    });
});

describe("branches: what a pull request previews", () => {
    const table: readonly (readonly [string, string, string, boolean])[] = [
        ["feature/a", "develop", "preview staging", true],
        ["feature/a", "dev", "preview dev", true],
        ["feature/a", "staging", "preview staging", true],
        ["feature/a", "release-1.2.3", "preview production", true],
        ["feature/a", "master", "preview production", false],
        ["feature/a", "main", "preview production", false],
        ["feature/a", "production", "preview production", false],
        ["develop", "staging", "preview staging", true],
        ["develop", "release", "preview production", true],
        ["develop", "master", "preview production", false],
        ["release", "master", "preview production", true],
        ["release-1.2.3", "master", "preview production", true],
        ["release-1.2.3", "staging", "preview staging", true],
        ["hotfix/1", "master", "preview production", true],
        ["hotfix/1", "main", "preview production", true],
        ["hotfix/1", "develop", "preview staging", true],
        ["hotfix/1", "dev", "preview dev", true],
        ["master", "production", "preview production", true],
        ["main", "develop", "preview staging", true],
        ["staging", "production", "preview production", false],
        ["whatever", "develop", "preview staging", false],
        ["feature/a", "whatever", "nothing", false],
        ["feature/a", "", "nothing", false],
        ["feature/a", "refs/heads/master", "nothing", false],
    ];
    for (const [branch, base, expected, allowed] of table) {
        it(`${branch} into ${JSON.stringify(base)} → ${expected}${allowed ? "" : ", not allowed"}`, () => {
            const decision = request(branch, base);
            expect(short(decision)).to.equal(expected);
            expect(decision.sourceAllowed).to.equal(allowed);
            if (!allowed && decision.action === "preview") expect(decision.reason).to.contain("may not be merged");
        });
    }
});

describe("branches: a map that is wrong", () => {
    const refused = (edit: (text: string) => string, environments: Record<string, string[]> = stacks): string => {
        const edited = edit(source);
        expect(edited === source && environments === stacks, "the edit changed nothing").to.equal(false);
        try {
            parseBranchMap(edited, environments);
        } catch (error) {
            return (error as Error).message;
        }
        throw new Error("the map was accepted");
    };
    const line = (text: string): number => source.split("\n").findIndex((one) => one.includes(text)) + 1;

    it("names unknown keys with their line and the nearest right one", () => {
        const message = refused((text) => text.replace("startsFrom: [develop]", "startFrom: [develop]"));
        expect(message).to.contain(`${MAP_FILE}:${line("startsFrom: [develop]")}`);
        expect(message).to.contain('did you mean "startsFrom"');
    });

    for (const [what, edit, words] of [
        [
            "two branches that one name could match",
            (text: string) =>
                text.replace("  release:\n", "  release-<name>:\n    onPush: { preview: dev }\n\n  release:\n"),
            "can mean the same branch",
        ],
        [
            "an environment with two deployers",
            (text: string) => text.replace("github-actions: [staging", "github-actions: [dev, staging"),
            "dev has two deployers",
        ],
        [
            "an environment of several branches with Pulumi Deployments",
            (text: string) =>
                text.replace("[dev]\n", "[dev, staging]\n").replace("[staging, production]", "[production]"),
            'staging is deployed by "develop", "staging"',
        ],
        [
            "an environment without a stack",
            (text: string) => text.replace("pulumi-deployments: [dev]", "pulumi-deployments: [dev, stagin]"),
            'no stack belongs to "stagin", did you mean "staging"?',
        ],
        [
            "an environment without a deployer",
            (text: string) => text.replace("{ deploy: dev }", "{ deploy: devel }"),
            '"devel" has no deployer, did you mean "dev"?',
        ],
        [
            "a reference to a branch that is not there",
            (text: string) => text.replace("mirrors: master", "mirrors: mastr"),
            '"mastr", which the map does not have, did you mean "master"?',
        ],
        [
            "production open to any name",
            (text: string) =>
                text.replace("onPush: { preview: dev }", "onPush: { deploy: production, approval: true, rank: 9 }"),
            "would deploy production",
        ],
        [
            "production without approval",
            (text: string) => text.replace("approval: true, onlyIfChanged: true, rank: 3", "rank: 3"),
            "without approval",
        ],
        [
            "two branches of one environment without ranks",
            (text: string) => text.replace("{ deploy: staging, rank: 2 }", "{ deploy: staging }"),
            "all deploy staging, without ranks",
        ],
        [
            "a debt that cannot be paid",
            (text: string) => text.replace("mergesInto: [master, develop, staging, dev]", "mergesInto: [dev]"),
            'must reach "master"',
        ],
        ["a glob", (text: string) => text.replace("feature/<name>:", '"feature/*":'), "neither the name of a branch"],
        ["an alias that is a branch", (text: string) => text.replace("alias: main", "alias: develop"), "same branch"],
        [
            "both preview and deploy",
            (text: string) => text.replace("{ preview: dev }", "{ preview: dev, deploy: dev }"),
            "onPush",
        ],
        [
            "review stacks of an environment that takes only what is proven",
            (text: string) => `${text}\nreview: { of: staging, hours: 72, atMost: 5 }\n`,
            "staging takes only what is proven",
        ],
        [
            "review stacks of nothing",
            (text: string) => `${text}\nreview: { of: devel, hours: 72, atMost: 5 }\n`,
            '"devel" has no deployer',
        ],
        [
            "review stacks without an end",
            (text: string) => `${text}\nreview: { of: dev, hours: 0, atMost: 5 }\n`,
            "review.hours",
        ],
        ["no YAML", (text: string) => `${text}\n  - [`, `${MAP_FILE}:`],
        ["the same branch twice", (text: string) => `${text}\n  dev:\n    onPush: { deploy: dev }\n`, "unique"],
    ] as const) {
        it(`is refused: ${what}`, () => {
            const message = refused(edit);
            expect(message).to.contain(words);
            expect(message).to.match(new RegExp(`${MAP_FILE}:\\d+`));
        });
    }

    it("tells all of its problems at once", () => {
        const message = refused((text) =>
            text
                .replace("mirrors: master", "mirrors: mastr")
                .replace("{ deploy: staging, rank: 2 }", "{ deploy: staging }"),
        );
        expect(message).to.contain("branch map: 2 problems");
    });
});

describe("branches: what is generated from the map", () => {
    const files = generated(root, map, stacks);

    it("is what is checked in", () => {
        expect(stale(root, files)).to.deep.equal([]);
    });

    it("is noticed when somebody edits one of the files, or the map", () => {
        const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-branches-"));
        try {
            fs.mkdirSync(path.join(folder, "docs"));
            fs.copyFileSync(path.join(root, "docs/branching.md"), path.join(folder, "docs/branching.md"));
            fs.mkdirSync(path.join(folder, "branching"));
            fs.copyFileSync(path.join(root, MAP_FILE), path.join(folder, MAP_FILE));
            write(folder, generated(folder, map, stacks));
            const whole = generated(folder, map, stacks);
            expect(stale(folder, whole)).to.deep.equal([]);
            for (const file of whole.keys()) {
                const full = path.join(folder, file);
                const before = fs.existsSync(full) ? fs.readFileSync(full, "utf8") : undefined;
                // Of the page only the table is generated; of what is not there, any text is too much.
                const touched =
                    file === "docs/branching.md" ? (before ?? "").replace("| yes ", "| no  ") : `${before ?? ""} `;
                fs.writeFileSync(full, touched);
                const found = stale(folder, whole);
                expect(
                    found.map(({ where }) => where),
                    file,
                ).to.deep.equal([file]);
                write(folder, whole);
                expect(fs.existsSync(full) ? fs.readFileSync(full, "utf8") : undefined, file).to.equal(before);
            }
            const edited = parseBranchMap(source.replace("alias: main", "alias: trunk"), stacks);
            expect(stale(folder, generated(folder, edited, stacks)).length).to.be.at.least(4);
        } finally {
            fs.rmSync(folder, { recursive: true, force: true });
        }
    });

    it("the filters let every branch of the map through", () => {
        // GitHub's filters: * is anything but a slash, + repeats the bracket before it.
        const regex = (filter: string): RegExp =>
            new RegExp(`^${filter.replace(/[.]/g, "\\.").replace(/\*/g, "[^/]*")}$`);
        for (const [pattern, name] of [
            ["release-<version>", "release-1.20.3"],
            ["feature/<name>", "feature/GH-1_a.b"],
            ["hotfix/<issue>", "hotfix/12"],
            ["master", "master"],
        ] as const) {
            expect(matches(pattern, name)).to.equal(true);
            expect(name).to.match(regex(workflowFilter(pattern)));
            expect(name).to.match(regex(rulesetFilter(pattern)));
        }
    });

    it("pins every action by commit, gives no job more than it needs, and cancels no deploy", () => {
        const review = parseBranchMap(`${source}\nreview: { of: dev, hours: 72, atMost: 5 }\n`, stacks);
        for (const [file, text] of generated(root, review, stacks)) {
            if (!file.startsWith(".github/workflows/")) continue;
            const workflow = parse(text) as {
                permissions: object;
                jobs: Record<string, Job>;
                concurrency?: Job["concurrency"];
            };
            expect(workflow.permissions).to.deep.equal({});
            for (const [name, { steps, permissions, concurrency }] of Object.entries(workflow.jobs)) {
                for (const { uses, run } of steps) {
                    if (uses !== undefined && !uses.startsWith("./"))
                        expect(uses).to.match(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
                    // Expressions of the event go through the environment, never into the text of a script.
                    if (run !== undefined) expect(run).not.to.contain("${{");
                }
                const writes = Object.entries(permissions).filter(([, right]) => right === "write");
                const rights: Record<string, string> = {
                    comment: "pull-requests",
                    build: "packages,id-token",
                    commit: "contents",
                    record: "contents",
                    preview: "id-token",
                    deploy: "id-token",
                    follow: "id-token",
                    up: "id-token",
                    down: "id-token",
                    sweep: "id-token",
                };
                expect(writes.map(([right]) => right).join(), name).to.equal(rights[name] ?? "");
                // The job that may write runs nothing of the pull request.
                if (name === "comment")
                    expect(steps.some(({ uses = "" }) => uses.startsWith("actions/checkout"))).to.equal(false);
                if (file.endsWith("review.yaml")) expect(workflow.concurrency?.["cancel-in-progress"]).to.equal(false);
                if (name === "deploy" || (name === "record" && file.endsWith("push.yaml")))
                    expect(concurrency).to.include({ "cancel-in-progress": false, queue: "max" });
            }
        }
    });
});

interface Job {
    readonly steps: readonly { readonly uses?: string; readonly run?: string }[];
    readonly permissions: Readonly<Record<string, string>>;
    readonly concurrency?: Readonly<Record<string, unknown>>;
}
