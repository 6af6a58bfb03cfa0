import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { generated, write } from "../../branching/generators";
import { loadBranchMap, MAP_FILE, stacksByEnvironment } from "../../branching/map";
import { choose, runSteps } from "../../cli/check";
import { checkMarkdown } from "../../cli/check-markdown";
import { withoutSecrets } from "../../cli/check-preview";
import { findSecrets } from "../../cli/check-secrets";
import { type Outcome, STEPS } from "../../cli/check-steps";
import { checkoutRoot } from "../../local/paths";
import { hideStackSalt } from "../../local/stack-salt";
import { ProjectFolder } from "../unit/project-folder";

const quiet = { begin: () => undefined, end: () => undefined };
const run = async (project: ProjectFolder, name: string): Promise<Outcome> => {
    const [result] = await runSteps(choose({ only: [name] }), project.root, undefined, quiet);
    if (result === undefined) throw new Error("nothing ran");
    return result;
};

describe("ml-api check", () => {
    let project: ProjectFolder;
    beforeEach(() => {
        project = new ProjectFolder();
        project.addStack("dev");
        project.addStack("production", "replicas: 3\n");
    });
    afterEach(() => {
        project.remove();
    });

    it("runs the steps that are asked for, in their order", () => {
        const names = (options: Parameters<typeof choose>[0]) => choose(options).map(({ name }) => name);
        expect(names({})).to.deep.equal(STEPS.map(({ name }) => name));
        expect(names({ only: ["render", "types"] })).to.deep.equal(["types", "render"]);
        expect(names({ only: ["render", "types"], skip: ["types"] })).to.deep.equal(["render"]);
        expect(() => names({ skip: ["rendr"] })).to.throw('there is no step "rendr", did you mean "render"?');
    });

    it("runs all of them, also after one that broke down", async () => {
        const seen: string[] = [];
        const results = await runSteps(
            [
                { name: "a", holds: "", run: () => Promise.reject(new Error("broken")) },
                { name: "b", holds: "", run: () => Promise.resolve({ status: "ok" }) },
            ],
            project.root,
            undefined,
            { begin: (name) => seen.push(`begin ${name}`), end: ({ name }) => seen.push(`end ${name}`) },
        );
        expect(results.map(({ name, status, details }) => [name, status, details])).to.deep.equal([
            ["a", "failed", "broken"],
            ["b", "ok", undefined],
        ]);
        expect(seen).to.deep.equal(["begin a", "end a", "begin b", "end b"]);
    });

    it("writes a comment that no step's words can break out of, and that is not too long", () => {
        const evil = "```\n</details>\n<script>@team | x\n";
        const results = STEPS.map(({ name }) => ({
            name,
            seconds: 1.23,
            status: "failed" as const,
            says: evil,
            details: evil.repeat(2000),
        }));
        const comment = checkMarkdown(results);
        expect(comment.length).to.be.at.most(60_000);
        expect(comment.split("\n", 1)).to.deep.equal(["<!-- ml-api check -->"]);
        const fenced = comment.split(/^````\n/m);
        // Every second part is inside a fence that is longer than any inside it.
        expect(fenced).to.have.length(2 * STEPS.length + 1);
        const outside = fenced.filter((_, index) => index % 2 === 0).join("");
        expect(outside).not.to.match(/<script>|@team|```/);
        expect(outside.match(/<\/details>/g)).to.have.length(STEPS.length);
        expect(comment).to.contain("lines before are cut");
        expect(checkMarkdown([{ name: "types", seconds: 0, status: "ok" }])).to.contain("| types | ok | 0.0 |  |");
    });

    it("refuses what nobody reads in stack files and values files", async () => {
        expect(await run(project, "stacks")).to.include({ status: "ok" });
        project.write("Pulumi.dev.yaml", "config:\n  ml-api:environment: dev\n  ml-api:replica: 2\n");
        project.write("chart/environment/eu/values-eu.yaml", "environment: eu\n");
        const { status, details } = await run(project, "stacks");
        expect(status).to.equal("failed");
        expect(details).to.contain("Pulumi.dev.yaml:3").and.to.contain("chart/environment/eu/values-eu.yaml:1");
    });

    it("refuses an undeclared difference, with the lines that make it", async () => {
        const { status, details } = await run(project, "differences");
        expect(status).to.equal("failed");
        expect(details)
            .to.contain("chart/environment/production/values-production.yaml:2: replicas is not the same")
            .and.to.contain("say why in chart/environment/differences.yaml");
        project.write("chart/environment/differences.yaml", "sizes:\n  replicas: traffic\n  env.A: nothing yet\n");
        expect(await run(project, "differences")).to.deep.include({
            status: "ok",
            says: "declared, but differs nowhere: chart/environment/differences.yaml:3",
        });
    });

    it("refuses a wrong branch map, and what somebody changed of what is generated from it", async () => {
        expect(await run(project, "branches")).to.include({ status: "skipped" });
        for (const file of [MAP_FILE, "docs/branching.md"])
            project.write(file, fs.readFileSync(path.join(checkoutRoot, file), "utf8"));
        for (const stack of ["dev", "staging", "production"]) project.addStack(stack);
        const stacks = stacksByEnvironment(project.root);
        write(project.root, generated(project.root, loadBranchMap(project.root, stacks), stacks));
        expect(await run(project, "branches")).to.include({ status: "ok" });
        project.write(".github/rulesets.json", "[]\n");
        expect((await run(project, "branches")).details).to.contain(".github/rulesets.json: it is not what");
        project.write(MAP_FILE, project.read(MAP_FILE).replace("alias: main", "alias: develop"));
        const { status, details } = await run(project, "branches");
        expect(status).to.equal("failed");
        expect(details).to.match(/branching\/branches\.yaml:\d+.*can mean the same branch/);
    });

    it("skips, with the reason, what cannot be compared or is not there", async () => {
        expect(await run(project, "diff")).to.deep.include({ status: "skipped", says: "this is no git clone" });
        expect(await run(project, "policy")).to.deep.include({ status: "skipped", says: "there is no folder policy" });
    });

    describe("of secrets", () => {
        const found = async () => (await findSecrets(project.root)).map(({ where, what }) => `${where}: ${what}`);

        it("finds none in what has none", async () => {
            expect(await run(project, "secrets")).to.include({ status: "ok" });
        });

        it("refuses a committed salt, and passes over one that only this clone has", async () => {
            project.commit();
            const text = project.read("Pulumi.dev.yaml");
            project.write("Pulumi.dev.yaml", `${text}encryptionsalt: v1:abc=:v1:def:ghi=\n`);
            expect(await found()).to.deep.equal([
                "Pulumi.dev.yaml:3: the salt of somebody's local passphrase is committed; nobody else has that passphrase",
            ]);
            hideStackSalt(project.root, ["Pulumi.dev.yaml"]);
            expect(await found()).to.deep.equal([]);
            // Committed by somebody whose git does not pass over it.
            project.git("-c", "filter.ml-api-stack-salt.clean=cat", "add", "--renormalize", "Pulumi.dev.yaml");
            expect(await found()).to.have.length(1);
        });

        it("refuses secrets in clear, with their lines", async () => {
            project.write(
                "Pulumi.dev.yaml",
                "config:\n  ml-api:environment: dev\n  kubernetes:kubeconfig: '{token: pV9xQ2rT7mK4wZ8sB3nH}'\n",
            );
            project.addStack(
                "production",
                [
                    "env:",
                    "  HF_TOKEN: hunter2",
                    "  DB: postgres://u:hunter2@db/x",
                    "  API_KEYS_FILE: /keys",
                    "apiKey: {existingSecret: mf-demo-key, generation: 1}",
                    "",
                ].join("\n"),
            );
            expect(await found()).to.deep.equal([
                "Pulumi.dev.yaml:3: kubernetes.kubeconfig looks like a secret in clear",
                "chart/environment/production/values-production.yaml:3: env.HF_TOKEN looks like a secret in clear",
                "chart/environment/production/values-production.yaml:4: env.DB looks like a secret in clear",
            ]);
            expect((await found()).join("\n")).not.to.contain("hunter2");
        });

        it("takes a person's word that it is none", async () => {
            project.addStack("production", "env:\n  QUEUE_TOKEN: abcdef # not a secret: the name of a queue\n");
            expect(await found()).to.deep.equal([]);
        });

        it("takes what is encrypted for what it is", async () => {
            project.write(
                "Pulumi.dev.yaml",
                "config:\n  ml-api:environment: dev\n  ml-api:apiKey:\n    secure: AAABAKx9pV9xQ2rT7mK4wZ8sB3nH\n",
            );
            expect(await found()).to.deep.equal([]);
        });
    });

    it("previews without what only a stack's own secrets provider or Pulumi Cloud can read, and says so", () => {
        const file = project.write(
            "Pulumi.production.yaml",
            [
                "secretsprovider: awskms://alias/team",
                "encryptedkey: AAAA",
                "environment: [team/production]",
                "# of the stack",
                "config:",
                "  ml-api:environment: production # promoted",
                "  ml-api:apiKey:",
                "    secure: AAABAKx9",
                "",
            ].join("\n"),
        );
        expect(withoutSecrets(file)).to.deep.equal(["environment", "ml-api:apiKey"]);
        expect(parse(project.read("Pulumi.production.yaml"))).to.deep.equal({
            config: { "ml-api:environment": "production" },
        });
        expect(withoutSecrets(project.file("Pulumi.dev.yaml"))).to.deep.equal([]);
    });
});
