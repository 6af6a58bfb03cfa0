import * as pulumi from "@pulumi/pulumi";
import { type Cluster, findCluster } from "../config/cluster";
import type { Origin } from "../guarded-release/render/explain";
import { type LiveSide, watchLive } from "../guarded-release/live/live";

/** What an API finds around it when the program runs. */
export interface Surroundings {
    /** Where it runs, for the commands among the outputs. */
    readonly cluster?: Cluster | undefined;
    /** The live release, to compare with and to repair; undefined leaves it unseen. */
    readonly live?: LiveSide | undefined;
    /** Where a person set the values, if somebody else has read them. */
    readonly origin?: Origin;
}

/**
 * Looks for the cluster and the live release where the Kubernetes provider would by default: by the stack's `kubernetes:context`, else
 * `ML_API_CONTEXT`, else the current context. Does not wait for an answer.
 *
 * @throws InputError when the kubeconfig cannot be used
 */
export function lookAround({ name, namespace }: { readonly name: string; readonly namespace: string }): Surroundings {
    const provider = new pulumi.Config("kubernetes");
    const cluster = findCluster(provider.get("context"));
    const live = watchLive({
        context: cluster?.context,
        namespace,
        release: name,
        kubeconfig: provider.get("kubeconfig"),
        driver: provider.getObject<{ driver?: string }>("helmReleaseSettings")?.driver,
    });
    return { cluster, live };
}
