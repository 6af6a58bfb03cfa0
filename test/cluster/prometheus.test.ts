import { expect } from "chai";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { freePorts } from "../../local/ports";
import { pythonEnvironment } from "../../local/python";
import { ensureTools } from "../../local/tools";
import { queries } from "../../observability/panels";
import { merged, renderObjects, smallest } from "../chart/helm";

const NAMESPACE = "mf-demo-dev";
const API = "mf-demo";
/** Of one API two pods, and one of another API whose name begins the same. */
const PODS = [`${API}-6d4f8b7c9d-x2x4z`, `${API}-6d4f8b7c9d-8mk2p`, `${API}-b-6d4f8b7c9d-qqqqq`] as const;
const [FIRST, SECOND] = PODS;
const LIMIT = 2;
/** A server with two workers, of an API of its own: that of the page. */
const WORKERS = ["churn-5c9f7d4b6-abcde", "churn-alone-5c9f7d4b6-abcde"] as const;
const PAGE = fs.readFileSync(path.join(__dirname, "..", "..", "docs", "observability.md"), "utf8");
const [, SEVERAL = ""] = /```python\n([^]*?)```/.exec(PAGE) ?? [];

interface Sample {
    readonly metric: Readonly<Record<string, string>>;
    readonly value: readonly [number, string];
}

/**
 * Every query of the dashboard, answered by a real Prometheus that scrapes real servers of the sample API under requests. What a
 * cluster's exporters say is recorded: the series of kube-state-metrics and cAdvisor, for the same pods, served as those do.
 */
