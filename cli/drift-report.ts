import { pathText } from "../components/guarded-release/changes/changes";
import type { Drift, ObjectDrift } from "../components/guarded-release/drift/look";
import type { FieldDrift } from "../components/guarded-release/drift/object-drift";
import { visible } from "../components/config/visible";
import { type Line, objectLines } from "./diff-lines";
import type { Paint } from "./diff-terminal";

/** The live objects of a stack beside those of its release. */
export interface DriftReport extends Drift {
    readonly stack: string;
    readonly release: string;
    readonly namespace: string;
    /** The revision that is compared with. */
    readonly revision: number;
    readonly cluster: string;
}

/** 0 without drift, 2 with some, 1 when something could not be compared and nothing else was found. */
export function driftExitCode({ objects, extras, unknown }: Drift): number {
    if (objects.length > 0 || extras.some(({ claims }) => claims)) return 2;
    return unknown.length > 0 ? 1 : 0;
}

export function driftText(report: DriftReport, color: Paint): string {
    const { stack, release, namespace, revision, cluster, objects, extras, unknown, unlisted } = report;
    const title = color("bold", `${stack} (${visible(release)} in ${visible(namespace)})`);
    const others = extras.filter(({ claims }) => !claims);
    const lines = [
        `${title}, the cluster ${visible(cluster)} compared with revision ${revision}`,
        ...objects.flatMap((object) => linesOf(object, color)),
        ...extras
            .filter(({ claims }) => claims)
            .map((extra) =>
                color(
                    "green",
                    `  + ${visible(extra.name)}: bears the release's marks and is not of it${madeBy(extra)}`,
                ),
            ),
        ...unknown.map(({ name, why }) =>
            color("yellow", `  ! ${visible(name)} could not be compared: ${visible(why)}`),
        ),
        ...(unlisted.length === 0 ? [] : [color("dim", `  not listed, for want of rights: ${unlisted.join(", ")}`)]),
        ...(others.length === 0
            ? []
            : [
                  color(
                      "dim",
                      `  in the namespace, but nobody's: ${others.map((one) => visible(one.name) + madeBy(one)).join(", ")}`,
                  ),
              ]),
        `  ${summary(report)}`,
    ];
    return `${lines.join("\n")}\n`;
}

function summary({ objects, extras, unknown }: Drift): string {
    const claiming = extras.filter(({ claims }) => claims).length;
    if (objects.length + claiming === 0) return unknown.length > 0 ? "no drift in what could be compared" : "no drift";
    const parts = [
        counted(objects.filter(({ state }) => state === "changed").length, "object differs", "objects differ"),
        counted(objects.filter(({ state }) => state === "missing").length, "is missing", "are missing"),
        counted(objects.filter(({ state }) => state === "going").length, "is about to go", "are about to go"),
        counted(claiming, "is too many", "are too many"),
    ];
    return parts.filter((part) => part !== "").join(", ");
}

function linesOf({ name, state, fields, note }: ObjectDrift, color: Paint): string[] {
    if (state === "missing") return [color("red", `  - ${visible(name)} is missing`)];
    const told = note === undefined ? "" : `: ${visible(note)}`;
    return [
        color("yellow", `  ~ ${visible(name)}${told}`),
        ...fields.flatMap((field) => fieldLines(name, field).map((line) => `  ${line}`)),
    ];
}

/** As in a diff from the release to the cluster, and who has done it. */
function fieldLines(name: string, { path, release, live, by }: FieldDrift): string[] {
    const change = { path, before: release, after: live };
    const [, ...lines] = objectLines({ name, action: "update", fields: [change], restartsPods: false });
    const who = by === undefined ? "" : `   (${visible(by.manager)}${by.time === undefined ? "" : `, ${by.time}`})`;
    return lines.map(({ sign, text, change: values }: Line, index) => {
        const shown = values === undefined ? "" : `${values.before} → ${values.after}`;
        return `${sign} ${text}${shown}${index === 0 ? who : ""}`;
    });
}

/** The report as JSON; its shape is described in the command's help. */
export function driftJson(report: DriftReport): string {
    const { stack, release, namespace, revision, cluster, extras, unknown, unlisted } = report;
    const objects = report.objects.map(({ fields, ...object }) => ({
        ...object,
        // Absent stays absent, null is null.
        fields: fields.map(({ path, release: wanted, live, by }) => ({
            path,
            text: pathText(path),
            release: wanted,
            live,
            by,
        })),
    }));
    const shown = { version: 1, stack, release, namespace, revision, cluster, objects, extras, unknown, unlisted };
    return `${JSON.stringify(shown, undefined, 2)}\n`;
}

function madeBy({ by, since }: { readonly by?: string; readonly since?: string }): string {
    const parts = [by, since].filter((part) => part !== undefined);
    return parts.length === 0 ? "" : ` (${parts.map(visible).join(", ")})`;
}

function counted(count: number, one: string, many: string): string {
    return count === 0 ? "" : `${count} ${count === 1 ? one : many}`;
}
