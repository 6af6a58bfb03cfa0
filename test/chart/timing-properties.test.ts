import { expect } from "chai";
import fc from "fast-check";
import { thorough } from "../thorough";
import {
    containerIn,
    deploymentIn,
    environmentOf,
    merged,
    objectsIn,
    outcomes,
    seed,
    smallest,
    type KubernetesObject,
    type Values,
} from "./helm";

/**
 * The inequalities between times, threads, memory and disk that keep an API serving, on renders of random values. They are
 * stated here in the cluster's terms, from the manifests alone; the chart's formulas are not repeated.
 */

/** A proxy in front keeps its idle connections for so long (the cloud load balancers' common default). */
const proxyIdleSeconds = 60;

const mebi = 1024 ** 2;
const gibi = 1024 ** 3;

interface Inputs {
    readonly requestTimeout: number;
    readonly loadBudget: number;
    /** undefined: no download. */
    readonly fetchBudget: number | undefined;
    readonly warmUp: boolean;
    /** Which Jobs ask the API during an upgrade. */
    readonly onDeploy: boolean;
    readonly candidate: boolean;
    readonly scale:
        | { readonly replicas: number }
        | { readonly engine: string; readonly minReplicas: number; readonly maxReplicas: number };
    readonly workers: number;
    readonly milliCpu: number;
    readonly milliCpuLimit: number | undefined;
    readonly memoryMebi: number;
    /** undefined: no plan. */
    readonly modelMebi: number | undefined;
    readonly storageMebi: { readonly tmp: number; readonly cache: number; readonly sharedMemory: number };
    readonly gpu: { readonly count: number; readonly rollout: string } | undefined;
    readonly className: string;
}

const seconds = (max: number): fc.Arbitrary<number> =>
    fc.oneof(fc.integer({ min: 1, max }), fc.constantFrom(1, 2, 5, 30, 60, max - 1, max));

const inputs: fc.Arbitrary<Inputs> = fc.record({
    requestTimeout: seconds(3600),
    loadBudget: seconds(7200),
    // A download prints a long script: fewer of them, or reading takes most of the time.
    fetchBudget: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: seconds(7200) }),
    warmUp: fc.boolean(),
    onDeploy: fc.boolean(),
    candidate: fc.boolean(),
    scale: fc.oneof(
        fc.record({ replicas: fc.integer({ min: 1, max: 100 }) }),
        fc
            .tuple(fc.constantFrom("hpa", "keda"), fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 }))
            .map(([engine, one, other]) => ({
                engine,
                minReplicas: Math.min(one, other),
                maxReplicas: Math.max(one, other),
            })),
    ),
    workers: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 64 })),
    milliCpu: fc.oneof(fc.integer({ min: 10, max: 64_000 }), fc.constantFrom(100, 999, 1000, 1001, 2000)),
    milliCpuLimit: fc.option(fc.integer({ min: 10, max: 64_000 }), { nil: undefined }),
    memoryMebi: fc.integer({ min: 256, max: 65_536 }),
    modelMebi: fc.option(fc.integer({ min: 16, max: 2048 }), { nil: undefined }),
    storageMebi: fc.record({
        tmp: fc.integer({ min: 1, max: 20_000 }),
        cache: fc.integer({ min: 1, max: 20_000 }),
        sharedMemory: fc.integer({ min: 1, max: 255 }),
    }),
    gpu: fc.option(fc.record({ count: fc.integer({ min: 1, max: 8 }), rollout: fc.constantFrom("replace", "surge") }), {
        nil: undefined,
    }),
    className: fc.constantFrom("nginx", "haproxy"),
});

