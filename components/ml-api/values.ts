import { isValues, mergeValues, type Values } from "../config/values";

/** What the values of an API's release depend on; the `Settings` of a stack have all of it. */
export interface ValuesArgs {
    /** Name of the API. */
    readonly name: string;
    /** The values file with the stack's own values laid over it. */
    readonly values: Values;
    /** Number of the API key in use, from 1. */
    readonly keyGeneration: number;
    /** Accept the key of the generation before as well. */
    readonly acceptPreviousKey: boolean;
}

/** The Secret that clients' keys are in, and whether this program makes it. */
export interface KeySecret {
    readonly name: string;
    readonly ours: boolean;
}

/** Who provides the API key: we, a Secret that the values name, or nobody (undefined) because no key is asked for. */
export function keySecretOf(args: ValuesArgs): KeySecret | undefined {
    const apiKey = isValues(args.values["apiKey"]) ? args.values["apiKey"] : {};
    if (apiKey["enabled"] === false) return undefined;
    const existing = apiKey["existingSecret"];
    if (typeof existing === "string" && existing !== "") return { name: existing, ours: false };
    return { name: apiKeySecretName(args), ours: true };
}

/**
 * The values that the release of an API gets, complete but for `global`, which the release adds itself. Of our own API key only the
 * Secret's name and the generation's number are among them, so that everything is plain and known in every preview.
 */
export function releaseValues(args: ValuesArgs): Values {
    const secret = keySecretOf(args);
    if (secret?.ours !== true) return args.values;
    return mergeValues(args.values, { apiKey: { existingSecret: secret.name, generation: args.keyGeneration } });
}

/** Name of the Secret with the accepted keys of a generation. */
export function apiKeySecretName({
    name,
    keyGeneration,
    acceptPreviousKey,
}: Pick<ValuesArgs, "name" | "keyGeneration" | "acceptPreviousKey">): string {
    return `${name}-key-${keyGeneration}` + (acceptPreviousKey ? `-with-${keyGeneration - 1}` : "");
}
