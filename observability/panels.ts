/** Where the numbers of a query come from: the API itself, or what a cluster with a Prometheus usually has besides. */
export type Source = "api" | "kube-state-metrics" | "cAdvisor" | "Prometheus";

export interface Query {
    /** PromQL with the dashboard's variables: `$namespace`, `$api`, `$handler`, `$__rate_interval`. */
    readonly expr: string;
    readonly legend: string;
    readonly source: Source;
}

export interface Panel {
    readonly title: string;
    /** What it tells, and what to do when it looks bad. */
    readonly description: string;
    readonly kind: "timeseries" | "stat" | "heatmap";
    /** Grafana's name of the unit. */
    readonly unit: string;
    /** Of 24 columns. */
    readonly width: number;
    readonly stacked?: boolean;
    readonly queries: readonly Query[];
}

export interface Row {
    readonly title: string;
    readonly panels: readonly Panel[];
}

/** A moment that is drawn into every panel. The value of the query is the time, in milliseconds. */
export interface Marker extends Query {
    readonly name: string;
    readonly color: string;
}

/** The pods of the Deployment and of nothing whose name only begins the same; the labels are those that a PodMonitor sets. */
const pods = 'namespace="$namespace", pod=~"$api-[a-z0-9]+-[a-z0-9]+", container="api"';
const predictions = `${pods}, handler="$handler"`;
const deployment = 'namespace="$namespace", deployment="$api"';
const ofPods = 'namespace="$namespace", pod=~"$api-[a-z0-9]+-[a-z0-9]+"';

const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
const api = (expr: string, legend: string): Query => ({ expr, legend, source: "api" });
const cluster = (expr: string, legend: string): Query => ({ expr, legend, source: "kube-state-metrics" });
const container = (expr: string, legend: string): Query => ({ expr, legend, source: "cAdvisor" });

const quantile = (part: number, histogram: string, selector: string): string =>
    `histogram_quantile(${part}, sum by (le) (${rate(`${histogram}_bucket{${selector}}`)}))`;

const requests: Row = {
    title: "Requests: rate, errors, duration",
    panels: [
        {
            title: "Predictions per second",
            description:
                "By status. 429: above api.maxConcurrentRequests. none: the caller hung up, or a drain ran out of time.",
            ...{ kind: "timeseries", unit: "reqps", width: 8, stacked: true },
            queries: [api(`sum by (status) (${rate(`http_requests_total{${predictions}}`)})`, "{{status}}")],
        },
        {
            title: "Predictions that fail",
            description: "Part that ends with 5xx, and part that is refused with 429.",
            ...{ kind: "timeseries", unit: "percent", width: 8 },
            queries: [
                ["5..", "failed (5xx)"],
                ["429", "refused (429)"],
            ].map(([status = "", legend = ""]) =>
                api(
                    // Without such an answer so far there is no series: that is none, not unknown.
                    `100 * (sum(${rate(`http_requests_total{${predictions}, status=~"${status}"}`)}) or vector(0)) / sum(${rate(`http_requests_total{${predictions}}`)})`,
                    legend,
                ),
            ),
        },
        {
            title: "Duration of a prediction",
            description: "From the request's headers to the end of the answer.",
            ...{ kind: "timeseries", unit: "s", width: 8 },
            queries: [0.5, 0.95, 0.99].map((part) =>
                api(quantile(part, "http_request_duration_seconds", predictions), `${part * 100} %`),
            ),
        },
        {
            title: "Durations",
            description: "How many predictions took how long.",
            ...{ kind: "heatmap", unit: "s", width: 12 },
            queries: [api(`sum by (le) (${rate(`http_request_duration_seconds_bucket{${predictions}}`)})`, "{{le}}")],
        },
        {
            title: "Under way at once",
            description: "All pods together. Near the limit, further requests get 429: more pods, or a faster model.",
            ...{ kind: "timeseries", unit: "short", width: 12 },
            queries: [
                api(`sum(ml_api_predict_in_flight{${pods}})`, "under way"),
                api(`sum(ml_api_predict_in_flight_limit{${pods}})`, "limit"),
            ],
        },
    ],
};

const model: Row = {
    title: "Model",
    panels: [
        {
            title: "Pods whose model answers",
            description:
                "A pod that loads its model is not ready. Longer than model.loadBudgetSeconds: it is started again.",
            ...{ kind: "stat", unit: "short", width: 4 },
            queries: [api(`sum(ml_api_model_ready{${pods}})`, "ready")],
        },
        {
            title: "Time to load",
            description: "The slowest pod. model.loadBudgetSeconds has to be more.",
            ...{ kind: "stat", unit: "s", width: 4 },
            queries: [api(`max(ml_api_model_load_seconds{${pods}})`, "slowest")],
        },
        {
            title: "Versions",
            description: "Pods by the version of their model. Two at once: a rollout is under way.",
            ...{ kind: "timeseries", unit: "short", width: 8, stacked: true },
            queries: [api(`count by (name, version) (ml_api_model_info{${pods}})`, "{{name}} {{version}}")],
        },
        {
            title: "Inside the model",
            description: "Time of one request inside the model. Much less than the whole: requests wait for a thread.",
            ...{ kind: "timeseries", unit: "s", width: 8 },
            queries: [0.5, 0.95].map((part) =>
                api(quantile(part, "ml_api_inference_duration_seconds", pods), `${part * 100} %`),
            ),
        },
        {
            title: "What it answers",
            description: "Inputs by the class that the model gave. Another mix may be another model, or other callers.",
            ...{ kind: "timeseries", unit: "percentunit", width: 24, stacked: true },
            queries: [
                api(
                    `sum by (label) (${rate(`ml_api_predictions_total{${pods}}`)}) / ignoring (label) group_left () sum(${rate(`ml_api_predictions_total{${pods}}`)})`,
                    "{{label}}",
                ),
            ],
        },
    ],
};

