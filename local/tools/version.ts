import { rmSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, satisfies } from "semver";
import { onInterrupt } from "../interrupt";
import type { Variables } from "../paths";
import { lastLines, type Run } from "../run";
import type { ToolPin } from "./pins";

export type AskedVersion = { readonly version: string } | { readonly problem: string };

/** Asks a program for its version; a program that cannot tell is a problem, never a guess. */
export async function askVersion(
    program: string,
    pin: ToolPin,
    run: Run,
    variables: Variables,
    timeLimit: number,
): Promise<AskedVersion> {
    if (pin.versionArguments === undefined) {
        const written = pin.versionPattern.exec(await readFile(program, "latin1"))?.[1];
        return written === undefined
            ? { problem: "it does not say which version it was built from" }
            : { version: written };
    }
    // Telling a version must not phone home, need a cluster, or leave a folder in the user's home.
    const scratch = await mkdtemp(join(tmpdir(), "ml-api-version-"));
    const quiet = { PULUMI_SKIP_UPDATE_CHECK: "true", PULUMI_HOME: scratch, KUBECONFIG: "/dev/null" };
    const release = onInterrupt(() => {
        rmSync(scratch, { recursive: true, force: true });
    });
    const result = await run(program, pin.versionArguments, { variables: { ...variables, ...quiet }, timeLimit });
    release();
    await rm(scratch, { recursive: true, force: true });
    const asked = pin.versionArguments.join(" ");
    if (result.failure !== undefined) return { problem: `"${asked}" ${result.failure}` };
    const found = pin.versionPattern.exec(result.stdout.trim())?.[1];
    if (found === undefined || parse(found) === null) {
        return {
            problem: `"${asked}" printed no version: ${JSON.stringify(lastLines(result.stdout, 1).slice(0, 80))}`,
        };
    }
    return { version: found };
}

/** Whether a version found on PATH will do. A vendor's suffix ("1.34.1-eks-1") counts as that version. */
export function fits(version: string, range: string): boolean {
    return satisfies(version, range, { includePrerelease: true });
}

/** A semver range for people: the "-0" that keeps the next version's release candidates out says nothing to them. */
export function readableRange(range: string): string {
    return range.replaceAll("-0", "");
}
