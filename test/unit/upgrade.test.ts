import { expect } from "chai";
import { difference, keysOf } from "../../cli/upgrade-report";

describe("ml-api upgrade: keys of a schema", () => {
    it("are found in maps within maps; what stands below a new one is not told again", () => {
        const before = { properties: { a: { properties: { b: {}, c: {} } } } };
        const after = { properties: { a: { properties: { b: {} } }, d: { properties: { e: {} } } } };
        expect(keysOf(before)).to.deep.equal(["a", "a.b", "a.c"]);
        expect(difference(keysOf(before), keysOf(after))).to.deep.equal({ added: ["d"], removed: ["a.c"] });
    });
});
