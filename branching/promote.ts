import type { Value } from "../components/config/values";
import { ARTIFACT_VALUES, type Artifacts, chartDigest, type StackAt, stackAt } from "./artifacts";
import { commitFile } from "./commit-file";
import { debtText, findDebts, stopsPromotion, tipOf } from "./debts";
import { blockLists } from "./gate";
import type { Git } from "./git";
import { whyHeld } from "./holds";
import type { BranchMap } from "./map";
import { branchFor, deployingBranches, pathTo, wayOf, wrong } from "./promotion-route";
import { blockedRefusals, promotionRefusals, proofOf, type Refusal } from "./promotion";
import { type DeployRecord, type Emergency, readRecords, RecordProblem, recordRef, running } from "./record";
import { type Change, lookUp, setValues } from "./values-edit";

export interface PromotionRequest {
    readonly git: Git;
    readonly map: BranchMap;
    /** The stacks of each environment. */
    readonly stacks: Readonly<Record<string, readonly string[]>>;
    /** Stack that ran it. */
    readonly from: string;
    /** Stack that is to run it. */
    readonly to: string;
    /** Branch that it is a pull request for; else what the map says. */
    readonly onto?: string | undefined;
    readonly emergency?: Emergency | undefined;
    readonly now?: Date;
}

/** A change of one value. */
export interface ValueChange {
    readonly path: string;
    readonly before: Value | undefined;
    readonly after: Value;
}

export interface Promotion {
    readonly from: string;
    readonly to: string;
    readonly environment: string;
    /** What is promoted; undefined when nothing ran. */
    readonly artifacts: Artifacts | undefined;
    /** The deploy that ran it: who, when, verified. */
    readonly record: DeployRecord | undefined;
    /** Milliseconds that it has run since it was verified. */
    readonly soaked: number;
    readonly refusals: readonly Refusal[];
    /** The refusals do not hold: it is an emergency. What is blocked or changed stays refused. */
    readonly overridden: boolean;
    readonly onto: string;
    /** The values file of the target, from the repository's root. */
    readonly file: string;
    readonly changes: readonly ValueChange[];
    /** The file with the changes. */
    readonly text: string;
    readonly message: string;
    /** Commit that the change follows. */
    readonly base: string;
    /** Branch for the pull request. */
    readonly branch: string;
    /** Branches that its commits pass until they are deployed. */
    readonly path: readonly string[];
}

/**
 * Prepares a promotion: what it changes, and every reason against it. Changes nothing.
 *
 * @throws InputError for a stack, branch or values file that cannot be read
 */
export async function planPromotion(request: PromotionRequest): Promise<Promotion> {
    const { git, map, stacks, from, to, emergency, now = new Date() } = request;
    const [before, environment] = [environmentOfStack(stacks, from), environmentOfStack(stacks, to)];
    const rule = map.promotion?.[environment];
    const onto = request.onto ?? rule?.onto ?? deployingBranches(map, environment)[0] ?? "";
    const base = await tipOf(git, map, onto);
    if (base === undefined) throw wrong(onto, "there is no such branch", `git fetch origin ${onto}`);
    const path = pathTo(map, onto, environment);
    const refusals: Refusal[] = [];
    const ref = await recordRef(git);
    const records = await attempt(refusals, () => readRecords(git, before, ref), []);
    const record = running(records, from);
    const target = await stackAt(git, base, to);
    const common = { from, to, environment, onto, base, path, file: target.valuesFile, record };

    if (rule?.from !== before)
        refusals.push({
            code: "direction",
            reason: `${before} → ${environment} is no promotion`,
            fix: `the way is ${wayOf(map)}`,
        });
    if (record?.artifacts === undefined) {
        const reason =
            record === undefined
                ? `${from} never ran anything that is on record`
                : `what ${from} runs was recorded without its artifacts`;
        refusals.push({ code: "never-ran", reason, fix: `push to ${before} first, and let it be deployed` });
        const nothing = { artifacts: undefined, soaked: 0, changes: [], text: "", message: "", branch: "" };
        return { ...common, ...nothing, refusals, overridden: false };
    }

    const { artifacts } = record;
    const source = await stackAt(git, record.commit, from);
    if (source.api !== target.api)
        refusals.push({
            code: "direction",
            reason: `${from} is ${source.api}, and ${to} is ${target.api}`,
            fix: "promote one API to itself",
        });
    refusals.push(
        ...promotionRefusals(
            environment,
            { from: before, soakMinutes: rule?.from === before ? rule.soakMinutes : 0, onto },
            { stack: from, records },
            artifacts,
            now,
        ),
        ...blockedRefusals(await blockLists(git, map, base), artifacts, changedValues(source)),
    );
    const chart = await chartDigest(git, base);
    if (chart !== artifacts.chart)
        refusals.push({
            code: "chart",
            reason: `the chart of ${onto} (${chart}) is not the one that ${from} ran (${artifacts.chart})`,
            fix: `let ${before} run the chart of ${onto}, or choose another branch with --onto`,
        });
    const held = await attempt(
        refusals,
        async () => whyHeld(git, await readRecords(git, environment, ref), to, base),
        undefined,
    );
    if (held !== undefined) {
        const [reason = "", fix = ""] = held.split(" → ");
        refusals.push({ code: "held", reason, fix });
    }
    const debts = await attempt(refusals, () => findDebts(git, map, stacks, ref), []);
    refusals.push(
        ...debts.filter(stopsPromotion).map((debt): Refusal => {
            const [reason = "", fix = ""] = debtText(debt).split(" → ");
            return { code: "debt", reason: `debt: ${reason}`, fix };
        }),
    );
    if (emergency !== undefined && emergency.approvedBy === (await author(git)))
        refusals.push({
            code: "approver",
            reason: `${emergency.approvedBy} would be the author, and cannot approve the emergency`,
            fix: "ask somebody else",
        });
    const hard: readonly Refusal["code"][] = ["blocked", "held", "record", "approver"];
    const text = (await git.file(base, target.valuesFile)) ?? "";
    const changes = changesTo(target, source);
    const edited = setValues(
        text,
        changes.map(({ path: key, after }) => [key, after as string | boolean | number] satisfies Change),
        target.valuesFile,
    );
    return {
        ...common,
        artifacts,
        soaked: proofOf(records, from, artifacts, now).soaked,
        refusals,
        overridden: emergency !== undefined && !refusals.some(({ code }) => hard.includes(code)),
        changes,
        text: edited,
        message: messageOf(target.api, before, environment, record, { ...artifacts, chart }, emergency),
        branch: branchFor(map, onto, environment, target.api, artifacts),
    };
}

