import { gunzipSync, gzipSync } from "node:zlib";
import type { Values } from "../../config/values";
import { objectsIn } from "../render/manifest";
import type { RenderedObject } from "../render/render";

/** One revision of a release as Helm has recorded it. */
export interface HelmRecord {
    readonly name: string;
    readonly namespace: string;
    readonly revision: number;
    /** As Helm writes it: deployed, failed, pending-upgrade, … */
    readonly status: string;
    readonly description: string;
    /** When the operation that made this revision began, RFC 3339. */
    readonly deployedAt: string;
    /** The values that it was installed with, without the chart's defaults. */
    readonly values: Values;
    /** Manifest and hooks, parsed; each in its namespace, as the provider's render has them. */
    readonly objects: readonly RenderedObject[];
    readonly chartVersion: string;
}

/** The Secret in which Helm keeps one revision. */
export interface RecordSecret {
    readonly metadata: {
        readonly name: string;
        readonly labels: Readonly<Record<string, string>>;
        readonly [field: string]: unknown;
    };
    readonly data: { readonly release: string };
    readonly [field: string]: unknown;
}

/** A revision as far as the labels of its Secret tell. */
export interface StoredRecord {
    readonly revision: number;
    readonly status: string;
    readonly secret: RecordSecret;
}

/** The fields of Helm's release that are read here; the rest is kept as it is. */
interface Release {
    readonly name?: string;
    readonly namespace?: string;
    readonly version?: number;
    readonly info?: {
        readonly status?: string;
        readonly description?: string;
        readonly last_deployed?: string;
        readonly [field: string]: unknown;
    };
    readonly chart?: { readonly metadata?: { readonly version?: string } };
    readonly config?: Values;
    readonly manifest?: string;
    readonly hooks?: readonly {
        readonly name?: string;
        readonly manifest?: string;
        readonly last_run?: { readonly phase?: string };
    }[];
    readonly [field: string]: unknown;
}

/** Bytes. Compressed, a record holds at most 1 MiB. */
const RECORD_LIMIT = 128 << 20;

/** The Kubernetes label selector of all records of a release. */
export function recordSelector(release: string): string {
    return `owner=helm,name=${release}`;
}

/** The records in the API server's list of Secrets, oldest first. Throws when it is no such list. */
export function recordsIn(list: string): StoredRecord[] {
    const { items } = JSON.parse(list) as { items?: unknown };
    if (!Array.isArray(items)) throw new Error("it is no list");
    return (items as Partial<RecordSecret>[])
        .map((secret): StoredRecord => {
            const { version, status = "unknown" } = secret.metadata?.labels ?? {};
            return { revision: Number(version), status, secret: secret as RecordSecret };
        })
        .filter(({ revision }) => Number.isSafeInteger(revision))
        .sort((a, b) => a.revision - b.revision);
}

/** Reads a record out of its Secret. Throws when it holds none. */
export function decodeRecord(secret: RecordSecret): HelmRecord {
    const { name = "", namespace = "", version = 0, info = {}, chart, config, manifest = "", hooks } = unpack(secret);
    const texts = [manifest, ...(hooks ?? []).map((hook) => hook.manifest ?? "")];
    return {
        name,
        namespace,
        revision: version,
        status: info.status ?? "unknown",
        description: info.description ?? "",
        deployedAt: info.last_deployed ?? "",
        values: config ?? {},
        objects: texts.flatMap((text) => objectsIn(text, namespace)),
        chartVersion: chart?.metadata?.version ?? "",
    };
}

/** How the last run of a hook went, as Helm writes it: Succeeded, Failed, Running, Unknown; undefined when it never ran. */
export function hookPhase(secret: RecordSecret, name: string): string | undefined {
    const phase = unpack(secret).hooks?.find((hook) => hook.name === name)?.last_run?.phase;
    return phase === "" ? undefined : phase;
}

/** The same Secret with its record in another state, as Helm itself would write it. */
export function withStatus(secret: RecordSecret, status: string, description: string): RecordSecret {
    const release = unpack(secret);
    return {
        ...secret,
        metadata: { ...secret.metadata, labels: { ...secret.metadata.labels, status } },
        data: { release: pack({ ...release, info: { ...release.info, status, description } }) },
    };
}

/**
 * A record for a release that has lost its own, for Helm to go on from. It is a failed one: Helm then has nothing to go back to
 * when the update fails, so it deletes nothing.
 *
 * @param objects what the release has in the cluster
 */
export function newRecord(
    { release: name, namespace }: { readonly release: string; readonly namespace: string },
    objects: readonly RenderedObject[],
    description: string,
    now: Date,
): object {
    const time = now.toISOString();
    const release: Release = {
        name,
        namespace,
        version: 1,
        info: { first_deployed: time, last_deployed: time, deleted: "", status: "failed", description },
        chart: { metadata: { name, version: "0.0.0", apiVersion: "v2" } } as NonNullable<Release["chart"]>,
        config: {},
        // JSON is YAML, too.
        manifest: objects.map((object) => `---\n${JSON.stringify(object)}\n`).join(""),
    };
    return {
        apiVersion: "v1",
        kind: "Secret",
        type: "helm.sh/release.v1",
        metadata: {
            name: `sh.helm.release.v1.${name}.v1`,
            namespace,
            labels: { name, owner: "helm", status: "failed", version: "1" },
        },
        data: { release: pack(release) },
    };
}

/** base64 (of the Secret) around base64 (of Helm) around gzip around JSON. */
function unpack(secret: RecordSecret): Release {
    const packed = Buffer.from(Buffer.from(secret.data.release, "base64").toString("latin1"), "base64");
    const isCompressed = packed[0] === 0x1f && packed[1] === 0x8b;
    const json = isCompressed ? gunzipSync(packed, { maxOutputLength: RECORD_LIMIT }) : packed;
    const release: unknown = JSON.parse(json.toString("utf8"));
    if (typeof release !== "object" || release === null || !("info" in release) || !("version" in release))
        throw new Error("it is not a release");
    return release as Release;
}

function pack(release: Release): string {
    const packed = gzipSync(JSON.stringify(release), { level: 9 }).toString("base64");
    return Buffer.from(packed, "latin1").toString("base64");
}