function valuesOf(one: Inputs): Values {
    const { milliCpu, milliCpuLimit, storageMebi: storage } = one;
    return merged(smallest, {
        ...("replicas" in one.scale
            ? { replicas: one.scale.replicas }
            : { autoscaling: { enabled: true, ...one.scale } }),
        resources: {
            requests: { cpu: `${milliCpu}m`, memory: `${one.memoryMebi}Mi` },
            limits: { cpu: milliCpuLimit === undefined ? "" : `${Math.max(milliCpu, milliCpuLimit)}m` },
        },
        storage: {
            tmp: `${storage.tmp}Mi`,
            cache: `${storage.cache}Mi`,
            sharedMemory: `${storage.sharedMemory}Mi`,
        },
        api: { requestTimeoutSeconds: one.requestTimeout, workers: one.workers, maxRequestBytes: 1024 },
        model: {
            loadBudgetSeconds: one.loadBudget,
            memory: one.modelMebi === undefined ? "" : `${one.modelMebi}Mi`,
            download:
                one.fetchBudget === undefined
                    ? {}
                    : {
                          url: "https://models.example.org/churn.onnx",
                          sha256: "0".repeat(64),
                          file: "churn.onnx",
                          fetchBudgetSeconds: one.fetchBudget,
                      },
        },
        verify: {
            sample: { inputs: { age: 7 } },
            warmUp: one.warmUp,
            onDeploy: one.onDeploy,
            candidate: one.candidate && one.gpu?.rollout !== "replace",
        },
        gpu: one.gpu ?? {},
        network: { enabled: false },
        ingress: { enabled: true, className: one.className, host: "churn.example.org" },
        gateway: { enabled: true, parent: { name: "public" }, host: "churn.example.org" },
    });
}

const byteUnits: Readonly<Record<string, number>> = {
    "": 1,
    Ki: 1024,
    Mi: mebi,
    Gi: gibi,
    Ti: 1024 * gibi,
    k: 1e3,
    M: 1e6,
    G: 1e9,
    T: 1e12,
};

function bytes(quantity: string | undefined): number {
    const [, number = "", unit = ""] = /^([0-9.]+)([A-Za-z]*)$/.exec(quantity ?? "") ?? [];
    const factor = byteUnits[unit];
    expect(factor, `quantity ${quantity ?? "(none)"}`).to.be.a("number");
    return Number(number) * (factor ?? 0);
}

const cores = (quantity: string): number =>
    quantity.endsWith("m") ? Number(quantity.slice(0, -1)) / 1000 : Number(quantity);

/** What an ingress controller waits for an answer. */
function ingressSeconds(objects: readonly KubernetesObject[]): number[] {
    const { annotations = {} } = objects.find(({ kind }) => kind === "Ingress")?.metadata ?? {};
    return Object.entries(annotations).flatMap(([name, text]) =>
        /timeout/.test(name) ? [Number(text.replace(/s$/, ""))] : [],
    );
}

/** The parts of objects that only this file looks at. */
interface Scaled {
    spec: {
        minReplicas?: number;
        maxReplicas?: number;
        minReplicaCount?: number;
        maxReplicaCount?: number;
        maxUnavailable?: number;
        minAvailable?: number;
        strategy?: { rollingUpdate?: { maxSurge: number; maxUnavailable: number } };
        rules?: { timeouts?: { request?: string } }[];
        activeDeadlineSeconds?: number;
    };
}

const oneOf = (objects: readonly KubernetesObject[], kind: string): Scaled["spec"] | undefined =>
    (objects.find((object) => object.kind === kind) as Scaled | undefined)?.spec;

