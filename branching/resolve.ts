import { type BranchMap, type BranchRule, type Deployer, deployerOf, environmentOf, sourcesOf } from "./map";
import { isLiteral, matches } from "./pattern";

/** What happened, as the platform tells it. */
export interface GitEvent {
    readonly event: string;
    /** Full name: `refs/heads/feature/x`; of a pull request, the branch it wants to merge. */
    readonly ref: string;
    /** Branch that a pull request wants to merge into, without `refs/heads/`. */
    readonly base?: string;
    /** The pull request comes from another repository. */
    readonly fork?: boolean;
    readonly deleted?: boolean;
    /** 40 or 64 hexadecimal digits; all zero when the branch was deleted. */
    readonly commit?: string;
}

export interface Decision {
    readonly action: "preview" | "deploy" | "nothing";
    readonly stacks: readonly string[];
    /** One sentence for people. */
    readonly reason: string;
    /** A person has to agree before it is deployed. */
    readonly approval: boolean;
    /** Deploy only when the tree differs from what runs. */
    readonly onlyIfChanged: boolean;
    readonly environment?: string;
    readonly deployer?: Deployer;
    /** Higher wins between commits of which neither descends from the other. */
    readonly rank?: number;
    /** Branches that may be merged into this one, or into the base of the pull request. */
    readonly allowedSources: readonly string[];
    /** False for a pull request whose branch may not be merged into its base. */
    readonly sourceAllowed: boolean;
    /** Branches that the commits of this one have to reach in the end. */
    readonly mustReach: readonly string[];
}

/**
 * What an event means. Pure: the same event and map give the same decision, and whatever is not known means nothing.
 *
 * @param stacks the stacks of each environment
 */
export function resolve(
    map: BranchMap,
    stacks: Readonly<Record<string, readonly string[]>>,
    event: GitEvent,
): Decision {
    const refused = (reason: string): Decision => ({
        action: "nothing",
        stacks: [],
        reason,
        approval: false,
        onlyIfChanged: false,
        allowedSources: [],
        sourceAllowed: false,
        mustReach: [],
    });
    if (event.event !== "push" && event.event !== "pull_request")
        return refused(`only pushes and pull requests mean something, not ${shown(event.event)}`);
    if (event.fork === true) return refused("it comes from a fork, which gets only the checks that need no secret");
    if (event.deleted === true || (event.commit !== undefined && /^0+$/.test(event.commit)))
        return refused("the branch was deleted; what it deployed stays as it is");
    if (event.commit !== undefined && !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$(?![\s\S])/.test(event.commit))
        return refused(`${shown(event.commit)} is no commit`);
    const branch = branchOf(event.ref);
    if (branch === undefined) return refused(`${shown(event.ref)} is no branch; only branches mean something`);
    const found = findRule(map, branch);

    if (event.event === "pull_request") {
        const base = event.base ?? "";
        const target = findRule(map, base);
        if (target === undefined)
            return refused(`the branch map does not know ${shown(base)}, into which it is to be merged`);
        const allowedSources = sourcesOf(map, target.name);
        const sourceAllowed = found !== undefined && allowedSources.includes(found.name);
        const environment = environmentOf(target.rule.onPush);
        const what = `a merge into ${base} ${"deploy" in target.rule.onPush ? "would deploy" : "would be previewed against"} ${environment}`;
        return {
            ...refused(""),
            ...place(map, stacks, target.rule),
            action: "preview",
            reason: sourceAllowed
                ? what
                : `${what}, but ${shown(branch)} may not be merged there: ${allowedSources.length === 0 ? "it takes no merges" : `only ${allowedSources.join(", ")}`}`,
            allowedSources,
            sourceAllowed,
            mustReach: found?.rule.mustReach ?? [],
        };
    }

    if (found === undefined) return refused(`the branch map does not know ${shown(branch)}`);
    const { onPush } = found.rule;
    const common = {
        ...refused(""),
        ...place(map, stacks, found.rule),
        allowedSources: sourcesOf(map, found.name),
        sourceAllowed: true,
        mustReach: found.rule.mustReach ?? [],
    };
    const name = isLiteral(found.name) ? branch : `${branch} (${found.name})`;
    if ("preview" in onPush)
        return { ...common, action: "preview", reason: `a push to ${name} previews ${onPush.preview}` };
    const conditions = [
        onPush.approval === true ? "after approval" : "",
        onPush.onlyIfChanged === true ? "if its tree differs from what runs" : "",
    ].filter((text) => text !== "");
    return {
        ...common,
        action: "deploy",
        reason: [`a push to ${name} deploys ${onPush.deploy}`, ...conditions].join(", "),
        approval: onPush.approval === true,
        onlyIfChanged: onPush.onlyIfChanged === true,
        ...(onPush.rank === undefined ? {} : { rank: onPush.rank }),
    };
}

function place(map: BranchMap, stacks: Readonly<Record<string, readonly string[]>>, rule: BranchRule) {
    const environment = environmentOf(rule.onPush);
    const deployer = deployerOf(map, environment);
    return {
        environment,
        stacks: stacks[environment] ?? [],
        ...(deployer === undefined ? {} : { deployer }),
    };
}

/** The branch of a full ref; undefined for tags, notes and everything that only looks like a branch. */
export function branchOf(ref: string): string | undefined {
    const prefix = "refs/heads/";
    return ref.startsWith(prefix) && ref.length > prefix.length ? ref.slice(prefix.length) : undefined;
}

/** The rule of a branch, by its literal name, its alias or its pattern; the map's check makes sure that there is one at most. */
export function findRule(
    map: BranchMap,
    branch: string,
): { readonly name: string; readonly rule: BranchRule } | undefined {
    for (const [name, rule] of Object.entries(map.branches)) {
        if (matches(name, branch) || rule.alias === branch) return { name, rule };
    }
    return undefined;
}

/** Text from outside, safe to print: quoted, control characters and lookalikes escaped, not endless. */
export function shown(text: string): string {
    const short = text.length > 100 ? `${text.slice(0, 100)}…` : text;
    return JSON.stringify(short).replace(
        /[^\x20-\x7e…]/g,
        (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
    );
}
