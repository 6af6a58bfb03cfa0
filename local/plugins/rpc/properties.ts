import { Struct } from "google-protobuf/google/protobuf/struct_pb";

// The signatures of the engine's protocol. They are written out because the SDK, which has them too, takes a fifth of a second
// to load, in each provider of each preview.
export const specialSigKey = "4dabf18193072939515e22adb298388d";
export const specialAssetSig = "c44067f5952c0a294b673a41bacd8c17";
export const specialSecretSig = "1b47061264138c4ac30d75fd1eb44270";
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/**
 * Property values as the engine sends them: JSON, in which a secret is an object with a signature and an unknown is a
 * reserved string. Providers work on them directly, so that a secret keeps its place, at whatever depth it stands.
 */
export type Value = null | boolean | number | string | Value[] | Properties;
export interface Properties {
    [key: string]: Value;
}

export interface Secret extends Properties {
    value: Value;
}

export const unknown = unknownValue;

export function fromStruct(struct: Struct | undefined): Properties {
    return struct === undefined ? {} : struct.toJavaScript();
}

export function toStruct(properties: Properties): Struct {
    return Struct.fromJavaScript(properties);
}

export function isObject(value: Value | undefined): value is Properties {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value when it is text, else nothing. */
export function textOf(value: Value | undefined): string {
    return typeof value === "string" ? value : "";
}

/** The maps among the items of a list. */
export function objectsIn(value: Value | undefined): Properties[] {
    return Array.isArray(value) ? value.filter(isObject) : [];
}

export function without(object: Properties, ...keys: string[]): Properties {
    return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
}

export function isSecret(value: Value | undefined): value is Secret {
    return isObject(value) && value[specialSigKey] === specialSecretSig;
}

export function isAsset(value: Value | undefined): value is Properties {
    return isObject(value) && value[specialSigKey] === specialAssetSig;
}

export function isUnknown(value: Value | undefined): boolean {
    return value === unknown || (isSecret(value) && isUnknown(value.value));
}

export function secret(value: Value): Value {
    return isSecret(value) ? value : { [specialSigKey]: specialSecretSig, value };
}

/** A map with the same keys whose values were passed through `change`. */
export function mapValues(object: Properties, change: (value: Value, key: string) => Value): Properties {
    return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}

/** The value with every secret, at any depth, replaced by its content. */
export function reveal(value: Properties): Properties;
export function reveal(value: Value): Value;
export function reveal(value: Value): Value {
    if (isSecret(value)) return reveal(value.value);
    if (Array.isArray(value)) return value.map((item) => reveal(item));
    return isObject(value) ? mapValues(value, reveal) : value;
}

function some(value: Value, test: (value: Value) => boolean): boolean {
    if (test(value)) return true;
    if (Array.isArray(value)) return value.some((item) => some(item, test));
    return isObject(value) && Object.values(value).some((item) => some(item, test));
}

export function containsUnknown(value: Value): boolean {
    return some(value, (part) => part === unknown);
}

export function containsSecret(value: Value): boolean {
    return some(value, isSecret);
}

/**
 * Marks in `outputs` what was secret in `inputs`. Maps are followed key by key; a list with a secret anywhere in it
 * becomes secret as a whole, because its items may have changed places.
 */
export function keepSecrets(outputs: Properties, inputs: Properties): Properties {
    return mapValues(outputs, (output, key) => {
        const input = inputs[key];
        if (input === undefined || isSecret(output)) return output;
        if (isObject(output) && isObject(input) && !isSecret(input)) return keepSecrets(output, input);
        return containsSecret(input) ? secret(output) : output;
    });
}
