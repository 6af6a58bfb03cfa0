import * as crypto from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { deploySources } from "../components/config/sources";
import type { Artifacts } from "./artifacts";
import type { Git } from "./git";

/** One deploy, as it is remembered for ever. */
export interface DeployRecord {
    /** When it ended, ISO 8601 in UTC. */
    readonly at: string;
    readonly stack: string;
    readonly commit: string;
    readonly branch: string;
    /** Hash of everything that decides what is deployed; see {@link sourceHash}. */
    readonly source: string;
    /** Image as the pods get it. */
    readonly image: string;
    /** Who pushed or started it. */
    readonly actor: string;
    /** Who agreed, where somebody had to. */
    readonly approvedBy?: string;
    /** `held`: after a rollback, only `commit` and what descends from it goes next; `released`: that has ended. */
    readonly outcome: "deployed" | "failed" | "held" | "released";
    /** Of a hold and its end. */
    readonly hold?: { readonly id: string; readonly reason: string };
    /** A real prediction was answered; false on a cluster whose pods only pretend to run. */
    readonly verified: boolean;
    /** What a promotion compares. Records of before promotions were checked have none, and prove nothing. */
    readonly artifacts?: Artifacts;
    /** It was deployed although the environment before had not proven it. */
    readonly emergency?: Emergency;
}

/** Why something was deployed without proof, and who answers for it besides its author. */
export interface Emergency {
    readonly reason: string;
    readonly approvedBy: string;
}

/** The branch that holds nothing but the records: one file of JSON lines per environment. */
export const RECORD_BRANCH = "deployments";
const REF = `refs/heads/${RECORD_BRANCH}`;
const fileOf = (environment: string): string => `${environment}.jsonl`;

/** A line of the file: the record, and the hash of the line before it, so that a change of the past shows. */
interface Line {
    readonly after: string;
    readonly record: DeployRecord;
}

/** The record was changed, or is not one; the message says where. */
export class RecordProblem extends Error {}

/** All deploys of an environment, oldest first. @throws RecordProblem */
export async function readRecords(git: Git, environment: string, ref = REF): Promise<DeployRecord[]> {
    return parseRecords((await git.file(ref, fileOf(environment))) ?? "", `${RECORD_BRANCH}:${fileOf(environment)}`);
}

/** Where a clone has the record: that of its origin, if it has one, for its own branch is only as new as the last pull. */
export async function recordRef(git: Git): Promise<string> {
    const remote = `refs/remotes/origin/${RECORD_BRANCH}`;
    return (await git.commit(remote)) === undefined ? REF : remote;
}

/** @param where named in problems */
export function parseRecords(text: string, where: string): DeployRecord[] {
    let after = "";
    return text
        .split("\n")
        .filter((line) => line !== "")
        .map((line, index) => {
            const at = `${where}:${index + 1}`;
            let parsed: unknown;
            try {
                parsed = JSON.parse(line);
            } catch {
                throw new RecordProblem(`${at} is no JSON: the record was edited or cut off`);
            }
            if (!isLine(parsed)) throw new RecordProblem(`${at} is no record of a deploy: the record was edited`);
            if (parsed.after !== after)
                throw new RecordProblem(`${at} does not follow the line before it: the record was changed afterwards`);
            after = hash(line);
            return parsed.record;
        });
}

function isLine(parsed: unknown): parsed is Line {
    const { record } = (parsed ?? {}) as Partial<Line>;
    return typeof record === "object" && (record as DeployRecord | null) !== null;
}

/** The newest deploy of a stack that worked. */
export function running(records: readonly DeployRecord[], stack: string): DeployRecord | undefined {
    return records.findLast((record) => record.stack === stack && record.outcome === "deployed");
}

/**
 * Adds a record. Works in a bare repository and needs no work tree; when somebody else adds one at the same time, both stay.
 *
 * @throws RecordProblem when the record was changed, Error when it cannot be written
 */
export async function appendRecord(git: Git, environment: string, record: DeployRecord): Promise<void> {
    for (let attempt = 1; ; attempt++) {
        const tip = await git.commit(REF);
        const file = fileOf(environment);
        const before = tip === undefined ? "" : ((await git.file(tip, file)) ?? "");
        parseRecords(before, `${RECORD_BRANCH}:${file}`);
        const last = before.split("\n").findLast((line) => line !== "");
        const line: Line = { after: last === undefined ? "" : hash(last), record };
        const blob = (await git.run(["hash-object", "-w", "--stdin"], `${before}${JSON.stringify(line)}\n`)).trim();
        const others = tip === undefined ? "" : await git.run(["ls-tree", tip]);
        const entries = others.split("\n").filter((entry) => entry !== "" && entry.split("\t")[1] !== file);
        const tree = (await git.run(["mktree"], `${[...entries, `100644 blob ${blob}\t${file}`].join("\n")}\n`)).trim();
        const commit = (
            await git.run([
                ...["-c", "user.name=ml-api", "-c", "user.email=ml-api@localhost", "commit-tree", tree],
                ...(tip === undefined ? [] : ["-p", tip]),
                ...["-m", `${record.stack}: ${record.outcome} ${record.commit.slice(0, 12)}`],
            ])
        ).trim();
        try {
            // Only if nobody moved the branch since it was read.
            await git.run(["update-ref", REF, commit, tip ?? "0".repeat(commit.length)]);
            return;
        } catch (error) {
            if (attempt === 10) throw error;
            await sleep(20 * attempt * Math.random());
        }
    }
}

/** Hash of the files of a commit that decide what a stack deploys. @returns 64 hex digits */
export async function sourceHash(git: Git, commit: string, stack: string): Promise<string> {
    const listing = await git.run(["ls-tree", "-r", "--full-tree", commit, "--", ...deploySources(stack)]);
    const lines = listing.split("\n").filter((line) => !line.endsWith(".md"));
    return hash(lines.sort().join("\n"));
}

function hash(text: string): string {
    return crypto.createHash("sha256").update(text).digest("hex");
}
