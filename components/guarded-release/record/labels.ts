import * as crypto from "node:crypto";

/** Who made a revision of a release, when and from what. */
export interface Maker {
    /** 40 or 64 hexadecimal digits, followed by `-dirty` when the files were not those of the commit. */
    readonly commit: string | undefined;
    readonly actor: string;
    /** When the revision was done, ISO 8601 in UTC. */
    readonly time: string;
    /** `sha256:` and the first 40 hexadecimal digits; undefined for an image that is named by a tag only. */
    readonly imageDigest: string | undefined;
}

const PREFIX = "ml-api/";
/** Characters of a label's value, by Kubernetes' rule. */
const LONGEST = 63;
/** Hexadecimal digits of an image's digest; all 64 do not fit, and the whole stands in the release's manifest. */
const DIGEST_DIGITS = 40;

/**
 * The labels that Helm's record of a revision gets. Helm keeps labels when it writes the record again, and copies them to the next
 * revision, whoever makes that one. So they name their own revision, and count for no other.
 */
export function makerLabels(revision: number, { commit, actor, time, imageDigest }: Maker): Record<string, string> {
    return {
        [`${PREFIX}revision`]: String(revision),
        // A commit of 64 digits leaves no room for what follows it.
        ...(commit !== undefined && { [`${PREFIX}commit`]: commit.replace(/^([0-9a-f]{56})[0-9a-f]+/, "$1") }),
        [`${PREFIX}actor`]: labelValue(actor),
        [`${PREFIX}time`]: time.replace(/\.\d+/, "").replaceAll(/[-:]/g, ""),
        ...(imageDigest !== undefined && { [`${PREFIX}image-digest`]: imageDigest.replace(":", "-") }),
    };
}

/**
 * Reads {@link makerLabels} back.
 *
 * @param description of the revision, as Helm recorded it: one that Helm rolled back to has the labels of its model
 * @returns undefined for a revision that this program did not make
 */
export function makerOf(
    revision: number,
    labels: Readonly<Record<string, string>>,
    description: string,
): Maker | undefined {
    const of = (key: string): string | undefined => labels[`${PREFIX}${key}`];
    const model = /^Rollback to (\d+)$/.exec(description)?.[1];
    if (of("revision") !== String(revision) && (model === undefined || of("revision") !== model)) return undefined;
    const [, day = "", clock = ""] = /^(\d{8})T(\d{6})Z$/.exec(of("time") ?? "") ?? [];
    const time = `${day.replace(/(....)(..)(..)/, "$1-$2-$3")}T${clock.replace(/(..)(..)(..)/, "$1:$2:$3")}Z`;
    return {
        commit: of("commit"),
        actor: of("actor") ?? "unknown",
        time: day === "" ? "unknown" : time,
        imageDigest: of("image-digest")?.replace("-", ":"),
    };
}

/** `sha256:` with as many digits of the image's digest as a label holds. */
export function labelDigest(image: string): string | undefined {
    return new RegExp(`@(sha256:[0-9a-f]{${DIGEST_DIGITS}})`).exec(image)?.[1];
}

/** A text that Kubernetes takes for a label. One that is too long ends in a hash of the whole, so that two never become one. */
function labelValue(text: string): string {
    const clean = text.replaceAll(/[^A-Za-z0-9._-]+/g, "-").replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
    if (clean === "") return "unknown";
    if (clean.length <= LONGEST) return clean;
    const hash = crypto.createHash("sha256").update(text).digest("hex").slice(0, 8);
    return `${clean.slice(0, LONGEST - 9)}-${hash}`;
}
