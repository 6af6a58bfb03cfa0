import * as fs from "node:fs";
import type { Finding } from "./finding";

/**
 * Variable by which `ml-api up` says that it may be asked to end an operation that cannot succeed: the name of a file to write the
 * reason to. It then interrupts `pulumi`, as Ctrl-C does, and Helm takes back what it has begun.
 */
const VARIABLE = "ML_API_GIVE_UP_FILE";

/** Releases of this program that are being installed or upgraded now. An interrupt would hit all of them. */
let underWay = 0;

export function beginsOperation(): void {
    underWay++;
}

export function endsOperation(): void {
    underWay--;
}

/** Errors that cannot heal, and since when each is seen. */
export class Hopeless {
    private readonly since = new Map<string, number>();

    /** @param lastingMs milliseconds for which an error must have been seen */
    constructor(private readonly lastingMs: number) {}

    /** @returns the findings because of which the operation should be ended; none while there may be hope */
    judge(findings: readonly (readonly [string, Finding])[], now: number): Finding[] {
        const hopeless = new Map(findings.filter(([, { certain, healable }]) => certain && !healable));
        for (const key of this.since.keys()) if (!hopeless.has(key)) this.since.delete(key);
        for (const key of hopeless.keys()) if (!this.since.has(key)) this.since.set(key, now);
        return [...hopeless].flatMap(([key, finding]) =>
            now - (this.since.get(key) ?? now) >= this.lastingMs ? [finding] : [],
        );
    }
}

/** Whether somebody is there who ends an operation for us, and nothing else would be ended with it. */
export function mayGiveUp(env: NodeJS.ProcessEnv = process.env): boolean {
    return (env[VARIABLE] ?? "") !== "" && underWay === 1;
}

export function giveUp(reason: string, env: NodeJS.ProcessEnv = process.env): void {
    const file = env[VARIABLE] ?? "";
    fs.writeFileSync(`${file}.new`, reason, { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
}
