import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { homedir } from "node:os";
import * as path from "node:path";
import { stringify } from "yaml";
import { visibleLines } from "../../config/visible";
import { redactedText, redactedValue } from "../changes/redaction";
import { type Finding, textOf } from "./finding";
import { timeOf, timesOf } from "./shapes";
import type { Kept } from "./watch";

/** So many folders are kept; older ones go when a new one comes. */
const FOLDERS = 10;

/** What failed, for the folder's name and its first page. */
export interface Failure {
    readonly release: string;
    readonly stack: string;
    readonly namespace: string;
    readonly began: Date;
    readonly errors: readonly string[];
    readonly findings: readonly Finding[];
    /** Whether requests came to the new version, in a sentence; undefined when nobody knows. */
    readonly inService: string | undefined;
}

/**
 * Where the evidence of a checkout is kept: in its state folder, which `make down` removes.
 * Undefined when `ML_API_EVIDENCE` is `off`.
 */
export function evidenceRoot(checkout: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
    if (env["ML_API_EVIDENCE"] === "off") return undefined;
    const absolute = (given: string | undefined): given is string => given !== undefined && path.isAbsolute(given);
    const { XDG_STATE_HOME: state, HOME: home } = env;
    const base = absolute(state) ? state : path.join(absolute(home) ? home : homedir(), ".local", "state");
    const hash = createHash("sha256").update(fs.realpathSync(checkout)).digest("hex").slice(0, 10);
    return path.join(base, "ml-api", hash, "evidence");
}

/**
 * Writes what was seen of a failure into a folder TIME-RELEASE-STACK of its own, readable by its owner only and without secrets: findings.md,
 * objects.yaml, events.txt and logs/POD.CONTAINER.RUN.txt. A second call for the same operation writes the same folder anew.
 *
 * @returns the folder
 */
export function saveEvidence(root: string, failure: Failure, kept: Kept): string {
    const time = failure.began
        .toISOString()
        .replace(/\.\d+Z$/, "Z")
        .replaceAll(":", "");
    const folder = path.join(root, `${time}-${failure.release}-${failure.stack}`);
    fs.mkdirSync(path.join(folder, "logs"), { recursive: true, mode: 0o700 });
    const write = (name: string, text: string): void => {
        // Somebody will look at it in a terminal.
        fs.writeFileSync(path.join(folder, name), visibleLines(text), { mode: 0o600 });
    };
    write("findings.md", findingsPage(failure, kept));
    write("objects.yaml", kept.objects.map((object) => stringify(shown(object), { lineWidth: 0 })).join("---\n"));
    write("events.txt", eventLines(kept));
    for (const { name, text } of kept.logs) {
        const run = name.key.split("/").at(-1) ?? "0";
        write(
            path.join("logs", `${name.pod}.${name.container}.${run}.txt`),
            text
                .split("\n")
                .map((line) => redactedText(line))
                .join("\n"),
        );
    }
    const folders = fs.readdirSync(root).sort();
    for (const old of folders.slice(0, -FOLDERS)) fs.rmSync(path.join(root, old), { recursive: true, force: true });
    return folder;
}

function findingsPage({ release, namespace, began, errors, findings, inService }: Failure, { unseen }: Kept): string {
    const list = (texts: readonly string[], none: string): string =>
        texts.length === 0 ? `${none}\n` : texts.map((text) => `- ${text.trim()}\n`).join("");
    return [
        `# ${release} in ${namespace}, ${began.toISOString()}\n\n`,
        list(
            findings.map((finding) => `${textOf(finding)}${finding.certain ? "" : " (not certain)"}`),
            "Nothing was found in the cluster that explains it.",
        ),
        inService === undefined ? "" : `\nAs far as was seen, ${inService}.\n`,
        errors.length === 0
            ? ""
            : `\nHelm and Pulumi say:\n\n${list(
                  errors.map((error) => redactedText(error)),
                  "",
              )}`,
        unseen.length === 0 ? "" : `\nNot seen, because the API server did not tell: ${unseen.join(", ")}.\n`,
    ].join("");
}

function shown(object: Kept["objects"][number]): unknown {
    // Who set which field says nothing here, and is longer than the rest.
    const metadata = Object.fromEntries(Object.entries(object.metadata).filter(([field]) => field !== "managedFields"));
    return redactedValue([], { ...object, metadata }, object.kind);
}

function eventLines({ events }: Kept): string {
    return [...events]
        .sort((a, b) => timeOf(a) - timeOf(b))
        .map((event) => {
            const { involvedObject, type = "", reason = "", message = "" } = event;
            const { kind, name, fieldPath = "" } = involvedObject;
            const times = timesOf(event) > 1 ? ` (${timesOf(event)} times)` : "";
            const where = `${kind}/${name}${fieldPath === "" ? "" : ` ${fieldPath}`}`;
            return `${new Date(timeOf(event)).toISOString()} ${type} ${where} ${reason}${times}: ${redactedText(message.trim())}\n`;
        })
        .join("");
}
