import { type Artifacts, sameArtifacts, unpinned } from "./artifacts";
import { type BlockedDigest, blockedIn, blockedText } from "../components/config/blocked";
import type { PromotionRule } from "./map";
import type { DeployRecord } from "./record";

/** Why something is not promoted or deployed. */
export interface Refusal {
    readonly code:
        | "direction"
        | "never-ran"
        | "not-verified"
        | "soak"
        | "not-pinned"
        | "blocked"
        | "held"
        | "record"
        | "chart"
        | "debt"
        | "approver";
    readonly reason: string;
    readonly fix: string;
}

/** What an environment's record proves of artifacts. */
export interface Proof {
    readonly ran: boolean;
    /** The newest deploy of them was verified. */
    readonly verified: boolean;
    /** The longest that they ran in one go since they were verified, in milliseconds. */
    readonly soaked: number;
    /** Their newest deploy. */
    readonly newest?: DeployRecord;
}

/** What the record of a stack proves. @param records oldest first, of any stacks */
export function proofOf(records: readonly DeployRecord[], stack: string, artifacts: Artifacts, now: Date): Proof {
    const deploys = records.filter((record) => record.stack === stack && record.outcome === "deployed");
    const isIt = (record: DeployRecord): boolean => sameArtifacts(record.artifacts, artifacts);
    const newest = deploys.findLast(isIt);
    let soaked = 0;
    let since: number | undefined;
    for (const [index, record] of deploys.entries()) {
        if (!isIt(record)) {
            since = undefined;
            continue;
        }
        if (since === undefined && record.verified) since = Date.parse(record.at);
        const next = deploys[index + 1];
        const until = next === undefined ? now.getTime() : Date.parse(next.at);
        // A clock that was set back must not make it longer.
        if (since !== undefined) soaked = Math.max(soaked, until - since);
    }
    return {
        ran: newest !== undefined,
        verified: newest?.verified === true,
        soaked,
        ...(newest === undefined ? {} : { newest }),
    };
}

/** Every reason against running artifacts in an environment whose rule asks for proof from another one. */
export function promotionRefusals(
    environment: string,
    rule: PromotionRule,
    before: { readonly stack: string; readonly records: readonly DeployRecord[] },
    artifacts: Artifacts,
    now: Date,
): Refusal[] {
    const { from, soakMinutes } = rule;
    const { stack, records } = before;
    const { ran, verified, soaked, newest } = proofOf(records, stack, artifacts, now);
    const refusals: Refusal[] = unpinned(artifacts).map((reason) => ({
        code: "not-pinned",
        reason,
        fix: `ml-api set-image ${from} repository@sha256:…, and let ${from} run that`,
    }));
    if (!ran) {
        const last = records.findLast((record) => record.stack === stack && record.outcome === "deployed");
        return [
            ...refusals,
            {
                code: "never-ran",
                reason: `${from} (${stack}) never ran this: ${difference(last?.artifacts, artifacts)}`,
                fix: `deploy it to ${from} first: ${environment} takes nothing that ${from} has not proven`,
            },
        ];
    }
    if (!verified)
        refusals.push({
            code: "not-verified",
            reason: `${from} (${stack}) ran it (${newest?.at ?? ""}, ${newest?.commit.slice(0, 12) ?? ""}), not verified: nobody saw it answer a prediction there`,
            fix: `deploy it to ${from} on a cluster whose pods serve, with verify.onDeploy and verify.sample`,
        });
    else if (soaked < soakMinutes * 60_000)
        refusals.push({
            code: "soak",
            reason: `it has run in ${from} (${stack}) for ${minutes(soaked)} of the ${soakMinutes} minutes that ${environment} asks for`,
            fix: `wait ${soakMinutes - Math.floor(soaked / 60_000)} minutes more`,
        });
    return refusals;
}

export function blockedRefusals(list: readonly BlockedDigest[], ...where: readonly unknown[]): Refusal[] {
    return blockedIn(list, ...where).map((one) => ({
        code: "blocked",
        reason: blockedText(one),
        fix: "go back to a version that is not blocked, or forward to a new one",
    }));
}

/** Reasons and what to do, each on its own lines, indented. */
export function refusalText(refusals: readonly Refusal[]): string {
    return refusals.map(({ reason, fix }) => `  ${reason}\n      → ${fix}`).join("\n");
}

function minutes(milliseconds: number): string {
    const whole = Math.max(0, Math.floor(milliseconds / 60_000));
    return `${whole} ${whole === 1 ? "minute" : "minutes"}`;
}

/** Which of the three it is that was not there. */
function difference(ran: Artifacts | undefined, wanted: Artifacts): string {
    if (ran === undefined) return "it has no deploy on record that could be compared";
    const parts = (["image", "model", "chart"] as const).filter((part) => ran[part] !== wanted[part]);
    return parts.map((part) => `${part} ${wanted[part]} (there: ${ran[part]})`).join(", ");
}
