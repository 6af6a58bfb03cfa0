import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Git } from "../branching/git";
import {
    ACTOR_VARIABLE,
    actorOf,
    COMMIT_VARIABLE,
    GIT_DIR_VARIABLE,
} from "../components/guarded-release/record/origin";
import { clusterContext } from "../local/clusters/cluster";
import { rememberedCluster } from "../local/clusters/remembered";
import { environment, withEnvironment } from "../local/environment";
import { checkoutRoot } from "../local/paths";
import { forgetStackSalt } from "../local/stack-salt";

/**
 * The files of a commit in a folder of their own, ready for `pulumi`, for as long as `use` runs: with the packages of this checkout
 * if they are the same ones, the variables by which Pulumi finds cluster and state, and those that say which commit it is.
 */
export async function inCheckout(
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
        const env = await deployEnvironment();
        await use(folder, {
            ...env,
            [COMMIT_VARIABLE]: commit,
            [GIT_DIR_VARIABLE]: (await git.run(["rev-parse", "--absolute-git-dir"])).trim(),
            [ACTOR_VARIABLE]: actorOf(env),
        });
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** Lets Pulumi check a deploy with the policy pack of the checkout that it is made from. */
export function withPolicies(checkout: string): readonly string[] {
    return fs.existsSync(path.join(checkout, "policy")) ? ["--policy-pack", "policy"] : [];
}

/** The cluster and Pulumi state of the shell where they are set (`ml-api env`, a log-in to Pulumi Cloud), else of this checkout. */
export async function deployEnvironment(): Promise<NodeJS.ProcessEnv> {
    if (["PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"].some((name) => process.env[name] !== undefined))
        return process.env;
    if (rememberedCluster(clusterContext().stateDir)?.info === undefined)
        throw new Error("there is no cluster to deploy to → make up");
    return withEnvironment(process.env, await environment());
}
