import { checkoutRoot } from "../local/paths";
import { lastLines, run } from "../local/run";
import type { Looked } from "./scanner";

interface Report {
    readonly vulnerabilities?: Readonly<
        Record<string, { readonly via: readonly (string | { readonly url: string; readonly title: string })[] }>
    >;
    readonly metadata?: { readonly dependencies: { readonly total: number } };
    readonly message?: string;
}

/** Known weaknesses of the npm packages in package-lock.json. */
export async function npmAudit(program = "npm"): Promise<Looked> {
    const fast = ["--fetch-retries", "0", "--fetch-timeout", "20000"];
    const result = await run(program, ["audit", "--json", ...fast], {
        cwd: checkoutRoot,
        variables: process.env,
        timeLimit: 60_000,
    });
    const report = result.stdout.trimStart().startsWith("{") ? (JSON.parse(result.stdout) as Report) : {};
    const { vulnerabilities, metadata } = report;
    if (vulnerabilities === undefined || metadata === undefined) {
        const why = report.message ?? (lastLines(result.stderr, 1) || `npm ${result.failure ?? "said nothing"}`);
        return { findings: [], at: "no package", notAudited: why };
    }
    const findings = Object.entries(vulnerabilities).flatMap(([object, { via }]) =>
        // A text names another package of the list, which has its own entry.
        via.flatMap((one) =>
            typeof one === "string"
                ? []
                : [{ check: one.url.split("/").at(-1) ?? one.url, object, message: one.title }],
        ),
    );
    return { findings, at: `${metadata.dependencies.total} packages` };
}
