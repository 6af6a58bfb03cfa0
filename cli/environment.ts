import { clusterContext } from "../local/clusters/cluster";
import { rememberedCluster } from "../local/clusters/remembered";
import { environment, toShell } from "../local/environment";

/** Prints the variables of this checkout's cluster and state for `eval`. */
export async function environmentCommand(): Promise<void> {
    const { stateDir } = clusterContext();
    if (rememberedCluster(stateDir)?.info === undefined) throw new Error("there is no cluster yet → make up");
    process.stdout.write(toShell(await environment()));
}
