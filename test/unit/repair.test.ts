import { expect } from "chai";
import fc from "fast-check";
import { digestOf } from "../../components/guarded-release/render/digest";
import type { HelmRecord, Live } from "../../components/guarded-release/live/live";
import { decodeRecord } from "../../components/guarded-release/live/record";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { findRepair, mayBeUnnoted, type Repair } from "../../components/guarded-release/recover/repair";
import { liveSummary } from "../../components/guarded-release/changes/summary";
import { recordSecret } from "./helm-records";

const NOW = new Date("2026-11-22T10:05:00Z");
const OURS = decodeRecord(recordSecret({ revision: 5, digest: "right" }));
const EXPECTED = digestOf(OURS.objects);

function answered(newest: HelmRecord | undefined, earlier: [number, string][] = []): Live {
    const history = earlier.map(([revision, status]) => ({ revision, status }));
    if (newest !== undefined) history.push({ revision: newest.revision, status: newest.status });
    return { kind: "answered", newest, history };
}

const find = (live: Live, expected = EXPECTED): Repair | undefined => findRepair(live, expected, NOW);

describe("what the live release needs", () => {
    it("is nothing when all is well, when an edit waits, and when the cluster is silent", () => {
        expect(find(answered(OURS))).to.equal(undefined);
        expect(find(answered(OURS), "another digest")).to.equal(undefined);
        expect(find({ kind: "silent", why: "no reason" })).to.equal(undefined);
        expect(find(answered({ ...OURS, description: "Rollback to 3" })), "back to what is wanted").to.equal(undefined);
    });

    for (const [what, record, token, words] of [
        [
            "a run that never ended",
            { status: "pending-upgrade" },
            "5-pending-upgrade",
            'revision 5 of the live release is "pending-upgrade" since 2026-11-22T10:00:00Z (5 min): the run that made it has died, or still runs; if it has died, the next update goes on from revision 3',
        ],
        [
            "a failure",
            { status: "failed", description: `Upgrade "api" failed:\n${"x".repeat(500)}` },
            "5-failed",
            'revision 5 of the live release is "failed" (Upgrade "api" failed:); the next update goes on from revision 3',
        ],
        [
            "an uninstalled release",
            { status: "uninstalled", description: "" },
            "5-uninstalled",
            'is "uninstalled"; the next',
        ],
        ["plain helm", { values: { replicas: 3 } }, "5-foreign", "was not made by this program (somebody ran helm)"],
        ["plain helm with our values", { objects: [] }, "5-foreign", "holds other objects than this program made"],
    ] as const) {
        it(`is a repair after ${what}`, () => {
            const found = find(answered({ ...OURS, ...record }, [[3, "deployed"]]));
            expect(found?.token).to.equal(token);
            expect(found?.sentence).to.contain(words);
        });
    }

    it("is a repair when a run left its Lease behind, after Helm had done what is not wanted any more", () => {
        const lease = {
            ...{ stack: "dev", host: "ci-1", process: "42", since: "2026-11-22T09:59:59.000000Z" },
            ...{ renewed: "", seconds: 15, stored: { metadata: { name: "x" } } },
        };
        const live = answered(OURS);
        expect([mayBeUnnoted(live, "edited"), mayBeUnnoted(live, EXPECTED)]).to.deep.equal([true, false]);
        const found = findRepair(live, "edited", NOW, lease);
        expect(found?.token).to.equal("5-unnoted");
        expect(found?.sentence).to.contain(
            "a run of stack dev on ci-1 (process 42), since 2026-11-22T09:59:59.000000Z",
        );
        expect(findRepair(live, EXPECTED, NOW, lease)).to.equal(undefined);
        const later = { ...lease, since: "2026-11-22T10:00:01.000000Z" };
        expect(findRepair(live, "edited", NOW, later), "the Lease is of a later run").to.equal(undefined);
    });

    it("is a repair after a rollback to something else than what is wanted", () => {
        const found = find(answered({ ...OURS, description: "Rollback to 3" }), "another digest");
        expect(found).to.deep.equal({
            kind: "rolled back",
            token: "5-rollback",
            sentence:
                "revision 5 of the live release was rolled back to revision 3, whose content is not this program's; the next update replaces it",
        });
    });

    it("is a repair when the records are lost, with another token each time", () => {
        const first = find(answered(undefined));
        expect(first?.kind).to.equal("missing");
        expect(first?.token).to.equal("missing-20261122T100500Z");
    });

    it("gives no token twice: neither for two revisions, nor for two states of one", () => {
        const status = fc.constantFrom(
            "deployed",
            "failed",
            "pending-install",
            "pending-upgrade",
            "pending-rollback",
            "superseded",
        );
        const live = fc.record({
            revision: fc.integer({ min: 1, max: 10_000 }),
            status,
            description: fc.constantFrom("Upgrade complete", "Rollback to 2", "", "Upgrade failed"),
            ours: fc.boolean(),
        });
        fc.assert(
            fc.property(live, live, fc.boolean(), (a, b, wanted) => {
                const expected = wanted ? EXPECTED : "another digest";
                const repairOf = ({ ours, ...record }: typeof a) =>
                    find(answered({ ...OURS, ...record, ...(ours ? {} : { values: {} }) }), expected);
                const [one, other] = [repairOf(a), repairOf(b)];
                // Only what is deployed and ours can be well, and well it is unless it was rolled back to something else.
                const isWell = a.status === "deployed" && a.ours && !(a.description.startsWith("Rollback") && !wanted);
                expect(one === undefined).to.equal(isWell);
                if (one === undefined || other === undefined || a.revision === b.revision) return;
                expect(one.token).not.to.equal(other.token);
            }),
        );
    });
});

