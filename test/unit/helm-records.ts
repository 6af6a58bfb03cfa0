import { gzipSync } from "node:zlib";
import type { Values } from "../../components/config/values";
import { digestOf } from "../../components/guarded-release/render/digest";
import type { RecordSecret } from "../../components/guarded-release/live/record";
import { objectsIn } from "../../components/guarded-release/render/manifest";

/** What a test says about one revision; the rest is filled in. */
export interface Planted {
    readonly revision: number;
    readonly status?: string;
    readonly description?: string;
    /** RFC 3339. */
    readonly deployedAt?: string;
    readonly manifest?: string;
    readonly hooks?: readonly string[];
    /** Hooks that have run: name → how it went, as Helm says it; undefined: not yet. */
    readonly runs?: Readonly<Record<string, string | undefined>>;
    /** Put into the values; `right` is the one of the objects, undefined leaves it out. */
    readonly digest?: string;
    readonly values?: Values;
    readonly labels?: Readonly<Record<string, string>>;
}

export const MANIFEST = `---
# Source: ml-api/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: api
spec:
  ports:
    - port: 80
---
# Source: ml-api/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
spec:
  replicas: 2
`;

/** The Secret of a revision, made as Helm makes it. */
export function recordSecret({
    revision,
    status = "deployed",
    description = "Upgrade complete",
    deployedAt = "2026-11-22T10:00:00Z",
    manifest = MANIFEST,
    hooks = [],
    runs = {},
    digest,
    values = {},
    labels = {},
}: Planted): RecordSecret {
    const digestOfAll = () => digestOf([manifest, ...hooks].flatMap((text) => objectsIn(text, "demo")));
    const renderDigest = digest === "right" ? digestOfAll() : digest;
    const release = {
        name: "api",
        namespace: "demo",
        version: revision,
        info: { status, description, last_deployed: deployedAt, first_deployed: deployedAt, deleted: "", notes: "ü" },
        chart: { metadata: { name: "ml-api", version: "1.2.3" }, templates: [{ name: "t", data: "eA==" }] },
        config: renderDigest === undefined ? values : { ...values, global: { renderDigest, repair: "" } },
        manifest,
        hooks: [
            ...hooks.map((text) => ({ name: "hook", manifest: text })),
            ...Object.entries(runs).map(([name, phase]) => ({ name, manifest: "", last_run: { phase: phase ?? "" } })),
        ],
    };
    const packed = gzipSync(JSON.stringify(release)).toString("base64");
    return {
        metadata: {
            name: `sh.helm.release.v1.api.v${revision}`,
            resourceVersion: "7",
            labels: { owner: "helm", name: "api", status, version: String(revision), ...labels },
        },
        type: "helm.sh/release.v1",
        data: { release: Buffer.from(packed).toString("base64") },
    };
}

/** The API server's answer to a list of Secrets. */
export function secretList(...secrets: readonly object[]): string {
    return JSON.stringify({ kind: "SecretList", apiVersion: "v1", metadata: {}, items: secrets });
}
