import { visible } from "../components/config/visible";
import type { AdoptPlan } from "./adopt-plan";
import type { Found } from "./adopt-found";
import { maps, text } from "./adopt-objects";
import { type Line, noiseLine, objectLines, tellingObjects } from "./diff-lines";
import type { Paint } from "./diff-terminal";
import { at, asMap } from "../components/guarded-release/safety/patch";

/** Where a live API is, for people. */
export interface Place {
    readonly cluster: string;
    readonly name: string;
}

/** The whole plan, before anything is written. */
export function planText(plan: AdoptPlan, found: Found, { cluster, name }: Place, color: Paint): string {
    const { stack, namespace, mode, files, edits, notes, problems } = plan;
    const lines = [
        `${color("bold", visible(`${name} in ${namespace}`))}, cluster ${visible(cluster)}`,
        `  found     ${visible(foundText(found))}`,
        `  becomes   stack ${stack}${mode === "beside" ? `: a release of its own, beside what runs; nothing there is touched` : ""}`,
        ...[...files.keys(), ...edits.keys()].map((file) => `  file      ${file}`),
        ...notes.map((note) => color("yellow", `  note      ${visible(note)}`)),
        ...(problems.length > 0 ? [] : changeLines(plan, color)),
    ];
    return `${lines.join("\n")}\n`;
}

export function foundText({ running }: Found): string {
    const pods = (count: number): string => (count === 1 ? "1 pod" : `${count} pods`);
    if (running.kind === "release") {
        const { revision, chartVersion } = running.record;
        return `a Helm release, revision ${revision}, chart version ${chartVersion}; ${pods(running.pods.length)}`;
    }
    const names = (objects: readonly unknown[], kind: string): string[] =>
        objects.map((object) => `${kind}/${text(at(object, ["metadata", "name"]))}`);
    const around = [
        ...names(running.services, "Service"),
        ...names(running.ingresses, "Ingress"),
        ...names(running.autoscalers, "HorizontalPodAutoscaler"),
    ];
    return `a Deployment without Helm${around.length === 0 ? "" : `, with ${around.join(", ")}`}; ${pods(running.pods.length)}`;
}

function changeLines(plan: AdoptPlan, color: Paint): string[] {
    const { mode, changes, met } = plan;
    if (mode === "beside") return [];
    const marks =
        mode === "objects"
            ? [
                  `  marks     ${met.map(({ name }) => name).join(", ")}: Helm's label and annotations, and a record of what is there`,
              ]
            : [];
    if (changes.length === 0)
        return [
            ...marks,
            `  changes   nothing in the cluster; the first update only writes that the release is this stack's`,
        ];
    const told = { objects: changes } as unknown as Parameters<typeof tellingObjects>[0];
    const noise = noiseLine(told);
    const restarted = restartsOf(plan);
    return [
        ...marks,
        "  changes   the first update would make:",
        ...tellingObjects(told).flatMap((change) => objectLines(change).map((line) => `    ${lineText(line, color)}`)),
        ...(noise === undefined ? [] : [color("dim", `    ${noise}`)]),
        restarted.length === 0
            ? "  pods      none restarts by that"
            : color(
                  "red",
                  `  pods      restart by that, of ${restarted.join(", ")}: one after the other, while the others serve`,
              ),
    ];
}

export function restartsOf({ changes }: AdoptPlan): readonly string[] {
    return changes.filter(({ restartsPods }) => restartsPods).map(({ name }) => name);
}

function lineText({ sign, text: line, change }: Line, color: Paint): string {
    const shown = change === undefined ? line : `${line}${change.before} → ${change.after}`;
    const paint = sign === "+" ? "green" : sign === "-" ? "red" : undefined;
    return paint === undefined ? `${sign} ${shown}` : color(paint, `${sign} ${shown}`);
}

/** The plan as data; shapes as in `ml-api diff --json`. */
export function planJson(plan: AdoptPlan, cluster: string): string {
    const { stack, environment, release, namespace, mode, files, edits, notes, problems, changes } = plan;
    const shape = { version: 1, stack, environment, release, namespace, cluster, mode };
    return `${JSON.stringify({ ...shape, files: Object.fromEntries(files), edits: [...edits.keys()], notes, problems, changes, restarts: restartsOf(plan) }, undefined, 2)}\n`;
}

/** The commands that lead the clients of an old Service to the new pods, and back; without a gap, because the new pods serve already. */
export function switchText(plan: AdoptPlan, found: Found): string {
    const { running } = found;
    if (running.kind !== "objects") return "";
    const { release, namespace, stack } = plan;
    const kubectl = `kubectl --namespace ${namespace}`;
    const selector = {
        "app.kubernetes.io/name": "ml-api",
        "app.kubernetes.io/instance": release,
        "app.kubernetes.io/component": "api",
    };
    const lines = running.services.flatMap((service) => {
        const name = text(at(service, ["metadata", "name"]));
        const old = asMap(at(service, ["spec", "selector"]));
        const ports = maps(at(service, ["spec", "ports"]));
        // A merge patch takes away only what it names.
        const left = Object.fromEntries(
            Object.keys(old)
                .filter((key) => !(key in selector))
                .map((key) => [key, null]),
        );
        const added = Object.fromEntries(
            Object.keys(selector)
                .filter((key) => !(key in old))
                .map((key) => [key, null]),
        );
        const patch = (spec: object): string =>
            `${kubectl} patch service ${name} --type merge --patch '${JSON.stringify({ spec })}'`;
        const toHttp = ports.map((port, index) => (index === 0 ? { ...port, targetPort: "http" } : port));
        return [
            `  ${patch({ selector: { ...left, ...selector }, ports: toHttp })}`,
            `  # and back: ${patch({ selector: { ...added, ...old }, ports })}`,
        ];
    });
    const deployment = text(at(running.deployment, ["metadata", "name"]));
    const scalers = running.autoscalers.map((one) => `  ${kubectl} delete hpa ${text(at(one, ["metadata", "name"]))}`);
    return [
        "next",
        `  npx --no ml-api up ${stack}`,
        ...(lines.length === 0 ? [] : ["once that serves, lead the clients of the old Service to it:", ...lines]),
        "once nobody needs the old pods:",
        ...scalers,
        `  ${kubectl} delete deployment ${deployment}`,
        "",
    ].join("\n");
}