function checkInequalities(objects: readonly KubernetesObject[], one: Inputs): void {
    const deployment = deploymentIn(objects);
    const { spec } = deployment;
    const pod = spec.template.spec;
    const container = containerIn(spec.template);
    const env = environmentOf(container);
    const { startupProbe: startup, readinessProbe: readiness, livenessProbe: liveness } = container;
    const budget = (startup?.failureThreshold ?? 0) * (startup?.periodSeconds ?? 0);
    const preStop = container.lifecycle?.preStop.sleep.seconds ?? 0;
    const grace = pod.terminationGracePeriodSeconds ?? 0;
    const deadline = spec.progressDeadlineSeconds;
    const releaseTimeout = Number(deployment.metadata.annotations?.["ml-api/release-timeout-seconds"]);

    // Time: from the outside in, whoever waits gives up later than the one that it waits for.
    const gunicorn = Object.fromEntries(
        [...(env["GUNICORN_CMD_ARGS"] ?? "").matchAll(/--([a-z-]+) (\d+)/g)].map(([, name, text]) => [
            name,
            Number(text),
        ]),
    ) as Record<string, number>;
    const graceful = [Number(env["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"]), gunicorn["graceful-timeout"] ?? 0];
    const keepAlive = [Number(env["UVICORN_TIMEOUT_KEEP_ALIVE"]), gunicorn["keep-alive"] ?? 0];
    const route = oneOf(objects, "HTTPRoute")?.rules?.[0]?.timeouts?.request ?? "";
    const gateways = [...ingressSeconds(objects), Number(/^([0-9]+)s$/.exec(route)?.[1])];
    expect(Number(env["REQUEST_TIMEOUT_SECONDS"]), "the server's own time-out").to.equal(one.requestTimeout);
    expect(gateways.length, "Ingress and HTTPRoute have a time-out").to.be.at.least(2);
    for (const gateway of gateways) {
        expect(gateway, "gateway > request").to.be.above(one.requestTimeout);
    }
    for (const drain of graceful) {
        expect(drain, "graceful >= request").to.be.at.least(one.requestTimeout);
        expect(grace, "grace >= preStop + graceful + 10").to.be.at.least(preStop + drain + 10);
    }
    for (const idle of keepAlive) {
        expect(idle, "keep-alive > a proxy's idle time").to.be.above(proxyIdleSeconds);
    }
    expect(gunicorn["timeout"], "gunicorn's patience > request").to.be.above(one.requestTimeout);
    expect(gunicorn["timeout"], "gunicorn's patience > load").to.be.above(one.loadBudget);
    expect(preStop, "preStop").to.be.at.least(5);
    expect(budget, "start-up budget >= load").to.be.at.least(one.loadBudget);
    expect(budget - one.loadBudget, "start-up budget is no longer than asked for, but for a period").to.be.below(
        startup?.periodSeconds ?? 0,
    );
    for (const probe of [readiness, liveness]) {
        expect(probe?.timeoutSeconds, "a probe's time-out <= its period").to.be.at.most(probe?.periodSeconds ?? 0);
    }
    expect((liveness?.periodSeconds ?? 0) * (liveness?.failureThreshold ?? 0), "liveness is patient").to.be.at.least(
        60,
    );
    if (one.warmUp) {
        expect(startup?.timeoutSeconds, "a warm-up may take as long as a request").to.be.at.least(one.requestTimeout);
    }
    const fetch = one.fetchBudget ?? 0;
    expect(deadline, "fetch + load + minReady + drain < progress deadline").to.be.above(
        fetch + budget + spec.minReadySeconds + grace,
    );

    // Scale: every pod of the largest scale is replaced within the release's time-out, one after the other.
    const scaler = oneOf(objects, "HorizontalPodAutoscaler") ?? oneOf(objects, "ScaledObject");
    const fewest = scaler?.minReplicas ?? scaler?.minReplicaCount ?? spec.replicas;
    const most = scaler?.maxReplicas ?? scaler?.maxReplicaCount ?? spec.replicas;
    if ("replicas" in one.scale) {
        expect([fewest, most, scaler], "fixed scale").to.deep.equal([
            one.scale.replicas,
            one.scale.replicas,
            undefined,
        ]);
    } else {
        expect([fewest, most], "scale").to.deep.equal([one.scale.minReplicas, one.scale.maxReplicas]);
        expect(spec, "replicas beside an autoscaler").not.to.have.property("replicas");
    }
    const jobs = objects.filter(({ kind }) => kind === "Job");
    const deadlines = new Map(jobs.map((job) => [job.metadata.name, (job as Scaled).spec.activeDeadlineSeconds ?? 0]));
    const [candidate = 0, verify = 0] = ["candidate", "verify"].map((name) => deadlines.get(`mf-demo-${name}`));
    expect(
        releaseTimeout,
        "candidate + progress deadline of each step + drain + verification < release time-out",
    ).to.be.above(candidate + most * deadline + grace + verify);
    const rolling = (spec as Scaled["spec"]).strategy?.rollingUpdate;
    const replaces = one.gpu?.rollout === "replace";
    expect(rolling, "rollout").to.deep.equal(
        replaces ? { maxSurge: 0, maxUnavailable: 1 } : { maxSurge: 1, maxUnavailable: 0 },
    );
    const budgeted = oneOf(objects, "PodDisruptionBudget");
    if (budgeted !== undefined) {
        expect(fewest, "a disruption budget for a single pod").to.be.at.least(2);
        const mayGo = budgeted.maxUnavailable ?? fewest - (budgeted.minAvailable ?? fewest);
        expect(mayGo, "pods that a drain may take").to.be.at.least(1);
        expect(mayGo, "pods that stay").to.be.below(fewest);
    }

    // Threads: all workers together compute on no more threads than there are whole cores, or one each.
    const { requests = {}, limits = {} } = container.resources ?? {};
    const cpu = cores(limits["cpu"] ?? requests["cpu"] ?? "");
    const threads = Object.entries(env).filter(([name]) => name.endsWith("_THREADS"));
    expect(threads.length, "thread variables").to.be.at.least(8);
    expect(Number(env["WEB_CONCURRENCY"]), "workers").to.equal(one.workers);
    for (const [name, text] of threads) {
        expect(text, name).to.match(/^[1-9][0-9]*$/);
        expect(Number(text) * one.workers, `${name} x workers`).to.be.at.most(Math.max(one.workers, cpu));
        expect((Number(text) + 1) * one.workers, `${name} leaves a core idle`).to.be.above(cpu);
    }

    // Memory and disk.
    const memory = bytes(limits["memory"]);
    const inMemory = (pod.volumes ?? []).filter(
        ({ emptyDir }) => (emptyDir as { medium?: string } | undefined)?.medium === "Memory",
    );
    const onDisk = (pod.volumes ?? []).filter((volume) => volume.emptyDir !== undefined && !inMemory.includes(volume));
    const sizes = (volumes: typeof inMemory): number =>
        volumes.reduce((sum, { emptyDir }) => sum + bytes(emptyDir?.sizeLimit), 0);
    expect(inMemory, "/dev/shm").to.have.lengthOf(1);
    expect(memory, "shared memory leaves some").to.be.above(sizes(inMemory));
    if (one.modelMebi !== undefined) {
        expect(memory, "workers x model + shared memory + server").to.be.at.least(
            one.workers * one.modelMebi * mebi + sizes(inMemory) + 64 * mebi,
        );
    }
    expect(memory, "limit >= request").to.be.at.least(bytes(requests["memory"]));
    expect(onDisk.length, "folders on disk").to.be.at.least(one.fetchBudget === undefined ? 2 : 3);
    for (const part of [requests, limits]) {
        expect(bytes(part["ephemeral-storage"]), "sum of sizeLimits < ephemeral storage").to.be.above(sizes(onDisk));
    }
    if (one.gpu !== undefined) {
        expect(limits["nvidia.com/gpu"], "cards").to.equal(String(one.gpu.count));
    }

    // A Job asks for a prediction with and without a key, and the server may take its time for each; a candidate is fetched,
    // loaded and stopped besides.
    const names = ["test", ...(one.onDeploy ? ["verify"] : []), ...(candidate > 0 ? ["candidate"] : [])];
    expect([...deadlines.keys()], "Jobs").to.have.members(names.map((name) => `mf-demo-${name}`));
    for (const [name, seconds] of deadlines) {
        expect(seconds, `deadline of ${name} > patience + two predictions`).to.be.above(60 + 2 * one.requestTimeout);
    }
    if (one.candidate && !replaces) {
        expect(candidate, "deadline of a candidate > fetch + load + patience + two predictions + end").to.be.above(
            fetch + budget + 60 + 2 * one.requestTimeout + grace,
        );
    }
}

