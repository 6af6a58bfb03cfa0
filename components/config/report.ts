import * as pulumi from "@pulumi/pulumi";
import type { Cluster } from "./cluster";
import { InputError } from "./problem";
import type { Settings } from "./settings";
import { isValues } from "./values";

/**
 * Says in every preview and update what a reader of one file alone would not see, and stops an update that nobody should run
 * by hand. A preview only says it: it runs in places that have neither a cluster nor the right to deploy.
 */
export function reportSettings(
    stack: string,
    settings: Settings,
    cluster: Cluster | undefined,
    dryRun = pulumi.runtime.isDryRun(),
): void {
    for (const { path, valuesFilePlace, stackFilePlace } of settings.overrides) {
        void pulumi.log.info(`${path} is set twice: ${stackFilePlace} wins over ${valuesFilePlace}`);
    }
    const stops = [unpinnedCluster(stack, settings, cluster), unpinnedImage(settings)].filter(
        (stop) => stop !== undefined,
    );
    const fatal = stops.filter(({ stopsUpdate }) => stopsUpdate);
    if (!dryRun && fatal.length > 0) throw new InputError(`stack "${stack}"`, fatal);
    for (const { where, what, fix } of stops) void pulumi.log.warn(`${where}: ${what} → ${fix}`);
}

interface Stop {
    readonly where: string;
    readonly what: string;
    readonly fix: string;
    readonly stopsUpdate: boolean;
}

/** A protected stack goes to the cluster that it names, not to whichever one somebody looked at last. */
function unpinnedCluster(stack: string, settings: Settings, cluster: Cluster | undefined): Stop | undefined {
    if (!settings.protect || cluster === undefined || cluster.pinned) return undefined;
    return {
        where: `Pulumi.${stack}.yaml`,
        what: `the stack is protected, but does not say which cluster it belongs to (the current context is "${cluster.context}")`,
        fix: `pulumi config set kubernetes:context ${cluster.context} --stack ${stack}`,
        stopsUpdate: true,
    };
}

/** Outside dev an image is named by its digest: a tag can be moved. One under localhost/ cannot be pulled, so not moved either. */
function unpinnedImage({ environment, values, valuesFile }: Settings): Stop | undefined {
    const image = isValues(values["image"]) ? values["image"] : {};
    const repository = typeof image["repository"] === "string" ? image["repository"] : "";
    const hasDigest = typeof image["digest"] === "string" && image["digest"] !== "";
    if (environment === "dev" || hasDigest || repository.startsWith("localhost/")) return undefined;
    return {
        where: valuesFile,
        what: `${environment} runs ${repository} by a tag, which can be moved to other bytes`,
        fix: "set image.digest to the sha256:… that was tested before",
        stopsUpdate: environment === "production",
    };
}
