import * as crypto from "node:crypto";
import * as path from "node:path";
import { stackAt } from "../branching/artifacts";
import { blockLists } from "../branching/gate";
import { Git } from "../branching/git";
import { holdRecord } from "../branching/holds";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { blockedRefusals, refusalText } from "../branching/promotion";
import { appendRecord, type DeployRecord, readRecords, recordRef, sourceHash } from "../branching/record";
import type { ApiAccess } from "../components/config/kubeconfig";
import { readProject } from "../components/config/project-file";
import { visibleLines } from "../components/config/visible";
import { changesBetween } from "../components/guarded-release/changes/changes";
import { endHold, type Hold, placeHold } from "../components/guarded-release/hold/hold";
import { NoAnswer, openRecords, type OpenedRecords } from "../components/guarded-release/live/live";
import { decodeRecord } from "../components/guarded-release/live/record";
import { isPending } from "../components/guarded-release/recover/repair";
import { actorOf } from "../components/guarded-release/record/origin";
import { clusterContext } from "../local/clusters/cluster";
import { withLock } from "../local/lock";
import { checkoutRoot } from "../local/paths";
import { confirm } from "./confirm";
import { inCheckout } from "./deploy-checkout";
import { compareWithCluster } from "./diff-compare";
import { paint, reportText } from "./diff-terminal";
import { ExitCode } from "./exit-code";
import { ownRecord } from "./own-record";
import { capture, foreground } from "./process";
import { ensureHelm, renderStack } from "./rendered-stack";
import { newBranch, writeRevert } from "./revert-commit";
import {
    chooseTarget,
    revisionsJson,
    revisionsOf,
    revisionsText,
    type RollbackTarget,
    servingRevision,
} from "./revisions";
import { type StackPlace, stackPlace } from "./stack-cluster";
import { releaseDeadLock } from "./stack-lock";
import { findStack } from "./stacks";
import { verification } from "./verification";

export interface RollbackOptions {
    /** A revision's number, or the beginning of a commit. */
    readonly to?: string;
    readonly reason?: string;
    readonly yes?: boolean;
    readonly json?: boolean;
}

/** Milliseconds until the cluster has answered with Helm's records. */
const OPEN_MS = 15_000;

/** Without `--to` lists the revisions of a stack; with it, goes back to one of them. */
export async function rollbackCommand(name: string, options: RollbackOptions): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const place = stackPlace(checkoutRoot, stack);
    const opened = await openRecords(place, place.env, OPEN_MS).catch((error: unknown) => {
        if (error instanceof NoAnswer) throw new Error(`the revisions of ${stack} are not known: ${error.message}`);
        throw error;
    });
    const revisions = revisionsOf(opened.records);
    if (options.to === undefined) {
        process.stdout.write(options.json === true ? revisionsJson(stack, revisions) : revisionsText(stack, revisions));
        return;
    }
    if (options.json === true) throw new Error("--json lists the revisions → leave --to out");
    const git = new Git(checkoutRoot);
    const newest = opened.records.at(-1);
    if (newest !== undefined && isPending(newest.status))
        throw new Error(
            `revision ${newest.revision} of ${stack} is "${newest.status}": wait until that update has ended, or put it right with pulumi up first`,
        );
    const { environment } = place.settings;
    const deploys = await readRecords(git, environment, await recordRef(git));
    const target = chooseTarget(revisions, deploys, stack, options.to);
    const from = (servingRevision(revisions)?.commit ?? (await git.commit("HEAD")) ?? "").replace(/-dirty$/, "");
    await inThisClone(git, target.commit, "to which it is to go back");
    await inThisClone(git, from, `which ${stack} runs`);
    // One deploy of a stack at a time, pushes included.
    await withLock(path.join(clusterContext().stateDir, `deploy-${stack}.lock`), () =>
        goBack({ git, stack, place, opened, target, from, options }),
    );
}

interface Going {
    readonly git: Git;
    readonly stack: string;
    readonly place: StackPlace;
    readonly opened: OpenedRecords;
    readonly target: RollbackTarget;
    /** The commit that runs. */
    readonly from: string;
    readonly options: RollbackOptions;
}

