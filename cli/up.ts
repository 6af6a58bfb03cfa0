import { visibleLines } from "../components/config/visible";
import { clusterUp } from "../local/clusters/choose";
import { clusterContext, type ClusterInfo } from "../local/clusters/cluster";
import { environment, withEnvironment } from "../local/environment";
import { checkoutRoot } from "../local/paths";
import { choosePlugins } from "../local/plugins";
import { forgetStackSalt, hideStackSalt } from "../local/stack-salt";
import { ensureTools } from "../local/tools";
import { ExitCode } from "./exit-code";
import { hasLostNamespace } from "./gone-namespace";
import { recordsHere, releaseHold } from "./hold";
import { foregroundUntilHopeless } from "./give-up";
import { provideImage } from "./image";
import { clearPendingCreates } from "./pending-creates";
import { predict } from "./predict";
import { capture } from "./process";
import { knownStacks } from "./pulumi-stacks";
import { releaseDeadLock } from "./stack-lock";
import { findStack, stackNames } from "./stacks";

/** Everything from nothing to a prediction. What is there already is used; what an interrupted run left is repaired. */
export async function upCommand(name: string, options: { releaseHold?: string } = {}): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const say = (text: string) => void process.stderr.write(`${text}\n`);
    const context = clusterContext();
    const tools = await ensureTools(["pulumi", "helm", "kubectl"]);
    const plugins = await choosePlugins({
        pulumi: tools.pulumi,
        helm: tools.helm,
        stateDir: context.stateDir,
        cacheDir: context.cacheDir,
    });
    const cluster = await clusterUp(context);
    await provideImage(context, cluster, stack);

    const env = withEnvironment(process.env, await environment({ tools, plugins, cluster }));
    await createStacks(env);
    hideStackSalt(
        checkoutRoot,
        stackNames().map((name) => `Pulumi.${name}.yaml`),
    );
    await releaseDeadLock(stack, env, say);
    if (options.releaseHold !== undefined) await releaseHold(await recordsHere(), stack, options.releaseHold, say);
    const lost = await hasLostNamespace(stack, env);
    if (lost) say(`the namespace of ${stack} is gone: Pulumi looks at what is left first, then makes all of it again`);
    const args = ["up", "--stack", stack, "--yes", "--skip-preview", ...(lost ? ["--refresh"] : [])];
    const code = await foregroundUntilHopeless("pulumi", args, {
        env,
        cwd: checkoutRoot,
    });
    if (code !== 0) throw new ExitCode(code, `pulumi up ended with exit code ${code}`);
    await clearPendingCreates(stack, env, say);
    await report(stack, cluster, env);
}

export async function predictCommand(name: string): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const cluster = await clusterUp({ ...clusterContext(), log: () => undefined });
    await report(stack, cluster, withEnvironment(process.env, await environment({ cluster })));
}

async function report(stack: string, cluster: ClusterInfo, env: NodeJS.ProcessEnv): Promise<void> {
    if (!cluster.podsServe) {
        process.stdout.write("no prediction: simulated (the pods of this cluster only pretend to run)\n");
        return;
    }
    const outputs = JSON.parse(
        await capture("pulumi", ["stack", "output", "--json", "--stack", stack], { env, cwd: checkoutRoot }),
    ) as Record<string, string>;
    const { release = "", namespace = "", url = "" } = outputs;
    const { status, body, milliseconds, sample } = await predict({
        release,
        namespace,
        context: cluster.context,
        env,
        cwd: checkoutRoot,
    });
    process.stdout.write(visibleLines(`POST ${url}/predict ${sample}\n${status} in ${milliseconds} ms: ${body}\n`));
    if (status !== 200)
        throw new Error(`the API answered ${status} instead of a prediction → ${outputs["logs"] ?? ""}`);
}

/** Makes the stacks of the checked-in stack files, so that `pulumi up -s staging` works as typed. */
async function createStacks(env: NodeJS.ProcessEnv): Promise<void> {
    const present = new Set((await knownStacks(checkoutRoot, env)).map(({ stack }) => stack));
    for (const stack of stackNames()) {
        if (present.has(stack)) continue;
        forgetStackSalt(checkoutRoot, `Pulumi.${stack}.yaml`);
        await capture("pulumi", ["stack", "init", stack, "--no-select"], { env, cwd: checkoutRoot });
    }
}
