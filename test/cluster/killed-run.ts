import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { killAll } from "../../local/processes";
import type { Checkout, Ended } from "./checkout";

/** A `pulumi` that a test ends in the middle. */
export class KilledRun {
    private readonly child: ChildProcess;
    readonly ended: Promise<Ended>;

    constructor(checkout: Checkout, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
        this.child = spawn("pulumi", [...args, "--non-interactive"], {
            cwd: checkout.root,
            env: { ...checkout.env, ...env },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let text = "";
        for (const stream of [this.child.stdout, this.child.stderr])
            stream?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        this.ended = new Promise((resolve) => {
            this.child.on("exit", (code) => {
                resolve({ code: code ?? 130, stdout: text, text });
            });
        });
    }

    /** Rejects when the run has ended before it came there; with what it printed. */
    async until<T>(there: Promise<T>): Promise<T> {
        const early = this.ended.then(({ text }) =>
            Promise.reject(new Error(`the run ended before it came there:\n${text}`)),
        );
        return Promise.race([there, early]);
    }

    /** To the command itself, as a terminal or a CI system does it. */
    signal(name: NodeJS.Signals): void {
        this.child.kill(name);
    }

    /** At once, with all that it has started: the engine's plugins, Helm. As when a machine or a container goes. */
    async killFamily(): Promise<void> {
        killAll(family(this.child.pid ?? 0));
        await this.ended;
    }
}

export function family(pid: number): number[] {
    const lines = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
    const pairs = lines.map((line) => line.trim().split(/\s+/).map(Number));
    const members = [pid];
    for (const member of members) {
        for (const [child = 0, parent] of pairs) if (parent === member) members.push(child);
    }
    return members;
}
