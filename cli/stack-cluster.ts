import { readProject } from "../components/config/project-file";
import type { Settings } from "../components/config/settings";
import { readStack } from "../components/config/stack";
import { readStackFile } from "../components/config/stack-file";
import type { LivePlace } from "../components/guarded-release/live/live";
import { rememberedCluster } from "../local/clusters/remembered";
import { stateDir } from "../local/paths";

/** Where the release of a stack is, without asking Pulumi or the cluster. */
export interface StackPlace extends LivePlace {
    readonly settings: Settings;
    /** The variables by which the cluster is found. */
    readonly env: NodeJS.ProcessEnv;
}

/** @throws InputError when stack file or values file have problems */
export function stackPlace(root: string, stack: string): StackPlace {
    const settings = readStack(root, stack);
    return {
        settings,
        release: settings.name,
        namespace: settings.namespace,
        context: stackContext(root, stack),
        env: clusterVariables(root),
    };
}

/** The context that the stack file names. */
export function stackContext(root: string, stack: string): string | undefined {
    const wanted = readStackFile(root, stack, readProject(root).name).config["kubernetes:context"];
    return typeof wanted === "string" && wanted !== "" ? wanted : undefined;
}

/** The variables by which the program would find a cluster: those of the shell, else those of this checkout's own cluster. */
export function clusterVariables(root: string): NodeJS.ProcessEnv {
    if ((process.env["KUBECONFIG"] ?? process.env["ML_API_CONTEXT"] ?? "") !== "") return process.env;
    const own = rememberedCluster(stateDir(root))?.info;
    if (own === undefined || own.kind === "current") return process.env;
    return { ...process.env, KUBECONFIG: own.kubeconfig, ML_API_CONTEXT: own.context };
}