describe("the line about the live release", () => {
    const [service, deployment] = OURS.objects as [RenderedObject, RenderedObject];

    it("says what would change, and which pods restart", () => {
        const after = [
            { ...deployment, spec: { replicas: 3, template: { spec: { containers: [{ name: "api", image: "b" }] } } } },
            { ...service, metadata: { ...service.metadata, name: "other" } },
        ];
        expect(liveSummary(answered(OURS), after)).to.equal(
            "compared with the live release (revision 5): 3 objects change: " +
                'Deployment/api spec.replicas 2 → 3, spec.template (none) → {"spec":{"containers":[{"name":"api","image":"b"}]}}, ' +
                "Service/api is deleted, Service/other is created; pods restart: Deployment/api",
        );
    });

    it("says that nothing changes, that it could not be compared, or nothing when there is nothing yet", () => {
        expect(liveSummary(answered(OURS), OURS.objects)).to.equal(
            "compared with the live release (revision 5): no change",
        );
        expect(liveSummary({ kind: "silent", why: "there is no kubeconfig" }, OURS.objects)).to.equal(
            "not compared with the live release: there is no kubeconfig",
        );
        expect(liveSummary(answered(undefined), OURS.objects)).to.equal(undefined);
    });

    it("is short whatever changes, and holds no secret", () => {
        const many = Array.from({ length: 300 }, (_, index) => ({
            ...deployment,
            metadata: { name: `d${index}`, namespace: "demo" },
            spec: { a: "x".repeat(5000), b: 1, c: 2, d: 3, e: 4 },
        }));
        const changed = many.map((object) => ({ ...object, spec: { a: "y", b: 2, c: 3, d: 4, e: 5 } }));
        const text = liveSummary(answered({ ...OURS, objects: many }), changed) ?? "";
        expect(text.length).to.be.below(4000);
        expect(text).to.contain("300 objects change").and.to.contain("and 290 more");
        const secret = (value: string) => [
            {
                ...deployment,
                spec: { template: { spec: { containers: [{ name: "a", env: [{ name: "API_TOKEN", value }] }] } } },
            },
        ];
        const hidden = liveSummary(answered({ ...OURS, objects: secret("canary-1") }), secret("canary-2")) ?? "";
        expect(hidden).to.contain("1 object changes").and.not.to.contain("canary");
    });
});
