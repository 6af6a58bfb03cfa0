import { expect } from "chai";
import { npmAudit } from "../../scan/npm-audit";
import { imageRequirements, pipAudit } from "../../scan/pip-audit";
import { verdictOf } from "../../scan/scan";
import { type Scratch, scratch } from "./local-fakes";

/** The audits' services cannot be asked everywhere; here, programs of the same name answer as they do. */
describe("the audits of packages", () => {
    let folder: Scratch;
    beforeEach(() => {
        folder = scratch();
    });
    afterEach(() => {
        folder.remove();
    });
    const says = (answer: unknown, code: number): string => {
        folder.file("answer.json", JSON.stringify(answer));
        return folder.script("audit", `cat ${folder.path}/answer.json; exit ${code}`);
    };

    it("npm's names the advisory and the package", async () => {
        const via = [{ url: "https://github.com/advisories/GHSA-1", title: "Prototype pollution" }];
        const vulnerabilities = { low: { via }, high: { via: ["low"] } };
        const { findings, notAudited } = await npmAudit(
            says({ vulnerabilities, metadata: { dependencies: { total: 3 } } }, 1),
        );
        expect(findings).to.deep.equal([{ check: "GHSA-1", object: "low", message: "Prototype pollution" }]);
        expect(notAudited).to.equal(undefined);
    });

    it("npm's is not audited where the service refuses, or says nothing", async () => {
        expect((await npmAudit(says({ message: "405 Method Not Allowed" }, 1))).notAudited).to.contain("405");
        expect((await npmAudit(folder.script("npm", "echo no network >&2; exit 1"))).notAudited).to.equal("no network");
        expect((await npmAudit("/nowhere/npm")).notAudited).to.contain("could not be started");
    });

    it("pip's names the weakness and the package, and what could not be asked about", async () => {
        const known = { name: "numpy", version: "1", vulns: [{ id: "PYSEC-1", description: "Overflow.\nMore." }] };
        const skipped = { name: "ours", skip_reason: "not on the index" };
        const whole = await pipAudit(says({ dependencies: [known] }, 1));
        expect(whole).to.deep.equal({
            findings: [{ check: "PYSEC-1", object: "numpy", message: "Overflow." }],
            at: "1 packages",
        });
        const partly = await pipAudit(says({ dependencies: [known, skipped] }, 1));
        expect(partly.findings).to.have.length(1);
        expect(partly.notAudited).to.equal("1 of 2 packages; not on the index");
    });

    it("pip's asks about every API whose server is built here", () => {
        const [dockerfile, requirements] = ["Dockerfile", "requirements.txt"].map((name) =>
            folder.file(`apis/churn/server/${name}`, ""),
        );
        expect(dockerfile).to.be.a("string");
        expect(imageRequirements(folder.path)).to.deep.equal([requirements]);
    });

    it("pip's is not audited where it fails", async () => {
        expect((await pipAudit(folder.script("pip-audit", "echo no network >&2; exit 1"))).notAudited).to.equal(
            "no network",
        );
    });

    it("that ask nobody are counted apart, and fail where answers are required", async () => {
        const silent = { name: "npm audit", look: () => npmAudit(folder.script("npm", "echo no network >&2; exit 1")) };
        const exceptions = [
            { scanner: "npm audit", check: "GHSA-1", object: "low", reason: "r", place: "scan/exceptions.yaml:3" },
        ];
        const lenient = await verdictOf(silent, exceptions);
        expect(lenient.verdict).to.equal("notAudited");
        expect(lenient.lines.join("\n")).to.contain("not audited: no network");
        const strict = await verdictOf(silent, exceptions, true);
        expect(strict.verdict).to.equal("failed");
        expect(strict.lines.join("\n"))
            .to.match(/^✗ npm audit/)
            .and.to.contain("not audited: no network");
    });
});
