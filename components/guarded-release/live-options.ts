import * as pulumi from "@pulumi/pulumi";
import { type Accompanied, companions } from "./companions";
import { type LiveSide, NoAnswer, type OpenedRecords } from "./live/live";
import type { Repair } from "./recover/repair";
import { recoverCreate, recoverUpdate, type Target } from "./recover/recover";

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
 * A preview says what was found when the release is about to be changed; an update puts it right just before, and is accompanied
 * until it has ended.
 */
export function liveOptions(args: LiveOptionsArgs): pulumi.CustomResourceOptions {
    const { name, target, live, repair } = args;
    if (live === undefined) return { ignoreChanges: [REPAIR_PATH] };
    const accompanied: Accompanied[] = [];
    const begun = (event: "create" | "update") =>
        new pulumi.ResourceHook(
            `${event} ${name}`,
            async ({ urn }) => {
                // The resource itself has no URN yet, so a message on it would wait for the end of the operation.
                const resource = new pulumi.DependencyResource(urn);
                const warn = (text: string) => void pulumi.log.warn(text, resource);
                const inform = (text: string) => void pulumi.log.info(text, resource);
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
                const told = { ...target, say: warn };
                await recover(opened, told, new Date());
                for (const companion of companions) {
                    accompanied.push(await companion({ event, target: told, access: opened.access, inform }));
                }
            },
            { onDryRun: true },
        );
    const end = async (outcome: "succeeded" | "failed") => {
        for (const { ended } of accompanied.splice(0).reverse()) await ended(outcome);
    };
    const succeeded = new pulumi.ResourceHook(`end ${name}`, () => end("succeeded"));
    const failed = new pulumi.ErrorHook(`failure ${name}`, async () => {
        await end("failed");
        // Trying again is the next update's affair.
        return false;
    });
    return {
        // The options of a resource must be plain; only a transform may wait for an answer.
        transforms: [
            async ({ props, opts }) => {
                if ((await repair) !== undefined) return undefined;
                return { props, opts: { ...opts, ignoreChanges: [...(opts.ignoreChanges ?? []), REPAIR_PATH] } };
            },
        ],
        hooks: {
            beforeCreate: [begun("create")],
            beforeUpdate: [begun("update")],
            afterCreate: [succeeded],
            afterUpdate: [succeeded],
            onError: [failed],
        },
    };
}
