import { createInterface } from "node:readline/promises";
import { clusterDown, clusterStatus } from "../local/clusters/choose";
import { clusterContext } from "../local/clusters/cluster";
import { forgetCluster, rememberedCluster } from "../local/clusters/remembered";
import { environment, withEnvironment } from "../local/environment";
import { checkoutRoot } from "../local/paths";
import { forgetStackSalt, hideStackSalt } from "../local/stack-salt";
import { ExitCode } from "./exit-code";
import { foreground } from "./process";
import { stackNames } from "./stacks";

export async function clusterStatusCommand(): Promise<void> {
    const found = await clusterStatus(clusterContext());
    if (found === undefined) {
        process.stdout.write("no cluster → make up\n");
        return;
    }
    const { kind, status } = found;
    const detail =
        status.state === "up"
            ? `${status.info.server}, context ${status.info.context}`
            : status.state === "broken"
              ? `${status.reason} → make up`
              : "→ make up";
    process.stdout.write(`${kind} cluster: ${status.state} (${detail})\n`);
    if (status.state !== "up") process.exitCode = 1;
}

/** Removes the local cluster with its Pulumi state; on a cluster of the user's own it asks, and destroys the dev stack only. */
export async function clusterDownCommand(): Promise<void> {
    const context = clusterContext();
    const remembered = rememberedCluster(context.stateDir);
    if (remembered?.kind === "current") {
        // Without its address, none was ever reached, and so nothing deployed.
        if (remembered.info === undefined) forgetCluster(context.stateDir);
        else await destroyDev();
        return;
    }
    const kind = await clusterDown(context);
    const stackFiles = stackNames().map((stack) => `Pulumi.${stack}.yaml`);
    for (const file of stackFiles) forgetStackSalt(checkoutRoot, file);
    hideStackSalt(checkoutRoot, stackFiles);
    process.stdout.write(
        kind === undefined
            ? "there was no cluster\n"
            : `the ${kind} cluster and its Pulumi state are gone; built tools stay (make clean-cache)\n`,
    );
}

async function destroyDev(): Promise<void> {
    process.stdout.write("This is your own cluster. Taking down means: pulumi destroy -s dev\n");
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const answer = process.stdin.isTTY ? await terminal.question('Type "dev" to go on: ') : "";
    terminal.close();
    if (answer.trim() !== "dev") throw new Error("nothing was removed");
    const env = withEnvironment(process.env, await environment());
    const code = await foreground("pulumi", ["destroy", "--stack", "dev", "--yes"], { env, cwd: checkoutRoot });
    if (code !== 0) throw new ExitCode(code, `pulumi destroy ended with exit code ${code}`);
}
