import type { DeployRecord } from "../branching/record";
import { decodeRecord, type StoredRecord } from "../components/guarded-release/live/record";
import { makerOf } from "../components/guarded-release/record/labels";
import { imageIn } from "../components/guarded-release/render/image";
import { isOurs } from "../components/guarded-release/recover/repair";
import { visible } from "../components/config/visible";

/** One revision of a release, as far as Helm's record of it tells. */
export interface Revision {
    readonly revision: number;
    /** As Helm writes it: deployed, superseded, failed, … */
    readonly status: string;
    /** As the pods got it: `repository:tag@digest`. */
    readonly image: string;
    /** `sha256:…`; undefined for an image that is named by a tag only. */
    readonly digest: string | undefined;
    /** Followed by `-dirty` when it was deployed from edited files; undefined when nobody has recorded it. */
    readonly commit: string | undefined;
    readonly actor: string | undefined;
    /** RFC 3339. */
    readonly time: string;
    /** The record holds what this program put into it. */
    readonly intact: boolean;
}

/** Every revision that Helm has kept, the newest first. */
export function revisionsOf(records: readonly StoredRecord[]): Revision[] {
    return [...records].reverse().map(({ revision, status, secret }): Revision => {
        const record = decodeRecord(secret);
        const maker = makerOf(revision, secret.metadata.labels, record.description);
        const image = imageIn(record.objects);
        return {
            revision,
            status,
            image,
            digest: /@(sha256:[0-9a-f]+)$/.exec(image)?.[1],
            commit: maker?.commit,
            actor: maker?.actor,
            time: record.deployedAt.replace(/\.\d+/, ""),
            intact: isOurs(record),
        };
    });
}

/** The revision that serves: the newest that was deployed and not taken back. */
export function servingRevision(revisions: readonly Revision[]): Revision | undefined {
    return revisions.find(({ status }) => status === "deployed");
}

/** What a person wants back. */
export interface RollbackTarget {
    /** 40 or 64 hexadecimal digits. */
    readonly commit: string;
    /** Undefined for a deploy that only the record of deploys still knows. */
    readonly revision: number | undefined;
}

/**
 * Finds out what a person means by a revision's number or the beginning of a commit.
 *
 * @param deploys the record of deploys of the stack's environment, oldest first
 * @throws Error that says why it cannot be gone back to
 */
export function chooseTarget(
    revisions: readonly Revision[],
    deploys: readonly DeployRecord[],
    stack: string,
    wanted: string,
): RollbackTarget {
    const list = `npx --no ml-api rollback ${stack}`;
    const serving = servingRevision(revisions);
    if (serving === undefined)
        throw new Error(`no revision of ${stack} serves, so there is nothing to roll back → pulumi up`);
    const byNumber = /^\d{1,6}$/.test(wanted);
    if (!byNumber && !/^[0-9a-f]{7,64}$/.test(wanted))
        throw new Error(
            `"${wanted}" is neither a revision nor (the first 7 or more digits of) a commit → ${list} lists both`,
        );
    const found = byNumber
        ? revisions.find(({ revision }) => revision === Number(wanted))
        : revisions.find(({ commit, status }) => commit?.startsWith(wanted) === true && hasServed(status));
    if (found === undefined) {
        if (byNumber) throw new Error(`there is no revision ${wanted} of ${stack} (any more) → ${list}`);
        const old = deploys.findLast(
            (one) => one.stack === stack && one.outcome === "deployed" && one.commit.startsWith(wanted),
        );
        if (old !== undefined) return { commit: old.commit, revision: undefined };
        throw new Error(
            `${stack} has never been deployed from ${wanted}, so nobody knows that it works there → ${list}`,
        );
    }
    const name = `revision ${found.revision} of ${stack}`;
    if (!hasServed(found.status)) throw new Error(`${name} is "${found.status}": it never served → ${list}`);
    if (found.commit === undefined)
        throw new Error(`${name} has no record of its commit: it was not made by this program → ${list}`);
    if (found.commit.endsWith("-dirty"))
        throw new Error(
            `${name} was deployed from files that are in no commit (${found.commit}), so they cannot be had again → ${list}`,
        );
    if (!found.intact)
        throw new Error(`Helm's record of ${name} is not what was put into it: it was changed afterwards → ${list}`);
    if (found.revision === serving.revision || found.commit === serving.commit)
        throw new Error(`${name} is what runs: there is nothing to roll back → ${list}`);
    return { commit: found.commit, revision: found.revision };
}

function hasServed(status: string): boolean {
    return status === "deployed" || status === "superseded";
}

/** As a table. */
export function revisionsText(stack: string, revisions: readonly Revision[]): string {
    const rows = revisions.map(({ revision, status, commit, actor, time, image }) => [
        String(revision),
        status,
        commitShort(commit),
        actor ?? "-",
        time,
        image,
    ]);
    const all = [["REVISION", "STATUS", "COMMIT", "BY", "TIME", "IMAGE"], ...rows].map((row) => row.map(visible));
    const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
    const lines = all.map((row) =>
        row
            .map((cell, column) => cell.padEnd(widths[column] ?? 0))
            .join("  ")
            .trimEnd(),
    );
    return `${lines.join("\n")}\n\nGo back to one of them: npx --no ml-api rollback ${stack} --to <revision or commit>\n`;
}

function commitShort(commit: string | undefined): string {
    if (commit === undefined) return "-";
    return commit.slice(0, 12) + (commit.endsWith("-dirty") ? "-dirty" : "");
}

/** `{version, stack, revisions: [{revision, status, image, digest?, commit?, actor?, time, intact}]}` */
export function revisionsJson(stack: string, revisions: readonly Revision[]): string {
    return `${JSON.stringify({ version: 1, stack, revisions }, undefined, 2)}\n`;
}
