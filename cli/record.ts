import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { stackAt } from "../branching/artifacts";
import { type Gate, gate } from "../branching/gate";
import { Git, GitError } from "../branching/git";
import { endRecordedHold } from "../branching/holds";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { appendRecord, type DeployRecord, RECORD_BRANCH, recordRef, sourceHash } from "../branching/record";
import { branchOf, resolve } from "../branching/resolve";
import { visibleLines } from "../components/config/visible";
import { actorOf } from "../components/guarded-release/record/origin";
import { checkoutRoot } from "../local/paths";
import { approverOf } from "./approver";
import { ExitCode } from "./exit-code";
import { liveCommit } from "./live-commit";
import { capture } from "./process";
import { checkStack } from "./stacks";
import { verification } from "./verification";

export interface GateOptions {
    readonly ref: string;
    /** Ask the cluster, too, so that a record that was lost lets nothing go back. */
    readonly live?: boolean;
    /** Where to put the answer, for {@link recordCommand}. */
    readonly out?: string;
}

/** Whether the commit of this checkout may be deployed, as the hook of `ml-api receive` decides it. */
export async function gateCommand(stack: string, { ref, live, out }: GateOptions): Promise<void> {
    checkStack(stack);
    const git = new Git(checkoutRoot);
    const commit = await headOf(git);
    const stacks = stacksByEnvironment(checkoutRoot);
    const map = loadBranchMap(checkoutRoot, stacks);
    const decision = resolve(map, stacks, { event: "push", ref, commit });
    const branch = branchOf(ref) ?? "";
    const answer: Gate =
        decision.action === "deploy" && decision.stacks.includes(stack)
            ? await gate({
                  ...{ git, map, decision, commit, branch, stack, recordRef: await recordRef(git) },
                  ...(live === true ? { live: () => liveCommit(checkoutRoot, stack) } : {}),
              })
            : { verdict: "nothing", why: `a push to it does not deploy ${stack}: ${decision.reason}` };
    if (out !== undefined) fs.writeFileSync(out, `${JSON.stringify(answer)}\n`);
    process.stdout.write(`${answer.verdict}: ${visibleLines(answer.why)}\n`);
    if (answer.verdict === "refused") throw new ExitCode(1, `${stack} is not deployed`);
}

export interface RecordOptions {
    readonly ref?: string;
    readonly outcome?: string;
    /** What {@link gateCommand} has answered. */
    readonly gate?: string;
    /** Minutes to wait for somebody else's update of this commit. */
    readonly wait?: string;
    readonly out?: string;
    readonly from?: readonly string[];
    readonly push?: boolean;
}

/** Writes down one deploy; or, with `--from`, adds what was written down to the record. */
export async function recordCommand(stack: string | undefined, options: RecordOptions): Promise<void> {
    const git = new Git(checkoutRoot);
    if (options.from !== undefined) {
        for (const file of options.from) await append(git, file, options.push === true);
        return;
    }
    if (stack === undefined) throw new Error("which stack? → ml-api record STACK --ref BRANCH --outcome deployed");
    checkStack(stack);
    const outcome =
        options.wait === undefined
            ? options.outcome
            : await waitForUpdate(stack, await headOf(git), Number(options.wait));
    if (outcome !== "deployed" && outcome !== "failed")
        throw new Error(`the outcome is deployed or failed, not ${JSON.stringify(outcome ?? "")} → --outcome deployed`);
    const branch = branchOf(options.ref ?? "") ?? options.ref;
    if (branch === undefined) throw new Error("which branch? → --ref refs/heads/NAME");
    const answered =
        options.gate === undefined ? undefined : (JSON.parse(fs.readFileSync(options.gate, "utf8")) as Gate);
    const commit = await headOf(git);
    const { environment, artifacts } = await stackAt(git, commit, stack);
    const outputs = JSON.parse(
        await capture("pulumi", ["stack", "output", "--json", "--stack", stack], {
            cwd: checkoutRoot,
            env: process.env,
        }),
    ) as Record<string, string>;
    const { verified, why } =
        outcome === "deployed"
            ? await verification(checkoutRoot, stack)
            : { verified: false, why: "the deploy failed" };
    const approvedBy = await approverOf(environment);
    const record: DeployRecord = {
        at: new Date().toISOString(),
        ...{ stack, commit, branch },
        source: await sourceHash(git, commit, stack),
        image: outputs["image"] ?? "",
        actor: actorOf(process.env),
        ...(approvedBy === undefined ? {} : { approvedBy }),
        ...{ outcome, verified, artifacts },
        ...(answered?.verdict === "deploy" && answered.emergency !== undefined
            ? { emergency: answered.emergency }
            : {}),
    };
    const text = `${JSON.stringify({ environment, record })}\n`;
    if (options.out === undefined) process.stdout.write(text);
    else fs.writeFileSync(options.out, text);
    process.stderr.write(`${stack}: ${outcome}, ${verified ? "verified" : "not verified"}: ${visibleLines(why)}\n`);
}

/** Adds a record to the branch; where somebody else was faster, on top of theirs. */
async function append(git: Git, file: string, push: boolean): Promise<void> {
    const { environment, record } = JSON.parse(fs.readFileSync(file, "utf8")) as {
        environment: string;
        record: DeployRecord;
    };
    const ref = `refs/heads/${RECORD_BRANCH}`;
    for (let attempt = 1; ; attempt++) {
        // A first deploy of all finds no such branch.
        if (push && (await git.run(["ls-remote", "origin", ref])) !== "")
            await git.run(["fetch", "--quiet", "origin", `+${ref}:${ref}`]);
        await appendRecord(git, environment, record);
        if (record.outcome === "deployed") await endRecordedHold(git, environment, record);
        if (!push) return;
        try {
            await git.run(["push", "--quiet", "origin", `${ref}:${ref}`]);
            return;
        } catch (error) {
            if (!(error instanceof GitError) || attempt === 5) throw error;
            await sleep(500 * attempt * Math.random());
        }
    }
}

/** How an update of a stack ended that somebody else makes of a commit. @param ask reads `pulumi stack history --json` */
export async function waitForUpdate(
    stack: string,
    commit: string,
    minutes: number,
    ask: () => Promise<string> = () =>
        capture("pulumi", ["stack", "history", "--json", "--page-size", "20", "--stack", stack], {
            cwd: checkoutRoot,
            env: process.env,
        }),
    every = 15_000,
): Promise<"deployed" | "failed"> {
    const until = Date.now() + minutes * 60_000;
    for (;;) {
        const updates = JSON.parse(await ask()) as {
            kind: string;
            result: string;
            environment?: Record<string, string>;
        }[];
        const ours = updates.find(({ kind, environment }) => kind === "update" && environment?.["git.head"] === commit);
        if (ours !== undefined && ours.result !== "in-progress")
            return ours.result === "succeeded" ? "deployed" : "failed";
        if (Date.now() >= until)
            throw new Error(
                `nobody has deployed ${commit.slice(0, 12)} to ${stack} within ${minutes} minutes → pulumi stack history --stack ${stack}`,
            );
        await sleep(every);
    }
}

async function headOf(git: Git): Promise<string> {
    const commit = await git.commit("HEAD");
    if (commit === undefined) throw new Error(`${git.folder} has no commit`);
    return commit;
}