/** A plan that no reading of the rule accepts, and one that every reading does. */
const cannotFit = ({ workers, modelMebi = 0, memoryMebi, storageMebi }: Inputs): boolean =>
    workers * modelMebi + storageMebi.sharedMemory > memoryMebi;
const fits = ({ workers, modelMebi = 0, memoryMebi, storageMebi }: Inputs): boolean =>
    workers * modelMebi + storageMebi.sharedMemory + 512 <= memoryMebi;

/** What the random inputs must not happen to leave out. */
const kinds: Readonly<Record<string, (one: Inputs) => boolean>> = {
    "a download": ({ fetchBudget }) => fetchBudget !== undefined,
    "a download and a warm-up": ({ fetchBudget, warmUp }) => warmUp && fetchBudget !== undefined,
    "a memory plan": ({ modelMebi }) => modelMebi !== undefined,
    "several workers": ({ workers }) => workers > 1,
    hpa: ({ scale }) => "engine" in scale && scale.engine === "hpa",
    keda: ({ scale }) => "engine" in scale && scale.engine === "keda",
    "a fixed scale": ({ scale }) => "replicas" in scale,
    "gpu replace": ({ gpu }) => gpu?.rollout === "replace",
    "gpu surge": ({ gpu }) => gpu?.rollout === "surge",
    "a candidate": ({ candidate, gpu }) => candidate && gpu?.rollout !== "replace",
    "no verification": ({ onDeploy, candidate }) => !onDeploy && !candidate,
};

