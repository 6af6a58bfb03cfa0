import * as fs from "node:fs";
import * as path from "node:path";
import Ajv, { type ErrorObject } from "ajv";
import { isNode, LineCounter, parseDocument } from "yaml";
import { didYouMean } from "../components/config/nearest";
import { InputError, type Problem } from "../components/config/problem";
import { dataOf } from "../components/config/yaml-data";
import schema from "./branches.schema.json";
import { isLiteral, overlap, placeholderOf } from "./pattern";
import { promotionBroken } from "./promotion-rules";
import { reviewBroken, type ReviewRule } from "./review";

export const DEPLOYERS = ["pulumi-deployments", "github-actions"] as const;
export type Deployer = (typeof DEPLOYERS)[number];

export type OnPush =
    | { readonly preview: string }
    | {
          readonly deploy: string;
          readonly approval?: boolean;
          readonly onlyIfChanged?: boolean;
          readonly rank?: number;
      };

/** What one branch, or every branch of one pattern, is for. */
export interface BranchRule {
    readonly alias?: string;
    readonly optional?: boolean;
    readonly mirrors?: string;
    readonly startsFrom?: readonly string[];
    readonly mergesInto?: readonly string[];
    readonly mustReach?: readonly string[];
    readonly onPush: OnPush;
}

/** What an environment deploys has to have run in another one before. */
export interface PromotionRule {
    readonly from: string;
    readonly soakMinutes: number;
    /** Branch that the change is a pull request for. */
    readonly onto: string;
}

/** `branching/branches.yaml`, read and checked. */
export interface BranchMap {
    readonly deployers: Readonly<Partial<Record<Deployer, readonly string[]>>>;
    /** By environment; one without deploys anything. */
    readonly promotion?: Readonly<Record<string, PromotionRule>>;
    /** Name of an API → folder with its Dockerfile. */
    readonly images?: Readonly<Record<string, string>>;
    /** Small copies of an environment for pull requests; off without it. */
    readonly review?: ReviewRule;
    /** Name or pattern → rule, in the file's order. */
    readonly branches: Readonly<Record<string, BranchRule>>;
}

export const MAP_FILE = "branching/branches.yaml";

/**
 * Reads the branch map of a checkout.
 *
 * @param stacks the stacks of each environment, see {@link stacksByEnvironment}
 * @throws InputError with every problem and its line
 */
export function loadBranchMap(root: string, stacks: Readonly<Record<string, readonly string[]>>): BranchMap {
    const file = path.join(root, MAP_FILE);
    if (!fs.existsSync(file))
        throw new InputError("branch map", [{ where: MAP_FILE, what: "there is no such file", fix: `restore it` }]);
    return parseBranchMap(fs.readFileSync(file, "utf8"), stacks);
}

/** As {@link loadBranchMap}, from text. */
export function parseBranchMap(source: string, stacks: Readonly<Record<string, readonly string[]>>): BranchMap {
    const lines = new LineCounter();
    const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
    const fail = (problems: readonly Problem[]): never => {
        throw new InputError("branch map", problems);
    };
    const at = (offset: number) => `${MAP_FILE}:${lines.linePos(offset).line}`;
    if (document.errors.length > 0) {
        return fail(document.errors.map(({ pos, message }) => ({ where: at(pos[0]), what: message })));
    }
    const where = (keys: readonly string[]): string => {
        for (let length = keys.length; length > 0; length--) {
            const node: unknown = document.getIn(keys.slice(0, length), true);
            if (isNode(node) && node.range) return at(node.range[0]);
        }
        return MAP_FILE;
    };

    const data = dataOf(document);
    if ("what" in data) return fail([{ where: MAP_FILE, what: data.what }]);
    const { value } = data;
    const validate = new Ajv({ allErrors: true, verbose: true, strictTypes: false }).compile<BranchMap>(schema);
    if (!validate(value)) return fail(unique((validate.errors ?? []).map((error) => schemaProblem(error, where))));
    const problems = rulesBroken(value, stacks).map(({ keys, what, fix }) => ({ where: where(keys), what, fix }));
    return problems.length > 0 ? fail(problems) : value;
}

