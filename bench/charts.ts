/**
 * Generic charts by the same yardsticks as ours: what they do with a misspelt key and with null, which of their values do nothing, what
 * scanners say about the same API deployed with each, and how long a render takes. Prints a table, asserts nothing.
 *
 * node --require ts-node/register/transpile-only bench/charts.ts [--charts FOLDER] [--keys 60] [--rounds 5] [--names]
 *
 * FOLDER holds one chart in each folder; which ones bench/charts/*.yaml has values for, docs/charts-compared.md tells. Without it, ours is
 * measured beside what `helm create` makes.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parse } from "yaml";
import { checkoutRoot } from "../local/paths";
import { pythonEnvironment } from "../local/python";
import { ensureTools } from "../local/tools";
import { RULES } from "../policy/rules";
import { checkov } from "../scan/checkov";
import { kubeScore } from "../scan/kube-score";
import type { Render } from "../scan/renders";
import { objectsIn, type Values } from "../test/chart/helm";
import { interleaved, numberAsked, ratio, roundsAsked, runBench, spreadOf, spreadText, table } from "./measure";
import { type Chart, measure, renderOf, type Share } from "./yardsticks";

const ours = "ml-api";
const scaffold = "scaffold";
const examples = join(__dirname, "charts");

async function main(): Promise<void> {
    const most = numberAsked("--keys", 60);
    const rounds = roundsAsked(5);
    const { helm, ...tools } = await ensureTools(["helm", "kube-score"]);
    process.env["ML_API_HELM"] ??= helm.path;
    const python = await pythonEnvironment(join(checkoutRoot, "scan", "python", "checkov.txt"), {
        log: () => undefined,
    });
    const folder = mkdtempSync(join(tmpdir(), "ml-api-bench-charts-"));
    try {
        execFileSync(helm.path, ["create", join(folder, scaffold)], { stdio: "ignore" });
        const charts = chartsAsked(join(folder, scaffold));
        const manifests = join(folder, "manifests");
        mkdirSync(manifests);
        const renders = await Promise.all(charts.map((chart) => rendered(chart, manifests)));
        const found = (await checkov(join(dirname(python), "checkov"), manifests, renders)).findings;
        const times = await interleaved(
            charts.map((chart) => ({
                name: chart.name,
                run: () => renderOf(chart, chart.values).then(() => undefined),
            })),
            rounds,
        );
        const rows: string[][] = [];
        for (const [index, chart] of charts.entries()) {
            process.stderr.write(`${chart.name}…\n`);
            const render = renders[index] as Render;
            const { rootSlips, sectionSlips, withoutEffect, crashes } = await measure(chart, most);
            const scored = await kubeScore(tools["kube-score"].path, [render]);
            rows.push([
                chart.name,
                versionOf(chart),
                percent(rootSlips),
                percent(sectionSlips),
                shareText(withoutEffect),
                shareText(crashes),
                String(podSecurity(render)),
                String(scored.findings.length),
                String(found.filter((finding) => finding.render === chart.name).length),
                `${(1000 * spreadOf(times.get(chart.name) ?? []).median).toFixed(0)} ms`,
                chart.name === ours ? "1" : spreadText(ratio(times, chart.name, ours)),
            ]);
        }
        const head =
            "chart,version,misspelt at the top,misspelt below,without effect,crashes,Pod Security,kube-score,checkov,render,to ours";
        process.stdout.write(`${table([head.split(","), ...rows])}\n`);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/** Ours, the scaffold, and each chart of the folder that there are values for. */
function chartsAsked(scaffoldFolder: string): readonly Chart[] {
    const place = process.argv.includes("--charts") ? process.argv[process.argv.indexOf("--charts") + 1] : undefined;
    if (place !== undefined && !existsSync(place)) throw new Error(`--charts ${place}: there is no such folder`);
    const places = new Map([
        [ours, join(checkoutRoot, "chart")],
        [scaffold, scaffoldFolder],
    ]);
    const known = readdirSync(examples);
    const names = [...new Set([...places.keys(), ...known.map((file) => basename(file, ".yaml"))])];
    return names.flatMap((name) => {
        const folder = places.get(name) ?? (place === undefined ? undefined : join(resolve(place), name));
        if (folder === undefined) return [];
        if (!existsSync(join(folder, "Chart.yaml"))) {
            process.stderr.write(`${name}: not in ${place ?? ""}, left out\n`);
            return [];
        }
        const values = parse(readFileSync(join(examples, `${name}.yaml`), "utf8")) as Values;
        return [{ name, folder, values }];
    });
}

async function rendered(chart: Chart, manifests: string): Promise<Render> {
    const outcome = await renderOf(chart, chart.values);
    if (outcome.kind !== "rendered") throw new Error(`${chart.name} does not render: ${outcome.message}`);
    const file = join(manifests, `${chart.name}.yaml`);
    writeFileSync(file, outcome.manifests);
    return { name: chart.name, file, text: outcome.manifests, objects: objectsIn(outcome.manifests) };
}

/** What the restricted Pod Security Standard and a read-only root file system would refuse, tests and hooks included. */
function podSecurity({ objects }: Render): number {
    const rule = RULES.find(({ name }) => name === "restricted-pods");
    if (rule === undefined) throw new Error("policy/rules.ts has no rule restricted-pods any more");
    return rule.check({ environment: "production", objects, registries: [] }).length;
}

function versionOf({ folder }: Chart): string {
    return String((parse(readFileSync(join(folder, "Chart.yaml"), "utf8")) as { version: unknown }).version);
}

const percent = ({ found, of }: Share): string => (of === 0 ? "–" : `${((100 * found) / of).toFixed(0)} % of ${of}`);
const shareText = ({ found, of }: Share): string => `${found} of ${of}`;

runBench(main);
