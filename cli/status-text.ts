import { holdText } from "../components/guarded-release/hold/hold";
import { holderText, type Lease } from "../components/guarded-release/recover/lease";
import { visible } from "./diff-lines";
import type { Paint } from "./diff-terminal";
import { type StackStatus, withFix } from "./release-status";
import { lockText } from "./stack-lock";

/** One screen about one stack. */
export function statusText(status: StackStatus, now: Date, color: Paint): string {
    const { stack, release, namespace, cluster, locks } = status;
    const lines: [string, string][] = [
        ["stack", `${color("bold", stack)} (environment ${status.environment})`],
        ["release", `${release} in namespace ${namespace}${cluster === "" ? "" : `, cluster ${cluster}`}`],
        ["state", stateText(status, color)],
        ...liveLines(status, now, color),
        ...locks.map((lock): [string, string] => ["state lock", `${lockText(lock)} → ${lockFix(stack, lock.holder)}`]),
    ];
    return lines
        .map(([name, text]) => `${color("dim", name.padEnd(12))} ${text.replaceAll("\n", `\n${" ".repeat(13)}`)}\n`)
        .join("");
}

/** A cell of the table: its text, and how it is shown where there are colours. */
type Cell = readonly [text: string, tone?: Parameters<Paint>[0]];

/** All stacks, a line each, and below it what needs somebody. */
export function statusTable(all: readonly StackStatus[], now: Date, color: Paint): string {
    const head = ["STACK", "STATE", "REVISION", "PODS", "IMAGE", "AGE", ""].map((name): Cell => [name, "dim"]);
    const table = [head, ...all.map((status) => tableRow(status, now))];
    const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.[0].length ?? 0)));
    const lines = table.map((row) => {
        const last = row.findLastIndex(([text]) => text !== "");
        const cells = row.slice(0, last + 1).map(([text, tone], column) => {
            const shown = tone === undefined ? text : color(tone, text);
            return column === last ? shown : shown + " ".repeat((widths[column] ?? 0) - text.length);
        });
        return cells.join("  ");
    });
    const silent = all.filter(({ why }) => why !== undefined);
    const reasons = silent.map(({ stack, why = "" }) => color("yellow", `${stack}: ${visible(withFix(why))}`));
    return `${[...lines, ...reasons].join("\n")}\n`;
}

function tableRow({ stack, state, live, locks }: StackStatus, now: Date): readonly Cell[] {
    const notes = [
        ...(locks.length > 0 ? ["locked"] : []),
        ...(live?.lease === undefined ? [] : [isFresh(live.lease, now) ? "at work" : "left by a dead run"]),
        ...(live?.hold === undefined ? [] : ["held"]),
    ];
    const tone = state === "deployed" ? "green" : state === "absent" ? "dim" : state === "unknown" ? "yellow" : "red";
    const first: readonly Cell[] = [
        [stack, "bold"],
        [state, tone],
    ];
    const last: Cell = [notes.join(", "), "yellow"];
    if (live === undefined) return [...first, ...Array<Cell>(4).fill(["-", "dim"]), last];
    const { ready, total } = live.pods;
    return [
        ...first,
        [String(live.revision)],
        [`${ready}/${total}`, ready < total ? "yellow" : "green"],
        [visible(imageText(live.image))],
        [ageText(live.since, now)],
        last,
    ];
}

export function statusJson(all: readonly StackStatus[]): string {
    const stacks = all.map(({ live, ...rest }) => {
        if (live === undefined) return { ...rest, live: null };
        const { lease, hold, maker, ...plain } = live;
        return {
            ...rest,
            live: {
                ...plain,
                maker: maker ?? null,
                lease: lease === undefined ? null : { ...lease, stored: undefined, unnotedSince: undefined },
                hold: hold ?? null,
            },
        };
    });
    return `${JSON.stringify({ version: 1, stacks }, undefined, 2)}\n`;
}

/** 0 when everything that was asked for is deployed and ready, else 1. */
export function statusExitCode(all: readonly StackStatus[]): number {
    const isWell = ({ state, live }: StackStatus) =>
        state === "deployed" && live !== undefined && live.pods.ready >= live.pods.total;
    return all.every(isWell) ? 0 : 1;
}

function stateText({ state, why, live, stack }: StackStatus, color: Paint): string {
    if (state === "absent") return `not deployed → npx --no ml-api up ${stack}`;
    if (state === "unknown") return color("yellow", `not known: ${visible(withFix(why ?? ""))}`);
    const words = `${state}, revision ${live?.revision ?? "?"}`;
    if (state === "deployed") return color("green", words);
    return color(
        "red",
        `${words} (${visible(live?.description ?? "")}) → npx --no ml-api up ${stack}, or npx --no ml-api recover ${stack}`,
    );
}

function liveLines({ live, stack }: StackStatus, now: Date, color: Paint): [string, string][] {
    if (live === undefined) return [];
    const { pods, image, url, maker, since, findings, lease, hold } = live;
    const tone = pods.ready < pods.total ? "yellow" : "green";
    const by =
        maker === undefined
            ? ""
            : ` by ${maker.actor}${maker.commit === undefined ? "" : `, commit ${maker.commit.slice(0, 12)}`}`;
    return [
        ["image", visible(image)],
        ["pods", [color(tone, `${pods.ready}/${pods.total} ready`), ...findings.map(visible)].join("\n")],
        ["url", `${visible(url)} (inside the cluster; from here: npx --no ml-api open ${stack})`],
        ["last deploy", `${since.replace(/\.\d+/, "")} (${ageText(since, now)} ago)${visible(by)}`],
        ...(lease === undefined ? [] : [["lease", leaseText(lease, stack, now)] satisfies [string, string]]),
        ...(hold === undefined
            ? []
            : [["hold", holdText(hold).split("\n").map(visible).join("\n")] satisfies [string, string]]),
    ];
}

function leaseText(lease: Lease, stack: string, now: Date): string {
    if (isFresh(lease, now)) return `${visible(holderText(lease))}, is at work`;
    return `${visible(holderText(lease))}, has died → npx --no ml-api up ${stack} puts right what it left`;
}

function isFresh({ renewed, seconds }: Lease, now: Date): boolean {
    return now.getTime() - Date.parse(renewed) < seconds * 1000;
}

function lockFix(stack: string, holder: "alive" | "dead" | "unknown"): string {
    if (holder === "alive") return "wait until it has ended";
    if (holder === "dead") return `pulumi cancel --stack ${stack}, or npx --no ml-api up ${stack}`;
    return `if you know that it is dead: pulumi cancel --stack ${stack}`;
}

/** Of a digest its first twelve digits are enough to recognise it. */
function imageText(image: string): string {
    return image.replace(/(@sha256:[0-9a-f]{12})[0-9a-f]+$/, "$1");
}

function ageText(time: string, now: Date): string {
    const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(time)) / 1000));
    if (Number.isNaN(seconds)) return "?";
    for (const [unit, length] of [
        ["d", 86_400],
        ["h", 3600],
        ["min", 60],
    ] as const)
        if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
    return `${seconds} s`;
}
