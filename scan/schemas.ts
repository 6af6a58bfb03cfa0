import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { readJson } from "../local/files";
import { lastLines, run } from "../local/run";
import { pins } from "../local/tools/pins";

/** JSON Schema, and OpenAPI 2 as an API server writes it, as far as both are looked at here. */
type Schema = Readonly<Record<string, unknown>>;
type Definitions = Readonly<Record<string, Schema>>;

interface OpenApi {
    readonly info: { readonly version: string };
    readonly definitions: Definitions;
}

interface CustomResourceDefinition {
    readonly spec: {
        readonly group: string;
        readonly names: { readonly kind: string };
        readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
    };
}

/** Where kubeconform finds a schema below the folder. */
export const schemaTemplate = "{{ .Group }}/{{ .ResourceKind }}.{{ .ResourceAPIVersion }}.json";

export interface SchemaSources {
    readonly cache: string;
    readonly kubectl: string;
    /** The kubeconfig of an API server; asked for only where none of this version has been asked before. */
    readonly kubeconfig: () => Promise<string>;
    readonly customResources: readonly string[];
}

/** Writes the schemas of everything that an API server knows, and of the custom resources; a field they do not have is an error. */
export async function writeSchemas(folder: string, sources: SchemaSources): Promise<void> {
    const { definitions } = await openApi(sources);
    for (const [name, definition] of Object.entries(definitions)) {
        const kinds = definition["x-kubernetes-group-version-kind"] as
            readonly { group: string; version: string; kind: string }[] | undefined;
        // Options of requests belong to all groups; objects to one.
        if (kinds?.length !== 1 || kinds[0] === undefined) continue;
        const { group, version, kind } = kinds[0];
        const needed = neededBy(name, definitions);
        const schema = {
            $schema: "http://json-schema.org/draft-07/schema#",
            $ref: `#/definitions/${name}`,
            definitions: Object.fromEntries([...needed].map((one) => [one, strict(known(one, definitions))])),
        };
        await write(folder, group === "" ? version : group, kind, version, schema);
    }
    for (const file of sources.customResources) {
        const { spec } = parse(await readFile(file, "utf8")) as CustomResourceDefinition;
        for (const { name, schema } of spec.versions) {
            await write(folder, spec.group, spec.names.kind, name, strict(schema.openAPIV3Schema));
        }
    }
}

async function write(folder: string, group: string, kind: string, version: string, schema: unknown): Promise<void> {
    const file = join(folder, group, `${kind.toLowerCase()}.${version}.json`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, JSON.stringify(schema));
}

/** What the API server of the pinned version says about its kinds; asked once, then from the cache. */
async function openApi({ cache, kubectl, kubeconfig }: SchemaSources): Promise<OpenApi> {
    // A server tells its minor version there, and fields do not change within one.
    const fileOf = (version: string): string =>
        join(cache, `kubernetes-openapi-${/\d+\.\d+/.exec(version)?.[0] ?? version}.json`);
    const stored = readJson(fileOf(pins["kube-apiserver"].version)) as OpenApi | undefined;
    if (stored !== undefined) return stored;
    const args = ["--kubeconfig", await kubeconfig(), "get", "--raw", "/openapi/v2"];
    const aside = join(cache, `kubernetes-openapi-${process.pid}.partial`);
    // Longer than what `run` keeps of an output, so it goes through a file.
    const result = await run("sh", ["-c", 'file=$1; shift; exec "$@" >"$file"', "sh", aside, kubectl, ...args], {
        variables: process.env,
        timeLimit: 60_000,
    });
    if (result.failure !== undefined)
        throw new Error(`kubectl get --raw /openapi/v2 ${result.failure}:\n${lastLines(result.stderr, 4)}`);
    const asked = readJson(aside) as OpenApi | undefined;
    if (asked === undefined) throw new Error("kubectl get --raw /openapi/v2 printed no whole document");
    await rename(aside, fileOf(asked.info.version));
    return asked;
}

/** The definitions that one refers to, over any number of steps, itself included. */
function neededBy(name: string, definitions: Definitions): ReadonlySet<string> {
    const needed = new Set<string>();
    const visit = (one: string): void => {
        if (needed.has(one)) return;
        needed.add(one);
        const text = JSON.stringify(known(one, definitions));
        for (const [, next] of text.matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g)) visit(next ?? "");
    };
    visit(name);
    return needed;
}

function known(name: string, definitions: Definitions): Schema {
    const quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
    // OpenAPI calls it a string; the server reads numbers, too.
    if (name === quantity) return { type: ["string", "number"] };
    return definitions[name] ?? {};
}

/** Closes every object that lists its fields, and writes Kubernetes' own "number or text" so that JSON Schema knows it. */
function strict(schema: Schema): Schema {
    if (schema["format"] === "int-or-string" || schema["x-kubernetes-int-or-string"] === true) {
        return { type: ["string", "integer"] };
    }
    const closed =
        "properties" in schema &&
        !("additionalProperties" in schema) &&
        schema["x-kubernetes-preserve-unknown-fields"] !== true;
    const parts = Object.entries(schema).map(([key, value]): readonly [string, unknown] => {
        if (key === "properties") {
            const fields = Object.entries(value as Definitions);
            return [key, Object.fromEntries(fields.map(([name, field]) => [name, strict(field)]))];
        }
        const nested = key === "items" || key === "additionalProperties";
        return [key, nested && typeof value === "object" ? strict(value as Schema) : value];
    });
    return { ...Object.fromEntries(parts), ...(closed ? { additionalProperties: false } : {}) };
}
