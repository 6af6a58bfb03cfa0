import { expect } from "chai";
import { npmAudit } from "../../scan/npm-audit";
import { pipAudit } from "../../scan/pip-audit";
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

    it("pip's is not audited where it fails", async () => {
        expect((await pipAudit(folder.script("pip-audit", "echo no network >&2; exit 1"))).notAudited).to.equal(
            "no network",
        );
    });
});
