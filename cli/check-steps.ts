import * as fs from "node:fs";
import * as path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { generated, stale } from "../branching/generators";
import { loadBranchMap, MAP_FILE, stacksByEnvironment } from "../branching/map";
import { InputError, type Problem } from "../components/config/problem";
import { checkProject } from "../components/config/project";
import { stackNames } from "../components/config/stack-file";
import { evaluate, readSettings, staleExemptions } from "../policy/evaluate";
import type { ToolName } from "../local/tools";
import { previewOffline } from "./check-preview";
import { findSecrets } from "./check-secrets";
import { findBase, findCommit } from "./commit";
import { compareEnvironments } from "./diff-across";
import { compareWithCommit } from "./diff-compare";
import { byEnvironment, type DiffReport, problemText, summaryOf } from "./diff-report";
import { capture, CommandError } from "./process";
import { ensureHelm, type RenderedStack, renderStack } from "./rendered-stack";

export interface Outcome {
    readonly status: "ok" | "failed" | "skipped";
    /** A few words; why, when it was skipped. */
    readonly says?: string;
    /** Everything that is wrong. */
    readonly details?: string;
    /** What the step diff found. */
    readonly report?: DiffReport;
}

/** What steps share. */
export interface Checked {
    /** The project's root folder. */
    readonly root: string;
    /** The commit to compare with; found when undefined. */
    readonly base: string | undefined;
    /** Every stack, rendered once. */
    readonly rendered: () => Promise<readonly Rendered[]>;
    readonly helm: () => Promise<string>;
}

type Rendered = RenderedStack | { readonly stack: string; readonly problem: string };

export interface Step {
    readonly name: string;
    /** Programs that it runs, besides those of the checkout's packages. */
    readonly tools?: readonly ToolName[];
    /** What it makes sure of, for the help. */
    readonly holds: string;
    readonly run: (checked: Checked) => Promise<Outcome>;
}

export function checkedOf(root: string, base: string | undefined): Checked {
    const helm = once(ensureHelm);
    const rendered = once(async () => {
        const program = await helm();
        return Promise.all(
            stackNames(root).map((stack) =>
                renderStack(root, stack, program).catch((error: unknown): Rendered => ({
                    stack,
                    problem: textOf(error),
                })),
            ),
        );
    });
    return { root, base, helm, rendered };
}

/** What continuous integration runs, none of it with a cluster, a token or a secret. In this order; each by itself. */
export const STEPS: readonly Step[] = [
    { name: "types", holds: "TypeScript", run: ({ root }) => program(root, "tsc", "--noEmit") },
    { name: "lint", holds: "ESLint", run: ({ root }) => program(root, "eslint", ".") },
    {
        name: "layout",
        holds: "Prettier",
        run: ({ root }) => program(root, "prettier", "--check", "--log-level", "warn", "."),
    },
    {
        name: "unit",
        holds: "the unit tests",
        run: ({ root }) => program(root, "mocha", "test/{unit,process,fuzz}/**/*.test.ts"),
    },
    {
        name: "docs",
        holds: "the pages: links, references, and the commands that need no cluster",
        tools: ["helm"],
        run: ({ root }) => program(root, "mocha", "test/docs/**/*.test.ts"),
    },
    {
        name: "stacks",
        holds: "stack files and values files say nothing that nobody reads",
        run: ({ root }) => Promise.resolve(problemsOutcome("stacks", checkProject(root))),
    },
    { name: "branches", holds: "the branch map is right, and so is what is generated from it", run: branchesStep },
    { name: "render", holds: "the chart takes every stack's values", tools: ["helm"], run: renderStep },
    {
        name: "secrets",
        holds: "no secret in clear and no local salt is committed",
        run: async ({ root }) => problemsOutcome("secrets", await findSecrets(root)),
    },
    {
        name: "policy",
        holds: "what is rendered keeps the rules of policy/, such as images named by digest",
        tools: ["helm"],
        run: policyStep,
    },
    { name: "differences", holds: "environments differ only where it is declared", run: differencesStep },
    {
        name: "preview",
        holds: "`pulumi preview` of every stack, as if it were new",
        tools: ["pulumi", "helm"],
        run: previewStep,
    },
    {
        name: "diff",
        holds: "what changes against the base branch can be told, and can be done",
        tools: ["helm"],
        run: diffStep,
    },
];

/** Runs one of the checkout's own programs; what it prints matters only when it fails. */
async function program(root: string, name: string, ...args: readonly string[]): Promise<Outcome> {
    try {
        await capture(path.join(root, "node_modules", ".bin", name), args, { env: process.env, cwd: root });
        return { status: "ok" };
    } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        return { status: "failed", details: stripVTControlCharacters(`${error.stdout}\n${error.stderr}`).trim() };
    }
}

async function branchesStep({ root }: Checked): Promise<Outcome> {
    if (!fs.existsSync(path.join(root, MAP_FILE)))
        return Promise.resolve({ status: "skipped", says: `there is no ${MAP_FILE}` });
    const stacks = stacksByEnvironment(root);
    const files = generated(root, loadBranchMap(root, stacks), stacks);
    return Promise.resolve(problemsOutcome("branch map", stale(root, files)));
}

