import * as fs from "node:fs";
import * as path from "node:path";
import { LineCounter, parseDocument } from "yaml";
import { didYouMean } from "../components/config/nearest";
import { InputError, type Problem } from "../components/config/problem";
import { dataOf } from "../components/config/yaml-data";
import { type Found, type Level, type Rule, RULES, type Subject } from "./rules";

export interface Exemption {
    readonly rule: string;
    readonly environment: string;
    /** As {@link Found.where}; `*` stands for any text. */
    readonly where: string;
    readonly reason: string;
    /** `file:line` of the exemption. */
    readonly place: string;
}

export interface Settings {
    readonly registries: readonly string[];
    readonly exemptions: readonly Exemption[];
}

export interface Finding extends Found {
    readonly rule: string;
    readonly says: string;
    readonly level: Exclude<Level, "off">;
    readonly environment: string;
    /** Why it may stay; undefined when it may not. */
    readonly exemption?: Exemption;
}

/** How strict a rule is. An environment that nobody knows is treated as production. */
export function levelOf(rule: Rule, environment: string): Level {
    return environment === "dev" || environment === "staging" ? rule.levels[environment] : rule.levels.production;
}

/** Everything that the rules find, exempted findings included. */
export function evaluate(
    subject: Omit<Subject, "registries">,
    settings: Settings,
    rules: readonly Rule[] = RULES,
): Finding[] {
    const { environment } = subject;
    return rules.flatMap((rule) => {
        const level = levelOf(rule, environment);
        if (level === "off") return [];
        return rule.check({ ...subject, registries: settings.registries }).map((found) => {
            const exemption = settings.exemptions.find(
                (one) => one.rule === rule.name && one.environment === environment && fits(one.where, found.where),
            );
            return {
                ...found,
                rule: rule.name,
                says: rule.says,
                level,
                environment,
                ...(exemption === undefined ? {} : { exemption }),
            };
        });
    });
}

/** Exemptions that no finding of all environments needed. */
export function staleExemptions(settings: Settings, findings: readonly Finding[]): Problem[] {
    const used = new Set(findings.map(({ exemption }) => exemption));
    return settings.exemptions
        .filter((exemption) => !used.has(exemption))
        .map(({ place, rule, where }) => ({
            where: place,
            what: `nothing at ${where} breaks ${rule} any more`,
            fix: "remove this exemption",
        }));
}

function fits(pattern: string, where: string): boolean {
    const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(where);
}

/** Reads `settings.yaml` and `exemptions.yaml`. @throws InputError with every problem and its line */
export function readSettings(folder: string): Settings {
    const problems: Problem[] = [];
    const read = (name: string, key: string): { items: unknown[]; place: (index: number) => string } => {
        const file = path.join(folder, name);
        const lines = new LineCounter();
        const document = parseDocument(fs.readFileSync(file, "utf8"), {
            lineCounter: lines,
            prettyErrors: false,
            logLevel: "error",
        });
        const shown = `policy/${name}`;
        for (const { pos, message } of document.errors)
            problems.push({ where: `${shown}:${lines.linePos(pos[0]).line}`, what: message });
        const data = document.errors.length > 0 ? { value: {} } : dataOf(document);
        if ("what" in data) problems.push({ where: shown, what: data.what });
        const value = (("value" in data ? data.value : undefined) ?? {}) as Record<string, unknown>;
        for (const found of Object.keys(value)) {
            if (found !== key)
                problems.push({ where: shown, what: `there is no key "${found}"${didYouMean(found, [key])}` });
        }
        const items = value[key] ?? [];
        if (!Array.isArray(items)) problems.push({ where: shown, what: `${key} is not a list` });
        return {
            items: Array.isArray(items) ? (items as unknown[]) : [],
            place: (index) => {
                const node = document.getIn([key, index], true) as { range?: [number, number, number] } | undefined;
                return node?.range ? `${shown}:${lines.linePos(node.range[0]).line}` : shown;
            },
        };
    };

    const registries = read("settings.yaml", "registries");
    for (const [index, item] of registries.items.entries()) {
        if (typeof item !== "string" || !/^[a-z0-9][a-zA-Z0-9._:/-]*$/.test(item))
            problems.push({
                where: registries.place(index),
                what: `${JSON.stringify(item)} is not the beginning of an image's name`,
                fix: "write it as registry.example.org or registry.example.org/team",
            });
    }
    const exemptions = read("exemptions.yaml", "exemptions");
    const keys = ["rule", "environment", "where", "reason"];
    const names = RULES.map(({ name }) => name);
    for (const [index, item] of exemptions.items.entries()) {
        const place = exemptions.place(index);
        const entry = (typeof item === "object" && item !== null ? item : {}) as Record<string, unknown>;
        const wrong = keys.filter((key) => typeof entry[key] !== "string" || entry[key] === "");
        if (wrong.length > 0)
            problems.push({
                where: place,
                what: `this exemption has no ${wrong.join(", no ")}`,
                fix: "say it as text",
            });
        for (const key of Object.keys(entry)) {
            if (!keys.includes(key))
                problems.push({ where: place, what: `there is no key "${key}"${didYouMean(key, keys)}` });
        }
        const rule = String(entry["rule"]);
        if (entry["rule"] !== undefined && !names.includes(rule))
            problems.push({
                where: place,
                what: `there is no rule "${rule}"${didYouMean(rule, names)}`,
                fix: `the rules are ${names.join(", ")}`,
            });
    }
    if (problems.length > 0) throw new InputError("policy", problems);
    return {
        registries: registries.items as string[],
        exemptions: exemptions.items.map((item, index) => ({
            ...(item as Omit<Exemption, "place">),
            place: exemptions.place(index),
        })),
    };
}
