import type { ApiAnswer } from "../live/api";
import type { Context } from "./dry-run";
import { changeText, immutableFaults } from "./immutable";
import { at, type Fields, isMap } from "./patch";
import { redactedText } from "../changes/redaction";
import type { RenderedObject } from "../render/render";
import type { Fault } from "./problem";
import { isHook } from "../render/object-names";

/** What a dry run has told about one object. */
export interface Verdict {
    readonly problems: readonly Omit<Fault, "serverKnows">[];
    /** Set when the answer says nothing about the object. */
    readonly notChecked?: string;
    /** The object as the server would store it. */
    readonly accepted?: Fields;
}

interface Asked {
    readonly object: RenderedObject;
    readonly was: RenderedObject | undefined;
    readonly live: Fields | undefined;
}

type Finding = Verdict["problems"][number];

/** Puts the API server's answer to a dry run into words. */
export function verdictOn(answer: ApiAnswer, asked: Asked, { labels, namespace }: Context): Verdict {
    const { object } = asked;
    const warnings = answer.warnings.map((text) => warned(text, labels, namespace));
    if (answer.status < 300) return { problems: warnings, accepted: JSON.parse(answer.body) as Fields };
    const status = statusOf(answer.body);
    const message = shortened(redactedText(status.message));
    const finding = (field: string, what: string, fix: string): Verdict => ({
        problems: [
            // What `helm test` starts is no part of an upgrade.
            { field, what, fix, blocking: !isTest(object) },
            ...warnings,
        ],
    });
    if (answer.status === 422) return { problems: [...invalid(status, asked), ...warnings] };
    if (answer.status === 409 && isHook(object)) return replacedHook(object) ? { problems: warnings } : existingHook();
    if (answer.status === 403) {
        const quota = /exceeded quota: ([^,]+), requested: (.*), used: (.*), limited: (.*)$/.exec(status.message);
        if (quota !== null) {
            const [, name = "", requested = "", used = "", limited = ""] = quota;
            const what = `exceeds the quota ${name}: asks for ${requested}, used are ${used} of ${limited}`;
            return finding("", what, `free some of it, or ask who runs the cluster for more in ${namespace}`);
        }
        return finding("", message, "follow that rule, or ask who runs the cluster");
    }
    if (answer.status === 400 && status.message.includes("does not support dry run"))
        return { problems: warnings, notChecked: message };
    if (answer.status === 404) return { problems: warnings, notChecked: message };
    if (answer.status === 429 || answer.status >= 500)
        return { problems: warnings, notChecked: `the API server answers ${answer.status}: ${message}` };
    return finding("", message, "correct it in the chart or in its values");
}

interface Status {
    readonly message: string;
    readonly causes: readonly { readonly field: string; readonly message: string }[];
}

function statusOf(body: string): Status {
    let status: unknown;
    try {
        status = JSON.parse(body);
    } catch {
        return { message: body.trim(), causes: [] };
    }
    const causes = at(status, ["details", "causes"]);
    const textOf = (value: unknown) => (typeof value === "string" ? value : "");
    return {
        message: textOf(at(status, ["message"])),
        causes: (Array.isArray(causes) ? causes.filter(isMap) : []).map((cause) => ({
            field: textOf(cause["field"]),
            message: textOf(cause["message"]),
        })),
    };
}

/** Each field that the server refuses, in our words where we know better ones. */
function invalid({ message, causes }: Status, { object, was, live }: Asked): Finding[] {
    const blocking = !isTest(object);
    const known = was === undefined ? [] : immutableFaults(was, object);
    const all = causes.length > 0 ? causes : [{ field: "", message }];
    const findings = all.flatMap(({ field, message: text }): Finding[] => {
        const ours = known.filter((fault) => fault.field === field || fault.field.startsWith(`${field}.`));
        if (ours.length > 0) return ours.map(({ what, fix, field: part }) => ({ field: part, what, fix, blocking }));
        return [{ field, ...refusal(text, field, object, live), blocking }];
    });
    // The server can name one field several times, e.g. a selector that has to match the labels as well.
    return [...new Map(findings.map((finding) => [`${finding.field} ${finding.what}`, finding])).values()];
}

const UNCHANGEABLE = /immutable|may not change|cannot change|are forbidden|can not be less than/;

function refusal(
    message: string,
    field: string,
    object: RenderedObject,
    live: Fields | undefined,
): Pick<Finding, "what" | "fix"> {
    const path = field.split(".");
    const next = at(object, path);
    if (live !== undefined && UNCHANGEABLE.test(message) && next !== undefined) {
        const change = changeText(object.kind, path, at(live, path), next);
        if (change !== "") {
            const fix = "put back what runs in the cluster, or give the object another name";
            return { what: `${change}: the field is immutable`, fix };
        }
    }
    const shown = object.kind === "Secret" ? message.replace(/Invalid value: .*: /s, "") : message;
    return { what: shortened(redactedText(shown)), fix: "correct it in the chart or in its values" };
}

/** Strictness of the Pod Security levels. */
const LEVELS = ["privileged", "baseline", "restricted"];
const ENFORCED = "pod-security.kubernetes.io/enforce";

function warned(text: string, labels: Context["labels"], namespace: string): Finding {
    const security = /^would violate PodSecurity "(\w+):[^"]*": (.*)$/s.exec(text);
    if (security !== null) {
        const [, level = "", rules = ""] = security;
        const enforced = LEVELS.findIndex((one) => one === labels?.[ENFORCED]);
        const blocking = enforced >= 0 && LEVELS.indexOf(level) <= enforced;
        const what = blocking
            ? `its pods would never start: namespace ${namespace} enforces Pod Security "${level}": ${rules}`
            : `its pods break Pod Security "${level}", which namespace ${namespace} warns about: ${rules}`;
        return {
            field: "spec.template.spec",
            what,
            fix: "set what the rules ask for in the pod's security context",
            blocking,
        };
    }
    const field = /^(unknown|duplicate) field "([^"]+)"$/.exec(text);
    if (field !== null) {
        const [, how, path = ""] = field;
        const what = how === "unknown" ? "the server does not know this field and ignores it" : "is there twice";
        return { field: path, what, fix: "correct the template", blocking: false };
    }
    return {
        field: "",
        what: shortened(redactedText(text)),
        fix: "read what the server says and decide",
        blocking: false,
    };
}

function isTest({ metadata }: RenderedObject): boolean {
    const events = (metadata.annotations?.["helm.sh/hook"] ?? "").split(",").map((event) => event.trim());
    return events.every((event) => event.startsWith("test"));
}

/** Helm's default is to remove a hook's object before it makes the next. */
function replacedHook({ metadata }: RenderedObject): boolean {
    const policy = metadata.annotations?.["helm.sh/hook-delete-policy"] ?? "";
    return policy === "" || policy.includes("before-hook-creation");
}

function existingHook(): Verdict {
    const what = "is there already, and its delete policy lets it stay, so the hook fails";
    const fix = "add before-hook-creation to helm.sh/hook-delete-policy";
    return { problems: [{ field: "metadata.annotations", what, fix, blocking: true }] };
}

/** Characters of a message of the server. */
const LENGTH = 400;

function shortened(text: string): string {
    return text.length > LENGTH ? `${text.slice(0, LENGTH)}…` : text;
}
