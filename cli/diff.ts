import { checkoutRoot } from "../local/paths";
import { acrossJson, acrossMarkdown, acrossText, compareEnvironments } from "./diff-across";
import { findCommit } from "./commit";
import { compareWithCluster, compareWithCommit } from "./diff-compare";
import { reportMarkdown } from "./diff-markdown";
import { type DiffReport, exitCodeOf, reportJson } from "./diff-report";
import { paint, reportText } from "./diff-terminal";
import { ensureHelm } from "./rendered-stack";
import { findStack, stackNames } from "./stacks";

export interface DiffOptions {
    readonly base?: string;
    readonly across?: boolean;
    readonly markdown?: boolean;
    readonly json?: boolean;
    readonly exitCode?: boolean;
}

/** Shows what an update would change: object by object, field by field, without secrets. */
export async function diffCommand(names: readonly string[], options: DiffOptions): Promise<void> {
    if (options.across === true) {
        acrossCommand(names, options);
        return;
    }
    const named = names.length === 0 ? undefined : names.map((name) => findStack(checkoutRoot, name));
    const report = await compare(named, options.base);
    if (options.json === true) process.stdout.write(reportJson(report));
    else if (options.markdown === true) process.stdout.write(reportMarkdown(report, named?.join(",") ?? "all"));
    else process.stdout.write(reportText(report, paint));
    process.exitCode = exitCodeOf(report, options.exitCode === true);
}

async function compare(named: readonly string[] | undefined, ref: string | undefined): Promise<DiffReport> {
    if (ref === undefined) {
        const stacks = await compareWithCluster(checkoutRoot, named ?? stackNames(), await ensureHelm());
        return { base: undefined, stacks };
    }
    const commit = await findCommit(checkoutRoot, ref);
    const stacks = await compareWithCommit(checkoutRoot, named, commit, await ensureHelm());
    return { base: { ref, commit: commit.id }, stacks };
}

/** Values only: it needs neither Helm nor a cluster. */
function acrossCommand(names: readonly string[], options: DiffOptions): void {
    if (names.length > 0) throw new Error("--across compares all environments → leave the names out");
    const across = compareEnvironments(checkoutRoot);
    if (options.json === true) process.stdout.write(acrossJson(across));
    else if (options.markdown === true) process.stdout.write(acrossMarkdown(across));
    else process.stdout.write(acrossText(across, paint));
    if (across.some(({ differences }) => differences.some(({ reason }) => reason === undefined))) process.exitCode = 1;
}
