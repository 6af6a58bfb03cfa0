/** Expressions of GitHub's workflows, evaluated by GitHub's own library. */

/** How the steps or jobs before ended, as far as `success()` and its like ask. */
export type Before = "success" | "failure";

export type Contexts = Readonly<Record<string, unknown>>;

export interface Expressions {
    /** The value of `text`, which may stand in `${{ … }}`. */
    value(text: string, contexts: Contexts): unknown;
    /** `text` with every `${{ … }}` in it replaced. */
    fill(text: string, contexts: Contexts): string;
    /** What `if:` says; without a function about the state before it, `success()` is meant, too. */
    condition(text: string | undefined, contexts: Contexts, before: Before): boolean;
}

const STATES: Readonly<Record<string, (before: Before) => boolean>> = {
    success: (before) => before === "success",
    failure: (before) => before === "failure",
    always: () => true,
    cancelled: () => false,
};

/** The library is an ECMAScript module without another door. */
export async function expressions(): Promise<Expressions> {
    const { Lexer, Parser, Evaluator, data } = await import("@actions/expressions");

    function evaluate(text: string, contexts: Contexts, before: Before): unknown {
        const functions = [
            ...Object.entries(STATES).map(([name, holds]) => ({
                ...{ name, minArgs: 0, maxArgs: 0 },
                call: () => new data.BooleanData(holds(before)),
            })),
            // Only ever the key of a cache, which is not kept here.
            { ...{ name: "hashFiles", minArgs: 1, maxArgs: 9 }, call: () => new data.StringData("hash") },
        ];
        const { tokens } = new Lexer(text).lex();
        const tree = new Parser(tokens, Object.keys(contexts), functions).parse();
        const context = JSON.parse(JSON.stringify(contexts), data.reviver) as ConstructorParameters<
            typeof Evaluator
        >[1];
        const found = new Evaluator(
            tree,
            context,
            new Map(functions.map((one) => [one.name.toLowerCase(), one])),
        ).evaluate();
        return JSON.parse(JSON.stringify(found, data.replacer)) as unknown;
    }
    const inner = (text: string): string => /^\s*\$\{\{([^]*)\}\}\s*$/.exec(text)?.[1]?.trim() ?? text.trim();
    const truth = (value: unknown): boolean =>
        value !== false && value !== null && value !== undefined && value !== 0 && value !== "";
    const written = (value: unknown): string =>
        value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);

    return {
        value: (text, contexts) => evaluate(inner(text), contexts, "success"),
        fill: (text, contexts) =>
            text.replace(/\$\{\{([^]*?)\}\}/g, (_, one: string) => written(evaluate(one.trim(), contexts, "success"))),
        condition: (text, contexts, before) => {
            if (text === undefined) return before === "success";
            const asksItself = Object.keys(STATES).some((name) => new RegExp(`\\b${name}\\s*\\(`).test(text));
            return (asksItself || before === "success") && truth(evaluate(inner(text), contexts, before));
        },
    };
}
