import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { generated } from "../branching/generators";
import { loadBranchMap, stacksByEnvironment } from "../branching/map";
import type { Git } from "../branching/git";
import { checkProject } from "../components/config/project";
import type { Problem } from "../components/config/problem";
import { readStack } from "../components/config/stack";
import { stackNames } from "../components/config/stack-file";
import { isValues, leaves, type Value, type Values } from "../components/config/values";
import { keysAt, type ValuesSchema } from "../components/config/values-schema";
import { changesBetween, type ObjectChange, redactedObject } from "../components/guarded-release/changes/changes";
import { redactedText } from "../components/guarded-release/changes/redaction";
import { renderStack } from "./rendered-stack";

/** Files of one room that differ, counted. */
export interface RoomChange {
    readonly room: string;
    readonly files: number;
}

/** A default of the chart that another version sets otherwise. */
export interface ChangedDefault {
    readonly key: string;
    /** Undefined: there was none, or there is none any more. */
    readonly before: Value | undefined;
    readonly after: Value | undefined;
    /** Stacks that do not set it themselves. */
    readonly stacks: readonly string[];
}

/** What becomes of a stack's objects; `problem` when they cannot be rendered. */
export interface StackChange {
    readonly stack: string;
    readonly changes: readonly ObjectChange[];
    readonly restarts: readonly string[];
    readonly problem?: string;
}

/** Everything about an upgrade that a person wants to know before it. */
export interface UpgradeReport {
    /** Versions of the chart. */
    readonly chart: { readonly base: string; readonly ours: string; readonly theirs: string };
    readonly commits: number;
    readonly rooms: readonly RoomChange[];
    /** Files that both have changed, and git could put together. */
    readonly merged: readonly string[];
    readonly conflicts: readonly string[];
    /** Those of the conflicts that a command writes anew. */
    readonly generated: readonly string[];
    /** Files of theirs that this project has edited and they have not. */
    readonly edited: readonly string[];
    readonly keys: { readonly added: readonly string[]; readonly removed: readonly string[] };
    readonly config: { readonly added: readonly string[]; readonly removed: readonly string[] };
    readonly defaults: readonly ChangedDefault[];
    /** What stack files and values files say that the new version refuses. */
    readonly problems: readonly Problem[];
    readonly stacks: readonly StackChange[];
    /** Packages are to be installed anew. */
    readonly packages: boolean;
}

export interface Sides {
    readonly base: string;
    readonly theirs: string;
    /** The merged files. */
    readonly folder: string;
    readonly conflicts: readonly string[];
}

/** Compares both sides with their base, and what each stack renders to before and after. */
export async function reportUpgrade(
    git: Git,
    root: string,
    { base, theirs, folder, conflicts }: Sides,
    helm: string,
): Promise<UpgradeReport> {
    const [theirChanges, ourChanges, chart] = await Promise.all([
        changedFiles(git, base, theirs),
        changedFiles(git, base, "HEAD"),
        versions(git, base, theirs),
    ]);
    const ours = new Set(ourChanges);
    const inTheirs = new Set((await git.run(["ls-tree", "-r", "--name-only", "-z", theirs])).split("\0"));
    const [was, is] = [await schemaOf(git, base), await schemaOf(git, theirs)];
    const [defaultsBefore, defaultsAfter] = [
        await yamlOf(git, base, "chart/values.yaml"),
        await yamlOf(git, theirs, "chart/values.yaml"),
    ];
    const [declaredBefore, declaredAfter] = [await configKeys(git, base), await configKeys(git, theirs)];
    const chartConflicts = conflicts.filter((file) => NEEDED.test(file) && !OWN.test(file));
    const both = theirChanges.filter((file) => ours.has(file) && !conflicts.includes(file));
    const count = await git.run(["rev-list", "--count", `${base}..${theirs}`]);
    return {
        chart,
        commits: Number(count.trim()),
        rooms: byRoom(theirChanges),
        merged: both,
        conflicts,
        generated: conflicts.filter((file) => isGenerated(root, file)),
        edited: ourChanges.filter((file) => inTheirs.has(file) && !theirChanges.includes(file) && !OWN.test(file)),
        keys: difference(keysOf(was), keysOf(is)),
        config: difference(declaredBefore, declaredAfter),
        defaults: chartConflicts.length > 0 ? [] : changedDefaults(root, defaultsBefore, defaultsAfter),
        problems: chartConflicts.length > 0 ? [] : newProblems(root, folder),
        stacks: await stackChanges(root, folder, chartConflicts, helm),
        packages: theirChanges.includes("package-lock.json"),
    };
}

/** Whether a file belongs to whoever deploys: stacks, values, APIs of their own. */
export function isOwn(file: string): boolean {
    return OWN.test(file);
}

const OWN = /^(?:Pulumi\.[^/]+\.yaml|chart\/environment\/|apis\/|\.gitignore$)/;
/** Without these nothing can be read or rendered. */
const NEEDED = /^(?:chart\/|Pulumi\.|apis\/)/;

