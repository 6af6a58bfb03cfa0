import { type Marker, markers, type Panel, type Row, rows } from "./panels";

const datasource = { type: "prometheus", uid: "${datasource}" };
/** Rows of Grafana's grid that a panel is high. */
const HEIGHT = 8;
const COLUMNS = 24;

/** The dashboard as Grafana 10 and later import it. The same panels give the same text. */
export function dashboardText(): string {
    return `${JSON.stringify(dashboard(), undefined, 2)}\n`;
}

/** A ConfigMap that Grafana's sidecar of the usual Helm charts loads. */
export function dashboardConfigMap(namespace: string): object {
    return {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "ml-api-dashboard", namespace, labels: { grafana_dashboard: "1" } },
        data: { "ml-api.json": dashboardText() },
    };
}

function dashboard(): object {
    return {
        uid: "ml-api",
        title: "Machine-learning API",
        description: "Requests, model, rollouts and resources of an API that the ml-api chart deploys.",
        tags: ["ml-api"],
        schemaVersion: 39,
        editable: true,
        graphTooltip: 1,
        refresh: "30s",
        time: { from: "now-3h", to: "now" },
        templating: { list: variables },
        annotations: { list: markers.map(annotation) },
        panels: placed(rows),
    };
}

const pickedFrom = (name: string, label: string, query: string, regex = ""): object => ({
    ...{ name, label, type: "query", datasource, query: { query, refId: name }, regex, refresh: 2, sort: 1 },
    ...{ definition: query, includeAll: false, multi: false },
});

const variables: readonly object[] = [
    { name: "datasource", label: "Prometheus", type: "datasource", query: "prometheus" },
    pickedFrom("namespace", "Namespace", 'label_values(http_requests_total{container="api"}, namespace)'),
    pickedFrom(
        "api",
        "API",
        'label_values(http_requests_total{namespace="$namespace", container="api"}, pod)',
        // Of a pod's name the two last parts are the ReplicaSet's and its own.
        "/^(.+)-[a-z0-9]+-[a-z0-9]+$/",
    ),
    { name: "handler", label: "Path of predictions", type: "textbox", query: "/predict" },
];

function annotation({ name, color, expr, legend }: Marker): object {
    return {
        ...{ name, datasource, enable: true, iconColor: color, expr, titleFormat: legend },
        ...{ useValueForTime: true, step: "30s" },
    };
}

/** Panels from left to right, a new line of them where one does not fit any more. */
function placed(all: readonly Row[]): readonly object[] {
    let y = 0;
    let id = 0;
    return all.flatMap(({ title, panels }) => {
        const head = {
            id: ++id,
            type: "row",
            title,
            collapsed: false,
            panels: [],
            gridPos: { x: 0, y, w: COLUMNS, h: 1 },
        };
        y += 1;
        let x = 0;
        const below = panels.map((panel) => {
            if (x + panel.width > COLUMNS) [x, y] = [0, y + HEIGHT];
            const gridPos = { x, y, w: panel.width, h: HEIGHT };
            x += panel.width;
            return { id: ++id, ...drawn(panel), gridPos };
        });
        y += HEIGHT;
        return [head, ...below];
    });
}

function drawn({ title, description, kind, unit, stacked = false, queries }: Panel): object {
    const options = {
        timeseries: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } },
        stat: { reduceOptions: { calcs: ["lastNotNull"] }, textMode: unit === "none" ? "name" : "value" },
        heatmap: { calculate: false, yAxis: { unit }, color: { scheme: "Oranges" } },
    }[kind];
    const custom = stacked ? { stacking: { mode: "normal" }, fillOpacity: 20 } : {};
    return {
        ...{ type: kind, title, description, datasource, options },
        fieldConfig: { defaults: { unit, min: 0, ...(kind === "timeseries" ? { custom } : {}) }, overrides: [] },
        targets: queries.map(({ expr, legend }, index) => ({
            refId: String.fromCharCode("A".charCodeAt(0) + index),
            ...{ datasource, expr, legendFormat: legend },
            ...(kind === "stat" ? { instant: true, range: false } : { range: true }),
            ...(kind === "heatmap" ? { format: "heatmap" } : {}),
        })),
    };
}