const rollouts: Row = {
    title: "Rollouts and drains",
    panels: [
        {
            title: "Pods",
            description: "Ready, wanted, and already of the newest revision.",
            ...{ kind: "timeseries", unit: "short", width: 8 },
            queries: [
                cluster(`max(kube_deployment_status_replicas_ready{${deployment}})`, "ready"),
                cluster(`max(kube_deployment_spec_replicas{${deployment}})`, "wanted"),
                cluster(`max(kube_deployment_status_replicas_updated{${deployment}})`, "of the newest revision"),
            ],
        },
        {
            title: "Drains",
            description: "Pods that were told to end, and the predictions that they still finish.",
            ...{ kind: "timeseries", unit: "short", width: 8 },
            queries: [
                cluster(`count(kube_pod_deletion_timestamp{${ofPods}}) or vector(0)`, "ending pods"),
                cluster(
                    `sum(ml_api_predict_in_flight{${pods}} and on (namespace, pod) kube_pod_deletion_timestamp{${ofPods}}) or vector(0)`,
                    "predictions under way in them",
                ),
            ],
        },
        {
            title: "Cut off",
            description:
                "Predictions without an answer: the caller hung up, or a drain ran out of time. None through a rollout.",
            ...{ kind: "timeseries", unit: "reqps", width: 8 },
            queries: [
                api(
                    `sum(${rate(`http_requests_total{${predictions}, status="none"}`)}) or 0 * sum(${rate(`http_requests_total{${predictions}}`)})`,
                    "without an answer",
                ),
            ],
        },
        {
            title: "Release",
            description: "Revision of the Helm release, by its newest record.",
            ...{ kind: "stat", unit: "none", width: 4 },
            queries: [
                cluster(
                    'max by (revision) (label_replace(topk(1, kube_secret_created{namespace="$namespace", secret=~"sh[.]helm[.]release[.]v1[.]$api[.]v[0-9]+"}), "revision", "$1", "secret", ".*[.]v([0-9]+)"))',
                    "{{revision}}",
                ),
            ],
        },
        {
            title: "Started again",
            description:
                "Containers that ended and were started again in an hour, and how many of them for lack of memory.",
            ...{ kind: "timeseries", unit: "short", width: 10 },
            queries: [
                cluster(`sum(increase(kube_pod_container_status_restarts_total{${pods}}[1h]))`, "started again"),
                cluster(
                    `sum(kube_pod_container_status_last_terminated_reason{${pods}, reason="OOMKilled"}) or vector(0)`,
                    "last ended for lack of memory",
                ),
            ],
        },
        {
            title: "Alerts",
            description: "Alerts of the chart (observability.alerts) that fire, of all APIs. No data: none.",
            ...{ kind: "timeseries", unit: "short", width: 10, stacked: true },
            queries: [
                {
                    expr: 'count by (alertname) (ALERTS{alertname=~"MlApi.+", alertstate="firing"})',
                    legend: "{{alertname}}",
                    source: "Prometheus",
                },
            ],
        },
    ],
};

const resources: Row = {
    title: "Resources",
    panels: [
        {
            title: "CPU",
            description: "Cores that each pod uses.",
            ...{ kind: "timeseries", unit: "none", width: 8 },
            queries: [api(`sum by (pod) (${rate(`process_cpu_seconds_total{${pods}}`)})`, "{{pod}}")],
        },
        {
            title: "Throttled",
            description:
                "Part of its time in which a pod is held back by its CPU limit. Raise resources.limits.cpu, or set it to none.",
            ...{ kind: "timeseries", unit: "percent", width: 8 },
            queries: [
                container(
                    `100 * sum by (pod) (${rate(`container_cpu_cfs_throttled_periods_total{${pods}}`)}) / sum by (pod) (${rate(`container_cpu_cfs_periods_total{${pods}}`)})`,
                    "{{pod}}",
                ),
            ],
        },
        {
            title: "Memory",
            description: "What counts towards the limit. At the limit the container is killed.",
            ...{ kind: "timeseries", unit: "bytes", width: 8 },
            queries: [
                container(`max by (pod) (container_memory_working_set_bytes{${pods}})`, "{{pod}}"),
                cluster(`min(kube_pod_container_resource_limits{${pods}, resource="memory"})`, "limit"),
                api(`sum by (pod) (process_resident_memory_bytes{${pods}})`, "{{pod}}, as the process sees it"),
            ],
        },
    ],
};

export const rows: readonly Row[] = [requests, model, rollouts, resources];

export const markers: readonly Marker[] = [
    {
        name: "Releases",
        color: "blue",
        expr: 'label_replace(kube_secret_created{namespace="$namespace", secret=~"sh[.]helm[.]release[.]v1[.]$api[.]v[0-9]+"} * 1000, "revision", "$1", "secret", ".*[.]v([0-9]+)")',
        legend: "revision {{revision}}",
        source: "kube-state-metrics",
    },
    {
        name: "Pods that start",
        color: "green",
        expr: `process_start_time_seconds{${pods}} * 1000`,
        legend: "{{pod}} starts",
        source: "api",
    },
];

export const queries: readonly Query[] = [
    ...rows.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries)),
    ...markers,
];
