import * as pulumi from "@pulumi/pulumi";
import { visibleLines } from "../config/visible";
import { accompany } from "./accompany";
import { beginOperation, companions, holdWarning } from "./companions";
import { type LiveSide, NoAnswer } from "./live/live";
import type { Begun } from "./recover/begin";
import { type KeptLease, sweepLease } from "./recover/lease";
import type { Repair } from "./recover/repair";
import type { Target } from "./recover/recover";
import type { Outcome } from "./operation";

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

export interface LiveOptions {
    readonly options: pulumi.CustomResourceOptions;
    /** To be called when Pulumi has noted the release, which is after all hooks: the next run then needs no more evidence of this one. */
    readonly noted: () => Promise<void>;
}

/**
 * The resource options by which a Release takes part in what was found in the cluster.
 *
 * Without a finding the repair value is whatever the state has, so that an update which once repaired something is not undone by
 * the next one, and a cluster that does not answer makes no difference. With one it is an input like any other, and an update.
 * A preview says what was found when the release is about to be changed; an update puts it right just before, and is accompanied
 * until it has ended.
 */
export function liveOptions(args: LiveOptionsArgs): LiveOptions {
    const { name, target, live, repair } = args;
    if (live === undefined) return { options: { ignoreChanges: [REPAIR_PATH] }, noted: () => Promise.resolve() };
    let lease: KeptLease | undefined;
    const noted = async () => {
        if (lease !== undefined) return lease.release();
        const [left, access] = pulumi.runtime.isDryRun() ? [] : await Promise.all([live.lease(), live.access]);
        if (left !== undefined && access !== undefined) await sweepLease(access, target, left, target.stack);
    };
    let end: ((outcome: Outcome) => Promise<void>) | undefined;
    const begun = (event: "create" | "update") =>
        new pulumi.ResourceHook(
            `${event} ${name}`,
            async ({ urn }) => {
                // What a container or the cluster said stands in some of it. The resource itself has no URN yet, so a message on it would wait for the end of the operation.
                const resource = new pulumi.DependencyResource(urn);
                const warn = (text: string) => void pulumi.log.warn(visibleLines(text), resource);
                const inform = (text: string) => void pulumi.log.info(visibleLines(text), resource);
                const complain = (text: string) => void pulumi.log.error(visibleLines(text), resource);
                const progress = (text: string) => void pulumi.log.info(visibleLines(text), resource, undefined, true);
                const found = await repair;
                if (pulumi.runtime.isDryRun()) {
                    // No record is what a first install finds, too.
                    if (found !== undefined && (event === "update" || found.kind !== "missing")) warn(found.sentence);
                    const access = await live.access;
                    const held = access === undefined ? undefined : await holdWarning(access, target);
                    if (held !== undefined) warn(held);
                    return;
                }
                const told = { ...target, say: warn };
                let begun: Begun;
                try {
                    begun = await beginOperation(event, live.open, told);
                } catch (error) {
                    if (!(error instanceof NoAnswer)) throw error;
                    warn(`Helm's records were not checked before this ${event}: ${error.message}`);
                    return;
                }
                lease = begun.lease;
                const { access } = begun.opened;
                const operation = { event, target: told, access, inform, warn, complain, progress };
                end = await accompany(operation, companions).catch(async (error: unknown) => {
                    // Refused before anything was touched: nobody is at work any more.
                    await noted();
                    throw error;
                });
            },
            { onDryRun: true },
        );
    const succeeded = new pulumi.ResourceHook(`end ${name}`, () => end?.({ kind: "succeeded" }));
    const failed = new pulumi.ErrorHook(`failure ${name}`, async ({ errors }) => {
        await end?.({ kind: "failed", errors });
        await noted();
        // Trying again is the next update's affair.
        return false;
    });
    const options: pulumi.CustomResourceOptions = {
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
    return { options, noted };
}
