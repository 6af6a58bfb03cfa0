import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../branching/git";
import { type BranchMap, loadBranchMap, stacksByEnvironment } from "../branching/map";
import { order } from "../branching/order";
import { appendRecord, type DeployRecord, readRecords, running, sourceHash } from "../branching/record";
import { branchOf, type Decision, findRule, resolve, shown } from "../branching/resolve";
import { clusterContext } from "../local/clusters/cluster";
import { rememberedCluster } from "../local/clusters/remembered";
import { environment, quote, withEnvironment } from "../local/environment";
import { withLock } from "../local/lock";
import { checkoutRoot } from "../local/paths";
import { forgetStackSalt } from "../local/stack-salt";
import { ExitCode } from "./exit-code";
import { capture, foreground } from "./process";

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
    const updates = fs
        .readFileSync(0, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split(" ") as [string, string, string]);
    const git = new Git(process.env["GIT_DIR"] ?? process.cwd());
    const stacks = stacksByEnvironment(checkoutRoot);
    const map = loadBranchMap(checkoutRoot, stacks);
    let failed = false;
    for (const [, commit, ref] of updates) {
        if (ref === "refs/heads/deployments") continue;
        const decision = resolve(map, stacks, { event: "push", ref, commit });
        say(`${decision.action}: ${decision.reason}`);
        const branch = branchOf(ref);
        if (decision.action === "nothing" || branch === undefined) continue;
        for (const stack of decision.stacks) {
            try {
                const push = { git, map, decision, commit, branch, stack };
                await (decision.action === "preview" ? preview(push) : deploy(push));
            } catch (error) {
                failed = true;
                say(`${stack}: ${error instanceof Error ? error.message : String(error)}`);
            }
        }
    }
    if (failed) throw new ExitCode(1, "not everything that was pushed is deployed; what ran before still runs");
}

interface Push {
    readonly git: Git;
    readonly map: BranchMap;
    readonly decision: Decision;
    readonly commit: string;
    readonly branch: string;
    readonly stack: string;
}

async function preview({ git, commit, stack }: Push): Promise<void> {
    await inCheckout(git, commit, stack, async (cwd, env) => {
        const code = await foreground("pulumi", ["preview", "--stack", stack, "--diff", "--non-interactive"], {
            cwd,
            env,
        });
        if (code !== 0) throw new Error(`the preview ended with exit code ${code}`);
    });
}

async function deploy(push: Push): Promise<void> {
    const { git, map, decision, commit, branch, stack } = push;
    const name = decision.environment ?? "";
    const approvedBy = await approval(push);
    // One deploy of a stack at a time; the next one looks at what the one before has left.
    await withLock(path.join(clusterContext().stateDir, `deploy-${stack}.lock`), async () => {
        const records = await readRecords(git, name);
        const now = running(records, stack);
        const rankOf = (of: string): number | undefined => {
            const onPush = findRule(map, of)?.rule.onPush;
            return onPush !== undefined && "deploy" in onPush ? onPush.rank : undefined;
        };
        const { verdict, why } = await order(
            now === undefined ? undefined : { commit: now.commit, branch: now.branch, rank: rankOf(now.branch) },
            { commit, branch, rank: decision.rank },
            (ancestor, descendant) => git.isAncestor(ancestor, descendant),
        );
        if (verdict === "refused") throw new Error(`refused: ${why}`);
        if (verdict === "older") {
            say(`${stack}: nothing to do: ${why}`);
            return;
        }
        const source = await sourceHash(git, commit, stack);
        if (decision.onlyIfChanged && now?.source === source) {
            say(
                `${stack}: nothing to do: its tree is the one of ${now.commit.slice(0, 12)} (${now.branch}), which runs`,
            );
            return;
        }
        await inCheckout(git, commit, stack, async (cwd, env) => {
            const code = await foreground(
                "pulumi",
                ["up", "--stack", stack, "--yes", "--skip-preview", "--non-interactive"],
                { cwd, env },
            );
            const outputs = JSON.parse(
                await capture("pulumi", ["stack", "output", "--json", "--stack", stack], { cwd, env }),
            ) as Record<string, string>;
            const record: DeployRecord = {
                at: new Date().toISOString(),
                stack,
                commit,
                branch,
                source,
                image: outputs["image"] ?? "",
                actor: env["GITHUB_ACTOR"] ?? os.userInfo().username,
                ...(approvedBy === undefined ? {} : { approvedBy }),
                outcome: code === 0 ? "deployed" : "failed",
                // The check after a deploy belongs to a later step; nobody has asked for a prediction here.
                verified: false,
            };
            await appendRecord(git, name, record);
            if (code !== 0) throw new Error(`pulumi up ended with exit code ${code}`);
            say(`${stack} runs ${commit.slice(0, 12)}: ${outputs["url"] ?? ""}`);
        });
    });
}

/** Who agreed, where the map asks for it: somebody other than the author. */
async function approval({ git, decision, commit, stack }: Push): Promise<string | undefined> {
    if (!decision.approval) return undefined;
    const options = Array.from(
        { length: Number(process.env["GIT_PUSH_OPTION_COUNT"] ?? 0) },
        (_, index) => process.env[`GIT_PUSH_OPTION_${index}`] ?? "",
    );
    const approver = options
        .map((option) => /^approved-by=(.+)$/.exec(option)?.[1])
        .find((found) => found !== undefined);
    const author = (await git.run(["log", "-1", "--format=%an", commit])).trim();
    if (approver === undefined)
        throw new Error(
            `waits for approval → git push -o approved-by=NAME; then push the branch again, or ml-api receive`,
        );
    if (approver === author) throw new Error(`${shown(approver)} is the author of the commit and cannot approve it`);
    say(`${stack}: approved by ${shown(approver)}`);
    return approver;
}

/** The files of a commit in a folder of their own, with the packages of this checkout if they are the same ones. */
async function inCheckout(
    git: Git,
    commit: string,
    stack: string,
    use: (cwd: string, env: NodeJS.ProcessEnv) => Promise<void>,
): Promise<void> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-push-"));
    try {
        const archive = path.join(folder, ".commit.tar");
        await git.run(["archive", "--format=tar", `--output=${archive}`, commit]);
        execFileSync("tar", ["--extract", "--file", archive, "--directory", folder]);
        fs.rmSync(archive);
        if (!fs.existsSync(path.join(folder, `Pulumi.${stack}.yaml`)))
            throw new Error(`the commit has no Pulumi.${stack}.yaml`);
        forgetStackSalt(folder, `Pulumi.${stack}.yaml`);
        const lock = (root: string): string => fs.readFileSync(path.join(root, "package-lock.json"), "utf8");
        if (lock(folder) === lock(checkoutRoot))
            fs.symlinkSync(path.join(checkoutRoot, "node_modules"), path.join(folder, "node_modules"));
        else
            execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
                cwd: folder,
                stdio: "inherit",
            });
        await use(folder, await deployEnvironment());
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** The cluster and Pulumi state of the shell where they are set (`ml-api env`), else of this checkout. */
async function deployEnvironment(): Promise<NodeJS.ProcessEnv> {
    if (process.env["PULUMI_BACKEND_URL"] !== undefined) return process.env;
    if (rememberedCluster(clusterContext().stateDir)?.info === undefined)
        throw new Error("there is no cluster to deploy to → make up");
    return withEnvironment(process.env, await environment());
}

/** To the pusher: git puts "remote: " in front of it. */
function say(text: string): void {
    process.stderr.write(`${text}\n`);
}
