import { expect } from "chai";
import { type Schema, valueReference } from "../../distribution/value-reference";

const schema: Schema = {
    type: "object",
    properties: {
        replicas: { description: "Number of pods.", type: "integer", minimum: 1, maximum: 100 },
        api: {
            description: "How it behaves.",
            type: "object",
            properties: { level: { description: "One | or another.", type: "string", enum: ["info", "debug"] } },
        },
        secrets: {
            description: "By name.",
            type: "object",
            patternProperties: {
                "^[A-Z]+$": {
                    type: ["object", "null"],
                    properties: { key: { description: "An entry.", type: "string" } },
                },
            },
        },
    },
};

describe("the reference of the chart's values", () => {
    it("has a row for every key, section and key of a map's entries, with type, limits, default and meaning", () => {
        const table = valueReference(schema, { replicas: 1, api: { level: "info" }, secrets: {} });
        expect(table.split("\n").slice(2)).to.deep.equal([
            "| `replicas` | integer 1–100 | `1` | Number of pods. |",
            "| **api** |  |  | How it behaves. |",
            '| `api.level` | `"info"`, `"debug"` | `"info"` | One \\| or another. |',
            "| `secrets` | map | `{}` | By name. |",
            "| `secrets.NAME.key` | text |  | An entry. |",
        ]);
    });

    it("is refused for a schema that leaves a key without a word", () => {
        const silent: Schema = {
            properties: { api: { description: "Fine.", properties: { level: { type: "string" } } } },
        };
        expect(() => valueReference(silent, {})).to.throw("says nothing about `api.level`");
    });
});
