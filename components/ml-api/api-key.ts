import { Secret } from "@pulumi/kubernetes/core/v1/secret";
import * as pulumi from "@pulumi/pulumi";
import { RandomPassword } from "@pulumi/random/randomPassword";
import { apiKeySecretName } from "./values";

export interface ApiKeyArgs {
    /** Name of the API. */
    readonly name: string;
    readonly namespace: string;
    /** Number of the key in use, from 1. */
    readonly keyGeneration: number;
    /** Accept the key of the generation before as well. */
    readonly acceptPreviousKey: boolean;
    /** The key itself; a random one when undefined. */
    readonly key?: pulumi.Input<string> | undefined;
    readonly previousKey?: pulumi.Input<string> | undefined;
}

/**
 * The Kubernetes Secret of one key generation: `keys` holds the accepted keys, one per line, newest first; `key` the newest.
 * It is immutable: another key is another Secret with another name, so pods roll, and a rollback finds the old one's name.
 * The random key of a generation belongs to that generation's name, so it stays the same while the generation is in use.
 */
export function createApiKey(args: ApiKeyArgs, opts: pulumi.CustomResourceOptions): Secret {
    const keyOf = (generation: number, given: pulumi.Input<string> | undefined): pulumi.Output<string> =>
        given === undefined
            ? new RandomPassword(`${args.name}-key-${generation}`, { length: 40, special: false }, opts).result
            : pulumi.secret(given);

    const key = keyOf(args.keyGeneration, args.key);
    const accepted = args.acceptPreviousKey ? [key, keyOf(args.keyGeneration - 1, args.previousKey)] : [key];
    const secretName = apiKeySecretName(args);
    return new Secret(
        secretName,
        {
            metadata: {
                name: secretName,
                namespace: args.namespace,
                labels: { "app.kubernetes.io/instance": args.name },
            },
            type: "Opaque",
            immutable: true,
            stringData: { key, keys: pulumi.all(accepted).apply((keys) => keys.map((line) => `${line}\n`).join("")) },
        },
        opts,
    );
}
