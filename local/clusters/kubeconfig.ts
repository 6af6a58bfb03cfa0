import { existsSync } from "node:fs";
import { delimiter, isAbsolute } from "node:path";
import {
    type ApiAccess,
    credentialOf,
    findTarget,
    kubeconfigFiles,
    KubeconfigProblem,
    readKubeconfig,
    staticAccess,
} from "../../components/config/kubeconfig";
import type { Variables } from "../paths";
import { onPath } from "../tools";

/** The cluster that a kubeconfig points at, with what is needed to ask it something. */
export interface KubeconfigTarget {
    /** What KUBECONFIG should hold: the file, or the list of files. */
    readonly kubeconfig: string;
    readonly context: string;
    /** Without what a credential program or an auth provider would give. */
    readonly access: ApiAccess;
    /** How the user proves who they are, for people. */
    readonly credential: string;
}

/** Any trouble a person can put right; the message says how. */
export class ClusterProblem extends Error {}

const ownCluster =
    "or let this repository start a cluster: CLUSTER=simulated make up (anywhere), CLUSTER=node make up (Linux, root).";

/**
 * Reads the current context of the user's kubeconfig and checks all of it that can be checked without the cluster.
 *
 * @throws ClusterProblem
 */
export function readTarget(variables: Variables): KubeconfigTarget {
    try {
        return checkedTarget(variables);
    } catch (error) {
        if (!(error instanceof KubeconfigProblem)) throw error;
        const { where, what, fix } = error;
        throw new ClusterProblem(
            `The kubeconfig ${where}: ${what}.\n${fix.charAt(0).toUpperCase()}${fix.slice(1)}, ${ownCluster}`,
        );
    }
}

function checkedTarget(variables: Variables): KubeconfigTarget {
    const { files, named } = kubeconfigFiles(variables);
    const config = readKubeconfig(variables);
    if (config === undefined) {
        throw new ClusterProblem(
            `There is no kubeconfig: ${files.join(", ")} does not exist (${named ? "KUBECONFIG" : "KUBECONFIG is not set"}).\n` +
                `CLUSTER=current uses the cluster that your kubeconfig points at. Write one (\`kind create cluster\`, \`aws eks update-kubeconfig\`, …), ${ownCluster}`,
        );
    }
    const { where, currentContext } = config;
    if (currentContext === undefined) {
        const names = [...config.contexts.keys()];
        if (names.length === 0) throw new KubeconfigProblem(where, "it holds no settings", "log in to a cluster");
        throw new KubeconfigProblem(
            where,
            `there is no current context (there are: ${names.join(", ")})`,
            "choose one: kubectl config use-context NAME",
        );
    }
    const target = findTarget(config, currentContext);
    const credential = credentialOf(target);
    let shown: string = credential.kind;
    if (credential.kind === "program") {
        const { command, named: written } = credential;
        if (isAbsolute(command) ? !existsSync(command) : onPath(command, variables) === undefined) {
            throw new KubeconfigProblem(
                where,
                `context "${currentContext}" gets its credential from the program "${written}", which is not on PATH`,
                "install it, then try again; choose another context",
            );
        }
        shown = `program ${written}`;
    }
    if (credential.kind === "auth provider") shown = `auth provider ${credential.name}`;
    return {
        kubeconfig: named ? files.join(delimiter) : where,
        context: currentContext,
        credential: shown,
        access: staticAccess(target, credential, variables),
    };
}