function schemaProblem(error: ErrorObject, where: (keys: readonly string[]) => string): Problem {
    const keys = error.instancePath.split("/").slice(1).map(unescapePointer);
    const name = keys.join(".") || "the map";
    const params = error.params as Record<string, unknown>;
    if (error.keyword === "additionalProperties") {
        const key = String(params["additionalProperty"]);
        const known = Object.keys((error.parentSchema as { properties?: object } | undefined)?.properties ?? {});
        return { where: where([...keys, key]), what: `${name} has no key "${key}"${didYouMean(key, known)}` };
    }
    if (error.keyword === "propertyNames") {
        const branch = String(params["propertyName"]);
        return {
            where: where([...keys, branch]),
            what: `"${branch}" is neither the name of a branch nor a prefix with <name>, <issue> or <version> at its end`,
        };
    }
    return { where: where(keys), what: `${name} ${error.message ?? "is wrong"}` };
}

function unescapePointer(part: string): string {
    return part.replaceAll("~1", "/").replaceAll("~0", "~");
}

export interface Broken {
    readonly keys: readonly string[];
    readonly what: string;
    readonly fix: string;
}

/** What a schema cannot say, because it compares parts of the map with each other and with the stack files. */
function rulesBroken(map: BranchMap, stacks: Readonly<Record<string, readonly string[]>>): Broken[] {
    const broken: Broken[] = [];
    const names = Object.keys(map.branches);
    const owners = new Map<string, string>();
    for (const [deployer, environments] of Object.entries(map.deployers)) {
        for (const [index, environment] of environments.entries()) {
            const keys = ["deployers", deployer, String(index)];
            const owner = owners.get(environment);
            if (owner !== undefined) {
                broken.push({
                    keys,
                    what: `${environment} has two deployers, ${owner} and ${deployer}: each push would deploy it twice`,
                    fix: "leave it in one of the lists",
                });
            }
            owners.set(environment, deployer);
            if ((stacks[environment] ?? []).length === 0) {
                broken.push({
                    keys,
                    what: `no stack belongs to "${environment}"${didYouMean(environment, Object.keys(stacks))}`,
                    fix: `add a Pulumi.<stack>.yaml with environment: ${environment}, or correct the name`,
                });
            }
        }
    }

    const spellings = names.flatMap((name) => {
        const alias = map.branches[name]?.alias;
        return alias === undefined
            ? [{ name, as: name }]
            : [
                  { name, as: name },
                  { name, as: alias },
              ];
    });
    for (const [index, one] of spellings.entries()) {
        const other = spellings.slice(0, index).find(({ as }) => overlap(as, one.as));
        if (other !== undefined) {
            broken.push({
                keys: ["branches", one.name],
                what: `"${one.as}" and "${other.as}" can mean the same branch`,
                fix: "choose names or prefixes that no branch can have both of",
            });
        }
    }

    const deploys = new Map<string, { name: string; rank: number | undefined }[]>();
    for (const [name, rule] of Object.entries(map.branches)) {
        for (const key of ["startsFrom", "mergesInto", "mustReach", "mirrors"] as const) {
            const value = rule[key];
            for (const other of typeof value === "string" ? [value] : (value ?? [])) {
                if (names.includes(other)) continue;
                broken.push({
                    keys: ["branches", name, key],
                    what: `${key} of "${name}" names "${other}", which the map does not have${didYouMean(other, names)}`,
                    fix: `write it as under branches: ${names.join(", ")}`,
                });
            }
        }
        for (const other of rule.mustReach ?? []) {
            if (reaches(map, name, other)) continue;
            broken.push({
                keys: ["branches", name, "mustReach"],
                what: `"${name}" must reach "${other}", but no path of mergesInto leads there`,
                fix: `add "${other}" to mergesInto`,
            });
        }
        const environment = environmentOf(rule.onPush);
        if (!owners.has(environment)) {
            broken.push({
                keys: ["branches", name, "onPush"],
                what: `"${environment}" has no deployer${didYouMean(environment, [...owners.keys()])}`,
                fix: "add it to one list under deployers, or correct the name",
            });
        }
        if (!("deploy" in rule.onPush)) continue;
        deploys.set(environment, [...(deploys.get(environment) ?? []), { name, rank: rule.onPush.rank }]);
        if (environment === "production" && !isLiteral(name) && placeholderOf(name) !== "version") {
            broken.push({
                keys: ["branches", name, "onPush"],
                what: `any branch called "${name}" would deploy production`,
                fix: "let only literal names and <version> deploy production",
            });
        }
        if (environment === "production" && rule.onPush.approval !== true) {
            broken.push({
                keys: ["branches", name, "onPush"],
                what: `a push to "${name}" would deploy production without approval`,
                fix: "add approval: true",
            });
        }
    }
    for (const environment of map.deployers["pulumi-deployments"] ?? []) {
        const sources = deploys.get(environment) ?? [];
        const [{ name } = { name: "" }] = sources;
        if (sources.length === 1 && isLiteral(name) && map.branches[name]?.alias === undefined) continue;
        broken.push({
            keys: ["deployers", "pulumi-deployments"],
            what: `Pulumi Deployments follows one literal branch per stack, but ${environment} is deployed by ${sources.length === 0 ? "none" : sources.map((source) => `"${source.name}"`).join(", ")}`,
            fix: `move ${environment} to github-actions`,
        });
    }
    broken.push(...promotionBroken(map, [...owners.keys()]), ...reviewBroken(map, [...owners.keys()]));
    for (const [environment, sources] of deploys) {
        const ranks = sources.map(({ rank }) => rank);
        if (sources.length === 1 || (!ranks.includes(undefined) && new Set(ranks).size === ranks.length)) continue;
        broken.push({
            keys: ["branches", sources[1]?.name ?? "", "onPush"],
            what: `${sources.map(({ name }) => `"${name}"`).join(", ")} all deploy ${environment}, without ranks of their own`,
            fix: "give each onPush a rank, the highest to the branch that wins",
        });
    }
    return broken;
}

