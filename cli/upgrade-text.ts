import { visible } from "../components/config/visible";
import { inline } from "./diff-lines";
import type { Paint } from "./diff-terminal";
import type { PlannedUpgrade } from "./upgrade";
import { isOwn, type StackChange } from "./upgrade-report";

/** Names that are shown of a list; the rest is counted. */
const SHOWN = 12;

/** What a person reads before an upgrade. */
export function upgradeText(planned: PlannedUpgrade, color: Paint): string {
    const { report, theirs: from, base, wanted } = planned;
    const {
        chart,
        commits,
        rooms,
        merged,
        conflicts,
        generated,
        edited,
        keys,
        config,
        defaults,
        problems,
        stacks,
        packages,
    } = report;
    const own = conflicts.filter(isOwn);
    const ours = chart.ours === chart.base ? "" : `, yours says ${chart.ours}`;
    const list = (title: string, names: readonly string[], paint?: Parameters<Paint>[0]): string[] => {
        if (names.length === 0) return [];
        const line = `  ${title.padEnd(10)}${listed(names)}`;
        return [paint === undefined ? line : color(paint, line)];
    };
    const lines = [
        `${color("bold", visible(from))}, compared with ${visible(base)}`,
        `  chart     ${chart.base} → ${chart.theirs}${ours}; ${commits} ${commits === 1 ? "commit" : "commits"}`,
        ...(wanted.joins === undefined
            ? []
            : ["  copied    a commit will note that version as yours, so that git can merge; it changes no file"]),
        ...list(
            "changed",
            rooms.map(({ room, files }) => `${room} (${files})`),
        ),
        ...list("edited", edited),
        ...list("merged", merged),
        ...list("conflict", conflicts, "red"),
        ...(own.length === 0
            ? []
            : [`  yours     keep your values in a conflict: git checkout --ours -- ${own.join(" ")}`]),
        ...list("new keys", keys.added),
        ...list("gone keys", keys.removed, "yellow"),
        ...list("new config", config.added),
        ...list("gone conf.", config.removed, "yellow"),
        ...defaults.map(({ key, before, after, stacks: of }) =>
            color("yellow", `  default   ${visible(key)}: ${inline(before)} → ${inline(after)}, in ${of.join(", ")}`),
        ),
        ...problems.map(({ where, what, fix }) =>
            color(
                "red",
                `  edit      ${visible(where)}: ${visible(what)}${fix === undefined ? "" : ` → ${visible(fix)}`}`,
            ),
        ),
        ...stacks.map((one) => stackLine(one, color)),
        ...(generated.length === 0
            ? []
            : [
                  `  generated ${listed(generated)}: take either side, then npx --no ml-api branches --write and chart generate`,
              ]),
        ...(packages ? ["  packages  npm ci, afterwards"] : []),
    ];
    return `${lines.join("\n")}\n`;
}

function stackLine({ stack, changes, restarts, problem }: StackChange, color: Paint): string {
    const title = `  ${stack.padEnd(9)} `;
    if (problem !== undefined) return color("yellow", `${title}${visible(problem)}`);
    if (changes.length === 0) return `${title}the first preview has no change`;
    const names = changes.map(({ name, action }) => (action === "update" ? name : `${name} (${action})`));
    const pods = restarts.length === 0 ? "no pod restarts" : color("red", `pods restart: ${listed(restarts)}`);
    return `${title}${changes.length === 1 ? "1 object changes" : `${changes.length} objects change`}: ${listed(names)}; ${pods}`;
}

function listed(names: readonly string[]): string {
    const shown = names.slice(0, SHOWN).map(visible).join(", ");
    return names.length > SHOWN ? `${shown} and ${names.length - SHOWN} more` : shown;
}
