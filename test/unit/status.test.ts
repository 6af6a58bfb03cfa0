import { expect } from "chai";
import { hostname } from "node:os";
import type { LiveRelease, StackStatus } from "../../cli/release-status";
import { stackLocks } from "../../cli/stack-lock";
import { statusExitCode, statusJson, statusTable, statusText } from "../../cli/status-text";
import { logsArguments } from "../../cli/logs";
import { scratch, type Scratch } from "./local-fakes";

const NOW = new Date("2026-11-22T12:00:00Z");
const plain = (_: unknown, text: string): string => text;

const LIVE: LiveRelease = {
    revision: 7,
    description: "Upgrade complete",
    image: `registry.example/api:1@sha256:${"ab".repeat(32)}`,
    url: "http://api.api-dev.svc.cluster.local",
    since: "2026-11-22T11:30:00.123Z",
    maker: { commit: "c".repeat(40), actor: "ada", time: "2026-11-22T11:30:05Z", imageDigest: undefined },
    pods: { ready: 2, total: 2 },
    findings: [],
    lease: undefined,
    hold: undefined,
};
const WELL: StackStatus = {
    ...{ stack: "dev", environment: "dev", release: "api", namespace: "api-dev", cluster: "kind" },
    ...{ state: "deployed", live: LIVE, locks: [] },
};
const ILL: StackStatus = {
    ...{ stack: "staging", environment: "staging", release: "api", namespace: "api-staging", cluster: "kind" },
    state: "pending-upgrade",
    live: {
        ...LIVE,
        description: "Preparing upgrade",
        pods: { ready: 0, total: 2 },
        findings: ["Pod/api-1 (container api): its image cannot be pulled → push it"],
        lease: {
            ...{ stack: "staging", host: "ci-1", process: "42", since: "2026-11-22T11:30:00.000000Z" },
            ...{ renewed: "2026-11-22T11:31:00.000000Z", seconds: 15, stored: { metadata: { name: "x" } } },
        },
        hold: {
            ...{ id: "h", stack: "staging", commit: "d".repeat(40), branch: "revert/staging", to: "e".repeat(40) },
            ...{ by: "ada", at: "2026-11-22T11:00:00Z", reason: "wrong\u001b[31m answers" },
        },
    },
    locks: [{ process: 42, user: "ada", host: "ci-1", since: "2026-11-22T11:30:00Z", holder: "unknown" }],
};
const SILENT: StackStatus = {
    ...{ stack: "production", environment: "production", release: "api", namespace: "api-production", cluster: "prod" },
    ...{ state: "unknown", why: "the API server https://prod refuses connections", locks: [] },
};
const ABSENT: StackStatus = {
    ...{ stack: "absent", environment: "dev", release: "api", namespace: "api-absent", cluster: "kind" },
    ...{ state: "absent", locks: [] },
};

