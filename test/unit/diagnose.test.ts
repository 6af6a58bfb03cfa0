import * as fs from "node:fs";
import * as path from "node:path";
import { expect } from "chai";
import { diagnose, type Logs, logsWanted } from "../../components/guarded-release/diagnose/diagnose";
import { type Finding, textOf } from "../../components/guarded-release/diagnose/finding";
import { Hopeless } from "../../components/guarded-release/diagnose/give-up";
import { errorFault } from "../../components/guarded-release/diagnose/helm-errors";
import { progressOf } from "../../components/guarded-release/diagnose/progress";
import { refusalFault } from "../../components/guarded-release/diagnose/refusals";
import { type Lists, type Scene, sceneOf } from "../../components/guarded-release/diagnose/scene";
import type { Happening } from "../../components/guarded-release/diagnose/shapes";
import type { RenderedObject } from "../../components/guarded-release/render/render";

/** Each line is a workload that does not become ready, as a cluster of Kubernetes 1.34 showed it with its Warning events. */
interface Recorded extends Lists {
    readonly name: string;
    readonly events: readonly Happening[];
}

const recorded = new Map(
    fs
        .readFileSync(path.join(__dirname, "recorded-failures.jsonl"), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Recorded)
        .map((one) => [one.name, one]),
);
const NOBODY: ReadonlySet<string> = new Set();

function recordOf(name: string): Recorded {
    const found = recorded.get(name);
    if (found === undefined) throw new Error(`nothing is recorded of ${name}`);
    return found;
}

function objectsOf({ deployments, jobs }: Lists): RenderedObject[] {
    const named =
        (apiVersion: string, kind: string) =>
        ({ metadata }: { metadata: { name: string } }) => ({ apiVersion, kind, metadata: { name: metadata.name } });
    return [...deployments.map(named("apps/v1", "Deployment")), ...jobs.map(named("batch/v1", "Job"))];
}

const sceneIn = (lists: Lists, before = NOBODY, past = NOBODY): Scene => sceneOf(lists, objectsOf(lists), before, past);

/** The findings of a record; each log that is wanted is `log`. */
function findingsOf(name: string, log?: string, ready = NOBODY): Finding[] {
    const record = recordOf(name);
    const scene = sceneIn(record);
    const logs: Logs = new Map(log === undefined ? [] : logsWanted(scene).map(({ key }) => [key, log]));
    return diagnose(scene, record.events, logs, ready);
}

