import { parse } from "yaml";
import { SECRET_KEYS } from "../components/config/config-keys";
import { cell, table } from "./table";

/** As much of a project file as is needed here. */
interface Project {
    readonly config: Readonly<
        Record<string, { readonly type: string; readonly description?: string; default?: unknown }>
    >;
}

/** The table of what a stack file may set, out of Pulumi.yaml. @throws an error for a key without a description */
export function settingsReference(projectFile: string): string {
    const { config } = parse(projectFile) as Project;
    const rows = Object.entries(config).map(([key, { type, description = "", default: preset }]) => {
        if (description === "") throw new Error(`Pulumi.yaml says nothing about ${key} → add a description there`);
        const secret = (SECRET_KEYS as readonly string[]).includes(key) ? ", secret" : "";
        const shown = preset === undefined ? "" : `\`${JSON.stringify(preset)}\``;
        return [`\`${key}\``, `${type}${secret}`, shown, cell(description)];
    });
    return table(["key", "type", "default", "meaning"], rows);
}