describe("the status of a stack", () => {
    it("is one screen when all is well", () => {
        expect(statusText(WELL, NOW, plain)).to.equal(
            [
                "stack        dev (environment dev)",
                "release      api in namespace api-dev, cluster kind",
                "state        deployed, revision 7",
                `image        registry.example/api:1@sha256:${"ab".repeat(32)}`,
                "pods         2/2 ready",
                "url          http://api.api-dev.svc.cluster.local (inside the cluster; from here: npx --no ml-api open dev)",
                "last deploy  2026-11-22T11:30:00Z (30 min ago) by ada, commit cccccccccccc",
                "",
            ].join("\n"),
        );
    });

    it("says what is wrong, who is at work or dead, what is held and how to go on", () => {
        expect(statusText(ILL, NOW, plain)).to.equal(
            [
                "stack        staging (environment staging)",
                "release      api in namespace api-staging, cluster kind",
                "state        pending-upgrade, revision 7 (Preparing upgrade) → npx --no ml-api up staging, or npx --no ml-api recover staging",
                `image        registry.example/api:1@sha256:${"ab".repeat(32)}`,
                "pods         0/2 ready",
                "             Pod/api-1 (container api): its image cannot be pulled → push it",
                "url          http://api.api-dev.svc.cluster.local (inside the cluster; from here: npx --no ml-api open staging)",
                "last deploy  2026-11-22T11:30:00Z (30 min ago) by ada, commit cccccccccccc",
                "lease        a run of stack staging on ci-1 (process 42), since 2026-11-22T11:30:00.000000Z, has died → npx --no ml-api up staging puts right what it left",
                "hold         staging is held by ada since 2026-11-22T11:00:00Z: it was rolled back to eeeeeeeeeeee, because: wrong\\u001b[31m answers",
                "             next goes only dddddddddddd, the commit that reverts (branch revert/staging), and what has it in its history",
                '             → merge revert/staging, and deploy what comes of that; or end the hold: npx --no ml-api hold staging --release "WHY"',
                "state lock   process 42 of ada on ci-1 (on another machine), since 2026-11-22T11:30:00Z → if you know that it is dead: pulumi cancel --stack staging",
                "",
            ].join("\n"),
        );
    });

    it("of all stacks is a table, with the reasons of silent clusters below", () => {
        expect(statusTable([WELL, ILL, SILENT, ABSENT], NOW, plain)).to.equal(
            [
                "STACK       STATE            REVISION  PODS  IMAGE                                       AGE",
                "dev         deployed         7         2/2   registry.example/api:1@sha256:abababababab  30 min",
                "staging     pending-upgrade  7         0/2   registry.example/api:1@sha256:abababababab  30 min  locked, left by a dead run, held",
                "production  unknown          -         -     -                                           -",
                "absent      absent           -         -     -                                           -",
                "production: the API server https://prod refuses connections",
                "",
            ].join("\n"),
        );
    });

    it("tells a newcomer what to do when there is no cluster yet", () => {
        const none = { ...SILENT, why: "there is no kubeconfig" };
        const fix = "there is no kubeconfig → make up, or point KUBECONFIG at a cluster";
        expect(statusTable([none], NOW, plain)).to.contain(`production: ${fix}`);
        expect(statusText(none, NOW, plain)).to.contain(`not known: ${fix}`);
    });

    it("is JSON without what only the API server needs", () => {
        const { version, stacks } = JSON.parse(statusJson([ILL, ABSENT])) as {
            version: number;
            stacks: { live: { lease: object } | null; locks: object[] }[];
        };
        expect(version).to.equal(1);
        expect(stacks[0]?.live?.lease)
            .to.deep.include({ host: "ci-1", process: "42" })
            .and.not.to.have.property("stored");
        expect(stacks[0]?.locks).to.have.length(1);
        expect(stacks[1]?.live).to.equal(null);
    });

    it("ends with 0 only when it is deployed and all pods are ready", () => {
        expect(statusExitCode([WELL])).to.equal(0);
        for (const status of [ILL, SILENT, ABSENT]) expect(statusExitCode([status]), status.stack).to.equal(1);
        const short = { ...WELL, live: { ...LIVE, pods: { ready: 1, total: 2 } } };
        expect(statusExitCode([short])).to.equal(1);
    });
});

describe("the lock of a stack's state", () => {
    let folder: Scratch;
    beforeEach(() => (folder = scratch()));
    afterEach(() => {
        folder.remove();
    });
    const lock = (name: string, pid: number, host = hostname()) =>
        folder.file(
            `.pulumi/locks/organization/ml-api/dev/${name}.json`,
            JSON.stringify({ pid, username: "ada", hostname: host, timestamp: "2026-11-22T11:30:00Z" }),
        );
    const holders = () => stackLocks(`file://${folder.path}`, "ml-api", "dev").map(({ holder }) => holder);

    it("is that of a dead process when no Pulumi of this machine has its number", () => {
        expect(holders()).to.deep.equal([]);
        // This very process lives, and is no Pulumi.
        lock("a", process.pid);
        lock("b", 2 ** 30);
        expect(holders()).to.deep.equal(["dead", "dead"]);
        expect(stackLocks(`file://${folder.path}`, "ml-api", "dev")[0]).to.deep.include({
            user: "ada",
            process: process.pid,
        });
    });

    it("is not judged when it is of another machine, and not looked for where the back end is no folder", () => {
        lock("a", 1, "elsewhere");
        expect(holders()).to.deep.equal(["unknown"]);
        expect(stackLocks("https://api.pulumi.com", "ml-api", "dev")).to.deep.equal([]);
    });
});

describe("the logs of a release", () => {
    it("are followed for all its pods, or those of the runs before are shown once", () => {
        const all =
            "logs --selector app.kubernetes.io/instance=api,app.kubernetes.io/component=api --prefix --max-log-requests 100";
        expect(logsArguments("api", {}).join(" ")).to.equal(`${all} --follow --tail 100`);
        expect(logsArguments("api", { since: "10m" }).join(" ")).to.equal(`${all} --follow --since 10m --tail -1`);
        expect(logsArguments("api", { previous: true }).join(" ")).to.equal(
            `${all} --previous --ignore-errors --tail -1`,
        );
    });
});
