import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { type ConfigText, configText } from "./stack-file";

/** What `Pulumi.yaml` says of the project. */
export interface Project {
    readonly name: string;
    /** The defaults of its configuration, `namespace:key` → text. */
    readonly defaults: Readonly<Record<string, ConfigText>>;
}

/** Reads the project file of a folder. */
export function readProject(root: string): Project {
    const { name, config = {} } = parse(fs.readFileSync(path.join(root, "Pulumi.yaml"), "utf8")) as {
        name: string;
        config?: Record<string, unknown>;
    };
    const defaults = Object.entries(config).flatMap(([key, declared]): [string, ConfigText][] => {
        const byDefault = defaultOf(declared);
        return byDefault === undefined ? [] : [[key.includes(":") ? key : `${name}:${key}`, configText(byDefault)]];
    });
    return { name, defaults: Object.fromEntries(defaults) };
}

/** A declaration gives its default as `default`, a setting of a provider as `value`, and a short one is the value itself. */
function defaultOf(declared: unknown): unknown {
    if (typeof declared !== "object" || declared === null) return declared;
    const { default: byDefault, value } = declared as { default?: unknown; value?: unknown };
    return byDefault ?? value;
}
