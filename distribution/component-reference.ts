import { cell, table } from "./table";

interface Property {
    readonly type?: string;
    readonly description?: string;
    readonly plain?: boolean;
    readonly secret?: boolean;
}

/** As much of a package's schema as is needed here. */
export interface ComponentSchema {
    readonly resources: Readonly<
        Record<
            string,
            {
                readonly description?: string;
                readonly inputProperties: Readonly<Record<string, Property>>;
                readonly requiredInputs?: readonly string[];
                readonly properties: Readonly<Record<string, Property>>;
            }
        >
    >;
}

/** The page about the components: what each takes and what it gives, in the words of the types' comments. */
export function componentReference(schema: ComponentSchema): string {
    const missing: string[] = [];
    const rows = (of: string, properties: Readonly<Record<string, Property>>, required: readonly string[]) =>
        Object.entries(properties).map(([name, { type = "object", description = "", plain, secret }]) => {
            if (description === "") missing.push(`${of}.${name}`);
            const notes = [
                type,
                ...(secret === true ? ["secret"] : []),
                ...(plain === true ? [] : ["or an output"]),
                ...(required.includes(name) ? ["required"] : []),
            ];
            return [`\`${name}\``, notes.join(", "), cell(description)];
        });
    const sections = Object.entries(schema.resources).flatMap(([token, resource]) => {
        const name = token.split(":").at(-1) ?? token;
        const taken = rows(name, resource.inputProperties, resource.requiredInputs ?? []);
        const given = rows(name, resource.properties, []).map(([key = "", , meaning = ""]) => [key, meaning]);
        return [
            `## ${name}`,
            "",
            resource.description ?? "",
            "",
            "What it takes:",
            "",
            "<!-- prettier-ignore -->",
            table(["argument", "type", "meaning"], taken),
            "",
            "What it gives, each as an output:",
            "",
            "<!-- prettier-ignore -->",
            table(["output", "meaning"], given),
            "",
        ];
    });
    if (missing.length > 0)
        throw new Error(
            `nothing is said about ${missing.join(", ")} → add a comment to its type, then ml-api component generate`,
        );
    return [
        "# The component in a program of your own",
        "",
        "<!-- Made by `ml-api docs generate` from components/plugin/schema.json. -->",
        "",
        "How to get it, and an example: [the package's page](../../distribution/npm/README.md).",
        "",
        ...sections,
    ].join("\n");
}
