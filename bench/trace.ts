/** What a run of `pulumi --otel-traces=file://…` spent its time on. */

export const partNames = [
    "start of plugins",
    "program (Node)",
    "render",
    "checks and diffs",
    "Helm, with its wait",
    "engine",
] as const;
export type Part = (typeof partNames)[number];

interface Span {
    readonly name: string;
    readonly startTimeUnixNano: string;
    readonly endTimeUnixNano: string;
}

/** Each moment counts for the first of these that is under way; what none of them covers is the engine's. */
const order: readonly (readonly [RegExp, Part])[] = [
    [/ResourceProvider\/(Create|Update|Delete|Read)$/, "Helm, with its wait"],
    [/ResourceProvider\/Invoke$/, "render"],
    [/ResourceProvider\/(Check|Diff|Configure|CheckConfig|DiffConfig)$/, "checks and diffs"],
    [/^newPlugin$/, "start of plugins"],
    [/LanguageRuntime\/Run$/, "program (Node)"],
    [/^pulumi$/, "engine"],
];

/**
 * Seconds of each part; together they are the whole run.
 *
 * @param trace OpenTelemetry's JSON, one document a line
 */
export function parts(trace: string): Readonly<Record<Part, number>> {
    const spans = spansIn(trace).flatMap(({ name, startTimeUnixNano, endTimeUnixNano }) => {
        const rank = order.findIndex(([pattern]) => pattern.test(name));
        return rank < 0 ? [] : [{ rank, from: Number(startTimeUnixNano) / 1e9, to: Number(endTimeUnixNano) / 1e9 }];
    });
    const seconds = Object.fromEntries(partNames.map((name) => [name, 0])) as Record<Part, number>;
    const moments = [...new Set(spans.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
    moments.slice(1).forEach((to, index) => {
        const from = moments[index] ?? to;
        const ranks = spans.filter((span) => span.from <= from && span.to >= to).map(({ rank }) => rank);
        const part = order[Math.min(...ranks)]?.[1];
        if (part !== undefined) seconds[part] += to - from;
    });
    return seconds;
}

function spansIn(trace: string): readonly Span[] {
    interface Document {
        readonly resourceSpans?: readonly { readonly scopeSpans?: readonly { readonly spans?: readonly Span[] }[] }[];
    }
    return trace
        .split("\n")
        .filter((line) => line.trim() !== "")
        .flatMap((line) => (JSON.parse(line) as Document).resourceSpans ?? [])
        .flatMap(({ scopeSpans = [] }) => scopeSpans.flatMap(({ spans = [] }) => spans));
}
