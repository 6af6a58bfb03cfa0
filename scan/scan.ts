import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cacheDir, checkoutRoot } from "../local/paths";
import { pythonEnvironment } from "../local/python";
import { ensureTools } from "../local/tools";
import { actionlint } from "./actionlint";
import { checkov } from "./checkov";
import { customResources } from "./custom-resources";
import { type Exception, readExceptions, sortFindings } from "./exceptions";
import { kubeScore } from "./kube-score";
import { licences } from "./licences";
import { kubeconform } from "./kubeconform";
import { npmAudit } from "./npm-audit";
import { pipAudit, pythonRequirements } from "./pip-audit";
import { policy } from "./policy";
import { renderAll } from "./renders";
import type { Finding, Scanner } from "./scanner";
import { writeSchemas } from "./schemas";

export interface ScanOptions {
    readonly log: (line: string) => void;
    /** The kubeconfig of an API server, whose schemas are asked for once and kept in the cache. */
    readonly kubeconfig: () => Promise<string>;
    /** An audit whose service does not answer has failed. */
    readonly requireAudits?: boolean;
}

export interface ScanOutcome {
    readonly passed: number;
    readonly failed: number;
    /** Scanners that found nothing, but could not ask about everything. */
    readonly notAudited: number;
}

/** Runs every scanner over every render of the chart and over the pinned packages; prints a line for each. */
export async function scan({ log, kubeconfig, requireAudits = false }: ScanOptions): Promise<ScanOutcome> {
    const tools = await ensureTools(["helm", "kubectl", "kubeconform", "kube-score", "actionlint"], { log });
    const pythonProgram = async (name: string): Promise<string> => {
        const python = await pythonEnvironment(join(checkoutRoot, "scan", "python", `${name}.txt`), { log });
        return join(dirname(python), name);
    };
    const exceptions = readExceptions();
    const folder = await mkdtemp(join(tmpdir(), "ml-api-scan-"));
    try {
        const manifests = join(folder, "manifests");
        const renders = await renderAll({ helm: tools.helm.path, namespace: "ml-api", folder: manifests });
        const schemas = join(folder, "schemas");
        const scanners: readonly Scanner[] = [
            {
                name: "kubeconform",
                look: async () => {
                    const cache = cacheDir();
                    const definitions = await customResources(cache, log);
                    const sources = { cache, kubectl: tools.kubectl.path, kubeconfig, customResources: definitions };
                    await writeSchemas(schemas, sources);
                    return kubeconform(tools.kubeconform.path, renders, schemas);
                },
            },
            { name: "kube-score", look: () => kubeScore(tools["kube-score"].path, renders) },
            { name: "checkov", look: async () => checkov(await pythonProgram("checkov"), manifests, renders) },
            { name: "policy", look: () => Promise.resolve(policy(renders)) },
            { name: "actionlint", look: () => actionlint(tools.actionlint.path) },
            { name: "npm audit", look: () => npmAudit() },
            { name: "pip-audit", look: async () => pipAudit(await pythonProgram("pip-audit")) },
            {
                name: "licences",
                look: async () => licences(await pythonEnvironment(pythonRequirements, { log })),
            },
        ];
        refuseUnknown(
            exceptions,
            scanners.map(({ name }) => name),
            renders.map(({ name }) => name),
        );
        log(`${renders.length} renders: the environments and chart/ci`);
        // All at once, told in order: some wait for a service, others for a processor.
        const running = scanners.map((scanner) => verdictOf(scanner, exceptions, requireAudits));
        const verdicts: Verdict[] = [];
        for (const one of running) {
            const { verdict, lines } = await one;
            for (const line of lines) log(line);
            verdicts.push(verdict);
        }
        const count = (verdict: Verdict): number => verdicts.filter((one) => one === verdict).length;
        return { passed: count("passed"), failed: count("failed"), notAudited: count("notAudited") };
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

type Verdict = keyof ScanOutcome;

/** What one scanner's findings come to, and the lines that say so. Never rejects. */
export async function verdictOf(
    { name, look }: Scanner,
    exceptions: readonly Exception[],
    requireAudits = false,
): Promise<{ readonly verdict: Verdict; readonly lines: readonly string[] }> {
    const began = performance.now();
    const line = (sign: string, text: string): string =>
        `${sign} ${name.padEnd(12)} ${text} (${((performance.now() - began) / 1000).toFixed(1)} s)`;
    try {
        const { findings, at, notAudited } = await look();
        const { kept, open, stale } = sortFindings(name, findings, exceptions);
        // Of what could not be asked about, nobody knows whether an exception is still needed.
        const needless = notAudited === undefined ? stale : [];
        const unasked = notAudited === undefined ? "passed" : requireAudits ? "failed" : "notAudited";
        const verdict = open.length + needless.length > 0 ? "failed" : unasked;
        const counts = `${at}, ${open.length} findings, ${kept.length} excepted, ${needless.length} stale exceptions`;
        const lines = [
            line({ passed: "✓", failed: "✗", notAudited: "–" }[verdict], counts),
            ...(notAudited === undefined ? [] : [`    not audited: ${notAudited}`]),
            ...grouped(open).map((text) => `    ${text}`),
            ...needless.map(
                ({ place, check, object }) =>
                    `    ${place}: ${check} of ${object} is not found any more → take the exception away`,
            ),
        ];
        return { verdict, lines };
    } catch (error) {
        return { verdict: "failed", lines: [line("✗", error instanceof Error ? error.message : String(error))] };
    }
}

/** As many objects are named where one thing is said of many. */
const named = 5;

function grouped(findings: readonly Finding[]): readonly string[] {
    const objects = new Map<string, string[]>();
    for (const { check, message, object, render } of findings) {
        const text = `${check}: ${message}`;
        const where = render === undefined ? object : `${object} in ${render}`;
        objects.set(text, [...(objects.get(text) ?? []), where]);
    }
    return [...objects].map(([text, all]) => {
        const more = all.length > named ? `, and ${all.length - named} more` : "";
        return `${text} (${all.slice(0, named).join(", ")}${more})`;
    });
}

/** A misspelt name would keep an exception from ever holding, or from ever ending. */
function refuseUnknown(
    exceptions: readonly Exception[],
    scanners: readonly string[],
    renders: readonly string[],
): void {
    const faults = exceptions.flatMap(({ place, scanner, in: only = [], notIn = [] }) => [
        ...(scanners.includes(scanner) ? [] : [`${place}: no scanner is called ${scanner}`]),
        ...[...only, ...notIn]
            .filter((name) => !renders.includes(name))
            .map((name) => `${place}: no render is called ${name}`),
    ]);
    if (faults.length === 0) return;
    throw new Error(
        `${faults.join("\n")}\nThe scanners are ${scanners.join(", ")}; the renders ${renders.join(", ")}.`,
    );
}