async function changedFiles(git: Git, from: string, to: string): Promise<readonly string[]> {
    return (await git.run(["diff", "--name-only", "--no-renames", "-z", from, to])).split("\0").filter(Boolean);
}

async function versions(git: Git, base: string, theirs: string): Promise<UpgradeReport["chart"]> {
    const of = async (commit: string): Promise<string> => {
        const { version } = await yamlOf(git, commit, "chart/Chart.yaml");
        return typeof version === "string" || typeof version === "number" ? String(version) : "none";
    };
    return { base: await of(base), ours: await of("HEAD"), theirs: await of(theirs) };
}

async function yamlOf(git: Git, commit: string, file: string): Promise<Values> {
    const text = await git.file(commit, file);
    const found = text === undefined ? {} : (parse(text) as Value);
    return isValues(found) ? found : {};
}

async function schemaOf(git: Git, commit: string): Promise<ValuesSchema> {
    const text = await git.file(commit, "chart/values.schema.json");
    return text === undefined ? {} : (JSON.parse(text) as ValuesSchema);
}

async function configKeys(git: Git, commit: string): Promise<readonly string[]> {
    const { config } = await yamlOf(git, commit, "Pulumi.yaml");
    return isValues(config) ? Object.keys(config) : [];
}

/** The dotted paths of every key that a schema names. */
export function keysOf(schema: ValuesSchema, path_: readonly string[] = []): string[] {
    if (path_.length > 8) return [];
    return keysAt(schema, path_).flatMap((key) => {
        const inner = [...path_, key];
        return [inner.join("."), ...keysOf(schema, inner)];
    });
}

/** Keys that came and went; what stands below one of them goes without saying. */
export function difference(before: readonly string[], after: readonly string[]): UpgradeReport["keys"] {
    const only = (these: readonly string[], those: readonly string[]): string[] => {
        const found = these.filter((key) => !those.includes(key));
        return found.filter((key) => !found.some((other) => key.startsWith(`${other}.`)));
    };
    return { added: only(after, before), removed: only(before, after) };
}

function byRoom(files: readonly string[]): readonly RoomChange[] {
    const counts = new Map<string, number>();
    for (const file of files) {
        const room = file.includes("/") ? (file.split("/")[0] ?? "") : "top level";
        counts.set(room, (counts.get(room) ?? 0) + 1);
    }
    return [...counts].map(([room, count]) => ({ room, files: count })).sort((a, b) => b.files - a.files);
}

/** Defaults that differ, with the stacks that go along with them because they say nothing themselves. */
function changedDefaults(root: string, before: Values, after: Values): readonly ChangedDefault[] {
    const [old, now] = [new Map(leaves(before)), new Map(leaves(after))];
    const set = stackNames(root).map((stack): [string, ReadonlySet<string>] => {
        try {
            return [stack, new Set(leaves(readStack(root, stack).values).map(([key]) => key))];
        } catch {
            return [stack, new Set()];
        }
    });
    return [...old]
        .filter(([key, value]) => now.has(key) && JSON.stringify(now.get(key)) !== JSON.stringify(value))
        .map(([key, value]) => ({
            key,
            before: value,
            after: now.get(key),
            stacks: set.filter(([, keys]) => !keys.has(key)).map(([stack]) => stack),
        }))
        .filter(({ stacks }) => stacks.length > 0);
}

function newProblems(root: string, folder: string): readonly Problem[] {
    const known = new Set(checkProject(root).map(({ what }) => what));
    return checkProject(folder).filter(({ what }) => !known.has(what));
}

async function stackChanges(
    root: string,
    folder: string,
    conflicts: readonly string[],
    helm: string,
): Promise<readonly StackChange[]> {
    const found: StackChange[] = [];
    for (const stack of stackNames(root)) {
        const none = { stack, changes: [], restarts: [] };
        if (conflicts.length > 0) {
            found.push({ ...none, problem: `known once these have no conflicts any more: ${conflicts.join(", ")}` });
            continue;
        }
        try {
            const [was, is] = [await renderStack(root, stack, helm), await renderStack(folder, stack, helm)];
            const changes = changesBetween(was.objects, is.objects).map(redactedObject);
            const restarts = changes.filter(({ restartsPods }) => restartsPods).map(({ name }) => name);
            found.push({ stack, changes, restarts });
        } catch (error) {
            found.push({ ...none, problem: redactedText(error instanceof Error ? error.message : String(error)) });
        }
    }
    return found;
}

/** Files that `ml-api branches --write` or `ml-api chart generate` makes. */
function isGenerated(root: string, file: string): boolean {
    if (/^chart\/(?:README\.md|index\.yaml)$|^test\/chart\/golden\//.test(file)) return true;
    if (!fs.existsSync(path.join(root, "branching"))) return false;
    try {
        const stacks = stacksByEnvironment(root);
        return generated(root, loadBranchMap(root, stacks), stacks).has(file);
    } catch {
        return false;
    }
}
