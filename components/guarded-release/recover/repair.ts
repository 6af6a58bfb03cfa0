import { isValues } from "../../config/values";
import { digestOf } from "../render/digest";
import type { HelmRecord, Live } from "../live/live";
import { holderText, type Lease } from "./lease";

/** Something about Helm's records that the next update puts right. */
export interface Repair {
    readonly kind: "missing" | "pending" | "failed" | "rolled back" | "foreign" | "unnoted";
    /** The value of `global.repair` that makes this an update; never the one that an earlier finding gave. */
    readonly token: string;
    /** What was found, and what becomes of it; for a person. */
    readonly sentence: string;
}

/**
 * Compares what Helm has recorded with what this program would have left behind.
 *
 * A healthy record with an older digest is no finding: an ordinary edit is an update anyway. Nor is a silent cluster.
 *
 * @param expected digest of what the chart renders to now
 * @param lease the one that a run has left behind; see {@link mayBeUnnoted}
 */
export function findRepair(live: Live, expected: string, now: Date, lease?: Lease): Repair | undefined {
    if (live.kind === "silent") return undefined;
    const { newest, history } = live;
    if (newest === undefined) {
        // Nothing in the cluster tells one lost record from the next, and the same token twice would be no update.
        const token = `missing-${now.toISOString().replace(/[-:]|\.\d+/g, "")}`;
        return {
            kind: "missing",
            token,
            sentence: "Helm has lost its record of this release; the next update makes one of what is there",
        };
    }
    const { revision, status, description } = newest;
    const found = (kind: Repair["kind"], token: string, what: string): Repair => ({
        kind,
        token: `${revision}-${token}`,
        sentence: `revision ${revision} of the live release ${what}`,
    });
    const good = history.filter((one) => one.status === "deployed" && one.revision < revision).at(-1)?.revision;
    const base = good === undefined ? "goes on from it" : `goes on from revision ${good}`;
    if (isPending(status)) {
        const since = `since ${newest.deployedAt}${ageText(newest.deployedAt, now)}`;
        const what = `is "${status}" ${since}: the run that made it has died, or still runs; if it has died, the next update ${base}`;
        return found("pending", status, what);
    }
    if (status !== "deployed") {
        const why = description === "" ? "" : ` (${bounded(description)})`;
        return found("failed", status, `is "${status}"${why}; the next update ${base}`);
    }
    const declared = declaredDigest(newest);
    if (declared === undefined)
        return found(
            "foreign",
            "foreign",
            "was not made by this program (somebody ran helm); the next update replaces it",
        );
    const target = /^Rollback to (\d+)$/.exec(description)?.[1];
    if (target !== undefined && declared !== expected)
        return found(
            "rolled back",
            "rollback",
            `was rolled back to revision ${target}, whose content is not this program's; the next update replaces it`,
        );
    if (!isOurs(newest))
        return found(
            "foreign",
            "foreign",
            "holds other objects than this program made (somebody ran helm over it); the next update replaces it",
        );
    if (lease !== undefined && declared !== expected && isUnnoted(newest, lease))
        return found(
            "unnoted",
            "unnoted",
            `comes from ${holderText(lease)}, which was killed before Pulumi had noted it, or is still at work; the next update replaces it`,
        );
    return undefined;
}

/**
 * Whether it takes the release's Lease to tell if anything needs repair: its content is not this program's, and it may be that Pulumi
 * does not know that it is there.
 */
export function mayBeUnnoted(live: Live, expected: string): boolean {
    return live.kind === "answered" && live.newest?.status === "deployed" && declaredDigest(live.newest) !== expected;
}

/** Helm came to its end, its run did not: this program made the record while the Lease was kept, and it was not given back. */
export function isUnnoted(record: HelmRecord, lease: Lease): boolean {
    const during = Date.parse(record.deployedAt) >= Date.parse(lease.unnotedSince ?? lease.since);
    return record.status === "deployed" && isOurs(record) && during;
}

/** The digest that the maker of a record put into its values. */
export function declaredDigest({ values }: HelmRecord): string | undefined {
    const global = isValues(values["global"]) ? values["global"] : {};
    const digest = global["renderDigest"];
    return typeof digest === "string" && digest !== "" ? digest : undefined;
}

/** This program made the record: its objects are those whose digest it carries. Plain helm that reuses values keeps the digest only. */
export function isOurs(record: HelmRecord): boolean {
    return declaredDigest(record) === digestOf(record.objects);
}

export function isPending(status: string): boolean {
    return status.startsWith("pending-");
}

/** ` (3 min)`, or nothing for a time that cannot be read. */
function ageText(time: string, now: Date): string {
    const minutes = Math.floor((now.getTime() - Date.parse(time)) / 60_000);
    return Number.isNaN(minutes) ? "" : minutes < 1 ? " (less than a minute)" : ` (${minutes} min)`;
}

function bounded(text: string): string {
    const [line = ""] = text.split("\n", 1);
    return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}
