import { expect } from "chai";
import { readExceptions, sortFindings } from "../../scan/exceptions";
import type { Finding } from "../../scan/scanner";
import { type Scratch, scratch } from "./local-fakes";

const findings: readonly Finding[] = [
    { check: "limits", object: "Deployment/gpu", render: "gpu", message: "api: CPU limit is not set" },
    { check: "limits", object: "Deployment/gpu", render: "gpu", message: "api: memory limit is not set" },
    { check: "limits", object: "Job/gpu-test", render: "gpu", message: "test: CPU limit is not set" },
    { check: "replicas", object: "Deployment/dev", render: "dev", message: "few replicas" },
];

describe("the exceptions of the scanners", () => {
    let folder: Scratch;
    beforeEach(() => {
        folder = scratch();
    });
    afterEach(() => {
        folder.remove();
    });
    const read = (text: string) => readExceptions(folder.file("exceptions.yaml", text));

    it("keep the findings that they describe, and no other", () => {
        const exceptions = read(
            '- {scanner: score, check: limits, object: "Deployment/*", message: CPU limit, reason: a limit throttles}\n',
        );
        const { kept, open, stale } = sortFindings("score", findings, exceptions);
        expect(kept).to.deep.equal([findings[0]]);
        expect(open).to.deep.equal(findings.slice(1));
        expect(stale).to.deep.equal([]);
    });

    it("hold for the named renders only, for their own scanner only, and `*` for no other character", () => {
        const exceptions = read(
            [
                '- {scanner: score, check: replicas, object: "Deployment/*", in: [dev], reason: one is enough}',
                '- {scanner: score, check: replicas, object: "Deployment/*", in: [staging], reason: not so}',
                '- {scanner: other, check: limits, object: "*", reason: not of this one}',
                '- {scanner: score, check: limits, object: "Deployment.gpu", reason: a dot is a dot}',
            ].join("\n"),
        );
        const { kept, stale } = sortFindings("score", findings, exceptions);
        expect(kept).to.deep.equal([findings[3]]);
        expect(stale.map(({ reason }) => reason)).to.deep.equal(["not so", "a dot is a dot"]);
    });

    it("are stale when nothing is found any more, and say where they stand", () => {
        const exceptions = read('# why\n\n- {scanner: score, check: gone, object: "*", reason: once upon a time}\n');
        const { stale } = sortFindings("score", findings, exceptions);
        expect(stale).to.have.length(1);
        expect(stale[0]?.place).to.match(/exceptions\.yaml:3$/);
    });

    it("are refused without a reason or with an unknown key, all of them at once", () => {
        expect(() =>
            read(
                [
                    '- {scanner: score, check: a, object: "*"}',
                    '- {scanner: score, check: a, object: "*", reason: because, objects: "*"}',
                    '- {scanner: score, check: a, object: "*", reason: because, in: dev}',
                ].join("\n"),
            ),
        ).to.throw(/:1: .*: reason\.[^]*:2: .*: objects\.[^]*:3: .*: in\./);
        expect(() => read("scanner: score\n")).to.throw("a list is expected");
        expect(() => read("- [\n")).to.throw(/exceptions\.yaml: /);
    });

    it("of this repository can be read", () => {
        expect(readExceptions().length).to.be.greaterThan(0);
    });
});
