import { expect } from "chai";
import fc from "fast-check";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseValues } from "../../components/config/values";
import { explain } from "../../components/guarded-release/render/explain";

const VALUES = `environment: dev
image:
  tag: a
  pullPolicy: x
replicas: many
resources:
  limits:
    memroy: 1
  requests:
    cpu: null
    memory: 5Q
env:
  B: 3
  "1A": x
secrets:
  TOKEN:
    kye: a
labels:
  app/x: "1"
mode: x
`;
const SCHEMA = {
    properties: {
        environment: {},
        image: { properties: { tag: {}, repository: {} } },
        replicas: { description: "Number of pods." },
        resources: {
            properties: {
                limits: { $ref: "#/definitions/amounts" },
                requests: { allOf: [{ $ref: "#/definitions/amounts" }] },
            },
        },
        env: { description: "Name to text.", patternProperties: { "^[A-Z]": {} } },
        secrets: { additionalProperties: { properties: { secret: {}, key: {}, as: {} } } },
        labels: { additionalProperties: { description: "A text." } },
        mode: {},
    },
    definitions: { amounts: { properties: { cpu: {}, memory: { description: "Bytes with a unit." } } } },
};

/** What Helm 3.20 prints; its lists are in no order. */
const NOW = `values don't meet the specifications of the schema(s) in the following chart(s):
ml-api:
- at '/env': validation failed
  - at '/env/B': got number, want null or string
  - at '/env': additional properties '1A' not allowed
- at '/replicas': got string, want integer
- at '/resources': validation failed
  - at '/resources/limits': additional properties 'cpus', 'memroy' not allowed
  - at '/resources/requests': 'allOf' failed
    - at '/resources/requests': missing property 'cpu'
    - at '/resources/requests/memory': '5Q' does not match pattern '^[1-9]+(Ki|Mi)$'
- at '/secrets/TOKEN': additional properties 'kye' not allowed
- at '/labels/app~1x': got string, want null
- at '/mode': 'anyOf' failed
  - at '/mode': got string, want object
  - at '/mode': value must be 'y'
- at '': additional properties 'tag', 'it\\'s' not allowed`;

/** The same from Helm before 3.18. */
const BEFORE = `values don't meet the specifications of the schema(s) in the following chart(s):
ml-api:
- (root): Additional property tag is not allowed
- env.B: Invalid type. Expected: string, given: integer
- replicas: Invalid type. Expected: integer, given: string
- resources.limits: Additional property memroy is not allowed
- resources.requests: cpu is required
- secrets.TOKEN: Additional property kye is not allowed`;

