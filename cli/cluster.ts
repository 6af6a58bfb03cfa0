import * as fs from "node:fs";
import * as net from "node:net";
import { createInterface } from "node:readline/promises";
import { clusterDown, clusterStatus } from "../local/clusters/choose";
import { clusterContext, type ClusterInfo } from "../local/clusters/cluster";
import { forgetCluster, rememberedCluster } from "../local/clusters/remembered";
import { environment, withEnvironment } from "../local/environment";
import { checkoutRoot } from "../local/paths";
import { forgetStackSalt, hideStackSalt } from "../local/stack-salt";
import { confirm } from "./confirm";
import { ExitCode } from "./exit-code";
import { foreground } from "./process";
import { knownStacks } from "./pulumi-stacks";
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

export interface ClusterDownOptions {
    /** A cluster of the user's own does not exist any more. */
    readonly gone?: boolean;
    readonly yes?: boolean;
}

/** Removes the local cluster with its Pulumi state; on a cluster of the user's own it asks, and destroys the dev stack only. */
export async function clusterDownCommand({ gone = false, yes = false }: ClusterDownOptions = {}): Promise<void> {
    const context = clusterContext();
    const remembered = rememberedCluster(context.stateDir);
    if (remembered?.kind === "current") {
        // Without its address, none was ever reached, and so nothing deployed.
        if (remembered.info === undefined) forgetCluster(context.stateDir);
        else if (gone) await forgetGone(context.stateDir, remembered.info, yes);
        else await destroyDev(context.stateDir, yes);
        return;
    }
    if (gone) throw new Error("--gone is for a cluster of your own (CLUSTER=current); nothing was removed");
    const kind = await clusterDown(context);
    forgetSalts();
    process.stdout.write(
        kind === undefined
            ? "there was no cluster\n"
            : `the ${kind} cluster and its Pulumi state are gone; built tools stay (make clean-cache)\n`,
    );
}

function forgetSalts(): void {
    const stackFiles = stackNames().map((stack) => `Pulumi.${stack}.yaml`);
    for (const file of stackFiles) forgetStackSalt(checkoutRoot, file);
    hideStackSalt(checkoutRoot, stackFiles);
}

/** Of a cluster that does not exist any more, nothing can be destroyed: what this checkout knows of it goes. */
async function forgetGone(stateDir: string, { context, server }: ClusterInfo, yes: boolean): Promise<void> {
    if (await listens(new URL(server)))
        throw new Error(
            `somebody still answers at ${server} (context "${context}"): destroy what was deployed there first, by \`make down\` and \`pulumi destroy --stack STACK\``,
        );
    if (!yes) await confirm(`Forget the cluster ${context} (${server}), and the Pulumi state of what was on it?`);
    fs.rmSync(stateDir, { recursive: true, force: true });
    forgetSalts();
    process.stdout.write(`the cluster ${context} is forgotten, with its Pulumi state\n`);
}

const CONNECT_MS = 3000;

function listens({ hostname, port }: URL): Promise<boolean> {
    return new Promise((resolve) => {
        const socket = net.connect({ host: hostname, port: port === "" ? 443 : Number(port), timeout: CONNECT_MS });
        const end = (answers: boolean) => () => {
            socket.destroy();
            resolve(answers);
        };
        socket.once("connect", end(true)).once("error", end(false)).once("timeout", end(false));
    });
}

async function destroyDev(stateDir: string, yes: boolean): Promise<void> {
    process.stdout.write("This is your own cluster. Taking down means: pulumi destroy -s dev\n");
    if (!yes) await confirmDev();
    const env = withEnvironment(process.env, await environment());
    const code = await foreground("pulumi", ["destroy", "--stack", "dev", "--yes"], { env, cwd: checkoutRoot });
    if (code !== 0) throw new ExitCode(code, `pulumi destroy ended with exit code ${code}`);
    const left = (await knownStacks(checkoutRoot, env))
        .filter(({ resources }) => resources > 0)
        .map(({ name }) => name);
    if (left.length === 0) forgetCluster(stateDir);
    process.stdout.write(
        left.length === 0
            ? "nothing of this checkout is left on it, so the next one may be another\n"
            : `still deployed: ${left.join(", ")} → pulumi destroy --stack ${left[0] ?? ""}\n`,
    );
}

async function confirmDev(): Promise<void> {
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const answer = process.stdin.isTTY ? await terminal.question('Type "dev" to go on: ') : "";
    terminal.close();
    if (answer.trim() !== "dev") throw new Error("nothing was removed");
}
