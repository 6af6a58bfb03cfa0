import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { API_NAME_LENGTH, creationProblem, nameProblem, NAMESPACE_LENGTH } from "../config/names";
import { plainValues } from "../config/plain-values";
import { InputError, type Problem } from "../config/problem";
import { mergeValues, readValuesFile } from "../config/values";
import type { Origin } from "../guarded-release/render/explain";
import type { ValuesArgs } from "./values";

/** Values of the chart, as in a values file. */
// In a Pulumi schema only `any` becomes "anything"; plainValues() sees to what is in it.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type ChartValues = Readonly<Record<string, any>>;

/** What an API is, and how it is deployed. Everything but the API keys must be known when the program runs. */
export interface MlApiArgs {
    /** Name of the API and of its Helm release: lower-case letters, digits and "-", at most 38. Default: the resource's name. */
    readonly name?: string | undefined;
    /** Namespace that it runs in. Default: "<name>-<stack>". */
    readonly namespace?: string | undefined;
    /** Create the namespace, labelled for restricted Pod Security (default); false uses one that exists and leaves it alone. */
    readonly createNamespace?: boolean | undefined;
    /** The chart's values: plain and without secrets. What they say wins over valuesFile. */
    readonly values?: ChartValues | undefined;
    /** YAML file with the chart's values, relative to the project's root; mistakes are told with its lines. */
    readonly valuesFile?: string | undefined;
    /** Number of the API key in use, from 1 (default). */
    readonly keyGeneration?: number | undefined;
    /** Accept the key before as well: the first of the two deploys of a rotation. Default: false. */
    readonly acceptPreviousKey?: boolean | undefined;
    /** The API key, at least 16 visible ASCII characters. Default: a random one per generation. */
    readonly apiKey?: pulumi.Input<string> | undefined;
    /** With apiKey and acceptPreviousKey: the key before. */
    readonly previousApiKey?: pulumi.Input<string> | undefined;
    /** Refuse to delete or replace the namespace and the release. Default: false. */
    readonly protect?: boolean | undefined;
    /** Chart folder, relative to the project's root. Default: the chart that comes with the component. */
    readonly chart?: string | undefined;
}

/** The arguments with their defaults filled in. */
export interface CompleteArgs extends ValuesArgs {
    readonly namespace: string;
    readonly createNamespace: boolean;
    readonly protect: boolean;
    readonly chart: string;
    readonly apiKey: pulumi.Input<string> | undefined;
    readonly previousApiKey: pulumi.Input<string> | undefined;
    /** Where a person set the values. */
    readonly origin: Origin;
}

/**
 * Checks the arguments of a component and fills in their defaults.
 *
 * @param origin where the values stand, if somebody has read them already; then no file is read
 * @throws InputError with every problem at once
 */
export function completeArgs(resource: string, args: MlApiArgs, origin?: Origin): CompleteArgs {
    const problems: Problem[] = [];
    const report = (where: string, what: string | undefined, fix?: string): void => {
        if (what !== undefined) problems.push({ where, what, ...(fix === undefined ? {} : { fix }) });
    };
    const { name = resource, createNamespace = true, keyGeneration = 1, acceptPreviousKey = false } = args;
    const { apiKey, previousApiKey } = args;
    report("name", nameProblem(name, API_NAME_LENGTH));
    const namespace = args.namespace ?? `${name}-${pulumi.getStack()}`;
    // A derived name would only repeat what is wrong with the API's name.
    if (args.namespace !== undefined || problems.length === 0)
        report("namespace", nameProblem(namespace, NAMESPACE_LENGTH));
    const taken = createNamespace ? creationProblem(namespace) : undefined;
    report("namespace", taken?.what, taken?.fix);
    if (!Number.isInteger(keyGeneration) || keyGeneration < 1 || keyGeneration > 9999)
        report("keyGeneration", `"${keyGeneration}" is not a whole number from 1 to 9999`);
    if (acceptPreviousKey && keyGeneration === 1)
        report("acceptPreviousKey", "key generation 1 has no key before it", "raise keyGeneration by one as well");
    if (acceptPreviousKey && (apiKey === undefined) !== (previousApiKey === undefined))
        report("previousApiKey", "apiKey and previousApiKey are given together or not at all");
    if (!acceptPreviousKey && previousApiKey !== undefined)
        report("previousApiKey", "it only counts together with acceptPreviousKey: true");

    const own = plainValues(args.values ?? {}, "values", problems);
    const read = origin === undefined ? readFile(args.valuesFile, problems) : undefined;
    if (problems.length > 0) throw new InputError(`ml-api ${resource}`, problems);
    return {
        ...{ name, namespace, createNamespace, keyGeneration, acceptPreviousKey, apiKey, previousApiKey },
        protect: args.protect ?? false,
        chart: args.chart ?? ownChart(),
        values: read === undefined ? own : mergeValues(read.values, own),
        origin: origin ?? { file: args.valuesFile ?? `the values of ${resource}`, places: read?.places ?? new Map() },
    };
}

function readFile(file: string | undefined, problems: Problem[]): ReturnType<typeof readValuesFile> | undefined {
    if (file === undefined) return undefined;
    try {
        return readValuesFile(file);
    } catch (error) {
        if (!(error instanceof InputError)) throw error;
        problems.push(...error.problems);
        return undefined;
    }
}

/** The chart beside the components, relative to the program: an absolute path would differ on every machine. */
function ownChart(): string {
    const found = path
        .relative(process.cwd(), path.join(__dirname, "..", "..", "chart"))
        .split(path.sep)
        .join("/");
    return found.startsWith("../") ? found : `./${found}`;
}
