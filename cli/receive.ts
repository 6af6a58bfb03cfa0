import * as fs from "node:fs";
import * as path from "node:path";
import { Git } from "../branching/git";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import { debtText, findDebts } from "../branching/debts";
import { gate, type Push } from "../branching/gate";
import { endRecordedHold } from "../branching/holds";
import { appendRecord, type DeployRecord, type Emergency } from "../branching/record";
import { branchOf, resolve, shown } from "../branching/resolve";
import { visibleLines } from "../components/config/visible";
import { actorOf } from "../components/guarded-release/record/origin";
import { clusterContext } from "../local/clusters/cluster";
import { quote } from "../local/environment";
import { withLock } from "../local/lock";
import { checkoutRoot } from "../local/paths";
import { deployEnvironment, inCheckout, withPolicies } from "./deploy-checkout";
import { ExitCode } from "./exit-code";
import { releaseHold } from "./hold";
import { liveCommit } from "./live-commit";
import { capture, foreground } from "./process";
import { verification } from "./verification";

/** Lets a bare repository deploy what is pushed to it, with the branch map and the cluster of this checkout. */
export async function installReceive(repository: string): Promise<void> {
    const git = new Git(path.resolve(repository));
    const bare = (await git.run(["rev-parse", "--is-bare-repository"]).catch(() => "")).trim();
    if (bare !== "true") throw new Error(`${repository} is no bare repository → git init --bare ${repository}`);
    const hook = path.join(git.folder, "hooks", "post-receive");
    const line = `exec ${quote(path.join(checkoutRoot, "cli", "ml-api.js"))} receive`;
    const text = `#!/bin/sh\n# Deploys what is pushed; see docs/branching.md.\n${line}\n`;
    if (fs.existsSync(hook) && fs.readFileSync(hook, "utf8") !== text)
        throw new Error(`${hook} exists and does something else → call \`${line}\` from it`);
    fs.mkdirSync(path.dirname(hook), { recursive: true });
    fs.writeFileSync(hook, text, { mode: 0o755 });
    // For the approval: git push -o approved-by=NAME
    await git.run(["config", "receive.advertisePushOptions", "true"]);
    process.stdout.write(`a push to ${repository} deploys what its branch stands for\n`);
}

/**
 * The post-receive hook: previews or deploys each branch that was pushed, and tells the pusher. git has moved the branches by
 * then, as on any server; a deploy that is refused or fails leaves what ran before.
 */
export async function receiveCommand(): Promise<void> {
    const lines = fs.readFileSync(0, "utf8").split("\n");
    const updates = lines
        .filter((line) => line !== "")
        .map((line): Update => {
            const [, commit = "", ref = ""] = line.split(" ");
            return { commit, ref };
        });
    await receive(new Git(process.env["GIT_DIR"] ?? process.cwd()), updates, pushOptions());
}

/** Does once more what a push of a branch does: after an approval, or what failed. git calls no hook for a branch that does not move. */
export async function receiveAgain(repository: string, branch: string, options: readonly string[]): Promise<void> {
    const git = new Git(path.resolve(repository));
    const ref = `refs/heads/${branchOf(branch) ?? branch}`;
    const commit = await git.commit(ref);
    if (commit === undefined) throw new Error(`${repository} has no branch ${shown(branch)} → git push first`);
    await receive(git, [{ commit, ref }], options);
}

interface Update {
    readonly commit: string;
    /** Full name of the branch that was moved there. */
    readonly ref: string;
}

/** @param options what the pusher said: `NAME=VALUE` */
async function receive(git: Git, updates: readonly Update[], options: readonly string[]): Promise<void> {
    const stacks = stacksByEnvironment(checkoutRoot);
    const map = loadBranchMap(checkoutRoot, stacks);
    let failed = false;
    for (const { commit, ref } of updates) {
        if (ref === "refs/heads/deployments") continue;
        const decision = resolve(map, stacks, { event: "push", ref, commit });
        say(`${decision.action}: ${decision.reason}`);
        const branch = branchOf(ref);
        if (decision.action === "nothing" || branch === undefined) continue;
        for (const stack of decision.stacks) {
            try {
                const push = { git, map, decision, commit, branch, stack };
                await (decision.action === "preview" ? preview(push) : deploy(push, options));
            } catch (error) {
                failed = true;
                say(`${stack}: ${error instanceof Error ? error.message : String(error)}`);
            }
        }
    }
    if (failed) throw new ExitCode(1, "not everything that was pushed is deployed; what ran before still runs");
}

async function preview({ git, commit, stack }: Push): Promise<void> {
    await inCheckout(git, commit, stack, async (cwd, env) => {
        const args = ["preview", "--stack", stack, "--diff", "--non-interactive", ...withPolicies(cwd)];
        const code = await foreground("pulumi", args, { cwd, env });
        if (code !== 0) throw new Error(`the preview ended with exit code ${code}`);
    });
}

