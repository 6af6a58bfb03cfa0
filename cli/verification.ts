import { isValues } from "../components/config/values";
import { request } from "../components/guarded-release/live/api";
import { openRecords } from "../components/guarded-release/live/live";
import { decodeRecord, hookPhase } from "../components/guarded-release/live/record";
import { clusterContext } from "../local/clusters/cluster";
import { rememberedCluster } from "../local/clusters/remembered";
import { stackPlace } from "./stack-cluster";

/** Whether somebody saw a stack's release answer a real prediction, and how that is known. */
export interface Verification {
    readonly verified: boolean;
    readonly why: string;
}

/** Milliseconds for the questions to the cluster. */
const PATIENCE_MS = 15_000;

/**
 * Asks Helm's record whether the chart's Job `<release>-verify` has got a prediction of the revision that runs. Where pods only
 * pretend to run, Jobs pretend to succeed: there nothing is verified. Never rejects: what cannot be known is not verified.
 *
 * @param root the project's folder
 * @param env by which the cluster is found; as of the shell, or of this checkout's own cluster
 */
export async function verification(root: string, stack: string, env?: NodeJS.ProcessEnv): Promise<Verification> {
    try {
        const place = stackPlace(root, stack);
        const { access, records } = await openRecords(place, env ?? place.env, PATIENCE_MS);
        const newest = records.at(-1);
        if (newest?.status !== "deployed") return no(`Helm's newest record is ${newest?.status ?? "not there"}`);
        const sample = decodeRecord(newest.secret).values["verify"];
        if (!isValues(sample) || !isValues(sample["sample"]) || Object.keys(sample["sample"]).length === 0)
            return no("the values have no verify.sample to ask for");
        const job = `${place.release}-verify`;
        const phase = hookPhase(newest.secret, job);
        if (phase !== "Succeeded")
            return no(
                `the Job ${job} ${phase === undefined ? "did not run" : `ended ${phase}`} in revision ${newest.revision}`,
            );
        if (!(await podsServe(access))) return no("the pods of this cluster only pretend to run");
        return { verified: true, why: `the Job ${job} got a prediction of revision ${newest.revision}` };
    } catch (error) {
        return no(error instanceof Error ? error.message : String(error));
    }
}

function no(why: string): Verification {
    return { verified: false, why };
}

/** False where a node says that it is one of kwok's, or the local cluster is known to be simulated. */
export async function podsServe(access: Parameters<typeof request>[0]): Promise<boolean> {
    const known = rememberedCluster(clusterContext().stateDir)?.info;
    if (known?.server === access.server) return known.podsServe;
    const { status, body } = await request(access, { path: "/api/v1/nodes", timeoutMs: PATIENCE_MS });
    // Who may not look at nodes is not on a cluster of his own machine.
    if (status !== 200) return true;
    const { items } = JSON.parse(body) as { items: { metadata: { annotations?: Record<string, string> } }[] };
    return !items.some(({ metadata }) => metadata.annotations?.["kwok.x-k8s.io/node"] !== undefined);
}
