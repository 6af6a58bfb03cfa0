import { stringify } from "yaml";
import { dashboardConfigMap, dashboardText } from "../observability/dashboard";

/** Prints the Grafana dashboard: for its import page, or as an object that its sidecar loads. */
export function dashboardCommand({ configmap }: { configmap?: string }): void {
    process.stdout.write(configmap === undefined ? dashboardText() : stringify(dashboardConfigMap(configmap)));
}
