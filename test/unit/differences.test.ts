import { expect } from "chai";
import * as path from "node:path";
import { acrossJson, acrossMarkdown, acrossText, compareEnvironments } from "../../cli/diff-across";
import {
    type DeclaredDifferences,
    differences,
    readDifferences,
    sameEverywhere,
    staleDeclarations,
    undeclaredDifferences,
} from "../../components/config/differences";
import { InputError } from "../../components/config/problem";
import type { Values } from "../../components/config/values";
import { ProjectFolder } from "./project-folder";

let project: ProjectFolder;
/** Called in the groups that need one: at the top of this file it would make one for each test of every other file as well. */
const withProject = (): void => {
    beforeEach(() => {
        project = new ProjectFolder();
    });
    afterEach(() => {
        project.remove();
    });
};

const declared = (text: string): DeclaredDifferences =>
    readDifferences(project.write("differences.yaml", text), "differences.yaml");
const problems = (text: string): readonly string[] => {
    try {
        declared(text);
    } catch (error) {
        if (error instanceof InputError) return error.problems.map(({ where, what }) => `${where}: ${what}`);
        throw error;
    }
    return [];
};
const values = (dev: Values, staging: Values, production: Values) => ({ dev, staging, production });
const paths = (list: readonly { path: string }[]) => list.map(({ path: one }) => one);

describe("the file of declared differences", () => {
    withProject();

    it("holds a reason for each path, in one of two groups", () => {
        expect(declared("sizes:\n  replicas: more traffic\ndev:\n  api.logLevel: for people\n")).to.deep.equal([
            { path: "replicas", group: "sizes", reason: "more traffic", place: "differences.yaml:2" },
            { path: "api.logLevel", group: "dev", reason: "for people", place: "differences.yaml:4" },
        ]);
        expect(declared("")).to.deep.equal([]);
        expect(declared("sizes:\ndev: {}\n")).to.deep.equal([]);
        expect(readDifferences(path.join(project.root, "none.yaml"))).to.deep.equal([]);
    });

    it("is refused with every problem and its line", () => {
        expect(
            problems("size: {}\nsizes:\n  replicas:\n  a..b: x\n  env.*.x: x\n  ok: x\ndev:\n  ok: y\nsizes: [1]\n"),
        ).to.have.length(1);
        expect(problems("size: {}\nsizes:\n  replicas:\n  a..b: x\n  '*': x\n  ok: x\ndev:\n  ok: y\n")).to.deep.equal([
            'differences.yaml:1: there is no group "size", did you mean "sizes"?',
            "differences.yaml:3: replicas has no reason",
            'differences.yaml:4: "a..b" is no path of a value',
            'differences.yaml:5: "*" is no path of a value',
            "differences.yaml:8: ok is declared already at differences.yaml:6",
        ]);
        expect(problems("sizes: [replicas]\n")).to.deep.equal([
            'differences.yaml:1: the group "sizes" is a map of path → reason',
        ]);
        expect(problems("- sizes\n")).to.deep.equal([
            "differences.yaml:1: expected the groups sizes and dev, each a map",
        ]);
    });
});

describe("a difference between environments", () => {
    withProject();

    it("is declared by its own path, or by one around it", () => {
        const different = values(
            { a: { b: 1, c: 1 }, ab: 1, d: 1 },
            { a: { b: 2, c: 1 }, ab: 2, d: 1 },
            { a: { b: 3, c: 2 }, ab: 3, d: 2 },
        );
        expect(paths(undeclaredDifferences(different, []))).to.deep.equal(["a.b", "a.c", "ab", "d"]);
        expect(paths(undeclaredDifferences(different, declared("sizes: {a.b: x}")))).to.deep.equal(["a.c", "ab", "d"]);
        expect(paths(undeclaredDifferences(different, declared("sizes: {a.*: x}")))).to.deep.equal(["ab", "d"]);
        expect(paths(undeclaredDifferences(different, declared("sizes: {a: x}")))).to.deep.equal([
            "a.b",
            "a.c",
            "ab",
            "d",
        ]);
        expect(differences(different, declared("sizes: {a.*: why not}"))[0]).to.deep.equal({
            path: "a.b",
            values: { dev: 1, staging: 2, production: 3 },
            reason: "why not",
        });
    });

    it("of dev is declared only while the others agree", () => {
        const onlyDev = declared("dev: {level: x}");
        expect(undeclaredDifferences(values({ level: "debug" }, { level: "info" }, { level: "info" }), onlyDev)).to.be
            .empty;
        expect(
            paths(undeclaredDifferences(values({ level: "debug" }, { level: "info" }, { level: "warn" }), onlyDev)),
        ).to.deep.equal(["level"]);
        expect(
            paths(undeclaredDifferences(values({ level: "info" }, { level: "info" }, { level: "warn" }), onlyDev)),
        ).to.deep.equal(["level"]);
    });

    it("is none in the name of the environment and in the image, which is promoted", () => {
        const promoted = (environment: string, tag: string) => ({
            environment,
            image: { repository: "r", tag, digest: tag },
        });
        expect(
            undeclaredDifferences(
                values(promoted("dev", "2"), promoted("staging", "1"), promoted("production", "1")),
                [],
            ),
        ).to.be.empty;
        expect(
            paths(undeclaredDifferences({ a: { image: { repository: "r" } }, b: { image: { repository: "s" } } }, [])),
        ).to.deep.equal(["image.repository"]);
    });

    it("is none between a key that is absent, null or empty, but is one between these and a value", () => {
        expect(differences(values({ env: {} }, { env: null }, {}), [])).to.be.empty;
        expect(paths(differences(values({ env: {} }, { env: { A: "1" } }, {}), []))).to.deep.equal(["env.A"]);
        expect(paths(differences(values({ list: [] }, { list: ["a"] }, {}), []))).to.deep.equal(["list"]);
    });

    it("leaves a declaration stale when it is gone", () => {
        const list = declared("sizes: {a: x, b.*: x}\ndev: {c: x}");
        expect(paths(staleDeclarations(values({ a: 1 }, { a: 2 }, { a: 2 }), list))).to.deep.equal(["b.*", "c"]);
    });
});

