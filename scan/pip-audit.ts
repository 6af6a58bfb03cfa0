import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkoutImages } from "../local/image/sources";
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

/** What the images install that are built in a checkout, such as those of APIs that `ml-api new` has made. */
export function imageRequirements(root: string): readonly string[] {
    return checkoutImages(root)
        .map(({ folder }) => join(root, folder, "requirements.txt"))
        .filter((file) => existsSync(file));
}

/** Known weaknesses of the Python packages that images built here, and the sample's training and tests, consist of. */
export async function pipAudit(program: string): Promise<Looked> {
    const files = [pythonRequirements, ...imageRequirements(checkoutRoot)];
    const args = [
        ...files.flatMap((file) => ["--requirement", file]),
        "--require-hashes",
        "--disable-pip",
        "--format",
        "json",
    ];
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
