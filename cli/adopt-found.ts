import type { ApiAccess } from "../components/config/kubeconfig";
import { didYouMean } from "../components/config/nearest";
import { InputError } from "../components/config/problem";
import { request } from "../components/guarded-release/live/api";
import { RELEASE_NAME } from "../components/guarded-release/live/owner";
import { openRecords } from "../components/guarded-release/live/live";
import { decodeRecord, type HelmRecord } from "../components/guarded-release/live/record";
import { asMap, at, type Fields } from "../components/guarded-release/safety/patch";
import { type LiveApi, maps, text } from "./adopt-objects";

/** What runs under a name in a namespace: a Helm release, else the objects around a Deployment. */
export type Running =
    | { readonly kind: "release"; readonly record: HelmRecord; readonly pods: readonly Fields[] }
    | ({
          readonly kind: "objects";
          /** An earlier take-over has written Helm's record already, and did not come to its end. */
          readonly begun: boolean;
      } & LiveApi);

export interface Found {
    readonly access: ApiAccess;
    readonly running: Running;
    /** Other programs that write the objects, as they have marked them. */
    readonly writers: readonly string[];
}

/** Description of the record that a take-over writes for objects that Helm has none of. */
export const ADOPTED = "Written by ml-api adopt, for objects that ran without Helm";

/** Milliseconds. */
const OPEN_MS = 15_000;
const REQUEST_MS = 10_000;

/**
 * Looks for what is to be taken over; reads, and changes nothing.
 *
 * @throws NoAnswer when the cluster cannot be asked. @throws InputError when there is no such release and no such Deployment, or it is not
 * in a state to be taken over
 */
export async function findRunning(
    name: string,
    namespace: string,
    context: string | undefined,
    env: NodeJS.ProcessEnv,
): Promise<Found> {
    const { access, records } = await openRecords({ context, namespace, release: name }, env, OPEN_MS);
    const list = (path: string, labels?: string): Promise<readonly Fields[]> => listed(access, path, labels);
    const newest = records.at(-1);
    const apps = `/apis/apps/v1/namespaces/${namespace}`;
    if (newest !== undefined && newest.status !== "uninstalled") {
        const record = decodeRecord(newest.secret);
        const isOurs = record.description === ADOPTED;
        if (record.status !== "deployed" && !isOurs)
            throw refused(
                `release ${name} in namespace ${namespace}`,
                `its revision ${record.revision} is "${record.status}", so Helm does not say which objects are right`,
                `bring it to an end first: helm rollback ${name} --namespace ${namespace}, or helm upgrade`,
            );
        const deployment = record.objects.find(({ kind }) => kind === "Deployment");
        const live =
            deployment === undefined ? undefined : await get(access, `${apps}/deployments/${deployment.metadata.name}`);
        const pods = live === undefined ? [] : await podsOf(live, namespace, list);
        const writers = live === undefined ? [] : writersOf(live);
        if (live !== undefined && isOurs)
            return {
                access,
                running: { kind: "objects", begun: true, ...(await around(live, namespace, list)) },
                writers,
            };
        return { access, running: { kind: "release", record, pods }, writers };
    }
    const deployment = await get(access, `${apps}/deployments/${name}`);
    if (deployment === undefined) throw await nothingThere(name, namespace, list);
    const owner = at(deployment, ["metadata", "annotations", RELEASE_NAME]);
    if (typeof owner === "string" && owner !== name)
        throw refused(
            `Deployment/${name}`,
            `it belongs to the Helm release ${owner}`,
            `npx --no ml-api adopt ${owner}`,
        );
    const [controller] = maps(at(deployment, ["metadata", "ownerReferences"]));
    if (controller !== undefined) {
        const by = `${text(controller["kind"])}/${text(controller["name"])}`;
        throw refused(
            `Deployment/${name}`,
            `it is made by ${by}, which would make it again`,
            `take it away from ${by} first, or leave it there`,
        );
    }
    return {
        access,
        running: { kind: "objects", begun: false, ...(await around(deployment, namespace, list)) },
        writers: writersOf(deployment),
    };
}

/** The running pods of a Deployment, as its selector says. */
export async function runningPods(
    access: ApiAccess,
    deployment: Fields,
    namespace: string,
): Promise<readonly Fields[]> {
    return podsOf(deployment, namespace, (path, labels) => listed(access, path, labels));
}

type List = (path: string, labels?: string) => Promise<readonly Fields[]>;

