import { connectionProblem, request } from "../../components/guarded-release/live/api";
import type { Cluster, ClusterContext, ClusterInfo, ClusterStatus } from "./cluster";
import { ClusterProblem, readTarget, type KubeconfigTarget } from "./kubeconfig";

/** Milliseconds. A cluster that is slower to say who it is will not carry a deployment either. */
const answerLimit = 3000;

/** The cluster the user has: found, checked, used. It is never created, changed or removed here. */
export const currentCluster: Cluster = {
    kind: "current",
    up: async (context: ClusterContext): Promise<ClusterInfo> => {
        const target = readTarget(context.variables);
        await checkAnswer(target);
        context.log(`cluster  your own: context "${target.context}" (${target.access.server}, ${target.credential})`);
        return infoOf(target);
    },
    down: () =>
        Promise.reject(
            new Error(
                "This is your own cluster (CLUSTER=current): nothing here removes it. To take away what was deployed, run `pulumi destroy -s dev` (and the same for every other stack you brought up).",
            ),
        ),
    status: async (context: ClusterContext): Promise<ClusterStatus> => {
        try {
            const target = readTarget(context.variables);
            await checkAnswer(target);
            return { state: "up", info: infoOf(target) };
        } catch (error) {
            if (error instanceof ClusterProblem) return { state: "broken", reason: error.message };
            throw error;
        }
    },
};

function infoOf({ kubeconfig, context, access }: KubeconfigTarget): ClusterInfo {
    return { kind: "current", kubeconfig, context, server: access.server, podsServe: true };
}

/** Any answer but "who are you?" will do: that a person may do less than everything shows later, with a better message. */
async function checkAnswer({ access, context, credential }: KubeconfigTarget): Promise<void> {
    const answer = await request(access, { path: "/version", timeoutMs: answerLimit }).catch((error: unknown) => {
        throw new ClusterProblem(
            `The cluster of context "${context}" ${connectionProblem(error, answerLimit)} (${access.server}).\n` +
                "Is it running, and is a VPN or tunnel to it open? `kubectl get --raw /version` shows the same. Choose another: `kubectl config use-context NAME`, or CLUSTER=simulated make up.",
        );
    });
    const proved = access.authorization !== undefined || access.clientCertificate !== undefined;
    if (answer.status === 401 && proved) {
        throw new ClusterProblem(
            `The cluster of context "${context}" (${access.server}) does not accept the ${credential} in your kubeconfig: it may have expired. Log in to the cluster again, then try again.`,
        );
    }
}
