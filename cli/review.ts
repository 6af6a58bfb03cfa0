import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Git } from "../branching/git";
import { loadBranchMap, MAP_FILE, stacksByEnvironment } from "../branching/map";
import { sourceHash } from "../branching/record";
import {
    isExpired,
    requestNumber,
    reviewNamespace,
    type ReviewRule,
    type ReviewStack,
    reviewStackFile,
    reviewStackName,
    reviewStacksIn,
} from "../branching/review";
import { readProject } from "../components/config/project-file";
import { readStack } from "../components/config/stack";
import { stackFileName } from "../components/config/stack-file";
import { checkoutRoot } from "../local/paths";
import { bootstrap } from "../rbac/bootstrap";
import { toYaml } from "../rbac/manifests";
import { deployEnvironment, inCheckout } from "./deploy-checkout";
import { ExitCode } from "./exit-code";
import { capture, foreground } from "./process";
import { knownStacks } from "./pulumi-stacks";
import { ensureHelm, renderStack } from "./rendered-stack";
import { stackContext } from "./stack-cluster";

/** On the namespace: whose it is, so that none is removed that a person made. */
const LABEL = "ml-api/review";

/** Deploys this checkout's commit to the pull request's own stacks, one for each that the commit changes. */
export async function reviewUpCommand(request: string, { base }: { readonly base?: string }): Promise<void> {
    const number = requestNumber(request);
    const rule = reviewRule();
    const git = new Git(checkoutRoot);
    const commit = (await git.run(["rev-parse", "HEAD"])).trim();
    const env = await deployEnvironment();
    const others = [...new Set((await reviewStacks(env)).map((one) => one.number))].filter((one) => one !== number);
    if (others.length >= rule.atMost)
        throw new Error(
            `${others.length} pull requests have review stacks already, and ${MAP_FILE} allows ${rule.atMost}: ${others.join(", ")} → close one, or ml-api review down ${others[0] ?? ""}`,
        );
    const stacks = await changedStacks(git, commit, rule, base);
    if (stacks.length === 0) say(`nothing of ${rule.of} is changed: no review stack is needed`);
    for (const stack of stacks)
        await inCheckout(git, commit, stack, async (folder, variables) => {
            await deploy(folder, variables, stack, number, rule);
        });
}

/** The stacks of the environment whose deploys the commit would change; all without a base. */
async function changedStacks(git: Git, commit: string, { of }: ReviewRule, base?: string): Promise<string[]> {
    const stacks = stacksByEnvironment(checkoutRoot)[of] ?? [];
    if (base === undefined) return stacks;
    const from = await git.mergeBase(base, commit);
    if (from === undefined) throw new Error(`${base} and this commit have no common commit → git fetch origin`);
    const changed: string[] = [];
    for (const stack of stacks)
        if ((await sourceHash(git, from, stack)) !== (await sourceHash(git, commit, stack))) changed.push(stack);
    return changed;
}

async function deploy(
    folder: string,
    env: NodeJS.ProcessEnv,
    of: string,
    number: number,
    rule: ReviewRule,
): Promise<void> {
    const { name } = readStack(folder, of);
    const stack = reviewStackName(of, number);
    const namespace = reviewNamespace(name, stack);
    const text = fs.readFileSync(path.join(folder, stackFileName(of)), "utf8");
    const own = reviewStackFile(text, readProject(folder).name, { namespace, values: rule.values });
    fs.writeFileSync(path.join(folder, stackFileName(stack)), own);
    const { settings, objects } = await renderStack(folder, stack, await ensureHelm());
    const options = { cwd: folder, env };
    // First the place with its limits. Its first object is the role of whoever makes it, which is us.
    const [, ...place] = bootstrap({ release: settings.name, namespace, createNamespace: false, objects });
    const kubectl = contextFlags(folder, of);
    await capture("kubectl", [...kubectl, "apply", "--filename", "-"], { ...options, input: toYaml(place) });
    await capture(
        "kubectl",
        [...kubectl, "label", "--overwrite", "namespace", namespace, `${LABEL}=${number}`],
        options,
    );
    if (!(await reviewStacks(env)).some((one) => one.stack === stack))
        await capture("pulumi", ["stack", "init", stack, "--no-select"], options);
    const code = await foreground("pulumi", ["up", "--stack", stack, "--yes", "--skip-preview", "--non-interactive"], {
        ...options,
    });
    if (code !== 0)
        throw new ExitCode(
            1,
            `${stack} is not as it should be: pulumi up ended with ${code}; the next push tries again`,
        );
    const outputs = JSON.parse(
        await capture("pulumi", ["stack", "output", "--json", "--stack", stack], options),
    ) as Record<string, string>;
    process.stdout.write(
        `${stack} runs until ${rule.hours} hours after its last deploy, or until the pull request is closed\n` +
            `${outputs["url"] ?? ""}\n${outputs["access"] ?? ""}\n`,
    );
}

