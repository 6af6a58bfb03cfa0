import * as pulumi from "@pulumi/pulumi";
import { InputError, type Problem } from "../../config/problem";
import type { Values } from "../../config/values";
import { explain, type Origin } from "./explain";

/** A Kubernetes object as the chart renders it. */
export interface RenderedObject {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: {
        readonly name: string;
        readonly namespace?: string;
        readonly annotations?: Readonly<Record<string, string>>;
        readonly labels?: Readonly<Record<string, string>>;
    };
    readonly spec?: unknown;
}

export interface RenderArgs {
    /** Chart folder, relative to the project's root. */
    readonly chart: string;
    readonly releaseName: string;
    readonly namespace: string;
    /** Exactly the values that the Release gets. */
    readonly values: Values;
    /** Where a person set the values, for messages. */
    readonly origin: Origin;
}

/**
 * The Kubernetes version that charts are rendered for. Declared, because without a cluster Helm would assume 1.20, and with
 * one each cluster its own, so that the same commit would render to different objects.
 */
export const KUBE_VERSION = "1.34.0";

/**
 * Renders a chart in the Kubernetes provider, with the Helm that will install it; works without a cluster, in preview too.
 *
 * @returns the objects, hooks and `helm test` included
 * @throws RenderError with the chart's own words, each with the line to look at, when it cannot be rendered; see {@link explain}
 */
export async function render(args: RenderArgs, opts: pulumi.InvokeOptions): Promise<RenderedObject[]> {
    const jsonOpts = JSON.stringify({
        path: args.chart,
        release_name: args.releaseName,
        namespace: args.namespace,
        values: args.values,
        kube_version: KUBE_VERSION,
        api_versions: [],
        skip_crd_rendering: false,
        // An edited test is an edited release, too.
        include_test_hook_resources: true,
    });
    try {
        // All arguments are plain: an unknown one would make this call wait for ever.
        const { result } = (await pulumi.runtime.invoke("kubernetes:helm:template", { jsonOpts }, opts)) as {
            result: RenderedObject[];
        };
        return result;
    } catch (error) {
        const { subject, problems } = explain(error instanceof Error ? error.message : String(error), args);
        throw new RenderError(subject, problems);
    }
}

/** A chart that cannot be rendered: a fault of chart or values, so Pulumi prints it without a stack trace. */
export class RenderError extends InputError {
    constructor(subject: string, problems: readonly Problem[]) {
        super(subject, problems);
        const text = this.message;
        // The SDK writes the name of every property that waited for the render in front of the message.
        Object.defineProperty(this, "message", { get: () => text, set: () => undefined });
    }
}

/** The value of an annotation that the chart prints on one of its objects. */
export function findAnnotation(objects: readonly RenderedObject[], annotation: string): string | undefined {
    return objects.map((object) => object.metadata.annotations?.[annotation]).find((value) => value !== undefined);
}
