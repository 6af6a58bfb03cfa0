import { lastLines, run } from "../local/run";
import { kubernetesVersion, objectName, renderOf, type Render } from "./renders";
import type { Looked } from "./scanner";

interface ScoredObject {
    readonly type_meta: { readonly kind: string };
    readonly object_meta: { readonly name: string };
    readonly checks: readonly {
        readonly check: { readonly id: string };
        readonly grade: number;
        readonly skipped: boolean;
        readonly comments: readonly { readonly path: string; readonly summary: string }[] | null;
    }[];
}

/** Below it is a warning or worse. */
const goodGrade = 10;

/** Optional checks that the chart is meant to pass as well. */
const further = ["container-seccomp-profile", "container-ports-check"];

/** What people who run clusters expect of manifests: limits, probes, budgets, policies. */
export async function kubeScore(program: string, renders: readonly Render[]): Promise<Looked> {
    const minor = kubernetesVersion.split(".").slice(0, 2).join(".");
    const args = ["score", "--output-format", "json", "--kubernetes-version", `v${minor}`];
    const optional = further.flatMap((check) => ["--enable-optional-test", check]);
    // An annotation in a manifest must not silence it: exceptions have one place.
    const scored: ScoredObject[] = [];
    // A few at a time: it prints 40 kB for each render, and of a long output only the end is kept.
    for (let from = 0; from < renders.length; from += 10) {
        const files = renders.slice(from, from + 10).map(({ file }) => file);
        const words = [...args, ...optional, "--disable-ignore-checks-annotations", ...files];
        const result = await run(program, words, { variables: process.env, timeLimit: 60_000 });
        // It ends with code 1 when it finds something, and when it cannot read a file.
        if (!result.stdout.trimStart().startsWith("[")) {
            throw new Error(`kube-score ${result.failure ?? "printed no list"}:\n${lastLines(result.stderr, 6)}`);
        }
        scored.push(...(JSON.parse(result.stdout) as readonly ScoredObject[]));
    }
    const nameOf = ({ type_meta, object_meta }: ScoredObject): string => `${type_meta.kind}/${object_meta.name}`;
    const read = new Set(scored.map(nameOf));
    const workloads = renders.flatMap(({ objects }) => objects.filter(({ spec }) => spec?.template !== undefined));
    const unread = workloads.map(objectName).filter((name) => !read.has(name));
    if (unread.length > 0) throw new Error(`kube-score did not read ${unread.join(", ")}`);
    const findings = scored.flatMap((object) =>
        object.checks
            .filter(({ grade, skipped }) => !skipped && grade < goodGrade)
            .flatMap(({ check, comments }) =>
                (comments ?? []).map(({ path, summary }) => ({
                    check: check.id,
                    object: nameOf(object),
                    render: renderOf(renders, nameOf(object)),
                    message: path === "" ? summary : `${path}: ${summary}`,
                })),
            ),
    );
    return { findings, at: `${scored.length} objects` };
}