describe("what keeps a release from becoming ready", () => {
    // name, what is said, whether it may heal, the log
    const cases: readonly (readonly [string, string, boolean, string?])[] = [
        [
            "img-missing",
            "the registry localhost:5001 has no image localhost:5001/missing:1 (not found) → push the image",
            false,
        ],
        [
            "img-forbidden",
            "the registry localhost:5001 forbids the pull of the image localhost:5001/forbidden:1 (403",
            false,
        ],
        [
            "img-unauthorized",
            "wants a login for the image localhost:5001/unauthorized:1 (401 Unauthorized) → name a Secret",
            false,
        ],
        ["img-limited", "has had too many requests", true],
        ["img-broken", "has a fault of its own (5xx)", true],
        ["img-refused", "does not reach the registry localhost:5999", true],
        ["img-blackhole", "does not reach the registry 192.0.2.1:5000", true],
        ["img-nohost", "cannot find the registry registry.invalid", true],
        [
            "img-badname",
            '"UPPER/Bad:1" is no image name (invalid reference format: repository name (Bad) must be lowercase)',
            false,
        ],
        ["img-never", "the image localhost/absent:1 is not on the node", false],
        [
            "crash",
            "it crashes at start: exit code 1, 2 times; its last words: FileNotFoundError: gone → correct",
            true,
            "FileNotFoundError: gone",
        ],
        ["afterready", "it crashes at start: exit code 7, 7 s after it was started, 2 times", true],
        [
            "initfail",
            "(container fetch-model): it crashes at start: exit code 1, 1 s after it was started, 2 times; its last words: expected sha256 aa, got bb",
            true,
        ],
        ["oom", "it used more memory than its limit of 48Mi (OOMKilled) → raise resources.requests.memory", false],
        ["nocommand", "its program /no/such/program is not in the image", false],
        ["asroot", "the image would run as root, which the pod forbids", false],
        [
            "slow",
            "not ready within its budget of 8 s, so it was killed; the last answer: GET /readyz on port 8080 answers 503",
            false,
        ],
        ["hang", "the last answer: GET /readyz on port 8080 gets no answer in time", false],
        ["execprobe", "the last answer: POST /predict: expected 200, got 500 from http://127.0.0.1:8080: boom", false],
        ["wrongport", "nothing listened on port 8080 within its budget of 12 s", false],
        [
            "wrongport",
            "wrong port: the server listens on 9000, and port 8080 refuses connections → have it listen on $PORT",
            false,
            "INFO:     Uvicorn running on http://0.0.0.0:9000 (Press CTRL+C to quit)",
        ],
        [
            "notfound",
            "the startup probe's GET /readyz on port 8080 answers 404, which more time does not change",
            false,
        ],
        [
            "unready",
            "it started, but does not become ready; the last answer: GET /readyz on port 8080 answers 503",
            true,
        ],
        [
            "liveness",
            "it did not show that it lives, so it was killed; the last answer: GET /livez on port 8080 answers 503",
            true,
        ],
        ["env-nosecret", "the Secret absent, which a variable is taken from, is not in the namespace", false],
        ["env-nokey", "the Secret present has no entry absent", false],
        ["env-nomap", "the ConfigMap absent, which", false],
        ["vol-nokey", "its volume keys cannot be mounted: the Secret has no entry keys", false],
        ["vol-projected", "its volume keys cannot be mounted: the Secret absent is not in the namespace", false],
        ["vol-nopvc", "there is no PersistentVolumeClaim absent in the namespace", false],
        ["vol-pendingpvc", 'no disk is there yet: pending, storageclass.storage.k8s.io "nothing" not found', true],
        ["toobig", "no node takes it: 0/1 nodes are available: 1 Insufficient memory. → lower", true],
        ["selector", "1 node(s) didn't match Pod's node affinity/selector. → correct what it asks of a node", true],
        [
            "quota",
            "the quota small of the namespace is used up: a pod asks for requests.memory=128Mi; in use are requests.memory=0 of requests.memory=64Mi",
            false,
        ],
        ["quota-nolimit", "takes no pod that does not say requests.memory for: api", false],
        [
            "psa",
            "Pod Security of the namespace (restricted:latest) refuses the pod: allowPrivilegeEscalation != false",
            false,
        ],
        [
            "webhook",
            'the admission webhook dead.example.org, which every such object has to pass, does not answer: Post "https://127.0.0.1:1/',
            true,
        ],
        ["policy", "the admission policy owner of the cluster refuses it: a pod needs an owner label", false],
        ["nosa", "the pod wants the ServiceAccount absent", true],
        [
            "hook",
            "the Job did not succeed: it failed (BackoffLimitExceeded) with exit code 1; its last words: POST /predict: expected 200, got 500",
            false,
            "POST /predict: expected 200, got 500",
        ],
        ["hook-late", "it failed (DeadlineExceeded)", false],
    ];
    for (const [name, words, healable, log] of cases) {
        it(`${name}: ${words.split("\n")[0] ?? ""}`, () => {
            const findings = findingsOf(name, log);
            expect(findings.map(textOf).join("\n")).to.contain(words);
            expect(findings).to.have.lengthOf(1);
            expect(findings[0]).to.deep.include({ certain: true, healable, workload: name });
        });
    }

    it("is a full disk, when the taints of the nodes say so", () => {
        const tainted = "0/2 nodes are available: 2 node(s) had untolerated taint(s).";
        const text = JSON.stringify(recordOf("toobig")).replace(
            /0\/1 nodes are available: 1 Insufficient memory\./g,
            tainted,
        );
        const { events, ...lists } = JSON.parse(text) as Recorded;
        const taint = (key: string) => ({ key, effect: "NoSchedule" });
        const said = (nodes: Lists["nodes"]): string =>
            diagnose(sceneIn({ ...lists, ...(nodes === undefined ? {} : { nodes }) }), events, new Map(), NOBODY)
                .map(textOf)
                .join("\n");
        const full = { spec: { taints: [taint("node.kubernetes.io/disk-pressure")] } };
        expect(said([full, full])).to.contain(
            `${tainted.slice(0, -1)}: node.kubernetes.io/disk-pressure (2). → make room on the node's disk`,
        );
        expect(said([{ spec: { taints: [taint("node.kubernetes.io/unreachable")] } }])).to.contain("do not answer");
        expect(said([{ spec: { taints: [taint("example.org/gpu")] } }])).to.contain("→ correct what it asks of a node");
        expect(said(undefined)).to.contain(`${tainted} → correct what it asks of a node`);
    });

    it("is nothing where all is well", () => {
        expect(findingsOf("vol-nosecret")).to.deep.equal([]);
    });

    it("is not said of a model that still loads, and of one crash only as a guess", () => {
        const { events, ...record } = recordOf("slow");
        const loading = events.filter(({ reason }) => reason !== "Killing");
        const [pod] = record.pods;
        const [status] = pod?.status?.containerStatuses ?? [];
        if (pod === undefined || status === undefined) throw new Error("no pod");
        const first = { ...status, restartCount: 0, lastState: {}, state: { running: {} } };
        const scene = (one: object) =>
            sceneIn({
                ...record,
                pods: [{ ...pod, status: { ...pod.status, containerStatuses: [{ ...status, ...one }] } }],
            });
        expect(diagnose(scene(first), loading, new Map(), NOBODY)).to.deep.equal([]);
        const crashed = { ...first, state: { terminated: { exitCode: 3, reason: "Error" } } };
        expect(diagnose(scene(crashed), [], new Map(), NOBODY)[0]).to.deep.include({
            problem: "crash",
            certain: false,
        });
    });

    it("is no volume that was mounted at the second try", () => {
        const { events, ...record } = recordOf("initfail");
        const uid = record.pods[0]?.metadata.uid ?? "";
        const message = 'MountVolume.SetUp failed for volume "secrets" : failed to sync secret cache: timed out';
        const involvedObject = { kind: "Pod", name: "initfail", uid };
        const mount = { involvedObject, type: "Warning", reason: "FailedMount", message };
        const found = diagnose(sceneIn(record), [mount, ...events], new Map(), NOBODY);
        expect(found.map(({ problem }) => problem)).to.deep.equal(["crash"]);
    });

    it("is told once of a Job whose pod has ended", () => {
        const { events, ...record } = recordOf("hook");
        const [pod] = record.pods;
        if (pod === undefined) throw new Error("no pod");
        const ending = { ...record, jobs: record.jobs.map(({ metadata }) => ({ metadata })) };
        const running = { ...ending, pods: [{ ...pod, status: { ...pod.status, phase: "Running" } }] };
        const ready = new Set([pod.metadata.uid]);
        expect(diagnose(sceneIn(running), events, new Map(), ready)).to.deep.equal([]);
        const [tried, ...more] = diagnose(sceneIn(ending), events, new Map(), ready);
        expect(more).to.deep.equal([]);
        expect(tried).to.deep.include({ object: "Job/hook", problem: "job", certain: false });
    });

    it("tells a crash after the pod had been ready from one at start", () => {
        const uid = recordOf("afterready").pods[0]?.metadata.uid ?? "";
        expect(findingsOf("afterready", undefined, new Set([uid]))[0]?.sentence).to.contain("after it had been ready");
    });

    it("may heal while another pod is about to go", () => {
        for (const name of ["toobig", "quota"]) {
            const record = recordOf(name);
            const finding = diagnose({ ...sceneIn(record), leaving: 1 }, record.events, new Map(), NOBODY)[0];
            expect(finding, name).to.deep.include({ certain: false, healable: true });
        }
    });

    it("shows no secret of a log", () => {
        const [finding] = findingsOf("crash", "connecting with password=hunter22 to the feature store");
        expect(finding?.sentence).to.contain("feature store").and.not.to.contain("hunter22");
    });

    it("is only what the new revision has", () => {
        const record = recordOf("crash");
        const before = new Set(record.pods.map(({ metadata }) => metadata.uid));
        const past = new Set(record.replicaSets.map(({ metadata }) => metadata.uid));
        const [deployment] = record.deployments;
        if (deployment === undefined) throw new Error("no Deployment");
        const unseen = { ...deployment, metadata: { ...deployment.metadata, generation: 2 } };
        const newer = { ...deployment.metadata, annotations: { "deployment.kubernetes.io/revision": "2" } };
        for (const [what, scene] of [
            ["pods that were there before", sceneIn(record, before)],
            ["a ReplicaSet that Helm goes back to", sceneIn(record, NOBODY, past)],
            ["a template that its controller has not seen", sceneIn({ ...record, deployments: [unseen] })],
            [
                "a ReplicaSet that is not rolled out",
                sceneIn({ ...record, deployments: [{ ...deployment, metadata: newer }] }),
            ],
            ["another release's objects", sceneOf(record, [], NOBODY, NOBODY)],
        ] as const)
            expect(diagnose(scene, record.events, new Map(), NOBODY), what).to.deep.equal([]);
    });
});

