import { join } from "node:path";
import { checkoutRoot } from "../local/paths";
import { lastLines, run } from "../local/run";
import type { Looked } from "./scanner";

interface Report {
    readonly dependencies: readonly {
        readonly name: string;
        /** Why it could not be asked about. */
        readonly skip_reason?: string;
        readonly vulns?: readonly { readonly id: string; readonly description: string }[];
    }[];
}

/** All that the sample's image, its training and its tests install. */
export const pythonRequirements = join(checkoutRoot, "examples", "mf-demo", "requirements-test.txt");

/** Known weaknesses of the sample's Python packages. */
export async function pipAudit(program: string): Promise<Looked> {
    const args = ["--requirement", pythonRequirements, "--require-hashes", "--disable-pip", "--format", "json"];
    const result = await run(program, [...args, "--progress-spinner", "off", "--timeout", "20"], {
        variables: process.env,
        timeLimit: 5 * 60_000,
    });
    if (!result.stdout.trimStart().startsWith("{")) {
        return { findings: [], at: "no package", notAudited: lastLines(result.stderr, 1) || (result.failure ?? "") };
    }
    const { dependencies } = JSON.parse(result.stdout) as Report;
    const skipped = dependencies.filter(({ skip_reason }) => skip_reason !== undefined);
    const findings = dependencies.flatMap(({ name, vulns }) =>
        (vulns ?? []).map(({ id, description }) => ({
            check: id,
            object: name,
            message: description.split("\n")[0] ?? "",
        })),
    );
    const at = `${dependencies.length} packages`;
    if (skipped.length === 0) return { findings, at };
    return { findings, at, notAudited: `${skipped.length} of ${at}; ${skipped[0]?.skip_reason ?? ""}` };
}
