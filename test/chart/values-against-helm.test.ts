import { expect } from "chai";
import fc from "fast-check";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { InputError } from "../../components/config/problem";
import { isValues, mergeValues, parseValues, type Values } from "../../components/config/values";
import { withDefaults } from "./helm";

/**
 * The reader of values files against Helm itself: for every document, either both read the same, or ours refuses it.
 * One chart prints the values it was given as JSON; each document becomes one key of one values file, so that a few
 * hundred documents cost one run of Helm.
 */
describe("the reader of values files, against Helm", () => {
    const helm = process.env["ML_API_HELM"] ?? "helm";
    let chart: string;

    before(() => {
        chart = fs.mkdtempSync(path.join(os.tmpdir(), "values-against-helm-"));
        fs.mkdirSync(path.join(chart, "templates"));
        fs.writeFileSync(path.join(chart, "Chart.yaml"), "apiVersion: v2\nname: echo\nversion: 0.1.0\n");
        fs.writeFileSync(path.join(chart, "templates", "echo.yaml"), "values: {{ .Values | toJson | quote }}\n");
    });
    after(() => {
        fs.rmSync(chart, { recursive: true });
    });

    /** What Helm reads from these files, laid over each other in order; undefined when it refuses them. */
    function helmReads(...texts: string[]): Values | undefined {
        const files = texts.map((text, index) => {
            const file = path.join(chart, `input-${index}.yaml`);
            fs.writeFileSync(file, text);
            return file;
        });
        try {
            const stdout = execFileSync(helm, ["template", "x", chart, ...files.flatMap((file) => ["-f", file])], {
                encoding: "utf8",
                stdio: "pipe",
            });
            const printed = /^values: (.*)$/m.exec(stdout)?.[1];
            return JSON.parse(JSON.parse(printed ?? "null") as string) as Values;
        } catch (error) {
            if ((error as NodeJS.ErrnoException).code === "ENOENT")
                throw new Error(`${helm} is not on PATH: run \`make test\`, or set ML_API_HELM`);
            return undefined;
        }
    }

    function weRead(text: string): Values | "refused" {
        try {
            return parseValues(text, "values.yaml").values;
        } catch (error) {
            if (error instanceof InputError) return "refused";
            throw error;
        }
    }

    /** Reads many documents at once, each as the value of a key of its own. */
    function agree(documents: readonly string[]): { accepted: number; refused: number } {
        const accepted = new Map<string, string>();
        let refused = 0;
        documents.forEach((source, index) => {
            const text = `k${index}: ${source}\n`;
            if (weRead(text) === "refused") refused++;
            else accepted.set(`k${index}`, text);
        });
        const together = [...accepted.values()].join("");
        expect(weRead(together), together).not.to.equal("refused");
        const helms = helmReads(together);
        if (helms === undefined) {
            // One of them is refused by Helm alone: that is allowed to nobody. Find it.
            for (const text of accepted.values())
                expect(helmReads(text), `Helm refuses, we accept: ${text}`).not.to.equal(undefined);
        }
        const ours = weRead(together) as Record<string, unknown>;
        for (const [key, text] of accepted) expect(ours[key], text).to.deep.equal(helms?.[key]);
        return { accepted: accepted.size, refused };
    }

    it("agrees on every spelling that is known to be read in two ways", () => {
        const words = [
            "true",
            "True",
            "TRUE",
            "false",
            "null",
            "Null",
            "~",
            "yes",
            "Yes",
            "no",
            "NO",
            "on",
            "ON",
            "off",
            "y",
            "n",
            "Y",
            "tRue",
            "nULL",
            "none",
        ];
        const numbers = [
            "0",
            "1",
            "-1",
            "01",
            "007",
            "08",
            "0777",
            "0o17",
            "0x1F",
            "0X1f",
            "0b11",
            "1e3",
            "1E3",
            "1e+3",
            "1.5e3",
            "10e3",
            "1.",
            ".5",
            "+1",
            "-0",
            "0.0",
            "-0.5",
            "1_000",
            "_1",
            "1_",
            "0_1",
            "1__0.5",
            ".inf",
            ".Inf",
            "-.inf",
            ".nan",
            ".NaN",
            "1e400",
            "1e-400",
            "1e",
            "e3",
            "9007199254740991",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551616",
            "1000000",
            "123456789012",
            "1.30",
            "1.10.0",
            "190:20:30",
            "12:30",
            "0.1",
            "1e21",
            "123456789.123456789",
        ];
        const others = [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "10Mi",
            "500m",
            "1.5Gi",
            "a b",
            "a:b",
            "a#b",
            "'NO'",
            '"1_000"',
            '"\\u00e9"',
            "'it''s'",
            "[1, NO]",
            "[1, 2]",
            "{a: 1}",
            "{a}",
            "[]",
            "{}",
            "=",
            "<<",
            "@x",
            "`x",
            "%x",
            "-",
            "- x",
            "--- x",
            "!x y",
            "&a x",
            "|\n  text\n  more",
            ">\n  folded\n  more\n\n  next",
            "|-\n  x",
            "plain\n  over lines",
            '"double\n  over lines"',
            "'single\n\n  over lines'",
        ];
        const { accepted, refused } = agree([...words, ...numbers, ...others]);
        expect(accepted).to.be.greaterThan(40);
        expect(refused).to.be.greaterThan(40);
    });

    it("agrees on anchors, aliases, merge keys and lists", () => {
        for (const text of [
            "a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\nf: {c: 4, <<: *x}\n",
            "a: &x {b: 1}\ny: &y {b: 2, c: 3}\ne: {<<: [*x, *y]}\n",
            "a: &x [1, 2]\nb: *x\n",
            "a: &n null\nb: *n\n",
            "a:\n- 1\n-   - 2\n    - 3\n- b: 1\n  c: 2\n",
            "a:\r\n  b: 1\r\n  c: |\r\n    text\r\n",
            "\uFEFFa: 1\n",
            "a: # comment\n  b: 1 # another\n",
            "---\na: 1\n",
            "a: 1\n...\n",
            "'a': 1\n\"b\": 2\n",
            "a b: 1\na.b: 2\n",
            "",
            "# only a comment\n",
            "null\n",
            "{}\n",
        ]) {
            const ours = weRead(text);
            if (ours !== "refused") expect(ours, text).to.deep.equal(helmReads(text));
        }
    });

    it("agrees on random scalars", () => {
        const alphabet = fc.constantFrom(...Array.from("0123456789+-._:eExXoObBnNyYaAsStTfFiI~ "));
        const scalars = fc.oneof(
            fc.string({ unit: alphabet, minLength: 1, maxLength: 8 }),
            fc.double().map(String),
            fc.bigInt().map(String),
            fc.string().map((text) => JSON.stringify(text)),
        );
        fc.assert(
            fc.property(fc.array(scalars, { minLength: 150, maxLength: 150 }), (documents) => {
                agree(documents);
            }),
            { numRuns: 12, endOnFailure: true },
        );
    });

    const key = fc.constantFrom("a", "b", "c", "d");
    const tree = fc.letrec<{ map: Values; value: Values[string] }>((tie) => ({
        map: fc.dictionary(key, tie("value"), { maxKeys: 4 }),
        value: fc.oneof(
            { maxDepth: 3 },
            fc.constant(null),
            fc.boolean(),
            fc.integer(),
            fc.constantFrom("NO", "1e3", "x"),
            fc.array(fc.integer(), { maxLength: 2 }),
            tie("map"),
        ),
    })).map;
    /** Many pairs at once, each under a key of its own: the first or the second trees of all. */
    const side = (pairs: readonly (readonly [Values, Values])[], index: 0 | 1): Values =>
        Object.fromEntries(pairs.map((pair, number) => [`p${number}`, pair[index]]));
    const plain = (values: Values): Values => JSON.parse(JSON.stringify(values)) as Values;

    it("merges as Helm merges two files", () => {
        fc.assert(
            fc.property(fc.array(fc.tuple(tree, tree), { minLength: 40, maxLength: 40 }), (pairs) => {
                const helms = helmReads(JSON.stringify(side(pairs, 0)), JSON.stringify(side(pairs, 1)));
                expect(plain(mergeValues(side(pairs, 0), side(pairs, 1)))).to.deep.equal(helms);
            }),
            { numRuns: 6, endOnFailure: true },
        );
    });

    it("lays values over a chart's defaults as Helm does, in the sweeps of the chart", () => {
        const defaults = path.join(chart, "values.yaml");
        fc.assert(
            fc.property(fc.array(fc.tuple(tree, tree), { minLength: 40, maxLength: 40 }), (pairs) => {
                // A default of null is nothing that anybody writes, and Helm treats it as if it were not there.
                const below = withoutNull(plain(side(pairs, 0)));
                fs.writeFileSync(defaults, JSON.stringify(below));
                const helms = helmReads(JSON.stringify(side(pairs, 1)));
                expect(plain(withDefaults(side(pairs, 1), below))).to.deep.equal(helms);
            }),
            { numRuns: 6, endOnFailure: true },
        );
        fs.rmSync(defaults);
    });
});

function withoutNull(values: Values): Values {
    return Object.fromEntries(
        Object.entries(values).flatMap(([key, value]) =>
            value === null ? [] : [[key, isValues(value) ? withoutNull(value) : value]],
        ),
    );
}
