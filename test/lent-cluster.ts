import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { clusterContext } from "../local/clusters/cluster";
import { simulatedCluster } from "../local/clusters/simulated";
import { environment, withEnvironment } from "../local/environment";
import { checkoutHash } from "../local/paths";
import { choosePlugins } from "../local/plugins";
import { ensureTools } from "../local/tools";

export type Environment = Record<string, string | undefined>;

/** A simulated cluster with a state folder of its own, which is never that of `make up`. */
export interface LentCluster {
    /** The variables to work on it; the first call starts it. */
    readonly get: () => Promise<Environment>;
    readonly giveBack: () => Promise<void>;
}

/** @param onStart called before the first line of the set-up is printed */
export function lentCluster(onStart: () => void = () => undefined): LentCluster {
    const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-test-"));
    const context = clusterContext({ stateDir, instance: checkoutHash(stateDir) });
    let started: Promise<Environment> | undefined;
    const start = async (): Promise<Environment> => {
        onStart();
        const tools = await ensureTools(["pulumi", "helm", "kubectl"]);
        const { pulumi, helm } = tools;
        const plugins = await choosePlugins({ pulumi, helm, stateDir, cacheDir: context.cacheDir });
        const cluster = await simulatedCluster.up(context);
        const values = await environment({ stateDir, tools, plugins, cluster });
        return {
            ...withEnvironment(process.env, values),
            ML_API_TEST_KUBECONFIG: cluster.kubeconfig,
            ML_API_HELM: helm.path,
        };
    };
    return {
        get: () => (started ??= start()),
        giveBack: async () => {
            await started?.catch(() => undefined);
            await simulatedCluster.down(context);
            fs.rmSync(stateDir, { recursive: true, force: true });
        },
    };
}
