/** The files and folders that decide over the outcome of a deploy; a commit that changes nothing of them deploys the same. */
const SOURCES = [
    "chart",
    "apis",
    "components",
    "index.ts",
    "Pulumi.yaml",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "tsconfig.pulumi.json",
];

/** What decides over the outcome of a deploy of one stack, relative to the project's root. Text for people (`*.md`) decides nothing. */
export function deploySources(stack: string): readonly string[] {
    return [...SOURCES, `Pulumi.${stack}.yaml`];
}
