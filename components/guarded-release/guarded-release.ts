import { Release } from "@pulumi/kubernetes/helm/v3/release";
import { version as providerVersion } from "@pulumi/kubernetes/package.json";
import * as pulumi from "@pulumi/pulumi";
import { mergeValues, type Values } from "../config/values";
import { digestOf } from "./render/digest";
import type { Origin } from "./render/explain";
import type { LiveSide } from "./live/live";
import { liveOptions } from "./live-options";
import { findAnnotation, render, type RenderedObject } from "./render/render";
import { RenderedObjects } from "./render/rendered-objects";
import { findRepair, mayBeUnnoted, type Repair } from "./recover/repair";
import { refuseUnsafe, safetyOf, warningText } from "./safety/safety";
import { liveSummary } from "./changes/summary";
import { byName } from "./render/object-names";

export interface GuardedReleaseArgs {
    /** Chart folder, relative to the project's root (an absolute path would differ on every machine). */
    readonly chart: string;
    /** Name of the Helm release. */
    readonly name: string;
    readonly namespace: string;
    /** The chart's values, complete and plain: nothing unknown and nothing secret, so that a preview can render them. */
    readonly values: Values;
    /** Where a person set the values, for what the chart says when it refuses them. */
    readonly origin: Origin;
    /** The live release, to compare with and to repair; undefined leaves it unseen. */
    readonly live?: LiveSide | undefined;
}

/** Annotation by which the chart says how long an install or upgrade may take, in seconds; see `chart/README.md`, Times. */
export const TIMEOUT_ANNOTATION = "ml-api/release-timeout-seconds";
/** Helm's own default, for charts that do not say. */
const DEFAULT_TIMEOUT_SECONDS = 300;

/**
 * A Helm release of a local chart that either becomes what was asked for or stays what it was: atomic, bounded in time and in
 * history, its name and namespace explicit, its values the whole truth.
 *
 * The chart is rendered first, in previews too. So values that the chart refuses fail before anything is touched; an edit is an
 * update exactly when it changes what is rendered, because the digest of that is one of the values; and a preview shows field
 * by field what becomes of each object.
 */
export class GuardedRelease extends pulumi.ComponentResource {
    /** What the chart renders to; known in previews. */
    readonly objects: pulumi.Output<RenderedObject[]>;
    /** State of the release as Helm tells it: `deployed` after every successful update. */
    readonly status: pulumi.Output<string>;
    readonly revision: pulumi.Output<number>;

    constructor(name: string, args: GuardedReleaseArgs, opts: pulumi.ComponentResourceOptions = {}) {
        super("ml-api:index:GuardedRelease", name, {}, opts);

        const withGlobal = (renderDigest: string, repair: string) =>
            mergeValues(args.values, { global: { renderDigest, repair } });
        const rendered = render(
            {
                chart: args.chart,
                releaseName: args.name,
                namespace: args.namespace,
                values: withGlobal("", ""),
                origin: args.origin,
            },
            { parent: this, version: providerVersion },
        );
        this.objects = pulumi.output(rendered);
        const repair = findRepairOf(rendered, args.live);
        const place = { release: args.name, namespace: args.namespace };
        const safety = rendered.then((objects) => safetyOf(args.live, place, objects));
        const { options, noted } = liveOptions({
            name,
            target: {
                ...place,
                stack: pulumi.getStack(),
                objects: () => rendered,
                timeoutSeconds: async () => timeoutSeconds(await rendered),
            },
            live: args.live,
            repair,
        });
        const release = new Release(
            name,
            {
                chart: args.chart,
                name: args.name,
                namespace: args.namespace,
                values: this.objects.apply(async (objects) => {
                    refuseUnsafe(await safety);
                    return withGlobal(digestOf(objects), (await repair)?.token ?? "");
                }),
                timeout: this.objects.apply(timeoutSeconds),
                atomic: true,
                cleanupOnFail: true,
                waitForJobs: true,
                // Helm's default is to keep every revision for ever.
                maxHistory: 10,
                // Without it an upgrade with no values at all keeps the last release's values.
                resetValues: true,
                // The namespace belongs to this program, or to somebody else; never to Helm.
                createNamespace: false,
            },
            { parent: this, ...options },
        );
        // A message on a resource comes when the resource does: in an update that would be too late, and after a refusal never, with
        // all later messages waiting behind it.
        if (pulumi.runtime.isDryRun()) {
            pulumi.all([this.objects, release.urn]).apply(async ([objects]) => {
                const summary = args.live === undefined ? undefined : liveSummary(await args.live.answer, objects);
                if (summary !== undefined) void pulumi.log.info(summary, release);
                const { problems, notChecked } = await safety;
                const warnings = warningText(problems);
                if (warnings !== undefined) void pulumi.log.warn(warnings, release);
                if (notChecked !== undefined) void pulumi.log.info(notChecked, release);
            });
        } else {
            this.objects.apply(async () => {
                const warnings = warningText((await safety).problems);
                if (warnings !== undefined) void pulumi.log.warn(warnings);
            });
        }
        const released = pulumi.all([this.objects, release.urn]).apply(async ([objects]) => {
            await noted();
            return byName(objects);
        });
        // There is nothing to protect in it, and a refused destroy should name what is.
        new RenderedObjects(name, released, { parent: this, protect: false });

        this.status = release.status.status;
        this.revision = release.status.revision;
        this.registerOutputs({ status: this.status, revision: this.revision });
    }
}

function timeoutSeconds(objects: readonly RenderedObject[]): number {
    const seconds = Number(findAnnotation(objects, TIMEOUT_ANNOTATION) ?? DEFAULT_TIMEOUT_SECONDS);
    if (!Number.isSafeInteger(seconds) || seconds <= 0) {
        throw new pulumi.RunError(
            `the chart's annotation ${TIMEOUT_ANNOTATION} is not a number of seconds: ${JSON.stringify(seconds)}`,
        );
    }
    return seconds;
}

/** What the live release needs beyond an ordinary update. Never rejects before the render has. */
function findRepairOf(
    rendered: Promise<readonly RenderedObject[]>,
    live: LiveSide | undefined,
): Promise<Repair | undefined> {
    const found = Promise.all([rendered, live?.answer]).then(async ([objects, answer]) => {
        if (answer === undefined) return undefined;
        const expected = digestOf(objects);
        const lease = mayBeUnnoted(answer, expected) ? await live?.lease() : undefined;
        return findRepair(answer, expected, new Date(), lease);
    });
    // Whoever waits for the render tells of its failure.
    found.catch(() => undefined);
    return found;
}