/** Removes everything of a pull request. Without anything it says so, and is no fault. */
export async function reviewDownCommand(request: string): Promise<void> {
    const number = requestNumber(request);
    const env = await deployEnvironment();
    const stacks = (await reviewStacks(env)).filter((one) => one.number === number);
    if (stacks.length === 0) say(`pull request ${number} has no review stack`);
    await removeAll(stacks, env);
}

/** Removes what has had its time. */
export async function reviewSweepCommand(): Promise<void> {
    const { hours } = reviewRule();
    const env = await deployEnvironment();
    const over = (await reviewStacks(env)).filter((one) => isExpired(one, hours, new Date()));
    if (over.length === 0) say("no review stack has had its time");
    await removeAll(over, env);
}

export async function reviewListCommand({ json }: { readonly json?: boolean }): Promise<void> {
    const stacks = await reviewStacks(await deployEnvironment());
    if (json === true) process.stdout.write(`${JSON.stringify({ version: 1, stacks })}\n`);
    else if (stacks.length === 0) process.stdout.write("there is no review stack\n");
    for (const { stack, lastUpdate } of json === true ? [] : stacks)
        process.stdout.write(`${stack}  ${lastUpdate === undefined ? "not deployed yet" : `deployed ${lastUpdate}`}\n`);
}

/** One that cannot be removed keeps no other from being removed. */
async function removeAll(stacks: readonly ReviewStack[], env: NodeJS.ProcessEnv): Promise<void> {
    const left: string[] = [];
    for (const one of stacks)
        await remove(one, env).catch((error: unknown) => {
            left.push(`${one.stack}: ${error instanceof Error ? error.message : String(error)}`);
        });
    if (left.length > 0) throw new ExitCode(1, `not removed, try again:\n${left.join("\n")}`);
}

async function remove({ stack, number }: ReviewStack, env: NodeJS.ProcessEnv): Promise<void> {
    // What it was made of may be gone; Pulumi's state knows all that is to be removed.
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-review-"));
    try {
        fs.copyFileSync(path.join(checkoutRoot, "Pulumi.yaml"), path.join(folder, "Pulumi.yaml"));
        const options = { cwd: folder, env };
        const outputs = JSON.parse(
            await capture("pulumi", ["stack", "output", "--json", "--stack", stack], options),
        ) as Record<string, string>;
        const namespace = outputs["namespace"] ?? namespaceBefore(stack, number);
        const code = await foreground(
            "pulumi",
            ["destroy", "--stack", stack, "--yes", "--skip-preview", "--non-interactive"],
            options,
        );
        if (code !== 0) throw new Error(`pulumi destroy ended with exit code ${code}`);
        if (namespace !== undefined)
            await capture(
                "kubectl",
                [
                    ...contextFlags(checkoutRoot, originalOf(stack, number)),
                    ...["delete", "namespaces", "--ignore-not-found", "--wait=false"],
                    ...["--field-selector", `metadata.name=${namespace}`, "--selector", `${LABEL}=${number}`],
                ],
                options,
            );
        await capture("pulumi", ["stack", "rm", "--yes", stack], options);
        say(`${stack} is removed`);
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** Where a stack would be that was never deployed: by the stack file that it is a copy of, if there is one. */
function namespaceBefore(stack: string, number: number): string | undefined {
    const of = originalOf(stack, number);
    return hasStackFile(checkoutRoot, of) ? reviewNamespace(readStack(checkoutRoot, of).name, stack) : undefined;
}

function originalOf(stack: string, number: number): string {
    return stack.slice(0, -reviewStackName("", number).length);
}

function hasStackFile(root: string, stack: string): boolean {
    return fs.existsSync(path.join(root, stackFileName(stack)));
}

/** It is where the stack is that it is a copy of. */
function contextFlags(root: string, of: string): string[] {
    const context = hasStackFile(root, of) ? stackContext(root, of) : undefined;
    return context === undefined ? [] : ["--context", context];
}

async function reviewStacks(env: NodeJS.ProcessEnv): Promise<ReviewStack[]> {
    return reviewStacksIn(await knownStacks(checkoutRoot, env));
}

function reviewRule(): ReviewRule {
    const { review } = loadBranchMap(checkoutRoot, stacksByEnvironment(checkoutRoot));
    if (review === undefined)
        throw new Error(`review stacks are off → add to ${MAP_FILE}: review: { of: dev, hours: 72, atMost: 5 }`);
    return review;
}

function say(text: string): void {
    process.stderr.write(`${text}\n`);
}
