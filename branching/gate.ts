import { type Artifacts, sameArtifacts, type StackAt, stackAt } from "./artifacts";
import { BLOCK_LIST, type BlockedDigest, parseBlocked } from "../components/config/blocked";
import type { Git } from "./git";
import { ancestry, whyHeld } from "./holds";
import { type BranchMap, MAP_FILE, type PromotionRule } from "./map";
import { type Candidate, order } from "./order";
import { blockedRefusals, promotionRefusals, type Refusal, refusalText } from "./promotion";
import { type Emergency, readRecords, RECORD_BRANCH, running, sourceHash } from "./record";
import { type Decision, findRule } from "./resolve";

/** A commit that its branch wants to deploy. */
export interface Push {
    readonly git: Git;
    readonly map: BranchMap;
    readonly decision: Decision;
    readonly commit: string;
    readonly branch: string;
    readonly stack: string;
    /** Where the deploys are recorded; see `recordRef`. */
    readonly recordRef?: string;
    /** Named by the pusher; a commit can name one, too. */
    readonly emergency?: Emergency;
    /** The commit that the cluster says it runs; undefined when it runs nothing, or does not know of which commit it is. */
    readonly live?: () => Promise<string | undefined>;
}

export type Gate =
    | {
          readonly verdict: "deploy";
          readonly why: string;
          readonly artifacts: Artifacts;
          /** Hash of everything that decides over the deploy. */
          readonly source: string;
          readonly emergency?: Emergency;
      }
    /** Nothing to do, and no fault. */
    | { readonly verdict: "nothing"; readonly why: string }
    | { readonly verdict: "refused"; readonly why: string };

/**
 * Whether a push may be deployed: it does not go back, it changes something, nothing of it is blocked, and the environment
 * before has run and verified its image, its model and its chart. Whoever deploys asks here first.
 *
 * @throws RecordProblem when the record was changed, InputError when stack file, values or block list are wrong
 */
export async function gate(push: Push, now: Date = new Date()): Promise<Gate> {
    const { git, map, decision, commit, branch, stack } = push;
    const environment = decision.environment ?? "";
    const records = await readRecords(git, environment, push.recordRef);
    const runs = running(records, stack);
    const rankOf = (of: string): number | undefined => {
        const onPush = findRule(map, of)?.rule.onPush;
        return onPush !== undefined && "deploy" in onPush ? onPush.rank : undefined;
    };
    const isAncestor = ancestry(git, records, stack);
    const next = { commit, branch, rank: decision.rank };
    const live = await liveCandidate(push, runs?.commit);
    // Where the record goes on from something older than what runs, lines of it were lost.
    if (live !== undefined && runs !== undefined) {
        const { verdict, why } = await order(live, next, isAncestor);
        if (verdict === "older") return { verdict: "nothing", why };
    }
    const { verdict, why } = await order(
        runs === undefined ? live : { commit: runs.commit, branch: runs.branch, rank: rankOf(runs.branch) },
        next,
        isAncestor,
        (wanted) => whyHeld(git, records, stack, wanted),
    );
    if (verdict === "refused")
        return { verdict, why: runs === undefined && live !== undefined ? `${why}; ${NO_RECORD}` : why };
    if (verdict === "older") return { verdict: "nothing", why };
    const source = await sourceHash(git, commit, stack);
    if (decision.onlyIfChanged && runs?.source === source)
        return {
            verdict: "nothing",
            why: `its tree is the one of ${runs.commit.slice(0, 12)} (${runs.branch}), which runs`,
        };

    const found = await stackAt(git, commit, stack);
    const { artifacts, values } = found;
    const blocked = blockedRefusals(await blockLists(git, map, commit), artifacts, values);
    const rule = map.promotion?.[environment];
    const unproven =
        rule === undefined || sameArtifacts(runs?.artifacts, artifacts)
            ? []
            : await unprovenBy(push, environment, rule, found, now);
    // What is blocked stays blocked, whatever the haste.
    if (blocked.length > 0) return { verdict: "refused", why: because(environment, [...blocked, ...unproven]) };
    if (unproven.length === 0) return { verdict: "deploy", why, artifacts, source };
    const emergency = push.emergency ?? (await emergencyIn(git, environment, runs?.commit, commit));
    if (emergency === undefined) return { verdict: "refused", why: because(environment, unproven) };
    const author = (await git.run(["log", "-1", "--format=%an", commit])).trim();
    if (emergency.approvedBy === author)
        return { verdict: "refused", why: `${author} wrote the commit and cannot approve its emergency` };
    const said = `emergency: ${emergency.reason}, approved by ${emergency.approvedBy}; without it:\n${refusalText(unproven)}`;
    return { verdict: "deploy", why: said, artifacts, source, emergency };
}

