import { Namespace } from "@pulumi/kubernetes/core/v1/namespace";
import * as pulumi from "@pulumi/pulumi";
import { GuardedRelease } from "../guarded-release/guarded-release";
import { imageIn } from "../guarded-release/render/image";
import { createApiKey } from "./api-key";
import { completeArgs, type MlApiArgs } from "./args";
import { NAMESPACE_LABELS } from "./namespace";
import { accessCommand, logsCommand, urlOf } from "./outputs";
import { lookAround, type Surroundings } from "./surroundings";
import { keySecretOf, releaseValues } from "./values";

/** A Python machine-learning API on Kubernetes: its namespace, its API key and a guarded Helm release of the chart. */
export class MlApi extends pulumi.ComponentResource {
    /** Name of the Helm release. */
    readonly release: pulumi.Output<string>;
    /** Namespace that it runs in. */
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

    /**
     * @param around what the program has found out already; by default it is looked for, unless a provider of its own says where the API
     *     goes: that one's cluster cannot be asked from here
     */
    constructor(name: string, args: MlApiArgs, opts: pulumi.ComponentResourceOptions = {}, around?: Surroundings) {
        super("ml-api:index:MlApi", name, {}, opts);
        const api = completeArgs(name, args, around?.origin);
        const hasOwnProvider = this.getProvider("kubernetes:index:Provider") !== undefined;
        const { cluster, live } = around ?? (hasOwnProvider ? {} : lookAround(api));
        const guarded = { parent: this, protect: api.protect };

        const prerequisites: pulumi.Resource[] = [];
        if (api.createNamespace) {
            prerequisites.push(
                new Namespace(api.namespace, { metadata: { name: api.namespace, labels: NAMESPACE_LABELS } }, guarded),
            );
        }

        const keySecret = keySecretOf(api);
        if (keySecret?.ours === true) {
            // Not protected: a rotation removes the key before.
            const secret = createApiKey(
                { ...api, key: api.apiKey, previousKey: api.previousApiKey },
                { parent: this, dependsOn: [...prerequisites] },
            );
            prerequisites.push(secret);
        }

        const values = releaseValues(api);
        const release = new GuardedRelease(
            api.name,
            {
                chart: api.chart,
                name: api.name,
                namespace: api.namespace,
                values,
                origin: api.origin,
                live,
            },
            { ...guarded, dependsOn: prerequisites },
        );

        const where = {
            name: api.name,
            namespace: api.namespace,
            context: cluster?.context,
            keySecret: keySecret?.name,
        };
        this.release = pulumi.output(api.name);
        this.namespace = pulumi.output(api.namespace);
        this.image = release.objects.apply((objects) => imageIn(objects));
        this.url = release.objects.apply((objects) => urlOf(objects, api.namespace));
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
