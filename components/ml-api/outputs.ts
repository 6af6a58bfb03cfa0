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

/**
 * Where clients reach the API, without a slash at its end: the host and path of its Ingress, else of its HTTPRoute, else its Service, which
 * answers inside the cluster only. The TLS of an HTTPRoute is its Gateway's, which no render shows; like the chart's notes, this says https.
 */
export function urlOf(objects: readonly RenderedObject[], namespace: string): string {
    const outside = ingressUrl(specOf(objects, "Ingress")) ?? routeUrl(specOf(objects, "HTTPRoute"));
    if (outside !== undefined) return outside.replace(/\/$/, "");
    const service = serviceOf(objects);
    if (service === undefined) return "";
    const port = servicePort(service);
    return `http://${service.metadata.name}.${namespace}.svc.cluster.local${port === 80 ? "" : `:${port}`}`;
}

function ingressUrl(spec: unknown): string | undefined {
    const { tls = [], rules = [] } = (spec ?? {}) as {
        readonly tls?: readonly unknown[];
        readonly rules?: readonly { host?: string; http?: { paths?: readonly { path?: string }[] } }[];
    };
    const host = rules[0]?.host;
    const path = rules[0]?.http?.paths?.[0]?.path ?? "";
    return host === undefined ? undefined : `${tls.length > 0 ? "https" : "http"}://${host}${path}`;
}

function routeUrl(spec: unknown): string | undefined {
    const { hostnames = [], rules = [] } = (spec ?? {}) as {
        readonly hostnames?: readonly string[];
        readonly rules?: readonly { matches?: readonly { path?: { value?: string } }[] }[];
    };
    const path = rules[0]?.matches?.[0]?.path?.value ?? "";
    return hostnames[0] === undefined ? undefined : `https://${hostnames[0]}${path}`;
}

function specOf(objects: readonly RenderedObject[], kind: string): unknown {
    return objects.find((object) => object.kind === kind)?.spec;
}

/** The Service that clients ask; another one may lead a hook's Job for a while. */
function serviceOf(objects: readonly RenderedObject[]): RenderedObject | undefined {
    return objects.find(
        ({ kind, metadata }) => kind === "Service" && metadata.annotations?.["helm.sh/hook"] === undefined,
    );
}

/** The shell lines that reach the API from a person's machine. */
export function accessCommand(where: Where, objects: readonly RenderedObject[], values: Values): string {
    const service = serviceOf(objects);
    if (service === undefined) return "";
    return [
        `${kubectl(where)} port-forward service/${service.metadata.name} 8080:${servicePort(service)} &`,
        curlCommand(where, "http://127.0.0.1:8080", values),
    ].join("\n");
}

/** The shell line that asks for a prediction at an address. It holds no key, but the way to it. */
export function curlCommand(where: Where, address: string, values: Values): string {
    const key =
        where.keySecret === undefined
            ? ""
            : ` -H "Authorization: Bearer $(${kubectl(where)} get secret ${where.keySecret} -o go-template='{{.data.key | base64decode}}')"`;
    return `curl -s ${address}/predict${key} -H "Content-Type: application/json" -d ${quote(sampleOf(values))}`;
}

/** The command that follows the logs of all the API's pods. */
export function logsCommand(where: Where): string {
    const selector = `app.kubernetes.io/instance=${where.name},app.kubernetes.io/component=api`;
    // kubectl follows five pods unless it is told more.
    return `${kubectl(where)} logs --selector ${selector} --prefix --follow --tail 100 --max-log-requests 100`;
}

function kubectl({ context, namespace }: Where): string {
    return `kubectl${context === undefined ? "" : ` --context ${word(context)}`} --namespace ${namespace}`;
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

/** A kubeconfig may call a context anything. */
function word(text: string): string {
    return /^[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*$/.test(text) ? text : quote(text);
}

function quote(text: string): string {
    return `'${text.replaceAll("'", `'\\''`)}'`;
}
