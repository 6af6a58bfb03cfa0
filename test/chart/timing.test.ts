import { expect } from "chai";
import {
    containerIn,
    deploymentIn,
    environmentOf,
    merged,
    smallest,
    templateMany,
    type KubernetesObject,
    type Values,
} from "./helm";

/**
 * The numbers themselves, for values one can follow by head. That every inequality between them holds for all values is
 * the subject of timing-properties.test.ts.
 */
describe("chart: times that are computed", function () {
    this.timeout(20_000);

    const sample: Values = { verify: { sample: { inputs: [1] } } };
    const download: Values = {
        network: { to: { models: { cidr: "203.0.113.0/24" } } },
        model: { download: { url: "https://models.example.org/a", file: "a", fetchBudgetSeconds: 300 } },
    };
    const cases: [string, Values, Record<string, number>][] = [
        [
            "of the defaults",
            {},
            {
                "pre-stop": 15,
                "graceful-shutdown": 35,
                "grace-period": 60,
                "gateway-timeout": 35,
                "keep-alive": 75,
                "startup-budget": 120,
                "worker-timeout": 125,
                "fetch-budget": 0,
                "min-ready": 5,
                "progress-deadline": 305,
                "release-timeout": 305 + 60 + 250 + 30,
                "test-deadline": 250,
                "verify-deadline": 250,
                "candidate-deadline": 0,
            },
        ],
        [
            "of a longer request: drain, gateway and all deadlines grow with it",
            { api: { requestTimeoutSeconds: 600 } },
            {
                "graceful-shutdown": 605,
                "grace-period": 630,
                "gateway-timeout": 605,
                "worker-timeout": 605,
                "progress-deadline": 875,
                "release-timeout": 875 + 630 + 1390 + 30,
                "test-deadline": 1390,
                "verify-deadline": 1390,
            },
        ],
        [
            "of a slower model, rounded up to whole periods of the probe",
            { model: { loadBudgetSeconds: 901 } },
            { "startup-budget": 902, "worker-timeout": 907, "progress-deadline": 1087 },
        ],
        ["of more pods: each is a step of a rollout", { replicas: 4 }, { "release-timeout": 4 * 305 + 60 + 250 + 30 }],
        [
            "of an autoscaler: as many steps as there may be pods",
            { replicas: 4, autoscaling: { enabled: true, maxReplicas: 7 } },
            { "progress-deadline": 305, "release-timeout": 7 * 305 + 60 + 250 + 30 },
        ],
        [
            "of a download: it comes before the load",
            download,
            {
                "fetch-budget": 300,
                "startup-budget": 120,
                "progress-deadline": 605,
                "release-timeout": 605 + 60 + 250 + 30,
            },
        ],
        [
            "of a warm-up: a try takes as long as a prediction may",
            { ...sample, verify: { ...(sample["verify"] as Values), warmUp: true } },
            { "startup-budget": 120, "progress-deadline": 340 },
        ],
        [
            "of pods that go before their successors come: the same steps, each with a drain",
            { replicas: 3, gpu: { count: 1, rollout: "replace" } },
            { "progress-deadline": 305, "release-timeout": 3 * 305 + 60 + 250 + 30 },
        ],
        [
            "of a candidate: it is placed, loaded, asked and stopped before the rollout begins",
            { verify: { candidate: true } },
            { "candidate-deadline": 120 + 120 + 130 + 60, "release-timeout": 430 + 305 + 60 + 250 + 30 },
        ],
        [
            "of a deploy that nobody verifies",
            { verify: { onDeploy: false } },
            { "verify-deadline": 0, "release-timeout": 305 + 60 + 30, "test-deadline": 250 },
        ],
    ];
    let rendered: ReturnType<typeof templateMany>;
    const objects = (index: number): KubernetesObject[] => rendered.objects(index);
    before(() => {
        rendered = templateMany(cases.map(([, values]) => merged(smallest, values)));
        expect(rendered.run.status, rendered.run.stderr).to.equal(0);
    });

    cases.forEach(([what, , expected], index) => {
        it(`are ${what}`, () => {
            const { annotations = {} } = deploymentIn(objects(index)).metadata;
            for (const [name, seconds] of Object.entries(expected)) {
                expect(annotations[`ml-api/${name}-seconds`], name).to.equal(String(seconds));
            }
        });
    });

    it("are told to people completely: no annotation is missing, none is another's", () => {
        const { annotations = {} } = deploymentIn(objects(0)).metadata;
        expect(Object.keys(annotations)).to.have.members(
            Object.keys(cases[0]?.[2] ?? {}).map((name) => `ml-api/${name}-seconds`),
        );
    });

    it("reach the server in its own words, be it uvicorn or gunicorn", () => {
        const env = environmentOf(containerIn(deploymentIn(objects(2)).spec.template));
        expect(env).to.include({
            UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: "35",
            UVICORN_TIMEOUT_KEEP_ALIVE: "75",
            GUNICORN_CMD_ARGS: "--graceful-timeout 35 --timeout 907 --keep-alive 75 --worker-tmp-dir /dev/shm",
        });
    });

    it("reach the probes: short tries while the model loads, whole predictions with a warm-up", () => {
        const startup = (index: number): unknown => {
            const { periodSeconds, timeoutSeconds, failureThreshold } =
                containerIn(deploymentIn(objects(index)).spec.template).startupProbe ?? {};
            return { periodSeconds, timeoutSeconds, failureThreshold };
        };
        expect(startup(0)).to.deep.equal({ periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 60 });
        expect(startup(6)).to.deep.equal({ periodSeconds: 5, timeoutSeconds: 35, failureThreshold: 24 });
    });
});
