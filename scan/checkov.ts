import { mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { lastLines, run } from "../local/run";
import type { Render } from "./renders";
import type { Looked } from "./scanner";

interface Check {
    readonly check_id: string;
    readonly check_name: string;
    /** "/dev.yaml" */
    readonly file_path: string;
    /** "Deployment.namespace.name", and for a pod of it "Pod.namespace.name.label-value.…" */
    readonly resource: string;
}

interface Report {
    readonly results: { readonly passed_checks: readonly Check[]; readonly failed_checks: readonly Check[] };
    readonly summary: { readonly parsing_errors: number };
}

/** What an attacker, or a bad day, would use: privileges, tokens, images that move, open networks. */
export async function checkov(program: string, folder: string, renders: readonly Render[]): Promise<Looked> {
    const output = `${folder}-checkov`;
    mkdirSync(output);
    const args = ["--directory", folder, "--framework", "kubernetes", "--compact", "--soft-fail", "--skip-download"];
    const result = await run(program, [...args, "--output", "json", "--output-file-path", output], {
        // It would ask its maker's service for wording, and the terminal for its width.
        variables: { ...process.env, BC_SKIP_MAPPING: "TRUE", CHECKOV_RUN_SCA_PACKAGE_SCAN_V2: "false" },
        timeLimit: 5 * 60_000,
    });
    if (result.failure !== undefined) throw new Error(`checkov ${result.failure}:\n${lastLines(result.stderr, 6)}`);
    const { results, summary } = JSON.parse(readFileSync(join(output, "results_json.json"), "utf8")) as Report;
    if (summary.parsing_errors > 0) throw new Error(`checkov could not read ${summary.parsing_errors} files`);
    const all = [...results.passed_checks, ...results.failed_checks];
    const read = new Set(all.map(({ file_path }) => basename(file_path, ".yaml")));
    const unread = renders.filter(({ name }) => !read.has(name));
    if (unread.length > 0) throw new Error(`checkov did not read ${unread.map(({ name }) => name).join(", ")}`);
    const findings = results.failed_checks.map(({ check_id, check_name, file_path, resource }) => {
        const [kind = "", , name = ""] = resource.split(".");
        return {
            check: check_id,
            object: `${kind}/${name}`,
            render: basename(file_path, ".yaml"),
            message: check_name,
        };
    });
    return { findings, at: `${new Set(all.map(({ resource }) => resource)).size} objects` };
}
