import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { resolve } from "../../branching/resolve";
import { loadBranchMap, stacksByEnvironment } from "../../branching/map";
import { choose, runSteps } from "../../cli/check";
import { program } from "../../cli/main";
import { makeApi } from "../../cli/new";
import { valuesFile } from "../../cli/new-files";
import { refusal, type RegistryAnswer } from "../../cli/new-image";
import type { ModelAnswer } from "../../cli/new-model";
import { askMissing, type NewOptions } from "../../cli/new-request";
import { parseValues } from "../../components/config/values";
import { contentTag } from "../../local/image/content-tag";
import { modelServerFiles } from "../../local/image/model-server";
import { pinnedSubset } from "../../local/image/pinned-requirements";
import { checkoutImages } from "../../local/image/sources";

const ROOT = path.join(__dirname, "..", "..");
/** What a checkout has that a new API touches or is checked with. */
const PARTS = ["Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.staging.yaml", "Pulumi.production.yaml"].concat(
    ["chart", "branching/branches.yaml", "policy/settings.yaml", "policy/exemptions.yaml", "docs/branching.md"],
    ["deployments/settings.json", ".github", "examples/mf-demo"],
);
const DIGEST = `sha256:${"ab".repeat(32)}`;
const DESCRIPTION = {
    features: ['sepal "length" (cm)', "on"],
    classes: ["no", "yes"],
    answers: "probabilities",
    sample: {
        input: { 'sepal "length" (cm)': 5.1, on: 1e-7 },
        answer: { label: "no", probabilities: { no: 0.75, yes: 0.25 } },
    },
    library: "scikit-learn 1.9.1",
    peakBytes: 120 << 20,
    seconds: 1.5,
} as const;