/** Everything else, for instance notes and policies, takes time to read and says nothing about these. */
const looked = /^kind: (Deployment|Job|Ingress|HTTPRoute|HorizontalPodAutoscaler|ScaledObject|PodDisruptionBudget)$/m;

describe("chart: inequalities of time, memory and disk", function () {
    this.timeout(300_000);
    const count = thorough ? 1000 : 300;

    it(`hold for ${count} random inputs, or the memory plan is refused`, async () => {
        const cases = fc.sample(inputs, { numRuns: count, seed });
        const seen: Inputs[] = [];
        let refused = 0;
        (await outcomes(cases.map(valuesOf))).forEach((outcome, index) => {
            const one = cases[index] as Inputs;
            const what = `seed ${seed}: ${JSON.stringify(one)}`;
            if (outcome.kind === "rendered") {
                seen.push(one);
                expect(cannotFit(one), `${what} has too little memory and was rendered`).to.be.false;
                const documents = outcome.manifests.split(/^---\n/m).filter((document) => looked.test(document));
                try {
                    checkInequalities(objectsIn(documents.join("---\n")), one);
                } catch (error) {
                    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
                }
            } else {
                refused++;
                expect(outcome.kind, `${what}\n${outcome.message}`).to.equal("refused");
                expect(outcome.message.match(/^- /gm), `${what}\n${outcome.message}`).to.have.lengthOf(1);
                expect(outcome.message, what).to.match(/memory limit .*(model\.memory|storage\.sharedMemory)/);
                expect(fits(one), `${what} fits and was refused: ${outcome.message}`).to.be.false;
            }
        });
        expect(seen.length, "rendered").to.be.at.least(count / 2);
        for (const [what, how] of Object.entries(kinds)) {
            expect(seen.filter(how).length, `rendered with ${what}`).to.be.at.least(count / 40);
        }
        expect(refused, "refused").to.be.at.least(count / 20);
    });
});
