import { rmSync } from "node:fs";
import { join } from "node:path";
import { isRecord, readJson, writePrivate } from "../files";
import { type ClusterInfo, type ClusterKind, clusterKinds } from "./cluster";

/** What this checkout's state says about its cluster. `info` is missing while its first start has not ended. */
export interface Remembered {
    readonly kind: ClusterKind;
    readonly info?: ClusterInfo;
}

export function rememberedCluster(stateDir: string): Remembered | undefined {
    const found = readJson(recordFile(stateDir));
    if (!isRecord(found)) return undefined;
    const kind = clusterKinds.find((candidate) => candidate === found["kind"]);
    if (kind === undefined) return undefined;
    return isInfo(found["info"]) ? { kind, info: found["info"] } : { kind };
}

export function rememberCluster(stateDir: string, remembered: Remembered): void {
    writePrivate(recordFile(stateDir), `${JSON.stringify(remembered, undefined, 2)}\n`);
}

export function forgetCluster(stateDir: string): void {
    rmSync(recordFile(stateDir), { force: true });
}

function recordFile(stateDir: string): string {
    return join(stateDir, "cluster.json");
}

function isInfo(value: unknown): value is ClusterInfo {
    if (!isRecord(value)) return false;
    const texts = ["kind", "kubeconfig", "context", "server"].every((key) => typeof value[key] === "string");
    return texts && typeof value["podsServe"] === "boolean";
}