describe("a value that is the same everywhere", () => {
    it("is told as the largest map of which that is true", () => {
        expect(
            sameEverywhere(
                values(
                    { a: { x: 1, y: 1 }, b: { x: 1 }, c: 1, d: [1] },
                    { a: { x: 1, y: 1 }, b: { x: 2 }, d: [1] },
                    {
                        a: { y: 1, x: 1 },
                        b: { x: 1, y: 2 },
                        c: 1,
                        d: [1],
                    },
                ),
            ),
        ).to.deep.equal(["a", "d"]);
        expect(sameEverywhere({ dev: { a: 1 } })).to.deep.equal([]);
    });
});

describe("ml-api diff --across", () => {
    withProject();

    const threeEnvironments = () => {
        project.write("chart/environment/differences.yaml", "sizes:\n  replicas: more traffic\n  gpu.*: nothing yet\n");
        project.addStack("dev", "api: {logLevel: debug}\nverify: {path: /predict}\nenv: {HF_TOKEN: hunter2}\n");
        project.addStack("staging", "replicas: 1\nverify: {path: /predict}\n");
        project.addStack("production", "replicas: 3\nverify: {path: /predict}\n");
    };
    const plain = (_: unknown, text: string) => text;

    it("labels each difference, with its lines, and tells what is the same and what is stale", () => {
        threeEnvironments();
        expect(acrossText(compareEnvironments(project.root), plain)).to.equal(
            [
                "mf-demo: dev, staging, production",
                "  api.logLevel  undeclared",
                "    dev         debug  chart/environment/dev/values-dev.yaml:2",
                "    staging     info  the chart's default",
                "    production  info  the chart's default",
                "  env.HF_TOKEN  undeclared",
                '    dev         "[secret]"  chart/environment/dev/values-dev.yaml:4',
                "    staging     not set",
                "    production  not set",
                "  environment  declared: its own name",
                "    dev         dev  chart/environment/dev/values-dev.yaml:1",
                "    staging     staging  chart/environment/staging/values-staging.yaml:1",
                "    production  production  chart/environment/production/values-production.yaml:1",
                "  replicas  declared: more traffic",
                "    dev         1  the chart's default",
                "    staging     1  chart/environment/staging/values-staging.yaml:2",
                "    production  3  chart/environment/production/values-production.yaml:2",
                "  the same everywhere: verify",
                "  ! chart/environment/differences.yaml:3: gpu.* is declared, but differs nowhere → remove the line",
                "  2 undeclared differences (2 declared) → make them equal, or say why in chart/environment/differences.yaml",
                "",
            ].join("\n"),
        );
    });

    it("says the same as JSON and as a comment, without the secret", () => {
        threeEnvironments();
        const across = compareEnvironments(project.root);
        const { apis } = JSON.parse(acrossJson(across)) as {
            apis: { api: string; differences: { path: string; declared: boolean }[] }[];
        };
        expect(apis.map(({ api }) => api)).to.deep.equal(["mf-demo"]);
        expect(apis[0]?.differences.map(({ path: one, declared: is }) => `${one} ${is}`)).to.deep.equal([
            "api.logLevel false",
            "env.HF_TOKEN false",
            "environment true",
            "replicas true",
        ]);
        const comment = acrossMarkdown(across);
        expect(comment).to.match(/^<!-- ml-api diff across -->\n/);
        expect(comment).to.contain("2 undeclared differences").and.to.contain("env.HF_TOKEN");
        expect(acrossJson(across) + comment).not.to.contain("hunter2");
    });

    it("compares each API with itself, by its own declarations", () => {
        threeEnvironments();
        for (const environment of ["dev", "production"]) {
            project.write(
                `Pulumi.guest-${environment}.yaml`,
                `config:\n  ml-api:environment: ${environment}\n  ml-api:name: guest\n  ml-api:valuesDir: apis/guest\n`,
            );
            const values = `environment: ${environment}\nmodel: {memory: ${environment}}\n`;
            project.write(`apis/guest/values-${environment}.yaml`, values);
        }
        const guest = () => compareEnvironments(project.root).find(({ api }) => api === "guest");
        expect(guest()?.stacks).to.deep.equal(["guest-dev", "guest-production"]);
        expect(guest()?.differences.find(({ path: one }) => one === "model.memory")?.reason).to.equal(undefined);
        expect(guest()?.stale).to.deep.equal([]);
        project.write("apis/guest/differences.yaml", "dev: {model.memory: a smaller model}\n");
        expect(guest()?.differences.find(({ path: one }) => one === "model.memory")?.reason).to.equal(
            "a smaller model",
        );
    });
});