async function deploy(push: Push, options: readonly string[]): Promise<void> {
    const { git, map, decision, commit, branch, stack } = push;
    const name = decision.environment ?? "";
    const approvedBy = await approval(push, options);
    const urgent = emergency(approvedBy, options);
    // One deploy of a stack at a time; the next one looks at what the one before has left.
    await withLock(path.join(clusterContext().stateDir, `deploy-${stack}.lock`), async () => {
        const release = optionOf(options, "release-hold");
        if (release !== undefined) await releaseHold(git, stack, release, say);
        const answer = await gate({
            ...{ git, map, decision, commit, branch, stack },
            live: async () => liveCommit(checkoutRoot, stack, await deployEnvironment()),
            ...(urgent === undefined ? {} : { emergency: urgent }),
        });
        if (answer.verdict === "refused") throw new Error(`refused: ${answer.why}`);
        if (answer.verdict === "nothing") {
            say(`${stack}: nothing to do: ${answer.why}`);
            return;
        }
        if (answer.emergency !== undefined) say(`${stack}: ${answer.why}`);
        await inCheckout(git, commit, stack, async (cwd, env) => {
            const code = await foreground(
                "pulumi",
                ["up", "--stack", stack, "--yes", "--skip-preview", "--non-interactive", ...withPolicies(cwd)],
                { cwd, env },
            );
            const outputs = JSON.parse(
                await capture("pulumi", ["stack", "output", "--json", "--stack", stack], { cwd, env }),
            ) as Record<string, string>;
            const { verified, why } =
                code === 0 ? await verification(cwd, stack, env) : { verified: false, why: "the deploy failed" };
            const record: DeployRecord = {
                at: new Date().toISOString(),
                stack,
                commit,
                branch,
                source: answer.source,
                image: outputs["image"] ?? "",
                actor: actorOf(env),
                ...(approvedBy === undefined ? {} : { approvedBy }),
                outcome: code === 0 ? "deployed" : "failed",
                verified,
                artifacts: answer.artifacts,
                ...(answer.emergency === undefined ? {} : { emergency: answer.emergency }),
            };
            await appendRecord(git, name, record);
            if (code === 0) await endRecordedHold(git, name, record);
            if (code !== 0) throw new Error(`pulumi up ended with exit code ${code}`);
            say(`${stack} runs ${commit.slice(0, 12)}: ${outputs["url"] ?? ""}`);
            say(`${stack}: ${verified ? "verified" : "not verified"}: ${why}`);
        });
        await tellDebts(push);
    });
}

/** A debt stops the next promotion; who deploys hears of it first. */
async function tellDebts({ git, map }: Push): Promise<void> {
    const debts = await findDebts(git, map, stacksByEnvironment(checkoutRoot));
    for (const debt of debts) say(`debt: ${debtText(debt)}`);
}

/** What is deployed without proof: git push -o emergency=REASON -o approved-by=NAME */
function emergency(approvedBy: string | undefined, options: readonly string[]): Emergency | undefined {
    const reason = optionOf(options, "emergency");
    if (reason === undefined) return undefined;
    const approver = approvedBy ?? optionOf(options, "approved-by");
    if (approver === undefined)
        throw new Error("an emergency needs somebody who agrees → git push -o emergency=REASON -o approved-by=NAME");
    return { reason, approvedBy: approver };
}

/** What came with `git push -o NAME=VALUE`. */
function pushOptions(): string[] {
    return Array.from(
        { length: Number(process.env["GIT_PUSH_OPTION_COUNT"] ?? 0) },
        (_, index) => process.env[`GIT_PUSH_OPTION_${index}`] ?? "",
    );
}

function optionOf(options: readonly string[], name: string): string | undefined {
    return options
        .find((option) => option.startsWith(`${name}=`) && option.length > name.length + 1)
        ?.slice(name.length + 1);
}

/** Who agreed, where the map asks for it: somebody other than the author. */
async function approval(
    { git, decision, commit, branch, stack }: Push,
    options: readonly string[],
): Promise<string | undefined> {
    if (!decision.approval) return undefined;
    const approver = optionOf(options, "approved-by");
    const author = (await git.run(["log", "-1", "--format=%an", commit])).trim();
    if (approver === undefined)
        throw new Error(
            `waits for approval → where the repository is: ml-api receive ${git.folder} --again ${branch} --approved-by NAME; the next time, git push -o approved-by=NAME`,
        );
    if (approver === author) throw new Error(`${shown(approver)} is the author of the commit and cannot approve it`);
    say(`${stack}: approved by ${shown(approver)}`);
    return approver;
}

/** To the pusher: git puts "remote: " in front of it. */
function say(text: string): void {
    process.stderr.write(`${visibleLines(text)}\n`);
}
