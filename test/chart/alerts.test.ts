import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse, stringify } from "yaml";
import { ensureTools } from "../../local/tools";
import {
    chartFolder,
    environments,
    environmentValues,
    inTemporaryFolder,
    merged,
    renderObjects,
    smallest,
    type Values,
} from "./helm";

/** What Prometheus has seen: series to samples in its own notation ("0+6x200": 0 and 200 times 6 more), one every 15 s. */
type Series = Readonly<Record<string, string>>;
interface Alert {
    readonly labels: Readonly<Record<string, string>>;
    readonly summary: string;
    readonly description: string;
}
interface Story {
    readonly series: Series;
    readonly values?: Values;
    /** Seconds at which nobody is told, and those at which these alerts are. */
    readonly silentAt: readonly number[];
    readonly firesAt?: readonly number[];
    readonly alerts?: readonly Alert[];
}

const step = 15;
const labelsOf = (pod: string): string => `namespace="mf-demo-dev", pod="${pod}", container="api"`;
const [one, other] = ["mf-demo-6d4f8b7c9d-x2x4z", "mf-demo-6d4f8b7c9d-8mk2p"] as const;
/** Of a release whose name begins with the same letters. */
const neighbour = "mf-demo-b-6d4f8b7c9d-qqqqq";

/** The rules as the API server would hand them to Prometheus, checked and run by Prometheus' own program. */
describe("chart: the alerts, as Prometheus reads them", function () {
    this.timeout(60_000);
    let program: string;

    before(async function () {
        // Where it is not published for the machine, the first run builds it.
        this.timeout(1_800_000);
        program = (await ensureTools(["promtool"], { log: () => undefined })).promtool.path;
    });

    const groupsOf = (values: Values): object | undefined =>
        renderObjects(values).find(({ kind }) => kind === "PrometheusRule")?.spec;

    function promtool(folder: string, files: Readonly<Record<string, object>>, ...args: readonly string[]): string {
        for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), stringify(content));
        const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
        return status === 0 ? "" : `${stdout}${stderr}`;
    }

    /** What is wrong with the story, in Prometheus' words; empty if it goes as told. */
    function told(alert: string, { series, values = {}, silentAt, firesAt = [], alerts = [] }: Story): string {
        const all = [smallest, { observability: { alerts: { enabled: true } } }, values].reduce<Values>(merged, {});
        const moments = [...silentAt.map((at) => ({ at, said: [] })), ...firesAt.map((at) => ({ at, said: alerts }))];
        const test = {
            interval: `${step}s`,
            input_series: Object.entries(series).map(([name, samples]) => ({ series: name, values: samples })),
            alert_rule_test: moments.map(({ at, said }) => ({
                eval_time: `${at}s`,
                alertname: alert,
                exp_alerts: said.map(({ labels, summary, description }) => ({
                    exp_labels: labels,
                    exp_annotations: { summary: `mf-demo: ${summary}`, description },
                })),
            })),
        };
        const tests = { rule_files: ["rules.yaml"], evaluation_interval: "5s", tests: [test] };
        const rules = groupsOf(all);
        if (rules === undefined) throw new Error("the chart rendered no PrometheusRule");
        return inTemporaryFolder((folder) =>
            promtool(folder, { "rules.yaml": rules, "tests.yaml": tests }, "test", "rules", "tests.yaml"),
        );
    }

    it("are rules that Prometheus takes, in every example that has them", () => {
        const examples = join(chartFolder, "ci");
        const every: readonly (readonly [string, Values])[] = [
            ...environments.map((name) => [`${name}.yaml`, environmentValues(name)] as const),
            ...readdirSync(examples).map(
                (file) => [basename(file), parse(readFileSync(join(examples, file), "utf8")) as Values] as const,
            ),
        ];
        const files = Object.fromEntries(
            every.flatMap(([name, values]) => {
                const groups = groupsOf(values);
                return groups === undefined ? [] : [[name, groups]];
            }),
        );
        expect(Object.keys(files)).to.include.members(["everything.yaml", "observability.yaml"]);
        const words = ["check", "rules", "--lint=all", "--lint-fatal", ...Object.keys(files)];
        expect(inTemporaryFolder((folder) => promtool(folder, files, ...words))).to.equal("");
    });

    describe("MlApiNotReady", () => {
        const deployment = (name: string, ready: string, wanted: string): Series => ({
            [`kube_deployment_status_replicas_ready{namespace="mf-demo-dev", deployment="${name}"}`]: ready,
            [`kube_deployment_spec_replicas{namespace="mf-demo-dev", deployment="${name}"}`]: wanted,
        });
        const alerts = [
            {
                labels: { severity: "critical" },
                summary: "fewer pods are ready than should be, for longer than a start may take",
                description:
                    "`kubectl -n mf-demo-dev get pods`, then the events and the log of a pod that is not ready, say why." +
                    " A model may load for 120 s (model.loadBudgetSeconds).",
            },
        ];

        it("tells when a start takes longer than it may, not before, and not when all is well again", () => {
            const series = deployment("mf-demo", "1x40 2x40", "2x80");
            expect(told("MlApiNotReady", { series, silentAt: [0, 300, 620], firesAt: [305, 600], alerts })).to.equal(
                "",
            );
        });
        it("waits as long as the model may load", () => {
            const values: Values = { model: { loadBudgetSeconds: 600 } };
            const loads = alerts.map((alert) => ({
                ...alert,
                description: alert.description.replace("120 s", "600 s"),
            }));
            const series = deployment("mf-demo", "0x80", "1x80");
            const story = { series, values, silentAt: [780], firesAt: [785], alerts: loads };
            expect(told("MlApiNotReady", story)).to.equal("");
        });
        it("is silent through rollouts that end in time, and about others", () => {
            const series = {
                ...deployment("mf-demo", "1x19 2x9 1x19 2x30", "2x80"),
                ...deployment("mf-demo-b", "0x80", "2x80"),
            };
            expect(told("MlApiNotReady", { series, silentAt: [285, 305, 600, 1200] })).to.equal("");
        });
    });

    describe("MlApiMemoryNearLimit", () => {
        const limit = 256 * 2 ** 20;
        const used = (pod: string, bytes: number): Series => ({
            [`container_memory_working_set_bytes{${labelsOf(pod)}}`]: `${bytes}x80`,
        });

        it("names the pod that uses more than 90 % for 5 minutes, and no other", () => {
            const series = { ...used(one, 0.91 * limit), ...used(other, 0.89 * limit), ...used(neighbour, limit) };
            const alerts = [
                {
                    labels: { severity: "warning", pod: one },
                    summary: `pod ${one} uses more than 90 % of its memory limit`,
                    description:
                        "Above 256Mi it is killed: raise resources.limits.memory, or lower api.workers or api.maxConcurrentRequests.",
                },
            ];
            const story = { series, silentAt: [0, 295], firesAt: [300, 1200], alerts };
            expect(told("MlApiMemoryNearLimit", story)).to.equal("");
        });
        it("is silent about a peak that ends, and under the part that one chose", () => {
            const peak = { [`container_memory_working_set_bytes{${labelsOf(one)}}`]: `${limit}x18 1x60` };
            expect(told("MlApiMemoryNearLimit", { series: peak, silentAt: [270, 300, 600] })).to.equal("");
            const values: Values = { observability: { alerts: { memoryPercent: 95 } } };
            const series = used(one, 0.91 * limit);
            expect(told("MlApiMemoryNearLimit", { series, values, silentAt: [300, 1200] })).to.equal("");
        });
    });

    describe("MlApiErrors", () => {
        const requests = (status: string, samples: string, handler = "/predict", pod: string = one): Series => ({
            [`http_requests_total{${labelsOf(pod)}, handler="${handler}", status="${status}"}`]: samples,
        });
        const silentAt = [300, 330, 1200];

        it("tells after 5 minutes that more than 5 % of the predictions of all pods together fail", () => {
            // Each pod alone has 2 and 10 %. The first rate takes two samples, so the clock starts at 15 s.
            const series = {
                ...requests("200", "0+98x80"),
                ...requests("500", "0+2x80"),
                ...requests("200", "0+90x80", "/predict", other),
                ...requests("503", "0+10x80", "/predict", other),
            };
            const alerts = [
                {
                    labels: { severity: "critical" },
                    summary: "more than 5 % of all predictions end with 5xx",
                    description:
                        "Now 6 %. `kubectl -n mf-demo-dev logs -l app.kubernetes.io/instance=mf-demo` says why.",
                },
            ];
            expect(told("MlApiErrors", { series, silentAt: [0, 310], firesAt: [315, 1200], alerts })).to.equal("");
        });
        it("is silent about fewer, about wrong requests, and where nobody asks", () => {
            const fewer = { ...requests("200", "0+96x80"), ...requests("500", "0+4x80") };
            expect(told("MlApiErrors", { series: fewer, silentAt })).to.equal("");
            const wrong = { ...requests("200", "0+50x80"), ...requests("422", "0+50x80"), ...requests("500", "0x80") };
            expect(told("MlApiErrors", { series: wrong, silentAt })).to.equal("");
            const idle = { ...requests("200", "1000x80"), ...requests("500", "10x80") };
            expect(told("MlApiErrors", { series: idle, silentAt })).to.equal("");
        });
        it("is silent about a model that loads, and about a neighbour", () => {
            const series = {
                ...requests("200", "0+100x80"),
                ...requests("503", "0+100x80", "/readyz"),
                ...requests("500", "0+100x80", "/predict", neighbour),
            };
            expect(told("MlApiErrors", { series, silentAt })).to.equal("");
        });
    });

    describe("MlApiSlow", () => {
        /** Of 100 predictions in a step, so many take up to half the time-out, 15 s; the others up to 30 s. */
        const predictions = (fast: number, pod: string = one): Series => {
            const bucket = (le: string): string =>
                `http_request_duration_seconds_bucket{${labelsOf(pod)}, handler="/predict", le="${le}"}`;
            return {
                [bucket("15")]: `0+${fast}x120`,
                [bucket("30")]: "0+100x120",
                [bucket("+Inf")]: "0+100x120",
            };
        };
        const alerts = [
            {
                labels: { severity: "warning" },
                summary: "5 of 100 predictions take longer than 15 s",
                description:
                    "A prediction may take 30 s (api.requestTimeoutSeconds). Common reasons: a throttled CPU, too few pods, larger inputs.",
            },
        ];

        it("tells after 10 minutes that 6 of 100 predictions take longer than they should", () => {
            const story = { series: predictions(94), silentAt: [0, 610], firesAt: [615, 1800], alerts };
            expect(told("MlApiSlow", story)).to.equal("");
        });
        it("is silent about 4 of 100, and about a neighbour", () => {
            const series = { ...predictions(96), ...predictions(0, neighbour) };
            expect(told("MlApiSlow", { series, silentAt: [615, 1800] })).to.equal("");
        });
    });

    describe("MlApiThrottled", () => {
        const held = (pod: string, percent: number): Series => ({
            [`container_cpu_cfs_throttled_periods_total{${labelsOf(pod)}}`]: `0+${percent}x120`,
            [`container_cpu_cfs_periods_total{${labelsOf(pod)}}`]: "0+100x120",
        });
        const told25 = (percent: number): readonly Alert[] => [
            {
                labels: { severity: "warning", pod: one },
                summary: `pod ${one} is held back by its CPU limit for more than ${percent} % of the time`,
                description: 'Raise resources.limits.cpu, or set it to "" for none.',
            },
        ];

        it("names the pod that is held back for 15 minutes, and no other", () => {
            const series = { ...held(one, 30), ...held(other, 20), ...held(neighbour, 90) };
            const story = { series, silentAt: [0, 910], firesAt: [915, 1800], alerts: told25(25) };
            expect(told("MlApiThrottled", story)).to.equal("");
        });
        it("follows the part that one chose, and knows of no pod without a limit", () => {
            const values: Values = { observability: { alerts: { throttledPercent: 10 } } };
            const series = held(one, 12);
            expect(told("MlApiThrottled", { series, silentAt: [915] })).to.equal("");
            const story = { series, values, silentAt: [910], firesAt: [915], alerts: told25(10) };
            expect(told("MlApiThrottled", story)).to.equal("");
            const [throttled = ""] = Object.keys(series);
            const unlimited = { [throttled]: "0x120", [throttled.replace("throttled_", "")]: "0x120" };
            expect(told("MlApiThrottled", { series: unlimited, silentAt: [915, 1800] })).to.equal("");
        });
    });
});
