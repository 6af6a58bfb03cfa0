import { changesBetween, type FieldChange, type ObjectChange, pathText, redactedObject } from "./changes";
import type { Live } from "../live/live";
import type { RenderedObject } from "../render/render";

/** Fields that are shown of one object, objects of all, and characters of one value; the rest is counted. */
const FIELDS = 3;
const OBJECTS = 10;
const VALUE = 60;

/**
 * One line about what an update would change in the cluster: the rendered objects against those of the live release.
 *
 * @returns undefined when there is nothing to compare with yet
 */
export function liveSummary(live: Live, rendered: readonly RenderedObject[]): string | undefined {
    if (live.kind === "silent") return `not compared with the live release: ${live.why}`;
    if (live.newest === undefined) return undefined;
    const { revision, status, objects } = live.newest;
    const changes = changesBetween(objects, rendered).map(redactedObject);
    const state = status === "deployed" ? "" : `, ${status}`;
    const against = `compared with the live release (revision ${revision}${state})`;
    if (changes.length === 0) return `${against}: no change`;
    const shown = changes.slice(0, OBJECTS).map(changeText);
    const parts = [
        `${changes.length === 1 ? "1 object changes" : `${changes.length} objects change`}: ${listed(shown, changes.length)}`,
    ];
    const restarted = changes.filter(({ restartsPods }) => restartsPods).map(({ name }) => name);
    if (restarted.length > 0) parts.push(`pods restart: ${listed(restarted.slice(0, OBJECTS), restarted.length)}`);
    return `${against}: ${parts.join("; ")}`;
}

function changeText({ name, action, fields }: ObjectChange): string {
    if (action !== "update") return `${name} is ${action}d`;
    return `${name} ${listed(fields.slice(0, FIELDS).map(fieldText), fields.length)}`;
}

function fieldText({ path, before, after }: FieldChange): string {
    return `${pathText(path)} ${valueText(before)} → ${valueText(after)}`;
}

/** A value in one short line. */
export function valueText(value: unknown): string {
    if (value === undefined) return "(none)";
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const line = text.replace(/\s+/g, " ");
    return line.length > VALUE ? `${line.slice(0, VALUE - 1)}…` : line;
}

/** What is shown of a longer list, and how many more there are. */
export function listed(shown: readonly string[], count: number): string {
    return shown.join(", ") + (count > shown.length ? ` and ${count - shown.length} more` : "");
}
