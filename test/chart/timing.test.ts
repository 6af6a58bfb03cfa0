import { expect } from "chai";
import fc from "fast-check";
import {
    containerIn,
    deploymentIn,
    environmentOf,
    merged,
    only,
    smallest,
    templateMany,
    type KubernetesObject,
} from "./helm";

interface Inputs {
    requestTimeout: number;
    loadBudget: number;
    replicas: number;
}

const range = { requestTimeout: 3600, loadBudget: 7200, replicas: 100 };
const inputs = fc.record({
    requestTimeout: fc.integer({ min: 1, max: range.requestTimeout }),
    loadBudget: fc.integer({ min: 1, max: range.loadBudget }),
    replicas: fc.integer({ min: 1, max: range.replicas }),
});

/** A proxy in front keeps its idle connections for so long (the cloud load balancers' common default). */
const proxyIdle = 60;

function annotation(objects: readonly KubernetesObject[], name: string): number {
    const text = deploymentIn(objects).metadata.annotations?.[`ml-api/${name}-seconds`] ?? "";
    expect(text, name).to.match(/^[1-9][0-9]*$/);
    return Number(text);
}

function checkInequalities(
    objects: readonly KubernetesObject[],
    { requestTimeout, loadBudget, replicas }: Inputs,
): void {
    const { spec } = deploymentIn(objects);
    const container = containerIn(spec.template);
    const env = environmentOf(container);
    const graceful = Number(env.UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN);
    const keepAlive = Number(env.UVICORN_TIMEOUT_KEEP_ALIVE);
    const preStop = container.lifecycle?.preStop.sleep.seconds ?? 0;
    const grace = spec.template.spec.terminationGracePeriodSeconds ?? 0;
    const { startupProbe: startup, readinessProbe: readiness, livenessProbe: liveness } = container;
    const startupBudget = (startup?.failureThreshold ?? 0) * (startup?.periodSeconds ?? 0);
    const deadline = spec.progressDeadlineSeconds;
    const release = annotation(objects, "release-timeout");

    expect(Number(env.REQUEST_TIMEOUT_SECONDS), "the server's request time-out").to.equal(requestTimeout);
    expect(graceful, "graceful > request time-out").to.be.greaterThan(requestTimeout);
    expect(preStop, "preStop").to.be.at.least(15);
    expect(grace, "grace period >= preStop + graceful + 10").to.be.at.least(preStop + graceful + 10);
    expect(keepAlive, "keep-alive > proxy's idle time").to.be.greaterThan(proxyIdle);
    expect(startupBudget, "start-up budget >= load budget").to.be.at.least(loadBudget);
    expect(startupBudget - loadBudget, "start-up budget is no more than a period longer").to.be.below(
        startup?.periodSeconds ?? 0,
    );
    for (const probe of [startup, readiness, liveness]) {
        expect(probe?.timeoutSeconds, "probe time-out <= period").to.be.at.most(probe?.periodSeconds ?? 0);
    }
    expect((liveness?.periodSeconds ?? 0) * (liveness?.failureThreshold ?? 0), "patience of liveness").to.be.at.least(
        60,
    );
    expect(deadline, "progress deadline > start-up + minReady + drain").to.be.greaterThan(
        startupBudget + spec.minReadySeconds + grace,
    );
    // Upgrade: replicas steps, one after the other, each of which may take up to the deadline; then the last old pod drains.
    expect(release, "release time-out > all steps + drain").to.be.greaterThan(replicas * deadline + grace);
    // Job: readiness is asked for at most 60 s, a prediction twice, and the server gives up on each after its time-out.
    const test = (only(objects, "Job").spec as { activeDeadlineSeconds?: number }).activeDeadlineSeconds ?? 0;
    expect(test, "test deadline").to.be.greaterThan(60 + 2 * requestTimeout);

    expect(
        [
            "pre-stop",
            "graceful-shutdown",
            "grace-period",
            "keep-alive",
            "startup-budget",
            "progress-deadline",
            "test-deadline",
        ].map((name) => annotation(objects, name)),
        "the annotations say what is rendered",
    ).to.deep.equal([preStop, graceful, grace, keepAlive, startupBudget, deadline, test]);
}

describe("chart: times that are computed", function () {
    this.timeout(30_000);

    it("hold every inequality for random request time-outs, load budgets and replicas", () => {
        const seed = Date.now();
        const extremes = [1, 2, 3].flatMap((loadBudget) => [
            { requestTimeout: 1, loadBudget, replicas: 1 },
            {
                requestTimeout: range.requestTimeout,
                loadBudget: range.loadBudget + 1 - loadBudget,
                replicas: range.replicas,
            },
        ]);
        const cases = [...extremes, ...fc.sample(inputs, { numRuns: 60, seed })];
        const { run, objects } = templateMany(
            cases.map(({ requestTimeout, loadBudget, replicas }) =>
                merged(smallest, {
                    replicas,
                    api: { requestTimeoutSeconds: requestTimeout },
                    model: { loadBudgetSeconds: loadBudget },
                }),
            ),
        );
        expect(run.status, run.stderr).to.equal(0);
        cases.forEach((one, index) => {
            try {
                checkInequalities(objects(index), one);
            } catch (error) {
                throw new Error(
                    `seed ${seed}, ${JSON.stringify(one)}: ${error instanceof Error ? error.message : String(error)}`,
                );
            }
        });
    });

    it("are the known ones for the default values", () => {
        const { objects } = templateMany([smallest]);
        expect(deploymentIn(objects(0)).metadata.annotations).to.deep.equal({
            "ml-api/pre-stop-seconds": "15",
            "ml-api/graceful-shutdown-seconds": "35",
            "ml-api/grace-period-seconds": "60",
            "ml-api/keep-alive-seconds": "75",
            "ml-api/startup-budget-seconds": "120",
            "ml-api/progress-deadline-seconds": "305",
            "ml-api/release-timeout-seconds": "395",
            "ml-api/test-deadline-seconds": "250",
        });
    });
});