describe("the dashboard, asked of a real Prometheus", function () {
    this.timeout(120_000);
    const processes: ChildProcess[] = [];
    let folder: string;
    let exporter: Server;
    let url: string;
    let sent = 0;
    /** The moment of which is asked: just after the requests, however long the tests themselves take. Unset: now. */
    let at: string | undefined;
    const began = Date.now();

    before(async function () {
        // Where it is not published for the machine, the first run builds it.
        this.timeout(1_800_000);
        const { prometheus } = await ensureTools(["prometheus"], { log: () => undefined });
        const sample = path.join(__dirname, "..", "..", "examples", "mf-demo");
        const python = await pythonEnvironment(path.join(sample, "requirements-test.txt"), { log: () => undefined });
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-prometheus-"));
        const model = path.join(folder, "model");
        execFileSync(python, ["train.py", "--out", model], {
            cwd: sample,
            env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
        });
        const [listen = 0, ...all] = await freePorts(1 + PODS.length + WORKERS.length, folder);
        const [ports, ofWorkers] = [all.slice(0, PODS.length), all.slice(PODS.length)];
        for (const [index, port] of ports.entries())
            start(python, ["-m", "mf_demo"], sample, {
                ...{ PORT: String(port), MODEL_DIR: model, MAX_CONCURRENT_REQUESTS: String(LIMIT), LOG_LEVEL: "error" },
                ...{ PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: "1" },
                // One pod has two workers: no query may tell it from the others.
                ...(index === 0 ? { WEB_CONCURRENCY: "2", PROMETHEUS_MULTIPROC_DIR: made("of-first") } : {}),
            });
        fs.writeFileSync(path.join(folder, "several.py"), SEVERAL);
        const counts = made("counts");
        for (const [index, port] of ofWorkers.entries())
            start(python, ["-m", "uvicorn", "several:app", "--port", String(port), "--log-level", "error"], folder, {
                ...{ PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: "1", WEB_CONCURRENCY: "2" },
                // The second one does without, to see that it matters.
                ...(index === 0 ? { PROMETHEUS_MULTIPROC_DIR: counts } : {}),
            });
        exporter = createServer((_, answer) => {
            answer.setHeader("content-type", "text/plain; version=0.0.4");
            answer.end(recorded(ports.length));
        }).listen(0, "127.0.0.1");
        await until(() => exporter.address() !== null);
        write("rules.yaml", rules());
        write("prometheus.yaml", configuration(all, (exporter.address() as AddressInfo).port));
        url = `http://127.0.0.1:${listen}`;
        const data = [`--storage.tsdb.path=${path.join(folder, "data")}`, `--web.listen-address=127.0.0.1:${listen}`];
        start(prometheus.path, ["--config.file=prometheus.yaml", "--log.level=error", ...data], folder, process.env);
        await until(async () => (await fetch(`${url}/-/ready`)).ok);
        await until(async () => (await asked("sum(ml_api_model_ready)"))[0]?.value[1] === String(PODS.length));
        await askBothWorkers(ofWorkers);
        sent = await load(ports, path.join(model, "model.json"));
        // Until every pod was read after its last request.
        await sleep(5000);
        at = String(Date.now() / 1000);
    });
    after(async () => {
        const ended = processes.map(async (child) => {
            if (child.exitCode !== null) return;
            const closed = new Promise((resolve) => child.once("close", resolve));
            // A server that is killed leaves its workers behind.
            child.kill("SIGTERM");
            const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
            await closed;
            clearTimeout(late);
        });
        await Promise.all(ended);
        exporter.close();
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const made = (name: string): string => {
        fs.mkdirSync(path.join(folder, name));
        return path.join(folder, name);
    };
    const write = (name: string, content: object): void => {
        fs.writeFileSync(path.join(folder, name), stringify(content));
    };
    const start = (program: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): void => {
        processes.push(spawn(program, args, { cwd, env, stdio: ["ignore", "ignore", "inherit"] }));
    };

    /** What Prometheus answers now to a query with the dashboard's variables filled in. */
    async function asked(expr: string, api: string = API): Promise<readonly Sample[]> {
        const variables: Readonly<Record<string, string>> = {
            ...{ namespace: NAMESPACE, api, handler: "/predict", __rate_interval: "30s" },
        };
        const query = expr.replace(
            /\$(namespace|api|handler|__rate_interval)\b/g,
            (_, name: string) => variables[name] ?? "",
        );
        const parameters = new URLSearchParams({ query, ...(at === undefined ? {} : { time: at }) });
        const response = await fetch(`${url}/api/v1/query?${parameters.toString()}`);
        const body = (await response.json()) as { error?: string; data?: { result: Sample[] } };
        if (body.data === undefined) throw new Error(`${query}: ${body.error ?? String(response.status)}`);
        return body.data.result;
    }
    const numbers = async (expr: string): Promise<number[]> =>
        (await asked(expr)).map(({ value }) => Number(value[1])).sort((a, b) => a - b);

    for (const { expr, legend, source } of queries) {
        it(`answers "${legend}" with numbers${source === "api" ? "" : ` (recorded: ${source})`}: ${expr.slice(0, 60)}…`, async () => {
            const found = await asked(expr);
            expect(found, expr).not.to.deep.equal([]);
            for (const { metric, value } of found) {
                expect(Number(value[1]), JSON.stringify(metric)).to.be.finite;
                for (const [, label = ""] of legend.matchAll(/\{\{(\w+)\}\}/g))
                    if (found.length > 1) expect(metric, `the legend ${legend}`).to.have.property(label);
            }
        });
    }

    const panel = (words: string): string => {
        const found = queries.find(({ expr, legend }) => expr.includes(words) || legend === words);
        if (found === undefined) throw new Error(`no query has ${words}`);
        return found.expr;
    };

    it("counts every request of the API's own pods once, and none of its neighbour's", async () => {
        const selector = `namespace="$namespace", pod=~"$api-[a-z0-9]+-[a-z0-9]+", handler="$handler"`;
        expect(await numbers(`sum(http_requests_total{${selector}})`)).to.deep.equal([(sent / PODS.length) * 2]);
        expect(await numbers(panel("ml_api_model_ready"))).to.deep.equal([2]);
        expect(await numbers(panel("limit"))).to.deep.equal([2 * LIMIT]);
        const byStatus = (await asked(panel("{{status}}"))).map(({ metric }) => metric["status"]);
        expect(byStatus).to.include.members(["200", "422", "429"]);
    });

    it("counts every request once where a pod has several workers, by the folder in which they add up", async () => {
        const selector = `namespace="$namespace", pod=~"$api-[a-z0-9]+-[a-z0-9]+", handler="$handler"`;
        const total = async (api: string, series = "http_requests_total"): Promise<number> =>
            Number((await asked(`sum(${series}{${selector}})`, api))[0]?.value[1]);
        expect(await total("churn")).to.equal(OF_WORKERS);
        expect(await total("churn", "http_request_duration_seconds_count")).to.equal(OF_WORKERS);
        expect(await total("churn-alone"), "each worker tells its own").to.be.lessThan(OF_WORKERS);
    });

    it("has parts that add up to the whole, and quantiles in order", async () => {
        const parts = await numbers(panel("{{label}}"));
        expect(parts.reduce((sum, part) => sum + part, 0)).to.be.closeTo(1, 1e-9);
        const [refused = 0] = await numbers(panel("refused (429)"));
        expect(refused).to.be.greaterThan(0).and.lessThan(100);
        expect(await numbers(panel("failed (5xx)"))).to.deep.equal([0]);
        const quantiles = await Promise.all(["50 %", "95 %", "99 %"].map((legend) => numbers(panel(legend))));
        expect(quantiles.flat()).to.deep.equal(quantiles.flat().sort((a, b) => a - b));
    });

    it("marks the revisions of the release, and the starts of pods, at their times", async () => {
        const [releases, starts] = await Promise.all(queries.slice(-2).map(({ expr }) => asked(expr)));
        expect(releases?.map(({ metric, value }) => [metric["revision"], Number(value[1])])).to.have.deep.members([
            ["9", 1_700_000_000_000],
            ["10", 1_700_000_600_000],
        ]);
        expect(starts?.map(({ metric }) => metric["pod"])).to.have.members([FIRST, SECOND]);
        for (const { value } of starts ?? []) expect(Number(value[1])).to.be.within(began - 1000, Date.now());
        const [now] = await asked(panel("max by (revision)"));
        expect(now?.metric["revision"], "10 is newer than 9").to.equal("10");
    });

    it("shows the chart's own alerts, loaded as they are rendered, when they fire", async () => {
        const found = await asked(panel("{{alertname}}"));
        const firing = found.map(({ metric }) => metric["alertname"]).filter((name) => name !== undefined);
        expect(firing).to.include("MlApiNotReady").and.to.include("MlApiThrottled");
        expect(firing).not.to.include("MlApiErrors");
    });
});

/** Waits for what may throw at first. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
    const end = Date.now() + 60_000;
    const now = async (): Promise<boolean> => holds();
    while (!(await now().catch(() => false))) {
        if (Date.now() > end) throw new Error(`not within a minute: ${holds.toString()}`);
        await sleep(100);
    }
}

/** As a PodMonitor and the exporters of a cluster would be scraped, but more often. */
function configuration(ports: readonly number[], exporter: number): object {
    return {
        // A server that shares its core with others may take its time to answer.
        global: { scrape_interval: "2s", scrape_timeout: "2s", evaluation_interval: "1s" },
        rule_files: ["rules.yaml"],
        scrape_configs: [
            {
                job_name: `${NAMESPACE}/${API}`,
                static_configs: ports.map((port, index) => ({
                    targets: [`127.0.0.1:${port}`],
                    labels: { namespace: NAMESPACE, pod: [...PODS, ...WORKERS][index], container: "api" },
                })),
            },
            { job_name: "recorded", honor_labels: true, static_configs: [{ targets: [`127.0.0.1:${exporter}`] }] },
        ],
    };
}

/** The chart's alerts; they fire at once, for nobody waits a quarter of an hour here. */
function rules(): object {
    const values = merged(smallest, { observability: { alerts: { enabled: true } } });
    const spec = renderObjects(values).find(({ kind }) => kind === "PrometheusRule")?.spec;
    if (spec === undefined) throw new Error("the chart rendered no PrometheusRule");
    return JSON.parse(JSON.stringify(spec), (key, value: unknown) => (key === "for" ? "0s" : value)) as object;
}

let scrapes = 0;
/** One scrape of kube-state-metrics and of the kubelet's cAdvisor. A pod is ending, another is held back, one start failed. */
function recorded(pods: number): string {
    scrapes += 1;
    const deployment = `{namespace="${NAMESPACE}",deployment="${API}"}`;
    const secret = (revision: number): string =>
        `{namespace="${NAMESPACE}",secret="sh.helm.release.v1.${API}.v${revision}"}`;
    const each = PODS.slice(0, pods).flatMap((pod, index) => {
        const labels = `namespace="${NAMESPACE}",pod="${pod}",container="api"`;
        return [
            `container_memory_working_set_bytes{${labels}} ${(90 + index) << 20}`,
            `container_cpu_cfs_periods_total{${labels}} ${scrapes * 10}`,
            `container_cpu_cfs_throttled_periods_total{${labels}} ${scrapes * index * 5}`,
            `kube_pod_container_status_restarts_total{${labels}} ${index}`,
            `kube_pod_container_resource_limits{${labels},resource="memory",unit="byte"} 268435456`,
        ];
    });
    return `${[
        ...each,
        `kube_pod_container_status_last_terminated_reason{namespace="${NAMESPACE}",pod="${SECOND}",container="api",reason="OOMKilled"} 1`,
        `kube_pod_deletion_timestamp{namespace="${NAMESPACE}",pod="${FIRST}"} 1700000700`,
        `kube_deployment_status_replicas_ready${deployment} 1`,
        `kube_deployment_spec_replicas${deployment} 2`,
        `kube_deployment_status_replicas_updated${deployment} 1`,
        `kube_secret_created${secret(9)} 1700000000`,
        `kube_secret_created${secret(10)} 1700000600`,
        // Of another release.
        `kube_secret_created{namespace="${NAMESPACE}",secret="sh.helm.release.v1.${API}-b.v3"} 1700009999`,
    ].join("\n")}\n`;
}

/** Eight seconds of requests to every pod: a wrong one, right ones, and more at once than a pod takes. Answers how many. */
async function load(ports: readonly number[], card: string): Promise<number> {
    const { sample } = JSON.parse(fs.readFileSync(card, "utf8")) as { sample: { input: object } };
    const right = JSON.stringify({ inputs: Array<object>(200).fill(sample.input) });
    let count = 0;
    const ask = async (port: number, body: string): Promise<void> => {
        count += 1;
        const headers = { "content-type": "application/json" };
        const answer = await fetch(`http://127.0.0.1:${port}/predict`, { method: "POST", body, headers });
        await answer.arrayBuffer();
    };
    const end = Date.now() + 8000;
    while (Date.now() < end) {
        await sleep(200);
        await Promise.all(ports.map((port) => ask(port, '{"inputs": []}')));
        await Promise.all(ports.flatMap((port) => Array.from({ length: 8 }, () => ask(port, right))));
    }
    return count;
}

const OF_WORKERS = 60;
/** Each request on a connection of its own, so that both workers get some. */
async function askBothWorkers(ports: readonly number[]): Promise<void> {
    for (const port of ports) {
        const processes = new Set<number>();
        for (let count = 0; count < OF_WORKERS; count++) {
            const headers = { "content-type": "application/json", connection: "close" };
            const url = `http://127.0.0.1:${port}/predict`;
            const answer = await fetch(url, { method: "POST", body: "[1, 2]", headers });
            processes.add(((await answer.json()) as { process: number }).process);
        }
        expect(processes.size, "workers that answered").to.equal(2);
    }
}
