import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { type Allowed, isAllowed, licenceFindings } from "../../scan/licences";

const list = parse(fs.readFileSync(path.join(__dirname, "../../scan/licences.yaml"), "utf8")) as Allowed;

describe("the licence of a package", () => {
    it("is allowed by name, by any part of an OR, and by all of an AND", () => {
        for (const good of [
            "MIT",
            "(MIT OR GPL-3.0-only)",
            "GPL-2.0 OR (MIT AND ISC)",
            "BSD-3-Clause AND 0BSD AND Zlib",
            "MIT License",
            "Apache Software License / MIT License",
        ])
            expect(isAllowed(good, list), good).to.equal(true);
        for (const bad of [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR ISC) AND GPL-2.0",
            "GPL-2.0 WITH Classpath-exception-2.0",
            "SEE LICENSE IN LICENSE",
            "UNLICENSED",
            "MITX",
            "toString",
        ])
            expect(isAllowed(bad, list), bad).to.equal(false);
    });

    it("is said with the package's name", () => {
        expect(licenceFindings({ name: "a", licence: "" }, list)[0]?.message).to.equal("it says no licence");
        expect(licenceFindings({ name: "a", licence: "X" }, list)[0]?.message).to.contain(
            "X is not in scan/licences.yaml",
        );
    });
});