describe("what Helm's own words mean", () => {
    it("is said of an object that the API server refuses", () => {
        const denied =
            'release mf-demo failed: admission webhook "owners.example.org" denied the request: no owner label';
        expect(errorFault([denied])?.sentence).to.equal(
            "the admission webhook owners.example.org refuses it: no owner label",
        );
        const invalid =
            'cannot patch "api" with kind Deployment: Deployment.apps "api" is invalid: spec.selector: Invalid value: field is immutable';
        expect(errorFault([invalid])?.sentence).to.equal(
            "the API server does not accept Deployment api: spec.selector: Invalid value: field is immutable",
        );
        const unknown =
            'unable to build kubernetes objects from release manifest: resource mapping not found for name: "a" namespace: "": no matches for kind "PodMonitor" in version "monitoring.coreos.com/v1"';
        expect(errorFault([unknown])?.sentence).to.equal(
            "the cluster does not know PodMonitor (monitoring.coreos.com/v1)",
        );
        expect(errorFault(["context deadline exceeded"])).to.equal(undefined);
        expect(
            refusalFault('pods "x" is forbidden: minimum memory usage per Container is 99Mi, but request is 1Mi')
                ?.problem,
        ).to.equal("limit-range");
    });
});

describe("the progress of a rollout", () => {
    it("says in which state how many pods are", () => {
        expect(progressOf(sceneIn(recordOf("vol-nosecret")))).to.equal("1/1 pods ready");
        expect(progressOf(sceneIn(recordOf("notfound")))).to.equal("0/1 pods ready, 1 loading the model");
        expect(progressOf(sceneIn(recordOf("toobig")))).to.equal("0/1 pods ready, 1 waiting for a node");
        expect(progressOf(sceneIn(recordOf("img-missing")))).to.equal("0/1 pods ready, 1 without its image");
        expect(progressOf(sceneIn(recordOf("crash")))).to.equal("0/1 pods ready, 1 crashing");
        expect(progressOf(sceneIn(recordOf("unready")))).to.equal("0/1 pods ready, 1 started and not ready");
    });
});

describe("an operation that cannot succeed", () => {
    const finding = (more: Partial<Finding> = {}): [string, Finding] => [
        "key",
        {
            object: "Pod/a",
            workload: "a",
            problem: "x",
            certain: true,
            healable: false,
            sentence: "s",
            fix: "f",
            ...more,
        },
    ];

    it("is one whose error has lasted for three seconds", () => {
        const hopeless = new Hopeless(3000);
        expect(hopeless.judge([finding()], 0)).to.deep.equal([]);
        expect(hopeless.judge([finding()], 2999)).to.deep.equal([]);
        expect(hopeless.judge([finding()], 3000)).to.have.lengthOf(1);
        expect(hopeless.judge([], 4000)).to.deep.equal([]);
        expect(hopeless.judge([finding()], 5000), "it went away meanwhile").to.deep.equal([]);
    });

    it("is not one that may heal, or only looks hopeless", () => {
        const hopeless = new Hopeless(3000);
        for (const now of [0, 9000])
            expect(hopeless.judge([finding({ healable: true }), finding({ certain: false })], now)).to.deep.equal([]);
    });
});
