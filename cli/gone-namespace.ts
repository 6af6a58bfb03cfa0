import { openAccess } from "../components/config/kubeconfig";
import { request } from "../components/guarded-release/live/api";
import { checkoutRoot } from "../local/paths";
import { knownStacks } from "./pulumi-stacks";
import { stackPlace } from "./stack-cluster";

const REQUEST_MS = 5000;

/**
 * Whether a stack that was deployed has lost its namespace, with everything in it. Pulumi takes its own state for true unless it is told
 * to look. A cluster that does not answer says nothing here: the deploy that follows will.
 */
export async function hasLostNamespace(stack: string, env: NodeJS.ProcessEnv): Promise<boolean> {
    const known = (await knownStacks(checkoutRoot, env)).find((one) => one.stack === stack);
    if (known === undefined || known.resources === 0) return false;
    const { namespace, context } = stackPlace(checkoutRoot, stack);
    try {
        const access = await openAccess(context, env, REQUEST_MS);
        const { status } = await request(access, { path: `/api/v1/namespaces/${namespace}`, timeoutMs: REQUEST_MS });
        return status === 404;
    } catch {
        return false;
    }
}
