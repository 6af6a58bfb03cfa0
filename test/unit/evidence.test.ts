import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { expect } from "chai";
import { evidenceRoot, type Failure, saveEvidence } from "../../components/guarded-release/diagnose/evidence";
import type { Kept } from "../../components/guarded-release/diagnose/watch";
import { stateDir } from "../../local/paths";

const SECRET = "k9Xw2Lq8Zr4Tn6Vb1Yc3Ds5F";

const kept: Kept = {
    objects: [
        {
            apiVersion: "v1",
            kind: "Pod",
            metadata: {
                name: "api-1",
                uid: "u",
                managedFields: [{ manager: "helm" }],
            } as Kept["objects"][number]["metadata"],
            spec: {
                containers: [
                    {
                        name: "api",
                        env: [
                            { name: "API_TOKEN", value: SECRET },
                            { name: "PORT", value: "8080" },
                        ],
                    } as never,
                ],
            },
        },
    ],
    events: [
        {
            involvedObject: { kind: "Pod", name: "api-1" },
            type: "Warning",
            reason: "BackOff",
            message: `token=${SECRET}`,
            count: 3,
            lastTimestamp: "2026-11-22T17:00:00Z",
        },
    ],
    logs: [
        {
            name: { pod: "api-1", container: "api", previous: true, key: "u/api/0", final: true },
            text: `starting\n\u001b]0;mine\u0007Authorization: Bearer ${SECRET}\n`,
        },
    ],
    unseen: ["jobs (403)"],
};
const failure = (second: number): Failure => ({
    release: "api",
    stack: "dev",
    namespace: "demo",
    began: new Date(Date.UTC(2026, 10, 22, 17, 0, second)),
    errors: ["context deadline exceeded"],
    inService: "the new version was in service for about 14 s",
    findings: [
        {
            object: "Pod/api-1",
            container: "api",
            workload: "api",
            problem: "crash",
            certain: true,
            healable: false,
            sentence: "it crashes",
            fix: "mend it",
        },
    ],
});

describe("the evidence of a failed deploy", () => {
    let root: string;
    beforeEach(() => {
        root = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-evidence-")), "evidence");
    });
    afterEach(() => {
        fs.rmSync(path.dirname(root), { recursive: true, force: true });
    });

    it("is objects, events, logs and findings, without a secret, for its owner only", () => {
        const folder = saveEvidence(root, failure(1), kept);
        expect(path.basename(folder)).to.equal("2026-11-22T170001Z-api-dev");
        const files = fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
        expect(files).to.deep.equal(["events.txt", "findings.md", "logs", "logs/api-1.api.0.txt", "objects.yaml"]);
        const read = (name: string) => fs.readFileSync(path.join(folder, name), "utf8");
        const all = files
            .filter((name) => name.includes("."))
            .map(read)
            .join("\n");
        expect(all).not.to.contain(SECRET);
        expect(read("findings.md")).to.contain("- Pod/api-1 (container api): it crashes → mend it");
        expect(read("findings.md")).to.contain("context deadline exceeded").and.to.contain("jobs (403)");
        expect(read("events.txt")).to.match(
            /^2026-11-22T17:00:00.000Z Warning Pod\/api-1 BackOff \(3 times\): token=\[secret\]/,
        );
        expect(read("logs/api-1.api.0.txt")).to.contain("starting\n\\u001b]0;mine\\u0007Authorization");
        expect(read("objects.yaml")).to.contain('value: "8080"').and.not.to.contain("managedFields");
        expect(fs.statSync(folder).mode & 0o77).to.equal(0);
        expect(fs.statSync(path.join(folder, "findings.md")).mode & 0o77).to.equal(0);
    });

    it("is kept ten times", () => {
        for (let second = 0; second < 12; second++) saveEvidence(root, failure(second), kept);
        const folders = fs.readdirSync(root).sort();
        expect(folders).to.have.lengthOf(10);
        expect(folders[0]).to.equal("2026-11-22T170002Z-api-dev");
    });

    it("is in the state folder of the checkout, which `make down` removes, unless it is switched off", () => {
        const checkout = path.dirname(root);
        for (const env of [
            { HOME: "/home/me" },
            { HOME: "/home/me", XDG_STATE_HOME: "/state" },
            { HOME: "/home/me", XDG_STATE_HOME: "state" },
        ])
            expect(evidenceRoot(checkout, env)).to.equal(path.join(stateDir(checkout, env), "evidence"));
        expect(evidenceRoot(checkout, { ML_API_EVIDENCE: "off" })).to.equal(undefined);
    });
});
