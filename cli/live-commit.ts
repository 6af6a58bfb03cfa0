import { NoAnswer, openRecords } from "../components/guarded-release/live/live";
import { decodeRecord } from "../components/guarded-release/live/record";
import { makerOf } from "../components/guarded-release/record/labels";
import { stackPlace } from "./stack-cluster";

/** Milliseconds for the questions to the cluster. */
const PATIENCE_MS = 15_000;

/**
 * The commit of which a stack's release is, as its own labels say.
 *
 * @param env by which the cluster is found; as of the shell, or of this checkout's own cluster
 * @returns undefined where nothing is deployed, or nothing tells the commit
 * @throws Error when the cluster does not say
 */
export async function liveCommit(root: string, stack: string, env?: NodeJS.ProcessEnv): Promise<string | undefined> {
    const place = stackPlace(root, stack);
    const { records } = await openRecords(place, env ?? place.env, PATIENCE_MS).catch((error: unknown) => {
        if (!(error instanceof NoAnswer)) throw error;
        throw new Error(`the cluster of ${stack} does not say what it runs: ${error.message} → try again once it does`);
    });
    const newest = records.findLast(({ status }) => status === "deployed");
    if (newest === undefined) return undefined;
    const { description } = decodeRecord(newest.secret);
    // Files that were edited by hand are of no commit; the one that they were edited in is the nearest to say.
    return makerOf(newest.revision, newest.secret.metadata.labels, description)?.commit?.replace(/-dirty$/, "");
}