describe("a chart that cannot be rendered is explained", () => {
    let root: string;
    before(() => {
        root = fs.mkdtempSync(path.join(os.tmpdir(), "explain-"));
        for (const folder of ["chart", "chart/charts/sub"]) {
            fs.mkdirSync(path.join(root, folder), { recursive: true });
            fs.writeFileSync(path.join(root, folder, "Chart.yaml"), `name: ${folder === "chart" ? "ml-api" : "sub"}\n`);
        }
        fs.writeFileSync(path.join(root, "chart/values.schema.json"), JSON.stringify(SCHEMA));
        const sub = { properties: { enabled: {} } };
        fs.writeFileSync(path.join(root, "chart/charts/sub/values.schema.json"), JSON.stringify(sub));
    });
    after(() => {
        fs.rmSync(root, { recursive: true });
    });

    function lines(message: string, places = parseValues(VALUES, "v.yaml").places): string[] {
        const { problems } = explain(message, { chart: "./chart", root, origin: { file: "v.yaml", places } });
        return problems.map(({ where, what, fix }) => `${where}: ${what}` + (fix === undefined ? "" : ` → ${fix}`));
    }

    it("with the line of every value that the schema refuses, the nearest right key and what the key means", () => {
        expect(lines(NOW)).to.have.members([
            "v.yaml:13: at '/env/B': got number, want null or string",
            "v.yaml:14: at '/env': additional properties '1A' not allowed → env: Name to text.",
            "v.yaml:5: at '/replicas': got string, want integer → replicas: Number of pods.",
            "v.yaml:7: at '/resources/limits': additional properties 'cpus' not allowed, did you mean \"cpu\"?",
            "v.yaml:8: at '/resources/limits': additional properties 'memroy' not allowed, did you mean \"memory\"?",
            "v.yaml:10: at '/resources/requests': missing property 'cpu' → null takes the chart's default away: give a value, or remove the line",
            "v.yaml:11: at '/resources/requests/memory': '5Q' does not match pattern '^[1-9]+(Ki|Mi)$' → resources.requests.memory: Bytes with a unit.",
            "v.yaml:17: at '/secrets/TOKEN': additional properties 'kye' not allowed, did you mean \"key\"?",
            "v.yaml:19: at '/labels/app~1x': got string, want null → labels.app/x: A text.",
            "v.yaml:20: at '/mode': 'anyOf' failed\n      - at '/mode': got string, want object\n      - at '/mode': value must be 'y'",
            "v.yaml: at '': additional properties 'tag' not allowed, did you mean \"image.tag\"?",
            "v.yaml: at '': additional properties 'it's' not allowed → the keys of the top level are environment, image, replicas, resources, env, secrets, labels, mode",
        ]);
    });

    it("in the order of the lines, which Helm does not keep", () => {
        const lineNumbers = lines(NOW).map((line) => Number(/^v\.yaml:(\d+)/.exec(line)?.[1] ?? 0));
        expect(lineNumbers).to.deep.equal([...lineNumbers].sort((a, b) => a - b));
    });

    it("in the words of older Helm, too", () => {
        expect(lines(BEFORE)).to.have.members([
            'v.yaml: (root): Additional property tag is not allowed, did you mean "image.tag"?',
            "v.yaml:13: env.B: Invalid type. Expected: string, given: integer",
            "v.yaml:5: replicas: Invalid type. Expected: integer, given: string → replicas: Number of pods.",
            'v.yaml:8: resources.limits: Additional property memroy is not allowed, did you mean "memory"?',
            "v.yaml:10: resources.requests: cpu is required → null takes the chart's default away: give a value, or remove the line",
            'v.yaml:17: secrets.TOKEN: Additional property kye is not allowed, did you mean "key"?',
        ]);
    });

    it("with the stack file's line where the stack file wins", () => {
        const places = new Map([...parseValues(VALUES, "v.yaml").places, ["replicas", "Pulumi.dev.yaml:7"]]);
        expect(lines(NOW, places)).to.include(
            "Pulumi.dev.yaml:7: at '/replicas': got string, want integer → replicas: Number of pods.",
        );
    });

    it("of a subchart below the key that its values have here", () => {
        const message = `${NOW.slice(0, NOW.indexOf("\n"))}\nsub:\n- at '': additional properties 'enabeld' not allowed\n`;
        expect(lines(message, new Map([["sub.enabeld", "v.yaml:3"]]))).to.deep.equal([
            "v.yaml:3: sub: at '': additional properties 'enabeld' not allowed, did you mean \"enabled\"?",
        ]);
    });

    it("by the schema's own file when the schema is wrong", () => {
        const wrong = `"file:///values.schema.json#" is not valid against metaschema: it failed\n- at '/type': moon`;
        for (const text of ["unexpected EOF", wrong]) {
            const message = `${NOW.slice(0, NOW.indexOf("\n"))}\nml-api:\n${text}`;
            expect(lines(message)).to.deep.equal([`chart/values.schema.json: ${text}`]);
        }
    });

    it("sentence by sentence, each with the line of the value that it begins with", () => {
        const message = `execution error at (ml-api/templates/validation.yaml:61:6): \n
The values of release "x" are refused:
- image.repository is empty: set it.
- env.PORT: the chart sets this variable.
- mode: make it

      so

  or not.
- Nothing known comes first.
`;
        expect(lines(message)).to.deep.equal([
            "v.yaml:2: image.repository is empty: set it.",
            "v.yaml:12: env.PORT: the chart sets this variable.",
            "v.yaml:20: mode: make it\n\n            so\n\n        or not.",
            "chart/templates/validation.yaml:61:6: Nothing known comes first.",
        ]);
        const { subject } = explain(message, { chart: "./chart", root, origin: { file: "v.yaml", places: new Map() } });
        expect(subject).to.equal('the chart ./chart cannot be rendered: The values of release "x" are refused');
    });

    for (const [what, message, explained] of [
        [
            "a single sentence of `required`",
            "execution error at (ml-api/templates/service.yaml:1:3): replicas: say how many",
            ["v.yaml:5: replicas: say how many"],
        ],
        [
            "a sentence that begins with no value",
            "execution error at (ml-api/templates/service.yaml:1:3): boom\nsecond line",
            ["chart/templates/service.yaml:1:3: boom\nsecond line"],
        ],
        [
            "an error in a template",
            'template: ml-api/templates/service.yaml:1:10: executing "ml-api/templates/service.yaml" at <.Values.a.b>: nil pointer evaluating interface {}.b',
            [
                'chart/templates/service.yaml:1:10: template: ml-api/templates/service.yaml:1:10: executing "ml-api/templates/service.yaml" at <.Values.a.b>: nil pointer evaluating interface {}.b',
            ],
        ],
        [
            "an error in a template that another one includes",
            'template: ml-api/templates/a.yaml:1:3: executing "x" at <include "y" .>: error calling include: template: ml-api/templates/_helpers.tpl:50:6: executing "y" at <1>: no',
            [
                'chart/templates/_helpers.tpl:50:6: template: ml-api/templates/a.yaml:1:3: executing "x" at <include "y" .>: error calling include: template: ml-api/templates/_helpers.tpl:50:6: executing "y" at <1>: no',
            ],
        ],
        [
            "a template that cannot be parsed",
            'parse error at (ml-api/templates/service.yaml:4): function "nofunc" not defined',
            [
                'chart/templates/service.yaml:4: parse error at (ml-api/templates/service.yaml:4): function "nofunc" not defined',
            ],
        ],
        [
            "a template that renders to no YAML",
            "YAML parse error on ml-api/templates/service.yaml: error converting YAML to JSON: yaml: line 23: mapping values are not allowed in this context",
            [
                "chart/templates/service.yaml: YAML parse error on ml-api/templates/service.yaml: error converting YAML to JSON: yaml: line 23: mapping values are not allowed in this context → the line counts in the text that the template renders to; `helm template --debug` prints it",
            ],
        ],
        [
            "a broken Chart.yaml",
            "validation: chart.metadata.name is required",
            ["chart/Chart.yaml: validation: chart.metadata.name is required"],
        ],
        [
            "broken defaults",
            "cannot load values.yaml: error converting",
            ["chart/values.yaml: cannot load values.yaml: error converting"],
        ],
        ["anything else, whole", "some words: that nobody\nhas seen", ["chart: some words: that nobody\nhas seen"]],
    ] as [string, string, string[]][]) {
        it(`by file and line: ${what}`, () => {
            for (const wrapped of [
                message,
                `Error: ${message}\n\nUse --debug flag to render out invalid YAML\n`,
                `2 UNKNOWN: invocation of kubernetes:helm:template returned an error: failed to generate YAML for specified Helm chart: failed to create chart from template: ${message}`,
            ]) {
                expect(lines(wrapped)).to.deep.equal(explained);
            }
        });
    }

    it("without losing a word of what it does not understand", () => {
        const words = fc.array(
            fc.constantFrom("- ", "at '/a': ", "ml-api:", "x", "\n", "  ", "'", ": ", "(root): ", "y"),
        );
        fc.assert(
            fc.property(
                words,
                fc.constantFrom("", `${NOW.slice(0, NOW.indexOf("\n"))}\nml-api:\n`),
                (parts, header) => {
                    const text = parts.join("");
                    const told = lines(header + text).join("\n");
                    for (const letter of ["x", "y"]) {
                        const count = (inside: string) =>
                            inside.replace(NOW.slice(0, NOW.indexOf("\n")), "").split(letter).length;
                        expect(count(told), told).to.be.at.least(count(text));
                    }
                },
            ),
        );
    });
});
