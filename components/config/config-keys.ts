import { didYouMean } from "./nearest";

/** Every key that a stack file may set; `Pulumi.yaml` says what each one means. */
export const CONFIG_KEYS = [
    "environment",
    "name",
    "namespace",
    "createNamespace",
    "keyGeneration",
    "acceptPreviousKey",
    "apiKey",
    "previousApiKey",
    "protect",
    "valuesDir",
    "values",
] as const;
export type ConfigKey = (typeof CONFIG_KEYS)[number];

/** The keys of the stack file that may be, and have to be, encrypted. */
export const SECRET_KEYS: readonly ConfigKey[] = ["apiKey", "previousApiKey"];

/** What Pulumi itself and the providers read from a stack's configuration. Pulumi takes any other key, and says nothing. */
export const FOREIGN_KEYS: Readonly<Record<string, readonly string[]>> = {
    kubernetes: [
        "alwaysRender",
        "cluster",
        "clusterIdentifier",
        "context",
        "deleteUnreachable",
        "enableConfigMapMutable",
        "enablePatchForce",
        "enableSecretMutable",
        "enableServerSideApply",
        "helmReleaseSettings",
        "kubeClientSettings",
        "kubeconfig",
        "namespace",
        "renderYamlToDirectory",
        "skipUpdateUnreachable",
        "suppressDeprecationWarnings",
        "suppressHelmHookWarnings",
        "upsertExistingObjects",
    ],
    pulumi: ["autonaming", "disable-default-providers", "tags", "template"],
};

/**
 * Says why a key of the configuration is none that anybody reads, with the nearest right name; nothing when it is right.
 * @param key `namespace:key`
 */
export function undeclaredKey(project: string, key: string): { what: string; fix: string } | undefined {
    const colon = key.indexOf(":");
    const [namespace, name] = colon < 0 ? [project, key] : [key.slice(0, colon), key.slice(colon + 1)];
    const namespaces: Readonly<Record<string, readonly string[]>> = { ...FOREIGN_KEYS, [project]: CONFIG_KEYS };
    const names = Object.hasOwn(namespaces, namespace) ? namespaces[namespace] : undefined;
    if (names?.includes(name) === true) return undefined;
    if (names !== undefined) {
        return {
            what: `there is no such key${didYouMean(name, names)}`,
            fix: `the keys${namespace === project ? "" : ` of ${namespace}`} are ${names.join(", ")}`,
        };
    }
    const all = Object.entries(namespaces).flatMap(([space, keys]) => keys.map((one) => `${space}:${one}`));
    return {
        what: `nothing reads the namespace "${namespace}"${didYouMean(key, all)}`,
        fix: `the namespaces are ${[project, ...Object.keys(FOREIGN_KEYS)].join(", ")}`,
    };
}