describe("ml-api new", function () {
    // Each case renders three stacks.
    this.timeout(60_000);
    let root: string;
    beforeEach(() => {
        root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-new-test-"));
        for (const part of PARTS) fs.cpSync(path.join(ROOT, part), path.join(root, part), { recursive: true });
    });
    afterEach(() => {
        fs.rmSync(root, { recursive: true, force: true });
    });

    const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8");
    const everything = (): string[] =>
        fs
            .readdirSync(root, { recursive: true, withFileTypes: true })
            .map((entry) => {
                const file = path.join(entry.parentPath, entry.name);
                return `${file} ${entry.isFile() ? fs.readFileSync(file, "utf8") : ""}`;
            })
            .sort();
    const make = (
        name: string,
        options: NewOptions,
        registry: RegistryAnswer = { digest: DIGEST },
        model: ModelAnswer = DESCRIPTION,
    ): ReturnType<typeof makeApi> =>
        makeApi(root, name, options, {
            registry: () => Promise.resolve(registry),
            model: () => Promise.resolve(model),
        });
    const refused = async (...words: Parameters<typeof make>): Promise<string> => {
        const before = everything();
        const message = await make(...words).then(
            () => expect.fail("it was made"),
            (error: unknown) => (error as Error).message,
        );
        expect(everything()).to.deep.equal(before);
        return message;
    };
    const steps = async (...only: string[]): Promise<void> => {
        const quiet = { begin: () => undefined, end: () => undefined };
        for (const { name, status, details } of await runSteps(choose({ only }), root, undefined, quiet))
            expect(status, `${name}: ${details ?? ""}`).to.equal("ok");
    };
    const modelFile = (name = "churn.joblib"): string => {
        const file = path.join(root, name);
        fs.writeFileSync(file, "a model");
        return file;
    };

    it("makes two more APIs of data only, whose stacks pass the checks and are previewed beside the first", async () => {
        const image = "ghcr.io/team/churn:1.4";
        const { plan, written } = await make("churn", {
            image,
            owner: "team-a",
            sample: '{"on": "0123"}',
            port: "9000",
        });
        await make("fraud", { image: `ghcr.io/team/fraud@${DIGEST}`, environments: "dev" });
        expect(written.created).to.have.length(6);
        expect(written.changed).to.deep.equal(["policy/settings.yaml", "deployments/settings.json"]);
        expect(plan.notes.join()).to.contain("now allows images from ghcr.io/team: have that reviewed");
        expect(parse(read("policy/settings.yaml"))).to.deep.equal({ registries: ["localhost", "ghcr.io/team"] });
        expect(read("Pulumi.churn-production.yaml")).to.equal(
            [
                "config:",
                "  ml-api:environment: production",
                "  ml-api:name: churn",
                "  ml-api:namespace: churn-production",
                "  ml-api:valuesDir: apis/churn",
                '  ml-api:protect: "true"',
                "",
            ].join("\n"),
        );
        expect(parse(read("apis/churn/values-dev.yaml"))).to.deep.include({
            environment: "dev",
            image: { repository: "ghcr.io/team/churn", tag: "1.4", digest: DIGEST },
            labels: { owner: "team-a" },
            api: { logLevel: "debug", port: 9000 },
            verify: { sample: { on: "0123" } },
        });
        await steps("stacks", "render", "secrets", "policy", "differences");
        const stacks = stacksByEnvironment(root);
        const event = { event: "push", ref: "refs/heads/feature/x", fork: false, deleted: false } as const;
        expect(resolve(loadBranchMap(root, stacks), stacks, event)).to.deep.include({
            action: "preview",
            stacks: ["churn-dev", "dev", "fraud-dev"],
        });
    });

    it("makes a server for a model, with the tag that its image will have", async () => {
        const { written } = await make("churn", { model: modelFile(), environments: "staging" });
        const tag = await contentTag(path.join(root, "apis/churn/server"));
        expect(parse(read("apis/churn/values-staging.yaml"))).to.deep.include({
            image: { repository: "localhost/churn", tag },
            resources: { requests: { cpu: "75m", memory: "320Mi" } },
            verify: { sample: { inputs: DESCRIPTION.sample.input } },
        });
        expect(written.created).to.include("apis/churn/server/model/churn.joblib");
        expect(checkoutImages(root).map(({ name, folder }) => [name, folder])).to.deep.equal([
            ["churn", "apis/churn/server"],
            ["mf-demo", "examples/mf-demo"],
        ]);
    });

    it("makes only dev where the registry does not answer, and says what the others wait for", async () => {
        const unreachable = { unreachable: "dial tcp: no route" };
        const { plan } = await make("churn", { image: "ghcr.io/team/churn:1.4", sample: "{}" }, unreachable);
        expect(plan.stacks).to.deep.equal(["churn-dev"]);
        expect(plan.notes.join("\n")).to.contain("only dev was made: staging and production need the image's digest");
        expect(plan.next.map(([command]) => command)).to.include(
            "npx --no ml-api new churn --image ghcr.io/team/churn@sha256:… --environments staging,production",
        );
        const pinned = `ghcr.io/team/churn@${DIGEST}`;
        expect(await refused("churn", { image: pinned })).to.contain("the stack churn-dev deploys an API of this name");
        const added = await make("churn", { image: pinned, environments: "staging,production", sample: "{}" });
        expect(added.written.created).to.have.length(4);
        await steps("differences");
        const none = await refused("fraud", { image: "ghcr.io/team/fraud:1", environments: "production" }, unreachable);
        expect(none).to.contain("the digest of ghcr.io/team/fraud:1 is not known (ghcr.io does not answer: dial tcp");
    });

    it("tells everything that is wrong at once, and leaves nothing behind", async () => {
        const message = await refused("Churn_1", {
            image: "ghcr.io/Team/churn:1",
            owner: "the team",
            environments: "dev,prod",
            sample: "{",
            port: "80",
            memory: "1 GB",
        });
        expect(message).to.contain('API "Churn_1": 7 problems');
        for (const place of ['"Churn_1"', "--image", "--owner", "--environments", "--sample", "--port", "--memory"])
            expect(message).to.contain(`\n  ${place}: `);
    });

    const image = "ghcr.io/team/churn:1";
    const names: readonly (readonly [name: string, says: string])[] = [
        ["mf-demo", "the stack dev deploys an API of this name"],
        ["production", "the name is reserved"],
        ["kube-churn", "the name is reserved"],
        ["a".repeat(39), "at most 38 characters"],
        ["churn-", "it cannot be the name of an API"],
    ];
    for (const [name, says] of names) {
        it(`refuses the name ${name}`, async () => {
            expect(await refused(name, { image })).to.contain(says);
        });
    }

    it("refuses a name whose folder, stack file or namespace is taken", async () => {
        fs.mkdirSync(path.join(root, "apis/churn"), { recursive: true });
        fs.writeFileSync(path.join(root, "Pulumi.churn-dev.yaml"), "config:\n  ml-api:environment: dev\n");
        const other = "config:\n  ml-api:environment: staging\n  ml-api:namespace: churn-staging\n";
        fs.writeFileSync(path.join(root, "Pulumi.eu.yaml"), other);
        expect(await refused("churn", { image }))
            .to.contain("there is apis/churn already")
            .and.to.contain("there is Pulumi.churn-dev.yaml already")
            .and.to.contain("the stack eu uses the namespace churn-staging");
    });

    it("refuses an image that the registry does not have, and a model that cannot be served", async () => {
        expect(await refused("churn", { image }, { refused: "the registry has no such image" })).to.contain(
            "ghcr.io/team/churn:1: the registry has no such image",
        );
        expect(await refused("churn", { image: "churn:1" })).to.contain("docker.io/library/churn");
        expect(await refused("churn", { image: "ghcr.io/team/churn:latest" })).to.contain("another image every day");
        expect(await refused("churn", {})).to.contain("neither an image nor a model is named");
        expect(await refused("churn", { image, model: "x.onnx" })).to.contain("are both named");
        expect(await refused("churn", { model: "nowhere.onnx" })).to.contain("there is no file nowhere.onnx");
        const text = modelFile("model.txt");
        expect(await refused("churn", { model: text })).to.contain('nothing is known of ".txt" files');
        const problem = { problem: "it holds a dict, which is no model of scikit-learn", fix: "save the pipeline" };
        const file = modelFile();
        expect(await refused("churn", { model: file }, undefined, problem)).to.contain("churn.joblib: it holds a dict");
    });

    it("takes everything back when the chart does not take the values", async () => {
        // Numbers that Helm cannot hold are found when the values are read, an owner that the chart refuses when it renders.
        const sample = '{"id": 9007199254740993}';
        expect(await refused("churn", { image, sample })).to.contain("9007199254740992");
        fs.appendFileSync(path.join(root, "chart/templates/_helpers.tpl"), "{{ broken");
        expect(await refused("churn", { image, environments: "dev" })).to.contain("churn-dev");
    });

    it("asks only for what was not said", async () => {
        const asked: string[] = [];
        const ask = (question: string, byDefault: string): Promise<string> => {
            asked.push(question);
            return Promise.resolve(question.startsWith("Image") ? "model.onnx" : byDefault);
        };
        expect(await askMissing("churn", { owner: "a" }, ask)).to.deep.equal({
            owner: "a",
            model: "model.onnx",
            environments: "dev,staging,production",
        });
        expect(asked).to.have.length(3);
        await askMissing("churn", { owner: "a", image: "b", sample: "{}", environments: "dev" }, ask);
        expect(asked).to.have.length(3);
    });

    it("writes what Helm and other tools read alike", () => {
        const request = { name: "a", environments: [], owner: "no", port: 8080, memory: undefined, sample: undefined };
        const sample = {
            y: "no",
            "0123": "0x1",
            time: "12:30",
            date: "2026-01-01",
            text: "a\nb: c\n",
            list: [1, [2.5, null]],
        };
        const image = { repository: "localhost/a", tag: "0777", digest: "" };
        const text = valuesFile({ ...request, source: { image } }, "dev", { image, memory: "1Gi", sample });
        expect(parseValues(text, "values-dev.yaml").values).to.deep.include({
            image: { repository: "localhost/a", tag: "0777" },
            labels: { owner: "no" },
            verify: { sample },
        });
    });

    it("tells a registry that refuses from one that is not there", () => {
        expect(refusal("GET https://x/v2/: MANIFEST_UNKNOWN: manifest unknown")).to.have.property("refused");
        expect(refusal("UNAUTHORIZED: authentication required")).to.have.property("refused");
        expect(refusal('Get "https://x/v2/": dial tcp: lookup x: no such host')).to.deep.equal({
            unreachable: "dial tcp: lookup x: no such host",
        });
    });
});

