import * as crypto from "node:crypto";
import { InputError } from "../components/config/problem";
import type { Artifacts } from "./artifacts";
import type { BranchMap } from "./map";
import { isLiteral } from "./pattern";
import { findRule } from "./resolve";

/** The branches whose pushes deploy an environment. */
export function deployingBranches(map: BranchMap, environment: string): string[] {
    return Object.entries(map.branches).flatMap(([name, { onPush }]) =>
        "deploy" in onPush && onPush.deploy === environment ? [name] : [],
    );
}

/** `dev → staging → production` */
export function wayOf(map: BranchMap): string {
    const rules = Object.entries(map.promotion ?? {});
    const first = rules.find(([, { from }]) => map.promotion?.[from] === undefined)?.[1].from;
    const way: string[] = [];
    for (let at = first; at !== undefined && !way.includes(at);) {
        way.push(at);
        at = rules.find(([, { from }]) => from === way.at(-1))?.[0];
    }
    return way.join(" → ");
}

/** The shortest way by merges from a branch to one that deploys an environment. */
export function pathTo(map: BranchMap, onto: string, environment: string): string[] {
    const start = findRule(map, onto)?.name;
    if (start === undefined) throw wrong(onto, "the branch map does not know this branch", "npx --no ml-api branches");
    const ways: string[][] = [[start]];
    for (const way of ways) {
        const { onPush, mergesInto = [] } = map.branches[way.at(-1) ?? ""] ?? {};
        if (onPush !== undefined && "deploy" in onPush && onPush.deploy === environment)
            return way.map((name) => (name === start ? onto : name));
        ways.push(...mergesInto.filter((name) => !way.includes(name)).map((name) => [...way, name]));
    }
    throw wrong(onto, `no merge of it leads to a branch that deploys ${environment}`, "choose another with --onto");
}

/** A name that may be merged into a branch, and is the same for the same promotion. */
export function branchFor(
    map: BranchMap,
    onto: string,
    environment: string,
    api: string,
    artifacts: Artifacts,
): string {
    const name = findRule(map, onto)?.name ?? onto;
    const pattern = Object.keys(map.branches).find(
        (one) => !isLiteral(one) && !one.includes("<version>") && (map.branches[one]?.mergesInto ?? []).includes(name),
    );
    if (pattern === undefined)
        throw wrong(onto, "the branch map lets no branch of a person be merged into it", "--onto");
    const hash = crypto.createHash("sha256").update(JSON.stringify(artifacts)).digest("hex").slice(0, 8);
    return pattern.replace(/<[a-z]+>$/, `promote-${api}-to-${environment}-${hash}`);
}

export function wrong(where: string, what: string, fix: string): InputError {
    return new InputError("promotion", [{ where, what, fix }]);
}