const NO_RECORD =
    `the branch ${RECORD_BRANCH} says nothing of it → restore that branch, or in a checkout of the commit that runs: ` +
    "npx --no ml-api record STACK --ref BRANCH --outcome deployed --out record.json, and --from record.json --push";

/** What the cluster says it runs, where the record says something else or nothing. */
async function liveCandidate({ live }: Push, recorded: string | undefined): Promise<Candidate | undefined> {
    const commit = await live?.();
    return commit === undefined || commit === recorded ? undefined : { commit, branch: "not on record" };
}

async function unprovenBy(
    { git, recordRef }: Push,
    environment: string,
    rule: PromotionRule,
    { api, artifacts, siblings }: StackAt,
    now: Date,
): Promise<Refusal[]> {
    const stack = siblings.get(rule.from);
    if (stack === undefined)
        return [
            {
                code: "never-ran",
                reason: `${rule.from} has no stack for ${api}, so nothing of it can be proven there`,
                fix: `add a stack file with environment: ${rule.from}, or take ${environment} out of \`promotion\` in ${MAP_FILE}`,
            },
        ];
    const records = await readRecords(git, rule.from, recordRef);
    return promotionRefusals(environment, rule, { stack, records }, artifacts, now);
}

function because(environment: string, refusals: readonly Refusal[]): string {
    return `${environment} takes only what is proven:\n${refusalText(refusals)}`;
}

/** The branch whose block list counts everywhere. */
const NEWEST = "master";

/**
 * Everything that is blocked: by the list of a commit, and by the newest one of `master`, for a branch may be older than the
 * discovery that something is bad.
 */
export async function blockLists(git: Git, map: BranchMap, commit: string): Promise<BlockedDigest[]> {
    const names = [NEWEST, map.branches[NEWEST]?.alias].filter((name) => name !== undefined);
    const refs = names.flatMap((name) => [`refs/remotes/origin/${name}`, `refs/heads/${name}`]);
    const texts = await git.texts([commit, ...refs].map((ref) => `${ref}:${BLOCK_LIST}`));
    const lists = [...texts].map(([name, text]) => {
        const ref = name.slice(0, -BLOCK_LIST.length - 1);
        return parseBlocked(text, `${BLOCK_LIST} of ${ref === commit ? commit.slice(0, 12) : ref}`);
    });
    return [...new Map(lists.flat().map((one) => [one.digest, one])).values()];
}

/**
 * The emergency that one of the commits since what runs declares in its last lines: `Emergency: reason` and `Approved-by: name`,
 * and, where it is a promotion, for this environment.
 */
export async function emergencyIn(
    git: Git,
    environment: string,
    runs: string | undefined,
    commit: string,
): Promise<Emergency | undefined> {
    const trailer = (key: string): string => `%(trailers:key=${key},valueonly,separator=%x20)`;
    const format = `--format=%an%x00${trailer("Emergency")}%x00${trailer("Approved-by")}%x00${trailer("Promotion")}%x1e`;
    const range = runs === undefined ? ["--max-count=50", commit] : [`${runs}..${commit}`];
    const log = await git.run(["log", format, ...range, "--"]);
    for (const entry of log.split("\x1e")) {
        const [author = "", reason = "", approvedBy = "", promotion = ""] = entry
            .split("\0")
            .map((text) => text.trim());
        const isMeant = promotion === "" || promotion.endsWith(`-> ${environment}`);
        if (reason !== "" && approvedBy !== "" && approvedBy !== author && isMeant) return { reason, approvedBy };
    }
    return undefined;
}
