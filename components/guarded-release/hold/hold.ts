import type { ApiAccess } from "../../config/kubeconfig";
import { type ApiAnswer, type ApiRequest, connectionProblem, request } from "../live/api";
import type { Owner } from "../live/owner";

/** Why a stack deploys nothing but a certain commit and what descends from it: it was rolled back. */
export interface Hold {
    /** Stands in the reverting commit's message, so that it is known again after a rebase or a squash. */
    readonly id: string;
    readonly stack: string;
    /** The reverting commit: 40 or 64 hexadecimal digits. */
    readonly commit: string;
    /** Branch that the reverting commit was written to. */
    readonly branch: string;
    /** The commit whose chart and values run again. */
    readonly to: string;
    readonly by: string;
    /** ISO 8601 in UTC. */
    readonly at: string;
    /** In a person's words. */
    readonly reason: string;
}

const KEYS = ["id", "stack", "commit", "branch", "to", "by", "at", "reason"] as const;

/** Whether a release is held cannot be told, or changed; the message says why. */
export class HoldUnknown extends Error {}

/** Milliseconds for one request. */
const REQUEST_MS = 5000;

/** The ConfigMap that holds a release: in its namespace, where whoever may deploy may read. */
export function holdName(release: string): string {
    return `${release}-hold`;
}

/** The hold of a release; undefined when it has none. @throws HoldUnknown */
export async function findHold(access: ApiAccess, owner: Owner): Promise<Hold | undefined> {
    const { status, body } = await ask(access, { path: `${collection(owner)}/${holdName(owner.release)}` }, [404]);
    if (status === 404) return undefined;
    const { data = {} } = JSON.parse(body) as { data?: Record<string, string> };
    return Object.fromEntries(KEYS.map((key) => [key, data[key] ?? ""])) as unknown as Hold;
}

/** Holds a release; a hold that is there already gives way. @throws HoldUnknown */
export async function placeHold(access: ApiAccess, owner: Owner, hold: Hold): Promise<void> {
    const { release, namespace } = owner;
    const labels = { "app.kubernetes.io/instance": release, "app.kubernetes.io/managed-by": "ml-api" };
    const body = JSON.stringify({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: holdName(release), namespace, labels },
        data: hold,
    });
    const { status } = await ask(access, { method: "POST", path: collection(owner), body }, [409]);
    if (status === 409) await ask(access, { method: "PUT", path: `${collection(owner)}/${holdName(release)}`, body });
}

/** Ends the hold of a release, if there is one. @throws HoldUnknown */
export async function endHold(access: ApiAccess, owner: Owner): Promise<void> {
    await ask(access, { method: "DELETE", path: `${collection(owner)}/${holdName(owner.release)}` }, [404]);
}

/** What is held, by whom, since when, why; and how it goes on. One line for each. */
export function holdText({ stack, commit, branch, to, by, at: since, reason }: Hold): string {
    return [
        `${stack} is held by ${by} since ${since}: it was rolled back to ${to.slice(0, 12)}, because: ${reason}`,
        `next goes only ${commit.slice(0, 12)}, the commit that reverts (branch ${branch}), and what has it in its history`,
        `→ merge ${branch}, and deploy what comes of that; or end the hold: npx --no ml-api hold ${stack} --release "WHY"`,
    ].join("\n");
}

function collection({ namespace }: Owner): string {
    return `/api/v1/namespaces/${namespace}/configmaps`;
}

async function ask(
    access: ApiAccess,
    asked: Omit<ApiRequest, "timeoutMs">,
    fine: readonly number[] = [],
): Promise<ApiAnswer> {
    const answer = await request(access, { ...asked, timeoutMs: REQUEST_MS }).catch((error: unknown) => {
        throw new HoldUnknown(`the API server ${access.server} ${connectionProblem(error, REQUEST_MS)}`);
    });
    if ((answer.status >= 200 && answer.status < 300) || fine.includes(answer.status)) return answer;
    const verb = { GET: "get", POST: "create", PUT: "update", DELETE: "delete", PATCH: "patch" }[asked.method ?? "GET"];
    throw new HoldUnknown(
        answer.status === 403
            ? `this user may not ${verb} ConfigMaps in that namespace`
            : `the API server answers ${answer.status} when asked to ${verb} a ConfigMap`,
    );
}
