import { sameArtifacts } from "./artifacts";
import type { Git } from "./git";
import { type BranchMap, environmentOf } from "./map";
import { proofOf } from "./promotion";
import { type DeployRecord, readRecords, running } from "./record";

/** Something that was left undone, and stops the next promotion until it is done. */
export type Debt =
    | {
          readonly kind: "commit";
          readonly environment: string;
          readonly commit: string;
          /** First line of its message. */
          readonly subject: string;
          /** Branches that have neither it nor a commit with the same change. */
          readonly missingFrom: readonly string[];
      }
    | {
          readonly kind: "emergency";
          readonly environment: string;
          readonly stack: string;
          readonly commit: string;
          readonly at: string;
          readonly reason: string;
          readonly approvedBy: string;
          /** The environment that has to run and verify it still. */
          readonly from: string;
      }
    | {
          /** Reported, and stops nothing. */
          readonly kind: "mirror";
          readonly branch: string;
          readonly of: string;
          readonly commits: readonly string[];
      };

export function stopsPromotion({ kind }: Debt): boolean {
    return kind !== "mirror";
}

export function debtText(debt: Debt): string {
    switch (debt.kind) {
        case "commit":
            return `${debt.commit.slice(0, 12)} "${debt.subject}" runs in ${debt.environment} and is missing from ${debt.missingFrom.join(" and ")} → merge it there, or git cherry-pick -x ${debt.commit.slice(0, 12)}`;
        case "emergency":
            return `${debt.stack} got ${debt.commit.slice(0, 12)} in an emergency (${debt.reason}; approved by ${debt.approvedBy}, ${debt.at}) → let ${debt.from} run and verify the same`;
        case "mirror":
            return `${debt.branch} should be what ${debt.of} is, and has ${debt.commits.length} commits of its own: ${debt.commits.map((commit) => commit.slice(0, 12)).join(", ")} → merge ${debt.of} into it`;
    }
}

/**
 * Everything that is owed: commits that run in an environment and never reached a branch that they must reach, and emergencies
 * whose proof was not brought later.
 *
 * @param stacks the stacks of each environment
 * @param recordRef where the deploys are recorded; see `recordRef`
 * @throws RecordProblem when the record was changed
 */
export async function findDebts(
    git: Git,
    map: BranchMap,
    stacks: Readonly<Record<string, readonly string[]>>,
    recordRef?: string,
): Promise<Debt[]> {
    const records = new Map<string, DeployRecord[]>();
    for (const environment of Object.keys(stacks))
        records.set(environment, await readRecords(git, environment, recordRef));
    const debts: Debt[] = [];
    for (const [environment, of] of records) {
        const rule = map.promotion?.[environment];
        if (rule !== undefined) debts.push(...emergencyDebts(environment, rule.from, of, records.get(rule.from) ?? []));
        const duties = dutiesOf(map, environment);
        const commits = new Set((stacks[environment] ?? []).flatMap((stack) => running(of, stack)?.commit ?? []));
        for (const commit of commits) debts.push(...(await commitDebts(git, map, environment, commit, duties)));
    }
    for (const [branch, { mirrors }] of Object.entries(map.branches)) {
        if (mirrors === undefined) continue;
        const [mirror, of] = [await tipOf(git, map, branch), await tipOf(git, map, mirrors)];
        const commits = mirror === undefined || of === undefined ? [] : await missing(git, of, mirror);
        if (commits.length > 0) debts.push({ kind: "mirror", branch, of: mirrors, commits });
    }
    return debts;
}

/** The branches that the commits of an environment have to reach in the end. */
function dutiesOf(map: BranchMap, environment: string): string[] {
    const rules = Object.values(map.branches).filter(({ onPush }) => environmentOf(onPush) === environment);
    return [...new Set(rules.flatMap(({ mustReach = [] }) => mustReach))];
}

/**
 * Emergencies for which nobody has brought the proof since. What has left the environment again owes nothing.
 *
 * @param records of the environment, oldest first
 * @param before records of the environment that should have proven it
 */
export function emergencyDebts(
    environment: string,
    from: string,
    records: readonly DeployRecord[],
    before: readonly DeployRecord[],
): Debt[] {
    const stacks = [...new Set(records.map(({ stack }) => stack))];
    return stacks.flatMap((stack): Debt[] => {
        const now = running(records, stack);
        if (now?.artifacts === undefined) return [];
        const { artifacts } = now;
        const record = records.findLast(
            (one) =>
                one.stack === stack &&
                one.outcome === "deployed" &&
                one.emergency !== undefined &&
                sameArtifacts(one.artifacts, artifacts),
        );
        if (record?.emergency === undefined) return [];
        const proven = [...new Set(before.map((one) => one.stack))].some(
            (one) => proofOf(before, one, artifacts, new Date(record.at)).verified,
        );
        if (proven) return [];
        const { commit, at, emergency } = record;
        return [{ kind: "emergency", environment, stack, commit, at, ...emergency, from }];
    });
}

async function commitDebts(
    git: Git,
    map: BranchMap,
    environment: string,
    commit: string,
    duties: readonly string[],
): Promise<Debt[]> {
    const missingFrom = new Map<string, string[]>();
    for (const branch of duties) {
        const tip = await tipOf(git, map, branch);
        // A repository can do without a branch; then there is nothing to reach.
        if (tip === undefined || (await git.commit(commit)) === undefined) continue;
        for (const one of await missing(git, tip, commit))
            missingFrom.set(one, [...(missingFrom.get(one) ?? []), branch]);
    }
    return Promise.all(
        [...missingFrom].map(async ([one, branches]): Promise<Debt> => {
            const subject = (await git.run(["log", "-1", "--format=%s", one])).trim();
            return { kind: "commit", environment, commit: one, subject, missingFrom: branches };
        }),
    );
}

/** The newest commit of a branch: that of the clone's origin where there is one. */
export async function tipOf(git: Git, map: BranchMap, branch: string): Promise<string | undefined> {
    for (const name of [branch, map.branches[branch]?.alias]) {
        if (name === undefined) continue;
        for (const ref of [`refs/remotes/origin/${name}`, `refs/heads/${name}`]) {
            const found = await git.commit(ref);
            if (found !== undefined) return found;
        }
    }
    return undefined;
}

/**
 * The commits of `commit` whose change `branch` does not have: neither merged, nor cherry-picked, nor squashed into one. Merges
 * themselves change nothing.
 */
async function missing(git: Git, branch: string, commit: string): Promise<string[]> {
    const args = ["rev-list", "--right-only", "--cherry-pick", "--no-merges", `${branch}...${commit}`];
    const left = (await git.run(args)).split("\n").filter((line) => line !== "");
    if (left.length < 2) return left;
    const base = await git.mergeBase(branch, commit);
    if (base === undefined) return left;
    const [whole] = await patchIds(git, await git.run(["diff", base, commit]));
    const theirs = await patchIds(git, await git.run(["log", "--patch", "--no-merges", `${base}..${branch}`]));
    return whole !== undefined && theirs.includes(whole) ? [] : left;
}

async function patchIds(git: Git, patches: string): Promise<string[]> {
    const lines = (await git.run(["patch-id", "--stable"], patches)).split("\n");
    return lines.filter((line) => line !== "").map((line) => line.split(" ", 1).join());
}