async function around(deployment: Fields, namespace: string, list: List): Promise<LiveApi> {
    const name = at(deployment, ["metadata", "name"]);
    const labels = asMap(at(deployment, ["spec", "template", "metadata", "labels"]));
    const [pods, allServices, allIngresses, allScalers] = await Promise.all([
        podsOf(deployment, namespace, list),
        list(`/api/v1/namespaces/${namespace}/services`),
        list(`/apis/networking.k8s.io/v1/namespaces/${namespace}/ingresses`),
        list(`/apis/autoscaling/v2/namespaces/${namespace}/horizontalpodautoscalers`),
    ]);
    const services = allServices.filter((service) => {
        const selector = Object.entries(asMap(at(service, ["spec", "selector"])));
        return selector.length > 0 && selector.every(([key, value]) => labels[key] === value);
    });
    const named = new Set(services.map((service) => at(service, ["metadata", "name"])));
    const ingresses = allIngresses.filter((ingress) =>
        maps(at(ingress, ["spec", "rules"]))
            .flatMap((rule) => maps(at(rule, ["http", "paths"])))
            .some((path) => named.has(at(path, ["backend", "service", "name"]))),
    );
    const autoscalers = allScalers.filter(
        (scaler) =>
            at(scaler, ["spec", "scaleTargetRef", "kind"]) === "Deployment" &&
            at(scaler, ["spec", "scaleTargetRef", "name"]) === name,
    );
    return { deployment, services, ingresses, autoscalers, pods };
}

async function podsOf(deployment: Fields, namespace: string, list: List): Promise<readonly Fields[]> {
    const selector = Object.entries(asMap(at(deployment, ["spec", "selector", "matchLabels"])));
    const pods = await list(
        `/api/v1/namespaces/${namespace}/pods`,
        selector.map(([key, value]) => `${key}=${text(value)}`).join(","),
    );
    return pods.filter((pod) => at(pod, ["metadata", "deletionTimestamp"]) === undefined);
}

/** Marks that deploying programs leave on what they write. */
const WRITERS: Readonly<Record<string, RegExp>> = {
    "Argo CD": /^argocd\.argoproj\.io\//,
    Flux: /^(?:kustomize|helm)\.toolkit\.fluxcd\.io\//,
    Pulumi: /^pulumi\.com\/autonamed$/,
};

function writersOf(object: Fields): readonly string[] {
    const marks = [
        ...Object.keys(asMap(at(object, ["metadata", "labels"]))),
        ...Object.keys(asMap(at(object, ["metadata", "annotations"]))),
    ];
    return Object.entries(WRITERS).flatMap(([writer, pattern]) =>
        marks.some((one) => pattern.test(one)) ? [writer] : [],
    );
}

async function nothingThere(name: string, namespace: string, list: List): Promise<InputError> {
    const deployments = (await list(`/apis/apps/v1/namespaces/${namespace}/deployments`)).map((one) =>
        text(at(one, ["metadata", "name"])),
    );
    const records = await list(`/api/v1/namespaces/${namespace}/secrets`, "owner=helm,status=deployed");
    const releases = records.map((one) => text(at(one, ["metadata", "labels", "name"])));
    const there = [
        ...(releases.length === 0 ? [] : [`releases ${releases.join(", ")}`]),
        ...(deployments.length === 0 ? [] : [`Deployments ${deployments.join(", ")}`]),
    ];
    return refused(
        `"${name}"`,
        `namespace ${namespace} has neither a Helm release nor a Deployment of this name${didYouMean(name, [...releases, ...deployments])}`,
        there.length === 0
            ? "there is none at all: is it the right --namespace and --context?"
            : `it has ${there.join("; ")}`,
    );
}

function refused(where: string, what: string, fix: string): InputError {
    return new InputError("adopt", [{ where, what, fix }]);
}

async function get(access: ApiAccess, path: string): Promise<Fields | undefined> {
    const { status, body } = await request(access, { path, timeoutMs: REQUEST_MS });
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(`the API server answers ${status} to GET ${path}`);
    return JSON.parse(body) as Fields;
}

/** @returns nothing for a kind that these credentials may not list, or that the cluster lacks */
async function listed(access: ApiAccess, path: string, labels?: string): Promise<readonly Fields[]> {
    const query = labels === undefined ? {} : { labelSelector: labels };
    const { status, body } = await request(access, { path, query, timeoutMs: REQUEST_MS });
    if (status === 403 || status === 404) return [];
    if (status !== 200) throw new Error(`the API server answers ${status} to GET ${path}`);
    return maps(at(JSON.parse(body), ["items"]));
}
