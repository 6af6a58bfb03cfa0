import * as pulumi from "@pulumi/pulumi";
import { request } from "../live/api";
import { decodeRecord, recordSelector, recordsIn } from "../live/record";
import { imageIn } from "../render/image";
import { labelDigest, makerLabels } from "./labels";
import { findOrigin } from "./origin";
import type { Accompanied, Operation } from "../operation";

/** Milliseconds for one request. */
const REQUEST_MS = 5000;

/**
 * Labels Helm's record of the revision that an operation has made with its commit, its image, who made it and when, for
 * `ml-api rollback` and for people: `kubectl get secrets -L ml-api/commit`. They are no inputs, so no update comes of them.
 */
export async function recordLabels(operation: Operation): Promise<Accompanied> {
    // Now, not at the end: files may be edited while the operation runs.
    const origin = findOrigin(process.cwd(), pulumi.getStack());
    return Promise.resolve({
        ended: async ({ kind }) => {
            if (kind !== "succeeded") return;
            const { commit, dirty, actor } = await origin;
            const named = commit === undefined ? undefined : `${commit}${dirty ? "-dirty" : ""}`;
            const problem = await label(operation, { commit: named, actor, time: new Date().toISOString() });
            if (problem !== undefined)
                operation.inform(`this revision is not marked with its commit and who made it: ${problem}`);
        },
    });
}

/** @returns why it could not be done */
async function label(
    { access, target }: Operation,
    maker: { readonly commit: string | undefined; readonly actor: string; readonly time: string },
): Promise<string | undefined> {
    const path = `/api/v1/namespaces/${target.namespace}/secrets`;
    const query = { labelSelector: `${recordSelector(target.release)},status=deployed` };
    const list = await request(access, { path, query, timeoutMs: REQUEST_MS });
    if (list.status !== 200) return `the API server answers ${list.status} to a list of Helm's records`;
    const newest = recordsIn(list.body).at(-1);
    if (newest === undefined) return "Helm has no record of it";
    const imageDigest = labelDigest(imageIn(decodeRecord(newest.secret).objects));
    const answer = await request(access, {
        method: "PATCH",
        path: `${path}/${newest.secret.metadata.name}`,
        contentType: "application/merge-patch+json",
        body: JSON.stringify({ metadata: { labels: makerLabels(newest.revision, { ...maker, imageDigest }) } }),
        timeoutMs: REQUEST_MS,
    });
    if (answer.status === 403) return `it needs the right to patch secrets in ${target.namespace}`;
    return answer.status === 200 ? undefined : `the API server answers ${answer.status} to the labels`;
}