async function goBack({ git, stack, place, opened, target, from, options }: Going): Promise<void> {
    const by = actorOf(process.env);
    const now = new Date().toISOString();
    const reason = options.reason ?? `${by} rolled back ${stack} and gave no reason`;
    const hold = { id: `${now.replaceAll(/[-:]|\.\d+/g, "")}-${crypto.randomBytes(3).toString("hex")}`, reason };
    const live = opened.records.findLast(({ status }) => status === "deployed");
    const revert = await writeRevert(git, {
        ...{ stack, from, to: target.commit, hold: hold.id, reason, by },
        project: readProject(checkoutRoot).name,
        live: live === undefined ? {} : decodeRecord(live.secret).values,
    });
    const { commit } = revert;
    const { artifacts, values } = await stackAt(git, commit, stack);
    const map = loadBranchMap(checkoutRoot, stacksByEnvironment(checkoutRoot));
    const blocked = blockedRefusals(await blockLists(git, map, commit), artifacts, values);
    if (blocked.length > 0)
        throw new Error(`${stack} cannot go back to ${target.commit.slice(0, 12)}:\n${refusalText(blocked)}`);

    await inCheckout(git, commit, stack, async (cwd, env) => {
        await preview(cwd, stack, place, env, opened, target);
        if (options.yes !== true)
            await confirm(`Roll back ${stack} to ${target.commit.slice(0, 12)}, and hold it there?`);
        await ownRecord(git);
        const branch = await newBranch(git, `hotfix/rollback-${stack}-${target.commit.slice(0, 8)}`, commit);
        const held: Hold = { id: hold.id, stack, commit, branch, to: target.commit, by, at: now, reason };
        const deployed = {
            at: now,
            stack,
            commit,
            branch,
            source: await sourceHash(git, commit, stack),
            actor: by,
            artifacts,
        };
        const code = await deployHeld(opened.access, place, held, cwd, env);
        if (code !== 0) {
            await git.run(["update-ref", "-d", `refs/heads/${branch}`, commit]);
            throw new ExitCode(
                code,
                `pulumi up ended with exit code ${code}: ${stack} was not rolled back, and is not held`,
            );
        }
        const { verified, why } = await verification(cwd, stack, env);
        const outputs = JSON.parse(
            await capture("pulumi", ["stack", "output", "--json", "--stack", stack], { cwd, env }),
        ) as Record<string, string>;
        const record: DeployRecord = {
            ...deployed,
            at: new Date().toISOString(),
            image: outputs["image"] ?? "",
            outcome: "deployed",
            verified,
        };
        const { environment } = place.settings;
        await appendRecord(git, environment, record);
        await appendRecord(git, environment, holdRecord(record, "held", hold));
        say(
            `${stack} runs the chart and values of ${target.commit.slice(0, 12)} again (${verified ? "verified" : `not verified: ${why}`}).`,
        );
        say(`It is held: next goes only ${commit.slice(0, 12)} (branch ${branch}) and what has it in its history.`);
        say(`Tell the others:  git push origin ${branch} deployments`);
        say(
            `Then open a pull request of ${branch}. To end the hold without it: npx --no ml-api hold ${stack} --release "WHY"`,
        );
    });
}

/** Shows what becomes of the live objects. @throws Error when that cannot be told, or nothing would become of them */
async function preview(
    cwd: string,
    stack: string,
    place: StackPlace,
    env: NodeJS.ProcessEnv,
    { records }: OpenedRecords,
    target: RollbackTarget,
): Promise<void> {
    const helm = await ensureHelm();
    const stacks = await compareWithCluster(cwd, [stack], helm, { ...place.env, ...env });
    process.stderr.write(reportText({ base: undefined, stacks }, paint));
    if (stacks.some(({ state }) => state !== "compared"))
        throw new Error("what the rollback would change cannot be shown, so nothing was changed");
    if (stacks.every(({ objects }) => objects.length === 0))
        throw new Error(
            `${target.commit.slice(0, 12)} deploys the same objects as what runs: there is nothing to roll back`,
        );
    const then = records.find(({ revision }) => revision === target.revision);
    if (then === undefined) return;
    const { objects } = await renderStack(cwd, stack, helm);
    const others = changesBetween(decodeRecord(then.secret).objects, objects).map((change) => change.name);
    if (others.length > 0)
        say(
            `! It is not quite revision ${then.revision}: ${others.join(", ")} ${others.length === 1 ? "differs" : "differ"}, ` +
                "for the program and the API key are those of today",
        );
}

/** Holds the stack first, so that nothing gets in between; a rollback that fails holds nothing. @returns Pulumi's exit code */
async function deployHeld(
    access: ApiAccess,
    place: StackPlace,
    hold: Hold,
    cwd: string,
    env: NodeJS.ProcessEnv,
): Promise<number> {
    await releaseDeadLock(hold.stack, env, say);
    await placeHold(access, place, hold);
    let code = 1;
    try {
        const args = ["up", "--stack", hold.stack, "--yes", "--skip-preview", "--non-interactive"];
        code = await foreground("pulumi", args, { cwd, env });
        return code;
    } finally {
        if (code !== 0) await endHold(access, place);
    }
}

async function inThisClone(git: Git, commit: string, what: string): Promise<void> {
    if ((await git.commit(commit)) !== undefined) return;
    throw new Error(
        `the commit ${commit.slice(0, 12)}, ${what}, is not in this clone → git fetch origin (a shallow clone: git fetch --unshallow)`,
    );
}

function say(text: string): void {
    process.stderr.write(`${visibleLines(text)}\n`);
}
