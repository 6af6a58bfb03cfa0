import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { readProject } from "../components/config/project-file";
import { checkoutRoot, stateDir } from "../local/paths";
import { isAlive, listProcesses } from "../local/processes";
import { capture } from "./process";

/** The lock that a running `pulumi` holds on the state of a stack, in a back end of files. */
export interface StackLock {
    readonly process: number;
    readonly user: string;
    readonly host: string;
    /** RFC 3339. */
    readonly since: string;
    /** `dead`: it was a process of this machine, and no such Pulumi runs any more. `unknown`: of another machine. */
    readonly holder: "alive" | "dead" | "unknown";
}

/** The back end of the shell where it names one (`ml-api env`), else that of this checkout. */
export function backendOf(root: string, env: NodeJS.ProcessEnv = process.env): string {
    return env["PULUMI_BACKEND_URL"] ?? `file://${path.join(stateDir(root), "pulumi")}`;
}

/** @returns undefined for a back end that is no folder */
export function backendFolder(backend: string): string | undefined {
    if (!backend.startsWith("file://")) return undefined;
    return backend.slice("file://".length).replace(/^~(?=\/|$)/, os.homedir());
}

/** @returns none for a back end that is no folder: its locks are for Pulumi itself to tell of */
export function stackLocks(backend: string, project: string, stack: string): readonly StackLock[] {
    const base = backendFolder(backend);
    if (base === undefined) return [];
    const folder = path.join(base, ".pulumi", "locks", "organization", project, stack);
    if (!fs.existsSync(folder)) return [];
    return fs
        .readdirSync(folder)
        .filter((name) => name.endsWith(".json"))
        .flatMap((name) => lockIn(path.join(folder, name)));
}

function lockIn(file: string): StackLock[] {
    try {
        const { pid, username, hostname, timestamp } = JSON.parse(fs.readFileSync(file, "utf8")) as {
            pid?: number;
            username?: string;
            hostname?: string;
            timestamp?: string;
        };
        const process = pid ?? 0;
        const here = hostname === os.hostname();
        const holder = !here ? "unknown" : isPulumi(process) ? "alive" : "dead";
        return [{ process, user: username ?? "", host: hostname ?? "", since: timestamp ?? "", holder }];
    } catch {
        return []; // It was released while the folder was read.
    }
}

/** A number is used again by other programs. */
function isPulumi(pid: number): boolean {
    if (!isAlive(pid)) return false;
    const argv = listProcesses().find((one) => one.pid === pid)?.argv ?? [];
    return /^pulumi(?:\.exe)?$/.test(path.basename(argv[0] ?? ""));
}

export function lockText({ process, user, host, since, holder }: StackLock): string {
    const state = { alive: "at work", dead: "dead", unknown: "on another machine" }[holder];
    return `process ${process} of ${user} on ${host} (${state}), since ${since}`;
}

/**
 * Releases the lock that a dead run has left on a stack's state, as `pulumi cancel` does it.
 *
 * @throws Error when somebody may be at work
 */
export async function releaseDeadLock(
    stack: string,
    env: NodeJS.ProcessEnv,
    say: (text: string) => void,
): Promise<void> {
    const locks = stackLocks(backendOf(checkoutRoot, env), readProject(checkoutRoot).name, stack);
    if (locks.length === 0) return;
    const held = locks.filter(({ holder }) => holder !== "dead");
    if (held.length > 0)
        throw new Error(
            `the state of stack ${stack} is locked by ${held.map(lockText).join("; ")}: wait until it has ended. ` +
                `If you know that it is dead: pulumi cancel --stack ${stack}`,
        );
    await capture("pulumi", ["cancel", "--yes", "--stack", stack], { env, cwd: checkoutRoot });
    say(`the lock of a dead run is released: ${locks.map(lockText).join("; ")}`);
}
