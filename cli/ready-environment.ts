import { clusterUp } from "../local/clusters/choose";
import { clusterContext } from "../local/clusters/cluster";
import { rememberedCluster } from "../local/clusters/remembered";
import { environment, withEnvironment } from "../local/environment";
import { choosePlugins } from "../local/plugins";
import { ensureTools } from "../local/tools";

/**
 * The variables for `pulumi` on a cluster that is there: those of the shell (`ml-api env`), else of this checkout's cluster, else, when
 * CLUSTER=current asks for it, of the current kubectl context. No cluster is made.
 *
 * @param command for the message when there is none
 */
export async function readyEnvironment(command: string): Promise<NodeJS.ProcessEnv> {
    if (process.env["PULUMI_BACKEND_URL"] !== undefined) return process.env;
    const context = clusterContext({ log: (line) => void process.stderr.write(`${line}\n`) });
    const { stateDir, cacheDir } = context;
    if (rememberedCluster(stateDir)?.info === undefined && process.env["CLUSTER"] !== "current")
        throw new Error(
            `there is no cluster here yet → CLUSTER=current npx --no ml-api ${command} … uses that of your kubectl context`,
        );
    const tools = await ensureTools(["pulumi", "helm", "kubectl"], { log: context.log });
    const plugins = await choosePlugins({ pulumi: tools.pulumi, helm: tools.helm, stateDir, cacheDir });
    const cluster = await clusterUp(context);
    return withEnvironment(process.env, await environment({ tools, plugins, cluster }));
}