describe("docs/own-api.md", () => {
    const page = fs.readFileSync(path.join(ROOT, "docs/own-api.md"), "utf8");
    const lines = (info: string): string[] =>
        [...page.matchAll(/^```sh([^\n]*)\n([^]*?)^```$/gm)]
            .filter(([, found = ""]) => found.trim() === info)
            .flatMap(([, , text = ""]) => text.trim().split("\n"));

    it("gets from a clone to a prediction in five commands", () => {
        expect(lines("needs=clone").length + lines("").length).to.equal(5);
        expect(lines("").at(-1)).to.equal("npx --no ml-api up churn-dev");
    });

    it("names commands and options that there are", () => {
        const typed = [...lines(""), ...lines("needs=your-image"), ...lines("needs=your-server")];
        for (const line of typed) {
            const [, name = "", rest = ""] = /npx --no ml-api (\S+) (.*)$/.exec(line) ?? [];
            const command = program().commands.find((one) => one.name() === name);
            const known = command?.options.map(({ long }) => long) ?? [];
            expect(known, line).to.include.members(rest.match(/(?<=\s)--[a-z-]+/g) ?? []);
            expect(command, line).not.to.equal(undefined);
        }
        expect(typed).to.have.length(6);
    });
});

describe("the server for a model", () => {
    const file = path.join(os.tmpdir(), "ml-api-model.joblib");
    before(() => {
        fs.writeFileSync(file, "a model");
    });
    after(() => {
        fs.rmSync(file, { force: true });
    });
    const sample = (name: string): string => fs.readFileSync(path.join(ROOT, "examples/mf-demo", name), "utf8");
    const server = { name: "churn", kind: "sklearn", modelFile: file, description: DESCRIPTION } as const;

    it("is the sample's code but for what speaks of its model", () => {
        const files = modelServerFiles(ROOT, server);
        const different = fs
            .readdirSync(path.join(ROOT, "examples/mf-demo/mf_demo"))
            .filter((name) => name.endsWith(".py"))
            .filter((name) => files.get(`api/${name}`) !== sample(`mf_demo/${name}`).replaceAll("mf_demo", "api"));
        expect(different).to.deep.equal(["__init__.py", "app.py", "model.py", "schemas.py"]);
        const changed = (files.get("api/app.py") ?? "").split("\n");
        const before = sample("mf_demo/app.py").split("\n");
        expect(changed).to.have.length(before.length);
        expect(changed.filter((line, index) => line !== before[index])).to.have.length(4);
        for (const [name, text] of files) expect(text, name).not.to.match(/\b[Ww]ine\b|mf_demo|train\.py/);
    });

    it("speaks of its own inputs and its own kind of answer", () => {
        const schemas = (answers: "value" | "label" | "probabilities"): string =>
            modelServerFiles(ROOT, { ...server, description: { ...DESCRIPTION, answers } }).get("api/schemas.py") ?? "";
        expect(schemas("probabilities")).to.contain('    f0: Number = Field(alias="sepal \\"length\\" (cm)")\n');
        expect(schemas("probabilities")).to.contain("    probabilities: dict[str, float]");
        expect(schemas("label")).not.to.contain("probabilities:");
        expect(schemas("value")).to.contain("    value: float").and.not.to.contain("    label: str");
    });

    it("cannot be made from a sample that no longer has a place that is changed", () => {
        const root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-sample-"));
        try {
            fs.cpSync(path.join(ROOT, "examples/mf-demo"), path.join(root, "examples/mf-demo"), { recursive: true });
            const app = path.join(root, "examples/mf-demo/mf_demo/app.py");
            fs.writeFileSync(app, sample("mf_demo/app.py").replace("wine.row()", "bottle.row()"));
            expect(() => modelServerFiles(root, server)).to.throw(
                "mf_demo/app.py has 0 times what a server is made from",
            );
        } finally {
            fs.rmSync(root, { recursive: true });
        }
    });

    it("has those of the sample's pinned packages that it needs, with their hashes", () => {
        const packages = (kind: "sklearn" | "onnx"): string[] => {
            const text = modelServerFiles(ROOT, { ...server, kind }).get("requirements.txt") ?? "";
            return [...text.matchAll(/^([a-z0-9-]+)==\S+ \\\n(?= {4}--hash=sha256:)/gm)].map(([, name = ""]) => name);
        };
        const both = ["annotated-doc", "pydantic-core", "starlette", "numpy", "uvloop"];
        expect(packages("sklearn")).to.include.members([...both, "scikit-learn", "scipy", "joblib", "threadpoolctl"]);
        expect(packages("sklearn")).not.to.include.members(["onnxruntime"]).and.not.include.members(["flatbuffers"]);
        const pins = [...sample("requirements.txt").matchAll(/^([a-z0-9-]+)==/gm)].map(([, name = ""]) => name);
        expect(packages("onnx")).to.deep.equal(pins);
        expect(() => pinnedSubset([sample("requirements.txt")], ["torch"])).to.throw(
            "no file of requirements pins torch",
        );
    });
});
