import * as crypto from "node:crypto";
import { isMap, isScalar, parseDocument } from "yaml";
import { isValues, mergeValues, type Values } from "../components/config/values";
import { type BranchMap, type Broken } from "./map";

/** A small copy of an environment for each pull request, to try it. Off without it. */
export interface ReviewRule {
    /** The environment that it is a copy of. */
    readonly of: string;
    /** How long one stays after its last deploy. */
    readonly hours: number;
    /** Pull requests that may have one at the same time. */
    readonly atMost: number;
    /** Laid over the values files, after what makes every review stack small. */
    readonly values?: Values;
}

/** A stack of a pull request, as `pulumi stack ls` knows it. */
export interface ReviewStack {
    readonly stack: string;
    /** Number of the pull request. */
    readonly number: number;
    /** ISO 8601; undefined before its first deploy. */
    readonly lastUpdate?: string;
}

/** Only the environment that needs no proof may run what nobody has merged. */
export function reviewBroken(map: BranchMap, environments: readonly string[]): Broken[] {
    const { review, promotion = {} } = map;
    if (review === undefined) return [];
    const keys = ["review", "of"];
    if (!environments.includes(review.of))
        return [{ keys, what: `"${review.of}" has no deployer`, fix: `write one of ${environments.join(", ")}` }];
    if (review.of !== "production" && promotion[review.of] === undefined) return [];
    return [
        {
            keys,
            what: `${review.of} takes only what is proven, and a pull request is not`,
            fix: "let review stacks be copies of the first environment",
        },
    ];
}

const NUMBER = /^[1-9][0-9]{0,8}$/;

/** @throws Error for what is no number of a pull request */
export function requestNumber(text: string): number {
    if (!NUMBER.test(text)) throw new Error(`${JSON.stringify(text)} is no number of a pull request, such as 12`);
    return Number(text);
}

export function reviewStackName(stack: string, number: number): string {
    return `${stack}-review-${number}`;
}

/** The review stacks among the names of all stacks; names of Pulumi Cloud begin with their organization. */
export function reviewStacksIn(all: readonly { readonly name: string; readonly lastUpdate?: string }[]): ReviewStack[] {
    return all.flatMap(({ name, lastUpdate }) => {
        const stack = name.split("/").at(-1) ?? "";
        const number = /-review-([1-9][0-9]{0,8})$/.exec(stack)?.[1];
        if (number === undefined) return [];
        const updated = lastUpdate === undefined || Number.isNaN(Date.parse(lastUpdate)) ? {} : { lastUpdate };
        return [{ stack, number: Number(number), ...updated }];
    });
}

/** Whether its time is over. One that was never deployed has none. */
export function isExpired({ lastUpdate }: ReviewStack, hours: number, now: Date): boolean {
    return lastUpdate === undefined || now.getTime() - Date.parse(lastUpdate) > hours * 3_600_000;
}

/** Characters of a DNS label. */
const LONGEST = 63;

/** `<name>-<stack>`, as every stack's; where that is too long for a DNS label, cut, with a hash of the whole at its end. */
export function reviewNamespace(name: string, stack: string): string {
    const whole = `${name}-${stack}`.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-");
    if (whole.length <= LONGEST && whole === `${name}-${stack}`) return whole;
    const hash = crypto.createHash("sha256").update(`${name}-${stack}`).digest("hex").slice(0, 8);
    return `${whole.slice(0, LONGEST - 9).replace(/-+$/, "")}-${hash}`;
}

/** One pod, and nothing that only one of several copies can have: a host's name, an alert. */
const SMALL: Values = {
    replicas: 1,
    autoscaling: { enabled: false },
    ingress: { enabled: false },
    gateway: { enabled: false },
    observability: { podMonitor: { enabled: false }, alerts: { enabled: false } },
};

/** What a review stack never takes over: protection, keys, and what only the other stack can read. */
const LEFT_OUT = ["protect", "namespace", "keyGeneration", "acceptPreviousKey", "apiKey", "previousApiKey"];

/**
 * The stack file of a review stack, from the one of the stack that it is a copy of.
 *
 * @param text `Pulumi.<stack>.yaml` of that stack
 * @param project name of the Pulumi project
 */
export function reviewStackFile(
    text: string,
    project: string,
    { namespace, values = {} }: { readonly namespace: string; readonly values?: Values | undefined },
): string {
    const document = parseDocument(text);
    for (const key of ["encryptionsalt", "encryptedkey", "secretsprovider"]) document.delete(key);
    const config = document.get("config");
    if (isMap(config))
        config.items = config.items.filter(({ key, value }) => {
            const name = String(isScalar(key) ? key.value : key);
            const isOwn = LEFT_OUT.some((one) => name === one || name === `${project}:${one}`);
            return !isOwn && !(isMap(value) && value.has("secure"));
        });
    const own = [`${project}:values`, "values"].find((key) => document.hasIn(["config", key])) ?? `${project}:values`;
    const written: unknown = (document.toJS() as { config?: Record<string, unknown> }).config?.[own];
    const before = isValues(written as Values) ? (written as Values) : {};
    document.setIn(["config", own], mergeValues(mergeValues(before, SMALL), values));
    document.setIn(["config", `${project}:namespace`], namespace);
    // It gets a quota before anything runs in it.
    document.setIn(["config", `${project}:createNamespace`], "false");
    return document.toString();
}
