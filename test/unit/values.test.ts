import { expect } from "chai";
import fc from "fast-check";
import { InputError } from "../../components/config/problem";
import { leaves, mergeValues, parseValues, type Values } from "../../components/config/values";

const parse = (text: string) => parseValues(text, "values-dev.yaml").values;
const problems = (text: string): string => {
    try {
        parse(text);
    } catch (error) {
        if (error instanceof InputError) return error.message;
        throw error;
    }
    return "accepted";
};

describe("a values file", () => {
    it("is read to plain JSON", () => {
        expect(parse("a: 1\nb: {c: [true, null, '1e3', 1.5]}\nd: 2026-01-01\ne: 12:30\n")).to.deep.equal({
            a: 1,
            b: { c: [true, null, "1e3", 1.5] },
            d: "2026-01-01",
            e: "12:30",
        });
    });

    it("may be empty", () => {
        expect(parse("")).to.deep.equal({});
        expect(parse("# nothing but a comment\n")).to.deep.equal({});
    });

    it("may use anchors and merge keys", () => {
        expect(parse("a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\n")).to.deep.equal({
            a: { b: 1, c: 2 },
            d: { b: 1, c: 2 },
            e: { b: 1, c: 3 },
        });
    });

    for (const spelling of [
        "NO",
        "no",
        "on",
        "Off",
        "y",
        "N",
        "yes",
        "0777",
        "0o17",
        "0x1F",
        "0b11",
        "1_000",
        "+1",
        ".5",
        "5.",
        "08",
        ".inf",
        "-.INF",
        ".nan",
        "-0",
        "1__0",
        "0_7",
    ]) {
        it(`refuses the ambiguous spelling ${spelling} with its line and two ways out`, () => {
            expect(problems(`a: 1\nb: ${spelling}\n`)).to.match(/values-dev\.yaml:2:4: .*\n +→ .*"/);
        });
        it(`takes ${spelling} in quotes as the text it is`, () => {
            expect(parse(`b: "${spelling}"`)).to.deep.equal({ b: spelling });
        });
    }

    it("refuses an integer that a double cannot hold", () => {
        expect(problems("a: 9007199254740993\n")).to.contain("values-dev.yaml:1:4").and.to.contain("2^53");
        expect(parse("a: 9007199254740991\n")).to.deep.equal({ a: 9007199254740991 });
        expect(problems("a: 1e400\n")).to.contain("2^53");
    });

    it("refuses keys that are not words", () => {
        expect(problems("on: 1\n")).to.contain("boolean");
        expect(problems("1: a\n")).to.contain('quote it: "1"');
        expect(problems("? [a, b]\n: 1\n")).to.contain("values-dev.yaml:1");
    });

    it("refuses tags, directives, second documents and hidden line breaks", () => {
        expect(problems("a: !!str 1\n")).to.contain("tag");
        expect(problems("a: !secret x\n")).to.contain("tag");
        expect(problems("%YAML 1.1\n---\na: 1\n")).to.contain("directive");
        expect(problems("a: 1\n---\nb: 2\n")).to.contain("second YAML document");
        expect(problems("a: 'x\u0085y'\n")).to.contain("U+0085");
    });

    it("refuses what is not YAML, or not a map, with the line", () => {
        expect(problems("a: [1\nb: 2\n")).to.match(/values-dev\.yaml:\d+/);
        expect(problems("- a\n- b\n")).to.contain("a map");
        expect(problems("a: 1\na: 2\n")).to.contain("values-dev.yaml:2").and.to.contain("unique");
    });

    it("tells all its problems at once", () => {
        expect(problems("a: NO\nb: 0777\nc: 1_000\n")).to.contain("3 problems");
    });

    it("remembers the line of every key", () => {
        expect([...parseValues("a: 1\nimage:\n  tag: x\n", "f.yaml").places]).to.deep.equal([
            ["a", "f.yaml:1"],
            ["image", "f.yaml:2"],
            ["image.tag", "f.yaml:3"],
        ]);
    });
});

describe("merging values", () => {
    const values = fc.letrec<{ map: Values; value: Values[string] }>((tie) => ({
        map: fc.dictionary(fc.constantFrom("a", "b", "c", "__proto__", "toString"), tie("value"), { maxKeys: 4 }),
        value: fc.oneof(
            { maxDepth: 3 },
            fc.constant(null),
            fc.boolean(),
            fc.integer(),
            fc.string(),
            fc.array(fc.integer(), { maxLength: 2 }),
            tie("map"),
        ),
    })).map;

    it("lets the later file win, replaces lists and keeps null", () => {
        expect(mergeValues({ a: { b: 1, c: [1, 2] }, d: 1 }, { a: { c: [3], e: null }, d: { f: 1 } })).to.deep.equal({
            a: { b: 1, c: [3], e: null },
            d: { f: 1 },
        });
    });

    it("keeps every leaf of the later side, is nothing for an empty side and changes neither side", () => {
        fc.assert(
            fc.property(values, values, (a, b) => {
                const before = JSON.stringify([a, b]);
                expect(mergeValues(a, {})).to.deep.equal(a);
                expect(mergeValues({}, a)).to.deep.equal(a);
                expect(mergeValues(mergeValues(a, b), b)).to.deep.equal(mergeValues(a, b));
                expect(JSON.stringify([a, b])).to.equal(before);
                const merged = new Map(leaves(mergeValues(a, b)).map(([path, value]) => [path, JSON.stringify(value)]));
                for (const [path, value] of leaves(b)) {
                    if (JSON.stringify(value) !== "{}") expect(merged.get(path)).to.equal(JSON.stringify(value));
                }
            }),
        );
    });
});
