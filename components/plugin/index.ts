import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { MlApi } from "..";

// MlApi for programs in other languages than Node's: Pulumi starts this file as a plugin, generates a library for the program's
// language from schema.json, and has the component made here.

/** As much of the schema as is needed here. */
interface Schema {
    readonly version: string;
    readonly resources: Readonly<Record<string, { readonly properties: Readonly<Record<string, unknown>> }>>;
}

const text = readFileSync(join(__dirname, "schema.json"), "utf8");
const { version, resources } = JSON.parse(text) as Schema;

const provider: pulumi.provider.Provider = {
    version,
    schema: text,
    construct: (name, type, inputs, options) => {
        const outputs = resources[type]?.properties;
        if (outputs === undefined)
            throw new Error(`there is no component ${type}; there is ${Object.keys(resources).join(", ")}`);
        const api = new MlApi(name, inputs, options);
        const made = new Map<string, unknown>(Object.entries(api));
        const state = Object.fromEntries(Object.keys(outputs).map((output) => [output, made.get(output)]));
        return Promise.resolve({ urn: api.urn, state });
    },
};

void pulumi.provider.main(provider, process.argv.slice(2));