/**
 * Writes the commit of a promotion and gives it a branch of its own. The user's checkout, index and branches stay as they are.
 *
 * @returns the commit; the one that was there when it was prepared before
 * @throws InputError when the branch is there with something else
 */
export async function commitPromotion(git: Git, { base, branch, file, text, message }: Promotion): Promise<string> {
    const ref = `refs/heads/${branch}`;
    const there = await git.commit(ref);
    if (there !== undefined) {
        const parent = await git.commit(`${there}^`);
        if (parent === base && (await git.file(there, file)) === text) return there;
        throw wrong(branch, "there is such a branch already, with something else", `git branch -D ${branch}`);
    }
    const commit = await commitFile(git, { base, path: file, text, message });
    await git.run(["update-ref", ref, commit, "0".repeat(commit.length)]);
    return commit;
}

async function attempt<T>(refusals: Refusal[], read: () => Promise<T>, otherwise: T): Promise<T> {
    try {
        return await read();
    } catch (error) {
        if (!(error instanceof RecordProblem)) throw error;
        if (!refusals.some(({ reason }) => reason === error.message))
            refusals.push({
                code: "record",
                reason: error.message,
                fix: "find out who changed it, and put the branch deployments back to what it was",
            });
        return otherwise;
    }
}

function environmentOfStack(stacks: Readonly<Record<string, readonly string[]>>, stack: string): string {
    const found = Object.entries(stacks).find(([, names]) => names.includes(stack))?.[0];
    if (found === undefined) throw wrong(stack, "no stack file is called so", Object.values(stacks).flat().join(", "));
    return found;
}

/** The artifact values of a stack, in full: what it does not set is empty. */
function changedValues({ values }: StackAt): Readonly<Record<string, Value | undefined>> {
    return Object.fromEntries(ARTIFACT_VALUES.map((key) => [key, lookUp(values, key)]));
}

function changesTo(target: StackAt, source: StackAt): ValueChange[] {
    return ARTIFACT_VALUES.flatMap((path): ValueChange[] => {
        const [before, wanted] = [lookUp(target.values, path), lookUp(source.values, path)];
        // What is not set is the chart's own default, which is empty.
        const after = wanted ?? (path === "model.download.unpack" ? false : "");
        const same = before === after || (before === undefined && (after === "" || after === false));
        if (same) return [];
        const place = target.places.get(path);
        if (place?.startsWith("Pulumi.") === true)
            throw wrong(place, `the stack file sets ${path}, and wins over ${target.valuesFile}`, "remove the line");
        return [{ path, before, after }];
    });
}

function messageOf(
    api: string,
    from: string,
    to: string,
    record: DeployRecord,
    { image, model, chart }: Artifacts,
    emergency: Emergency | undefined,
): string {
    const { commit, at, actor, verified } = record;
    return [
        `Promote ${api} to ${to}`,
        "",
        `${from} runs it since ${at} (${commit.slice(0, 12)}, by ${actor}), ${verified ? "verified" : "not verified"}.`,
        "",
        `Promotion: ${from} -> ${to}`,
        `Image: ${image}`,
        `Model: ${model}`,
        `Chart: ${chart}`,
        ...(emergency === undefined
            ? []
            : [`Emergency: ${oneLine(emergency.reason)}`, `Approved-by: ${oneLine(emergency.approvedBy)}`]),
        "",
    ].join("\n");
}

function oneLine(text: string): string {
    return text.replace(/\s+/g, " ").trim();
}

async function author(git: Git): Promise<string> {
    return (await git.run(["var", "GIT_AUTHOR_IDENT"])).replace(/ <.*$/s, "");
}