async function renderStep({ rendered }: Checked): Promise<Outcome> {
    const all = await rendered();
    const problems = all.flatMap((one) => ("problem" in one ? [one.problem] : []));
    if (problems.length > 0) return { status: "failed", details: problems.join("\n") };
    const counts = all.flatMap((one) => ("objects" in one ? [`${one.stack} ${one.objects.length}`] : []));
    return { status: "ok", says: `objects: ${counts.join(", ")}` };
}

/** The same in every stack; the policy pack that runs with Pulumi sees what they really are. */
const SET_BY_PROGRAM = { atomic: true, timeout: 1, maxHistory: 1 } as const;

async function policyStep({ root, rendered }: Checked): Promise<Outcome> {
    const folder = path.join(root, "policy");
    if (!fs.existsSync(folder)) return { status: "skipped", says: "there is no folder policy" };
    const settings = readSettings(folder);
    const all = await rendered();
    const findings = all.flatMap((one) => {
        if (!("objects" in one)) return [];
        const { environment, name, values, protect } = one.settings;
        const release = { ...SET_BY_PROGRAM, name, values, protect };
        return evaluate({ environment, objects: one.objects, release }, settings).map((finding) => ({
            ...finding,
            stack: one.stack,
        }));
    });
    const broken = findings.filter(({ exemption }) => exemption === undefined);
    const lineOf = ({ stack, rule, where, what, fix }: (typeof findings)[number]): Problem => ({
        where: `${stack} ${where}`,
        what: `${what} (${rule})`,
        fix,
    });
    const mandatory = broken.filter(({ level }) => level === "mandatory").map(lineOf);
    const advisory = broken.length - mandatory.length;
    const missing = all.filter((one) => "problem" in one).map(({ stack }) => stack);
    const stale = missing.length > 0 ? [] : staleExemptions(settings, findings);
    const notes = [
        ...(advisory === 0 ? [] : [`${advisory} advisory`]),
        ...(missing.length === 0 ? [] : [`without ${missing.join(", ")}, which cannot be rendered`]),
    ];
    return problemsOutcome("policy", [...mandatory, ...stale], notes.join("; "));
}

async function differencesStep({ root }: Checked): Promise<Outcome> {
    const across = compareEnvironments(root);
    const problems = across.flatMap(({ differences, declaredIn }) =>
        differences
            .filter(({ reason }) => reason === undefined)
            .map(({ path: key, places }): Problem => {
                const where = Object.values(places).join(", ");
                return {
                    where: where === "" ? key : where,
                    what: `${key} is not the same in all environments`,
                    fix: `make it equal, or say why in ${declaredIn}; npx --no ml-api diff --across shows the values`,
                };
            }),
    );
    const stale = across.flatMap((api) => api.stale).map(({ place }) => place);
    const says = stale.length === 0 ? "" : `declared, but differs nowhere: ${stale.join(", ")}`;
    return Promise.resolve(problemsOutcome("differences", problems, says));
}

async function previewStep({ root }: Checked): Promise<Outcome> {
    const { previews, plugins } = await previewOffline(root);
    const problems = previews.flatMap(({ stack, problem }) => (problem === undefined ? [] : [`${stack}: ${problem}`]));
    const leftOut = previews
        .filter((preview) => preview.leftOut.length > 0)
        .map(
            (preview) =>
                `${preview.stack} without ${preview.leftOut.join(", ")}, which only its secrets provider can read`,
        );
    const says = [`${plugins} plugins`, ...leftOut].join("; ");
    return problems.length > 0 ? { status: "failed", says, details: problems.join("\n") } : { status: "ok", says };
}

async function diffStep({ root, base, helm }: Checked): Promise<Outcome> {
    const found = base === undefined ? await findBase(root) : { commit: await findCommit(root, base) };
    if ("why" in found) return { status: "skipped", says: found.why };
    const stacks = byEnvironment(await compareWithCommit(root, undefined, found.commit, await helm()));
    const report: DiffReport = { base: { ref: found.commit.ref, commit: found.commit.id }, stacks };
    const [first] = stacks;
    const note = "note" in found ? ` (${found.note})` : "";
    const lines = stacks.map((stack) => `${stack.stack}: ${summaryOf(stack)}`);
    const says = [`compared with ${first?.against ?? ""}${note}`, ...lines].join("\n");
    const wrong = stacks.flatMap(({ stack, state, notes, problems }) => [
        ...(state === "failed" ? notes : []),
        ...problems.filter(({ blocking }) => blocking).map((problem) => `${stack}: ${problemText(problem)}`),
    ]);
    return wrong.length > 0
        ? { status: "failed", says, details: wrong.join("\n"), report }
        : { status: "ok", says, report };
}

function problemsOutcome(subject: string, problems: readonly Problem[], says = ""): Outcome {
    const words = says === "" ? {} : { says };
    if (problems.length === 0) return { status: "ok", ...words };
    return { status: "failed", ...words, details: new InputError(subject, problems).message };
}

export function textOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
    let made: Promise<T> | undefined;
    return () => (made ??= make());
}
