import { adviceOnUnknownKey, unknownKeys, type ValuesSchema } from "../components/config/values-schema";
import { isValues, type Value, type Values } from "../components/config/values";
import { redactedValue, SECRET } from "../components/guarded-release/changes/redaction";

/** Values of a Helm release as a values file of ours, and the keys that our chart does not have. */
export interface AdoptedValues {
    readonly values: Values;
    readonly dropped: readonly { readonly key: string; readonly advice: string }[];
}

/**
 * The values of a release that was made with our chart, or with a fork of it. What a deploying program adds itself is left out, and so is
 * what our chart has no key for: it would be refused.
 *
 * @param recorded as Helm has recorded them, without the chart's defaults
 */
export function valuesOfRelease(recorded: Values, schema: ValuesSchema): AdoptedValues {
    const { global, ...values } = recorded;
    const unknown = unknownKeys(schema, values);
    const known = unknown.reduce<Values>(without, values);
    const secrets = pathsOf(known).filter(([path, value]) => isSecret(path, value));
    const others = isValues(global) ? Object.keys(global).filter((key) => !OWN_GLOBALS.includes(key)) : [];
    return {
        values: secrets.reduce<Values>((left, [path]) => without(left, path), known),
        dropped: [
            ...unknown.map((path) => {
                const { meant, fix } = adviceOnUnknownKey(schema, path.slice(0, -1), path.at(-1) ?? "");
                return { key: path.join("."), advice: `${meant.replace(/^, /, "")}${fix ?? ""}` };
            }),
            ...secrets.map(([path]) => ({ key: path.join("."), advice: SECRET_ADVICE })),
            ...others.map((key) => ({ key: `global.${key}`, advice: "global is for values that no template prints" })),
        ],
    };
}

/** Why a value is not written into a file that is committed. */
export const SECRET_ADVICE =
    "looks like a secret and was left out, because a values file is committed: put it into a Kubernetes Secret, and name that in `secrets`";

/** Its name or its text marks it as a secret. */
export function isSecret(path: readonly string[], value: Value): boolean {
    const shown = redactedValue(path, value, "values");
    return shown !== value && (shown === SECRET || typeof value === "string");
}

function pathsOf(values: Values, prefix: readonly string[] = []): [readonly string[], Value][] {
    return Object.entries(values).flatMap(([key, value]): [readonly string[], Value][] =>
        isValues(value) ? pathsOf(value, [...prefix, key]) : [[[...prefix, key], value]],
    );
}

const OWN_GLOBALS = ["renderDigest", "repair"];

function without(values: Values, [key = "", ...rest]: readonly string[]): Values {
    const { [key]: inner, ...others } = values;
    if (rest.length === 0) return others;
    if (!isValues(inner)) return values;
    const left = without(inner, rest);
    return Object.keys(left).length === 0 ? others : { ...values, [key]: left };
}
