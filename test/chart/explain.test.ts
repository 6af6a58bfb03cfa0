import { expect } from "chai";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { leaves, parseValues } from "../../components/config/values";
import { explain } from "../../components/guarded-release/render/explain";
import { chartFolder, defaultValues, isMap, merged, refusal, smallest, type Values, withChartCopy } from "./helm";

/** The problems that are told of values which the chart refuses, as `place: what → fix`. */
function told(values: Values, chart = chartFolder): string[] {
    const text = stringify(values);
    const origin = { file: "v.yaml", places: parseValues(text, "v.yaml").places };
    const { problems } = explain(refusal(values, { chart }), { chart: "chart", root: dirname(chart), origin });
    return problems.map(({ where, what, fix }) => `${where}: ${what}` + (fix === undefined ? "" : ` → ${fix}`));
}

/** `v.yaml:LINE` of a value in the text that {@link told} makes of values. */
function lineOf(values: Values, path: string): string {
    return parseValues(stringify(values), "v.yaml").places.get(path) ?? "";
}

/** All values but `global`, where every key is welcome. */
const ownValues = () => Object.fromEntries(Object.entries(defaultValues()).filter(([key]) => key !== "global"));

const misspelt = (key: string) => `${key}x`;

describe("what Helm says of this chart's values is explained", () => {
    it("for every key: its line, and the right key when a letter is wrong", () => {
        const spoil = (values: Values): Values =>
            Object.fromEntries(
                Object.entries(values).map(([key, value]) =>
                    isMap(value) && Object.keys(value).length > 0 ? [key, spoil(value)] : [misspelt(key), value],
                ),
            );
        const values = spoil(ownValues());
        const problems = told(values).filter((line) => !line.includes("missing propert"));
        for (const [path] of leaves(values)) {
            const key = path.slice(path.lastIndexOf(".") + 1);
            const line = `${lineOf(values, path)}: `;
            const found = problems.filter((problem) => problem.startsWith(line) && problem.includes(`'${key}'`));
            expect(found, path).to.have.length(1);
            expect(found[0], path).to.contain(`did you mean "${key.slice(0, -1)}"?`);
        }
        expect(problems).to.have.length(leaves(values).length);
    });

    it("for every key that is taken away: its line, and what to do", () => {
        const take = (values: Values): Values =>
            Object.fromEntries(
                Object.entries(values).map(([key, value]) => [
                    key,
                    isMap(value) && Object.keys(value).length > 0 ? take(value) : null,
                ]),
            );
        const values = take(ownValues());
        const problems = told(values);
        for (const [path] of leaves(values)) {
            const key = path.slice(path.lastIndexOf(".") + 1);
            const line = `${lineOf(values, path)}: `;
            expect(problems.filter((problem) => problem.startsWith(line)).join("\n"), path).to.match(
                new RegExp(`missing property '${key}' → null takes the chart's default away`),
            );
        }
    });

    it("for keys in maps of free names", () => {
        const values = merged(smallest, { env: { lower: 1 }, secrets: { TOKEN: { secret: "s", kye: "k" } } });
        const problems = told(values);
        expect(problems.filter((line) => line.startsWith(`${lineOf(values, "env.lower")}: `))).to.have.length(1);
        const [kye] = problems.filter((line) => line.startsWith(`${lineOf(values, "secrets.TOKEN.kye")}: `));
        expect(kye).to.contain("additional properties 'kye' not allowed, did you mean \"key\"?");
    });

    it("for values of the wrong kind: the line, and what the value means", () => {
        const values = merged(smallest, { replicas: "many", resources: { requests: { memory: "5Q" } } });
        expect(told(values)).to.have.length(2);
        const [replicas, memory] = [lineOf(values, "replicas"), lineOf(values, "resources.requests.memory")].map(
            (line) => told(values).find((problem) => problem.startsWith(`${line}: `)),
        );
        expect(replicas).to.contain("at '/replicas': got string, want integer → replicas: ");
        expect(memory).to.contain("'5Q' does not match pattern").and.to.contain(" → resources.requests.memory: ");
    });

    it("for the chart's own sentences: the line of the value that each begins with", () => {
        const values = merged(smallest, { image: { repository: "" }, env: { PORT: "1", OTHER: "2" } });
        const problems = told(values);
        expect(problems.join("\n")).to.contain(`${lineOf(values, "image.repository")}: image.repository`);
        expect(problems.join("\n")).to.contain(`${lineOf(values, "env.PORT")}: env.PORT`);
        for (const problem of problems) expect(problem).to.match(/^v\.yaml:\d+: /);
    });

    for (const [what, file, from, to, place] of [
        [
            "a template that fails",
            "service.yaml",
            /^/,
            "{{ .Values.no.such.value }}\n",
            /^chart\/templates\/service\.yaml:1:\d+: /,
        ],
        [
            "a helper that fails",
            "_helpers.tpl",
            '{{- define "ml-api.image" -}}',
            "$&{{ index (list) 1 }}",
            /^chart\/templates\/_helpers\.tpl:\d+:\d+: .*out of range/s,
        ],
        [
            "a template that is none",
            "service.yaml",
            /^/,
            "{{ if }}\n",
            /^chart\/templates\/service\.yaml:1: parse error/,
        ],
        [
            "a template that renders to no YAML",
            "service.yaml",
            /^/,
            "a: b: c\n",
            /^chart\/templates\/service\.yaml: YAML parse error/,
        ],
    ] as const) {
        it(`for ${what}: its file and line`, () => {
            withChartCopy(
                (folder) => {
                    const template = join(folder, "templates", file);
                    const text = readFileSync(template, "utf8");
                    expect(text).to.match(typeof from === "string" ? /ml-api\.image/ : from);
                    writeFileSync(template, text.replace(from, to));
                },
                (folder) => {
                    const problems = told(smallest, folder);
                    expect(problems).to.have.length(1);
                    expect(problems[0]).to.match(place);
                },
            );
        });
    }
});
