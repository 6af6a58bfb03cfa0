import type { ApiAccess } from "../../config/kubeconfig";
import { request } from "../live/api";
import type { Owner } from "../live/owner";

/** Milliseconds; nobody waits longer for a note. */
const REQUEST_MS = 3000;
/** Characters that Kubernetes takes. */
const LONGEST = 1024;

/**
 * Writes down in the cluster what was recovered, as a Kubernetes Event on Helm's record, where `kubectl get events` shows it for an
 * hour. Best effort: never rejects.
 *
 * @param revision the newest one before it; 0 when there was none
 */
export async function recordRecovery(
    access: ApiAccess,
    { release, namespace }: Owner,
    revision: number,
    sentences: readonly string[],
    now: Date,
): Promise<void> {
    const at = now.toISOString();
    const time = `${at.slice(0, 19)}Z`;
    const message = sentences.join("; ");
    const event = {
        apiVersion: "v1",
        kind: "Event",
        metadata: { generateName: `${release}.`, namespace },
        involvedObject: {
            apiVersion: "v1",
            kind: "Secret",
            name: `sh.helm.release.v1.${release}.v${Math.max(1, revision)}`,
            namespace,
        },
        reason: "ReleaseRecovered",
        message: message.length > LONGEST ? `${message.slice(0, LONGEST - 1)}…` : message,
        type: "Warning",
        source: { component: "ml-api" },
        reportingComponent: "ml-api",
        firstTimestamp: time,
        lastTimestamp: time,
        count: 1,
    };
    const path = `/api/v1/namespaces/${namespace}/events`;
    await request(access, { method: "POST", path, body: JSON.stringify(event), timeoutMs: REQUEST_MS }).catch(
        () => undefined,
    );
}
