import { isValues, type Values } from "../config/values";
import type { RenderedObject } from "../guarded-release/render/render";

/** Where an API runs, as far as the commands that people type need it. */
export interface Where {
    readonly name: string;
    readonly namespace: string;
    /** kubectl context; the current one when undefined. */
    readonly context: string | undefined;
    /** Secret that holds the API key in `key`; undefined when the API asks for none. */
    readonly keySecret: string | undefined;
}

/** The image of the API's container, as the chart renders it. */
export function imageOf(objects: readonly RenderedObject[]): string {
    const deployment = objects.find(({ kind }) => kind === "Deployment");
    const pod = deployment?.spec as { template?: { spec?: { containers?: { image?: string }[] } } } | undefined;
    return pod?.template?.spec?.containers?.[0]?.image ?? "";
}

/** The address of the Service, for clients inside the cluster. */
export function urlOf(objects: readonly RenderedObject[], namespace: string): string {
    const service = objects.find(({ kind }) => kind === "Service");
    if (service === undefined) return "";
    const port = servicePort(service);
    return `http://${service.metadata.name}.${namespace}.svc.cluster.local${port === 80 ? "" : `:${port}`}`;
}

/** The shell lines that reach the API from a person's machine. */
export function accessCommand(where: Where, objects: readonly RenderedObject[], values: Values): string {
    const service = objects.find(({ kind }) => kind === "Service");
    if (service === undefined) return "";
    const key =
        where.keySecret === undefined
            ? ""
            : ` -H "Authorization: Bearer $(${kubectl(where)} get secret ${where.keySecret} -o go-template='{{.data.key | base64decode}}')"`;
    return [
        `${kubectl(where)} port-forward service/${service.metadata.name} 8080:${servicePort(service)} &`,
        `curl -s http://127.0.0.1:8080/predict${key} -H "Content-Type: application/json" -d ${quote(sampleOf(values))}`,
    ].join("\n");
}

/** The command that follows the logs of all the API's pods. */
export function logsCommand(where: Where): string {
    const selector = `app.kubernetes.io/instance=${where.name},app.kubernetes.io/component=api`;
    // kubectl follows five pods unless it is told more.
    return `${kubectl(where)} logs --selector ${selector} --prefix --follow --tail 100 --max-log-requests 100`;
}

function kubectl({ context, namespace }: Where): string {
    return `kubectl${context === undefined ? "" : ` --context ${context}`} --namespace ${namespace}`;
}

function servicePort(service: RenderedObject): number {
    return (service.spec as { ports?: { port?: number }[] } | undefined)?.ports?.[0]?.port ?? 80;
}

function sampleOf(values: Values): string {
    const verify = values["verify"];
    const sample = isValues(verify) ? verify["sample"] : undefined;
    return typeof sample === "string"
        ? sample
        : sample === undefined || sample === null
          ? "{}"
          : JSON.stringify(sample);
}

function quote(text: string): string {
    return `'${text.replaceAll("'", `'\\''`)}'`;
}
