import { Namespace } from "@pulumi/kubernetes/core/v1/namespace";
import * as pulumi from "@pulumi/pulumi";
import type { Cluster } from "../config/cluster";
import type { Places, Values } from "../config/values";
import { GuardedRelease } from "../guarded-release/guarded-release";
import type { LiveSide } from "../guarded-release/live/live";
import { imageIn } from "../guarded-release/render/image";
import { createApiKey } from "./api-key";
import { NAMESPACE_LABELS } from "./namespace";
import { accessCommand, logsCommand, urlOf } from "./outputs";
import { keySecretOf, releaseValues } from "./values";

export interface MlApiArgs {
    /** Name of the API and of its Helm release. Must be known when the program runs. */
    readonly name: string;
    readonly namespace: string;
    /** Create the namespace, labelled for restricted Pod Security; false uses one that exists and leaves it alone. */
    readonly createNamespace: boolean;
    /** The chart's values: plain and without secrets. */
    readonly values: Values;
    /** The file to look at when the chart refuses the values. */
    readonly valuesFile: string;
    /** Where each value stands, by its dotted path, for the same purpose. */
    readonly places?: Places;
    /** Number of the API key in use, from 1. */
    readonly keyGeneration: number;
    /** Accept the key before as well: the first of the two deploys of a rotation. */
    readonly acceptPreviousKey: boolean;
    /** The API key; a random one per generation when undefined. */
    readonly apiKey?: pulumi.Input<string> | undefined;
    readonly previousApiKey?: pulumi.Input<string> | undefined;
    /** Refuse to delete or replace the namespace and the release. */
    readonly protect: boolean;
    /** Chart folder, relative to the project's root. Default `./chart`. */
    readonly chart?: string;
    /** Where it runs, for the commands among the outputs. */
    readonly cluster?: Cluster | undefined;
    /** The live release, to compare with and to repair; undefined leaves it unseen. */
    readonly live?: LiveSide | undefined;
}

/** A Python machine-learning API on Kubernetes: its namespace, its API key and a guarded Helm release of the chart. */
export class MlApi extends pulumi.ComponentResource {
    /** Name of the Helm release. */
    readonly release: pulumi.Output<string>;
    readonly namespace: pulumi.Output<string>;
    /** Image reference as the pods get it: `repository:tag@digest`. */
    readonly image: pulumi.Output<string>;
    /** Where clients reach the API: the host and path of its Ingress or HTTPRoute, else its Service, from inside the cluster. */
    readonly url: pulumi.Output<string>;
    /** The commands that reach the API from here, with its key. */
    readonly access: pulumi.Output<string>;
    /** The command that shows the API's logs. */
    readonly logs: pulumi.Output<string>;
    /** State of the release as Helm tells it. */
    readonly status: pulumi.Output<string>;

    constructor(name: string, args: MlApiArgs, opts: pulumi.ComponentResourceOptions = {}) {
        super("ml-api:index:MlApi", name, {}, opts);
        const guarded = { parent: this, protect: args.protect };

        const prerequisites: pulumi.Resource[] = [];
        if (args.createNamespace) {
            prerequisites.push(
                new Namespace(
                    args.namespace,
                    { metadata: { name: args.namespace, labels: NAMESPACE_LABELS } },
                    guarded,
                ),
            );
        }

        const keySecret = keySecretOf(args);
        if (keySecret?.ours === true) {
            // Not protected: a rotation removes the key before.
            const secret = createApiKey(
                { ...args, key: args.apiKey, previousKey: args.previousApiKey },
                { parent: this, dependsOn: [...prerequisites] },
            );
            prerequisites.push(secret);
        }

        const values = releaseValues(args);
        const release = new GuardedRelease(
            args.name,
            {
                chart: args.chart ?? "./chart",
                name: args.name,
                namespace: args.namespace,
                values,
                origin: { file: args.valuesFile, places: args.places ?? new Map() },
                live: args.live,
            },
            { ...guarded, dependsOn: prerequisites },
        );

        const where = {
            name: args.name,
            namespace: args.namespace,
            context: args.cluster?.context,
            keySecret: keySecret?.name,
        };
        this.release = pulumi.output(args.name);
        this.namespace = pulumi.output(args.namespace);
        this.image = release.objects.apply((objects) => imageIn(objects));
        this.url = release.objects.apply((objects) => urlOf(objects, args.namespace));
        this.access = release.objects.apply((objects) => accessCommand(where, objects, values));
        this.logs = pulumi.output(logsCommand(where));
        this.status = release.status;
        this.registerOutputs({
            release: this.release,
            namespace: this.namespace,
            image: this.image,
            url: this.url,
            access: this.access,
            logs: this.logs,
            status: this.status,
        });
    }
}
