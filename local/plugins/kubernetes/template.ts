import { join } from "node:path";
import { Unimplemented } from "../rpc/failure";
import type { Properties } from "../rpc/properties";
import { textOf } from "../rpc/properties";
import type { Cluster } from "./cluster";
import type { Helm } from "./helm";
import { isNamespacedKind } from "../../../components/guarded-release/render/kinds";
import { annotation, namespaceOf, setMetadata } from "./object";
import { objectsOf } from "./manifest";

/** What Helm assumes of a cluster that it does not know. */
const assumedKubeVersion = "v1.20.0";

interface TemplateOptions {
    chart?: string;
    path?: string;
    release_name?: string;
    namespace?: string;
    values?: Properties;
    kube_version?: string;
    api_versions?: string[];
    include_test_hook_resources?: boolean;
    skip_crd_rendering?: boolean;
}

function optionsOf(args: Properties): TemplateOptions {
    if (typeof args.jsonOpts !== "string") throw new Error("missing required field 'jsonOpts' of type string");
    try {
        return JSON.parse(args.jsonOpts) as TemplateOptions;
    } catch (error) {
        throw new Error(`failed to unmarshal 'jsonOpts': ${(error as Error).message}`, { cause: error });
    }
}

function isTestHook(object: Properties): boolean {
    return annotation(object, "helm.sh/hook").includes("test");
}

/** Puts an object that names no namespace into the given one, unless its kind lives outside namespaces. */
export function placed(object: Properties, namespace: string): Properties {
    if (namespace === "" || namespaceOf(object) !== "") return object;
    const outside = isNamespacedKind(textOf(object.apiVersion), textOf(object.kind)) === false;
    return outside ? object : setMetadata(object, { namespace });
}

async function capabilities(
    options: TemplateOptions,
    cluster: Cluster | undefined,
): Promise<{ kubeVersion: string; apiVersions: string[] }> {
    const { kube_version: kubeVersion = "", api_versions: apiVersions = [] } = options;
    if (kubeVersion !== "") return { kubeVersion, apiVersions };
    if (cluster === undefined || (await cluster.unreachable()) !== undefined) {
        return { kubeVersion: assumedKubeVersion, apiVersions };
    }
    return {
        kubeVersion: await cluster.serverVersion(),
        apiVersions: apiVersions.length > 0 ? apiVersions : await cluster.apiVersions(),
    };
}

/** `kubernetes:helm:template`: renders a chart as Helm would install it, without touching a cluster. */
export async function renderChart(args: Properties, helm: Helm, cluster: Cluster | undefined): Promise<Properties> {
    const options = optionsOf(args);
    const { path = "", chart = "", namespace = "", release_name: name = "", values = {} } = options;
    if (path === "") {
        throw new Unimplemented("the stand-in for the Kubernetes provider renders charts from a local `path` only");
    }
    const place = namespace === "" ? "default" : namespace;
    const { kubeVersion, apiVersions } = await capabilities(options, cluster);
    let manifest: string;
    try {
        manifest = await helm.run({
            args: [
                ...["template", name === "" ? "release-name" : name, chart === "" ? path : join(path, chart)],
                ...["--namespace", place, "--values", "-", "--kube-version", kubeVersion],
                ...apiVersions.flatMap((version) => ["--api-versions", version]),
                ...(options.skip_crd_rendering === true ? [] : ["--include-crds"]),
            ],
            values,
        });
    } catch (error) {
        const message = (error as Error).message;
        throw new Error(
            `failed to generate YAML for specified Helm chart: failed to create chart from template: ${message}`,
            { cause: error },
        );
    }
    const objects = objectsOf(manifest)
        .filter((object) => options.include_test_hook_resources === true || !isTestHook(object))
        .map((object) => placed(object, namespace));
    return { result: objects };
}
