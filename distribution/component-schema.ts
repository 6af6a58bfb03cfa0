import { createRequire } from "node:module";
import { join } from "node:path";
import { checkoutRoot } from "../local/paths";

/** A package as Pulumi describes it to its other languages, as far as it is looked into here. */
export interface PackageSchema {
    readonly name: string;
    readonly version: string;
    readonly resources: Record<string, { inputProperties: Record<string, { optional?: boolean }> }>;
}

/** Of the SDK's own analyzer, which gets no types published. */
interface Analysis {
    readonly components: object;
    readonly typeDefinitions: object;
    readonly dependencies: readonly object[];
}
interface SdkParts {
    readonly Analyzer: new (
        folder: string,
        name: string,
        manifest: object,
        components: ReadonlySet<string>,
    ) => { analyze(): Analysis };
    readonly generateSchema: (
        name: string,
        version: string,
        description: string,
        ...analyzed: readonly object[]
    ) => PackageSchema;
}

const PACKAGE = "ml-api";
/** Holds what the npm package has besides components and chart: its README, and which files it is made of. */
export const npmFolder = join(checkoutRoot, "distribution", "npm");
/** What only a comment could say in TypeScript. */
const SECRET_INPUTS = ["apiKey", "previousApiKey"];
const WHOLE_NUMBERS = ["keyGeneration"];

/** The schema of the components, derived from their types and comments by Pulumi's own analyzer. Takes seconds: it type-checks. */
export function componentSchema(about: { readonly version: string; readonly description: string }): PackageSchema {
    const load = createRequire(__filename);
    const parts = ["analyzer", "schema"].map((file) => load(`@pulumi/pulumi/provider/experimental/${file}`) as object);
    const { Analyzer, generateSchema } = Object.assign({}, ...parts) as SdkParts;
    const manifest = { main: "../../components/index.js" };
    const analyzer = new Analyzer(npmFolder, PACKAGE, manifest, new Set(["MlApi"]));
    const { components, typeDefinitions, dependencies } = analyzer.analyze();
    const { version, description } = about;
    const schema = generateSchema(PACKAGE, version, description, components, typeDefinitions, dependencies);
    for (const { inputProperties } of Object.values(schema.resources)) {
        // Which inputs are needed says a list of its own.
        for (const input of Object.values(inputProperties)) delete input.optional;
        for (const input of SECRET_INPUTS) Object.assign(inputProperties[input] ?? {}, { secret: true });
        for (const input of WHOLE_NUMBERS) Object.assign(inputProperties[input] ?? {}, { type: "integer" });
    }
    return schema;
}

/** As Pulumi itself prints a schema: without lists and maps that are empty. */
function withoutEmpty(_: string, value: unknown): unknown {
    return typeof value === "object" && value !== null && Object.keys(value).length === 0 ? undefined : value;
}

/** {@link componentSchema} as it is checked in. */
export function schemaText(about: { readonly version: string; readonly description: string }): string {
    return `${JSON.stringify(componentSchema(about), withoutEmpty, 2)}\n`;
}
