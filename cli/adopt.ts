import * as fs from "node:fs";
import { checkProject } from "../components/config/project";
import { findCluster } from "../components/config/cluster";
import { InputError } from "../components/config/problem";
import { NoAnswer } from "../components/guarded-release/live/live";
import { at } from "../components/guarded-release/safety/patch";
import { checkoutRoot } from "../local/paths";
import { type Found, findRunning, runningPods } from "./adopt-found";
import { type AdoptPlan, planAdoption } from "./adopt-plan";
import { importRelease, makeRelease, makeStack } from "./adopt-take";
import { knownStacks } from "./pulumi-stacks";
import { planJson, planText, switchText } from "./adopt-text";
import { confirm } from "./confirm";
import { paint } from "./diff-terminal";
import { ExitCode } from "./exit-code";
import { writeApi } from "./new-write";
import { foreground } from "./process";
import { ensureHelm } from "./rendered-stack";
import { readyEnvironment } from "./ready-environment";

export interface AdoptOptions {
    readonly namespace: string;
    readonly environment?: string;
    readonly context?: string;
    readonly as?: string;
    readonly values?: string;
    readonly out?: string;
    readonly plan?: boolean;
    readonly json?: boolean;
    readonly yes?: boolean;
}

/** Takes over an API that runs already: shows everything first, asks, and then writes files, the stack's state and, if need be, marks. */
export async function adoptCommand(name: string, options: AdoptOptions): Promise<void> {
    const root = checkoutRoot;
    const env = await readyEnvironment("adopt");
    const cluster = findCluster(options.context, env);
    const found = await findRunning(name, options.namespace, options.context, env).catch((error: unknown) => {
        if (error instanceof NoAnswer) throw new Error(`nothing can be adopted: ${error.message}`);
        throw error;
    });
    const { namespace, as, environment, values } = options;
    // The cluster of this checkout is found without a name, and has another one on each machine.
    const context = env["ML_API_CONTEXT"] === undefined || options.context !== undefined ? cluster?.context : undefined;
    const request = { name, namespace, as, environment, context, values };
    const plan = await planAdoption(root, request, found, await ensureHelm());
    const where = { cluster: cluster?.context ?? found.access.server, name };
    if (options.out !== undefined) writeValues(plan, options.out);
    if (options.json === true) process.stdout.write(planJson(plan, where.cluster));
    else process.stderr.write(planText(plan, found, where, paint));
    if (plan.problems.length > 0) throw new InputError(`${name} cannot be taken over like this`, plan.problems);
    if (options.plan === true || options.json === true || options.out !== undefined) return;
    const known = (await knownStacks(root, env)).find(({ stack }) => stack === plan.stack)?.resources;
    if ((known ?? 0) > 0)
        throw new Error(
            `stack ${plan.stack} has resources in its state already → pulumi preview --stack ${plan.stack}`,
        );
    if (options.yes !== true) await confirm(plan.mode === "beside" ? "Write these files?" : "Take it over?");
    await writeFiles(root, plan);
    if (plan.mode === "beside") {
        process.stdout.write(switchText(plan, found));
        return;
    }
    await takeOver(root, plan, found, known === undefined, env);
}

function writeValues({ files, stack }: AdoptPlan, file: string): void {
    const [text] = [...files].filter(([name]) => name.startsWith("apis/")).map(([, content]) => content);
    if (text === undefined) throw new Error(`stack ${stack} has its values file already; nothing was written`);
    fs.writeFileSync(file, text, { flag: "wx" });
    process.stderr.write(`the values stand in ${file}: edit it, and give it back with --values ${file}\n`);
}

async function writeFiles(root: string, plan: AdoptPlan): Promise<void> {
    if (plan.files.size === 0) return;
    const before = new Set(checkProject(root).map((problem) => JSON.stringify(problem)));
    const written = await writeApi(
        root,
        { stacks: [plan.stack], files: plan.files, edits: plan.edits, notes: [], next: [] },
        () => {
            const problems = checkProject(root).filter((problem) => !before.has(JSON.stringify(problem)));
            if (problems.length > 0) throw new InputError(plan.stack, problems);
            return Promise.resolve();
        },
    );
    for (const file of written.created) process.stdout.write(`created ${file}\n`);
    for (const file of written.changed) process.stdout.write(`changed ${file}\n`);
}

async function takeOver(
    root: string,
    plan: AdoptPlan,
    found: Found,
    isNew: boolean,
    env: NodeJS.ProcessEnv,
): Promise<void> {
    const { running, access } = found;
    const { stack, changes } = plan;
    if (running.kind === "objects") await makeRelease(access, plan, running.begun);
    if (isNew) await makeStack(root, stack, env);
    await importRelease(root, plan, env);
    process.stdout.write(
        `stack ${stack} has ${plan.release} in its state now; nothing in the cluster was changed by that\n`,
    );
    if (changes.length > 0) {
        process.stdout.write(`next\n  pulumi preview --stack ${stack}\n  npx --no ml-api up ${stack}\n`);
        return;
    }
    // It changes no object: Helm notes a revision whose objects are the same, and the next preview has nothing to say.
    const code = await foreground("pulumi", ["up", "--stack", stack, "--yes", "--skip-preview"], { env, cwd: root });
    if (code !== 0)
        throw new ExitCode(
            code,
            `pulumi up ended with exit code ${code}; the API runs as before, and \`npx --no ml-api up ${stack}\` goes on`,
        );
    process.stdout.write(`${await podsText(found, plan.namespace)}\n`);
}

/** Whether the pods are those from before, by their identities. */
async function podsText({ access, running }: Found, namespace: string): Promise<string> {
    const deployment =
        running.kind === "objects"
            ? running.deployment
            : running.record.objects.find(({ kind }) => kind === "Deployment");
    if (deployment === undefined) return "there is no Deployment whose pods could be compared";
    const uids = (pods: readonly unknown[]): string[] => pods.map((pod) => String(at(pod, ["metadata", "uid"]))).sort();
    const before = uids(running.pods);
    const now = uids(await runningPods(access, deployment as unknown as Readonly<Record<string, unknown>>, namespace));
    const same = before.filter((uid) => now.includes(uid)).length;
    return same === before.length && now.length === before.length
        ? `the same ${same === 1 ? "pod serves" : `${same} pods serve`}; none was restarted`
        : `of ${before.length} pods ${same} are the same, ${now.length} run`;
}
