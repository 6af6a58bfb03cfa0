import * as path from "node:path";
import {
    type Credential,
    credentialOf,
    findTarget,
    KubeconfigProblem,
    readKubeconfig,
    wantedContext,
} from "./kubeconfig";
import { InputError } from "./problem";

/** The cluster that `kubectl` and the Kubernetes provider would talk to, as far as the kubeconfig tells. */
export interface Cluster {
    readonly context: string;
    /** Address of the API server. */
    readonly server: string;
    /** The command that gives a person access to it. */
    readonly access: string;
    /** The context was named by the stack or by the environment, instead of being whatever happened to be current. */
    readonly pinned: boolean;
}

/**
 * Finds the cluster of a stack.
 *
 * @param wanted the stack's `kubernetes:context`; without it `ML_API_CONTEXT` (set by `ml-api env`), else the current one
 * @returns undefined when there is no kubeconfig: a preview needs none
 * @throws InputError when the kubeconfig cannot be used; see {@link findTarget} and {@link credentialOf}
 */
export function findCluster(wanted: string | undefined, env: NodeJS.ProcessEnv = process.env): Cluster | undefined {
    try {
        const kubeconfig = readKubeconfig(env);
        const named = wantedContext(wanted, env);
        const context = named ?? kubeconfig?.currentContext;
        if (kubeconfig === undefined || context === undefined) return undefined;
        const target = findTarget(kubeconfig, context);
        const credential = credentialOf(target);
        const access =
            env["ML_API_CONTEXT"] === context ? 'eval "$(npx --no ml-api env)"' : accessCommand(context, credential);
        return { context, server: target.server, access, pinned: named !== undefined };
    } catch (error) {
        if (error instanceof KubeconfigProblem) throw new InputError("cluster", [error]);
        throw error;
    }
}

/** The cloud's own log-in command where the kubeconfig shows which cloud it is. */
function accessCommand(context: string, credential: Credential): string {
    const { command = "", args = [] } = credential.kind === "program" ? credential : {};
    const option = (name: string) => args[args.indexOf(name) + 1] ?? "";
    if (path.basename(command) === "aws" && args.includes("--cluster-name")) {
        const region = args.includes("--region") ? ` --region ${option("--region")}` : "";
        return `aws eks update-kubeconfig --name ${option("--cluster-name")}${region} --alias ${context}`;
    }
    const gke = /^gke_([^_]+)_([^_]+)_(.+)$/.exec(context);
    if (gke !== null)
        return `gcloud container clusters get-credentials ${gke[3]} --location ${gke[2]} --project ${gke[1]}`;
    return `kubectl config use-context ${context}`;
}
