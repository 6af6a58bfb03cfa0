import { PolicyPack, type ResourceValidationArgs, type ResourceValidationPolicy } from "@pulumi/policy";
import type { RenderedObject } from "../components/guarded-release/render/render";
import { evaluate, levelOf, readSettings } from "./evaluate";
import { type ReleaseInputs, type Rule, RULES, type Subject } from "./rules";

const settings = readSettings(__dirname);

/** The label by which the chart says to which environment an object belongs. */
const ENVIRONMENT_LABEL = "ml-api/environment";

/** The part of a deploy that one resource shows: its rendered objects, or the release itself. */
function subjectOf({ type, props, opts }: ResourceValidationArgs): Omit<Subject, "registries"> | undefined {
    if (type === "ml-api:index:RenderedObjects") {
        const objects = Object.values((props["objects"] ?? {}) as Record<string, RenderedObject>);
        const environment = objects.map(({ metadata }) => metadata.labels?.[ENVIRONMENT_LABEL]).find(Boolean);
        return { environment: environment ?? "production", objects };
    }
    if (type !== "kubernetes:helm.sh/v3:Release") return undefined;
    const values = (props["values"] ?? {}) as ReleaseInputs["values"];
    const environment = values["environment"];
    return {
        environment: typeof environment === "string" ? environment : "production",
        objects: [],
        release: {
            name: String(props["name"] ?? ""),
            values,
            atomic: props["atomic"] === true,
            timeout: props["timeout"] as number | undefined,
            maxHistory: props["maxHistory"] as number | undefined,
            protect: opts.protect,
        },
    };
}

/** One policy per rule and level, because Pulumi knows one level per policy and ours depends on the environment. */
function policies(rule: Rule): ResourceValidationPolicy[] {
    return (["mandatory", "advisory"] as const)
        .filter((level) => Object.values(rule.levels).includes(level))
        .map((level) => ({
            name: level === "mandatory" ? rule.name : `${rule.name}-advisory`,
            description: rule.says,
            enforcementLevel: level,
            validateResource: (resource, report) => {
                const subject = subjectOf(resource);
                if (subject === undefined || levelOf(rule, subject.environment) !== level) return;
                for (const { where, what, fix, exemption } of evaluate(subject, settings, [rule])) {
                    if (exemption === undefined) report(`${where}: ${what} → ${fix}`);
                }
            },
        }));
}

new PolicyPack("ml-api", { policies: RULES.flatMap(policies) });
