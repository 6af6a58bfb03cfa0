import { expect } from "chai";
import { deploymentIn, merged, only, renderObjects, smallest, type KubernetesObject, type Values } from "./helm";

interface Alert {
    readonly alert: string;
    readonly expr: string;
    readonly for: string;
    readonly labels: { readonly severity: string };
    readonly annotations: { readonly summary: string; readonly description: string };
}

describe("chart: metrics and alerts", function () {
    this.timeout(20_000);

    const rendered = (values: Values): KubernetesObject[] => renderObjects(merged(smallest, values));
    const alerts = (values: Values = {}): Record<string, Alert> => {
        const rule = only(rendered(merged({ observability: { alerts: { enabled: true } } }, values)), "PrometheusRule");
        const { groups } = rule.spec as unknown as { groups: { name: string; rules: Alert[] }[] };
        expect(groups.map(({ name }) => name)).to.deep.equal(["mf-demo-dev/mf-demo"]);
        return Object.fromEntries(groups.flatMap(({ rules }) => rules).map((rule) => [rule.alert, rule]));
    };

    it("are nobody's by default", () => {
        expect(rendered({}).map(({ kind }) => kind)).not.to.include.oneOf(["PodMonitor", "PrometheusRule"]);
    });

    it("are read from the API's pods only, where the API has them", () => {
        const objects = rendered({
            labels: { team: "churn", gone: "x" },
            api: { paths: { metrics: "/q/metrics" } },
            observability: {
                podMonitor: { enabled: true, intervalSeconds: 15, labels: { release: "prom", gone: null } },
            },
        });
        const monitor = only(objects, "PodMonitor");
        expect(monitor.metadata.labels).to.include({ release: "prom", team: "churn" });
        expect(monitor.spec).to.deep.equal({
            selector: deploymentIn(objects).spec.selector,
            podMetricsEndpoints: [{ port: "http", path: "/q/metrics", interval: "15s" }],
        });
    });

    it("are found by the labels that one gives to the rule", () => {
        const objects = rendered({ observability: { alerts: { enabled: true, labels: { release: "prom" } } } });
        expect(only(objects, "PrometheusRule").metadata.labels).to.include({ release: "prom" });
    });

    it("tell of five things, each with what to do", () => {
        const found = alerts();
        expect(Object.keys(found)).to.have.members([
            "MlApiNotReady",
            "MlApiMemoryNearLimit",
            "MlApiErrors",
            "MlApiSlow",
            "MlApiThrottled",
        ]);
        for (const { annotations, labels } of Object.values(found)) {
            expect(annotations.summary).to.match(/^mf-demo: .{20}/);
            expect(annotations.description).to.match(/\.$/);
            expect(labels.severity).to.be.oneOf(["critical", "warning"]);
        }
    });

    it("wait for as long as a start may take, and through a whole rollout that stops pods first", () => {
        expect(alerts().MlApiNotReady).to.deep.include({
            expr:
                'max(kube_deployment_status_replicas_ready{namespace="mf-demo-dev", deployment="mf-demo"})' +
                ' < max(kube_deployment_spec_replicas{namespace="mf-demo-dev", deployment="mf-demo"})',
            for: "305s",
        });
        expect(alerts({ model: { loadBudgetSeconds: 600 } }).MlApiNotReady?.for).to.equal("785s");
        const replaced = { replicas: 4, gpu: { count: 1, rollout: "replace" } };
        expect(alerts(replaced).MlApiNotReady?.for).to.equal(`${4 * 305 + 60 + 30}s`);
    });

    const pods = 'namespace="mf-demo-dev", pod=~"mf-demo-[a-z0-9]+-[a-z0-9]+", container="api"';

    it("know the memory limit in bytes", () => {
        const expr = (values: Values): string | undefined => alerts(values).MlApiMemoryNearLimit?.expr;
        const usage = `max by (pod) (container_memory_working_set_bytes{${pods}})`;
        expect(expr({})).to.equal(`${usage} > ${Math.floor(0.9 * 256 * 1024 ** 2)}`);
        const larger: Values = {
            resources: { limits: { memory: "64Gi" } },
            observability: { alerts: { memoryPercent: 50 } },
        };
        expect(expr(larger)).to.equal(`${usage} > ${32 * 1024 ** 3}`);
    });

    it("look at predictions only, under the path that the API has for them", () => {
        const values: Values = {
            api: { paths: { predict: "/v2/infer" } },
            observability: { alerts: { errorPercent: 1, latencySeconds: 0.25 } },
        };
        const predictions = `${pods}, handler="/v2/infer"`;
        expect(alerts(values).MlApiErrors?.expr).to.equal(
            `100 * sum(rate(http_requests_total{${predictions}, status=~"5.."}[5m]))` +
                ` / sum(rate(http_requests_total{${predictions}}[5m])) > 1`,
        );
        expect(alerts(values).MlApiSlow?.expr).to.equal(
            `histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{${predictions}}[5m]))) > 0.25`,
        );
    });

    it("take half of the request time-out for slow", () => {
        const slow = (requestTimeoutSeconds: number): string | undefined =>
            alerts({ api: { requestTimeoutSeconds } }).MlApiSlow?.expr;
        expect(slow(30)).to.match(/ > 15$/);
        expect(slow(1)).to.match(/ > 0\.5$/);
        expect(slow(3600)).to.match(/ > 1800$/);
    });

    it("compare held-back time with all time", () => {
        expect(alerts({ observability: { alerts: { throttledPercent: 10 } } }).MlApiThrottled?.expr).to.equal(
            `100 * max by (pod) (rate(container_cpu_cfs_throttled_periods_total{${pods}}[5m])` +
                ` / rate(container_cpu_cfs_periods_total{${pods}}[5m])) > 10`,
        );
    });

    it("take no other release's pods for their own, though it begin with the same name", () => {
        const own = new RegExp(`^(?:${/pod=~"([^"]+)"/.exec(alerts().MlApiErrors?.expr ?? "")?.[1] ?? ""})$`);
        expect("mf-demo-6d4f8b7c9d-x2x4z").to.match(own);
        expect("mf-demo-b-6d4f8b7c9d-x2x4z").not.to.match(own);
        expect("mf-demo-test-x2x4z-a-b").not.to.match(own);
    });
});
