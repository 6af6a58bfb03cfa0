import * as fs from "node:fs";
import * as path from "node:path";
import { findDebts, debtText, stopsPromotion } from "../branching/debts";
import { Git } from "../branching/git";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { commitPromotion, planPromotion, type Promotion } from "../branching/promote";
import { refusalText } from "../branching/promotion";
import { recordRef } from "../branching/record";
import { setValues } from "../branching/values-edit";
import { redactedValue } from "../components/guarded-release/changes/redaction";
import { checkoutRoot } from "../local/paths";
import { withCommit } from "./commit";
import { compareWithCommit } from "./diff-compare";
import { inline, visible } from "./diff-lines";
import { paint, reportText } from "./diff-terminal";
import { ExitCode } from "./exit-code";
import { ensureHelm } from "./rendered-stack";
import { findStack } from "./stacks";

export interface PromoteOptions {
    readonly onto?: string;
    readonly write?: boolean;
    readonly emergency?: string;
    readonly approvedBy?: string;
    readonly fetch?: boolean;
    readonly diff?: boolean;
    readonly json?: boolean;
}

/** Prepares the change by which one environment runs what another one has proven. */
export async function promoteCommand(from: string, to: string, options: PromoteOptions): Promise<void> {
    if ((options.emergency === undefined) !== (options.approvedBy === undefined))
        throw new Error("an emergency needs a reason and somebody who agrees → --emergency REASON --approved-by NAME");
    const git = new Git(checkoutRoot);
    if (options.fetch !== false) await fetchOrigin(git);
    const stacks = stacksByEnvironment(checkoutRoot);
    const map = loadBranchMap(checkoutRoot, stacks);
    const plan = await planPromotion({
        ...{ git, map, stacks, onto: options.onto },
        from: findStack(checkoutRoot, from),
        to: findStack(checkoutRoot, to),
        emergency:
            options.emergency === undefined || options.approvedBy === undefined
                ? undefined
                : { reason: options.emergency, approvedBy: options.approvedBy },
    });
    const refused = plan.refusals.length > 0 && !plan.overridden;
    const commit =
        refused || plan.changes.length === 0 || options.write === true ? undefined : await commitPromotion(git, plan);
    if (!refused && options.write === true) writeToWorkTree(plan);
    if (options.json === true) process.stdout.write(`${JSON.stringify(asJson(plan, commit, refused))}\n`);
    else {
        process.stdout.write(whatText(plan));
        if (commit !== undefined && options.diff !== false) process.stdout.write(await diffText(plan, commit));
        process.stdout.write(nextText(plan, commit, refused, options.write === true));
    }
    if (refused) throw new ExitCode(1, `${plan.from} is not promoted to ${plan.to}`);
}

/** Shows what is owed; ends with 1 when it stops promotions. */
export async function debtsCommand(options: { readonly fetch?: boolean; readonly json?: boolean }): Promise<void> {
    const git = new Git(checkoutRoot);
    if (options.fetch !== false) await fetchOrigin(git);
    const stacks = stacksByEnvironment(checkoutRoot);
    const debts = await findDebts(git, loadBranchMap(checkoutRoot, stacks), stacks, await recordRef(git));
    if (options.json === true) process.stdout.write(`${JSON.stringify({ version: 1, debts })}\n`);
    else
        process.stdout.write(
            debts.length === 0 ? "nothing is owed\n" : debts.map((debt) => `${visible(debtText(debt))}\n`).join(""),
        );
    if (debts.some(stopsPromotion)) process.exitCode = 1;
}

/** The record and the branches as the origin has them; only the clone's copies of them move. */
export async function fetchOrigin(git: Git): Promise<void> {
    const remotes = (await git.run(["remote"])).split("\n");
    if (!remotes.includes("origin")) return;
    await git.run(["fetch", "--quiet", "origin"]).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        throw new Error(`${why}\n→ --no-fetch goes by what this clone has`);
    });
}

function writeToWorkTree({ file, changes }: Promotion): void {
    const full = path.join(checkoutRoot, file);
    const text = fs.readFileSync(full, "utf8");
    fs.writeFileSync(
        full,
        setValues(
            text,
            changes.map(({ path: key, after }) => [key, after as string | boolean | number] as const),
            file,
        ),
    );
}

async function diffText(plan: Promotion, commit: string): Promise<string> {
    const helm = await ensureHelm();
    const base = { ref: plan.onto, id: plan.base };
    const stacks = await withCommit(checkoutRoot, { ref: plan.branch, id: commit }, (folder) =>
        compareWithCommit(folder, [plan.to], base, helm, checkoutRoot),
    );
    return `\n${reportText({ base: { ref: plan.onto, commit: plan.base }, stacks }, paint)}`;
}

function whatText({ from, to, artifacts, record, soaked, changes, file }: Promotion): string {
    const lines = [`${from} → ${to}`];
    if (artifacts !== undefined && record !== undefined)
        lines.push(
            `  image  ${artifacts.image}`,
            `  model  ${artifacts.model}`,
            `  chart  ${artifacts.chart}`,
            `  ran    ${record.at}, commit ${record.commit.slice(0, 12)} of ${record.branch}, by ${record.actor}${record.approvedBy === undefined ? "" : `, approved by ${record.approvedBy}`}`,
            `         ${record.verified ? `verified; ${Math.floor(soaked / 60_000)} minutes since` : "not verified"}`,
            ...(changes.length === 0 ? [] : [file]),
            ...changes.map((change) => {
                const { before, after } = shown(change);
                return `  ${change.path}: ${before === undefined ? "not set" : inline(before)} → ${inline(after)}`;
            }),
        );
    return `${lines.map(visible).join("\n")}\n`;
}

function shown({ path: key, before, after }: Promotion["changes"][number]): { before: unknown; after: unknown } {
    const keys = key.split(".");
    return { before: redactedValue(keys, before, "values"), after: redactedValue(keys, after, "values") };
}

function nextText(plan: Promotion, commit: string | undefined, refused: boolean, written: boolean): string {
    const { refusals, branch, onto, path: way, file, changes } = plan;
    const reasons =
        refusals.length === 0
            ? ""
            : `${paint("red", refused ? "refused" : "in an emergency, although")}:\n${visibleLines(refusalText(refusals))}\n`;
    if (refused) return reasons;
    const further = way.slice(1).map((next, index) => `  then ${way[index] ?? ""} into ${next}`);
    if (changes.length === 0)
        return `${reasons}${onto} has it already\n${further.join("\n")}${further.length === 0 ? "" : "\n"}`;
    if (written) return `${reasons}wrote ${file}\n`;
    return [
        `${reasons}committed ${commit?.slice(0, 12) ?? ""} on ${branch}, on top of ${onto}`,
        `  git push origin ${branch}`,
        `  and open a pull request into ${onto}`,
        ...further,
        "",
    ].join("\n");
}

function visibleLines(text: string): string {
    return text.split("\n").map(visible).join("\n");
}

function asJson(plan: Promotion, commit: string | undefined, refused: boolean): object {
    const { from, to, environment, artifacts, record, soaked, refusals, onto, file, branch, path: way } = plan;
    return {
        version: 1,
        ...{ from, to, environment, refused, refusals, artifacts },
        ...(record === undefined ? {} : { record, soakedMinutes: Math.floor(soaked / 60_000) }),
        ...{ onto, path: way, file },
        changes: plan.changes.map((change) => ({ path: change.path, ...shown(change) })),
        ...(commit === undefined ? {} : { branch, commit }),
    };
}
