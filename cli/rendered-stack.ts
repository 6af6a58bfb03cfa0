import * as path from "node:path";
import { InputError } from "../components/config/problem";
import type { Settings } from "../components/config/settings";
import { readStack } from "../components/config/stack";
import { mergeValues } from "../components/config/values";
import { digestOf } from "../components/guarded-release/render/digest";
import { explain } from "../components/guarded-release/render/explain";
import { objectsIn } from "../components/guarded-release/render/manifest";
import { KUBE_VERSION, type RenderedObject } from "../components/guarded-release/render/render";
import { keySecretOf, releaseValues } from "../components/ml-api/values";
import { writeYaml } from "../local/plugins/kubernetes/manifest";
import { ensureTools } from "../local/tools";
import { capture, CommandError } from "./process";

/** What a stack would install, as the program renders it. */
export interface RenderedStack {
    readonly stack: string;
    readonly settings: Settings;
    /** As Helm prints it: one YAML document per object, hooks and tests included. */
    readonly manifest: string;
    readonly objects: readonly RenderedObject[];
    /** The program's own digest of these objects. */
    readonly digest: string;
}

const CHART = "chart";

/** The `helm` to render with. Says where it came from on stderr: stdout belongs to what a command prints. */
export async function ensureHelm(): Promise<string> {
    const { helm } = await ensureTools(["helm"], { log: logToStderr });
    return helm.path;
}

export function logToStderr(line: string): void {
    process.stderr.write(`${line}\n`);
}

/**
 * Renders a stack without Pulumi and without a cluster, with exactly the values and the Kubernetes version of the program.
 *
 * @param root a project's folder; not necessarily this checkout
 * @param helm path of the `helm` program
 * @throws InputError with every problem of stack file, values file and chart that was found
 */
export async function renderStack(root: string, stack: string, helm: string): Promise<RenderedStack> {
    const settings = readStack(root, stack);
    const values = mergeValues(releaseValues(settings), { global: { renderDigest: "", repair: "" } });
    const { name, namespace } = settings;
    const args = [
        "template",
        name,
        path.join(root, CHART),
        "--namespace",
        namespace,
        "--values",
        "-",
        "--include-crds",
    ];
    const manifest = await capture(helm, [...args, "--kube-version", KUBE_VERSION], {
        env: helmVariables(),
        cwd: root,
        // The plugins' type of a value is one that may be written to.
        input: writeYaml(values as Parameters<typeof writeYaml>[0]),
    }).catch((error: unknown) => {
        if (!(error instanceof CommandError)) throw error;
        const { subject, problems } = explain(error.stderr.replace(/^(?:WARNING|coalesce)[^\n]*\n/gm, ""), {
            chart: `./${CHART}`,
            origin: { file: settings.valuesFile, places: settings.places },
            root,
        });
        throw new InputError(`stack "${stack}": ${subject}`, problems);
    });
    const objects = objectsIn(manifest, namespace);
    return { stack, settings, manifest, objects, digest: digestOf(objects) };
}

/** Nothing of the shell may decide what a chart renders to. */
function helmVariables(): NodeJS.ProcessEnv {
    const named = ["HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_DEBUG", "KUBECONFIG"];
    return { ...process.env, ...Object.fromEntries(named.map((name) => [name, undefined])) };
}

/**
 * The objects that the program makes around the release: the namespace, and the Secret with the API key. Of the Secret only
 * the name is known here; its name changes with the key.
 */
export function programObjects(settings: Settings): readonly RenderedObject[] {
    const { namespace, createNamespace } = settings;
    const secret = keySecretOf(settings);
    return [
        ...(createNamespace ? [{ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }] : []),
        ...(secret?.ours === true ? [keySecretObject(secret.name, namespace)] : []),
    ];
}

export function keySecretObject(name: string, namespace: string): RenderedObject {
    return { apiVersion: "v1", kind: "Secret", metadata: { name, namespace } };
}