/** Whether merges lead from one branch to another, directly or over others. */
export function reaches(map: BranchMap, from: string, to: string, seen: ReadonlySet<string> = new Set()): boolean {
    return (map.branches[from]?.mergesInto ?? []).some(
        (next) => next === to || (!seen.has(next) && reaches(map, next, to, new Set([...seen, next]))),
    );
}

export function environmentOf(onPush: OnPush): string {
    return "deploy" in onPush ? onPush.deploy : onPush.preview;
}

export function deployerOf(map: BranchMap, environment: string): Deployer | undefined {
    return DEPLOYERS.find((deployer) => (map.deployers[deployer] ?? []).includes(environment));
}

/** Branches whose pull requests a branch accepts. */
export function sourcesOf(map: BranchMap, branch: string): string[] {
    return Object.keys(map.branches).filter((name) => (map.branches[name]?.mergesInto ?? []).includes(branch));
}

/** The stacks of each environment, by what the stack files say. */
export function stacksByEnvironment(root: string): Record<string, string[]> {
    // People's names are looked up in it, and "constructor" is none of an environment.
    const stacks = Object.create(null) as Record<string, string[]>;
    for (const file of fs.readdirSync(root).sort()) {
        const stack = /^Pulumi\.([^.]+)\.ya?ml$/.exec(file)?.[1];
        if (stack === undefined) continue;
        const environment: unknown = parseDocument(fs.readFileSync(path.join(root, file), "utf8")).getIn([
            "config",
            "ml-api:environment",
        ]);
        if (typeof environment === "string") (stacks[environment] ??= []).push(stack);
    }
    return stacks;
}

function unique(problems: readonly Problem[]): Problem[] {
    const seen = new Set<string>();
    return problems.filter(({ where, what }) => {
        const text = `${where} ${what}`;
        // "must match exactly one schema" only repeats what the errors inside it say.
        if (seen.has(text) || /must match (?:exactly one|a) schema/.test(what)) return false;
        seen.add(text);
        return true;
    });
}
