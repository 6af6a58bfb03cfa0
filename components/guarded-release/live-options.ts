import * as pulumi from "@pulumi/pulumi";
import { type LiveSide, NoAnswer, type OpenedRecords } from "./live";
import type { Repair } from "./repair";
import { recoverCreate, recoverUpdate, type Target } from "./recover";

/** Where the repair value stands among the inputs of a Release. */
const REPAIR_PATH = "values.global.repair";

export interface LiveOptionsArgs {
    /** Name of the resource. */
    readonly name: string;
    readonly target: Omit<Target, "say">;
    /** Undefined leaves the live release unseen. */
    readonly live: LiveSide | undefined;
    readonly repair: Promise<Repair | undefined>;
}

/**
 * The resource options by which a Release takes part in what was found in the cluster.
 *
 * Without a finding the repair value is whatever the state has, so that an update which once repaired something is not undone by
 * the next one, and a cluster that does not answer makes no difference. With one it is an input like any other, and an update.
 * A preview says what was found when the release is about to be changed; an update puts it right just before.
 */
export function liveOptions(args: LiveOptionsArgs): pulumi.CustomResourceOptions {
    const { name, target, live, repair } = args;
    if (live === undefined) return { ignoreChanges: [REPAIR_PATH] };
    const hook = (event: "create" | "update") =>
        new pulumi.ResourceHook(
            `${event} ${name}`,
            async ({ urn }) => {
                // The resource itself has no URN yet, so a message on it would wait for the end of the operation.
                const resource = new pulumi.DependencyResource(urn);
                const warn = (text: string) => void pulumi.log.warn(text, resource);
                const found = await repair;
                if (pulumi.runtime.isDryRun()) {
                    // No record is what a first install finds, too.
                    if (found !== undefined && (event === "update" || found.kind !== "missing")) warn(found.sentence);
                    return;
                }
                let opened: OpenedRecords;
                try {
                    opened = await live.open();
                } catch (error) {
                    if (!(error instanceof NoAnswer)) throw error;
                    warn(`Helm's records were not checked before this ${event}: ${error.message}`);
                    return;
                }
                const recover = event === "create" ? recoverCreate : recoverUpdate;
                await recover(opened, { ...target, say: warn }, new Date());
            },
            { onDryRun: true },
        );
    return {
        // The options of a resource must be plain; only a transform may wait for an answer.
        transforms: [
            async ({ props, opts }) => {
                if ((await repair) !== undefined) return undefined;
                return { props, opts: { ...opts, ignoreChanges: [...(opts.ignoreChanges ?? []), REPAIR_PATH] } };
            },
        ],
        hooks: { beforeCreate: [hook("create")], beforeUpdate: [hook("update")] },
    };
}
