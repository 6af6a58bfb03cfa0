import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { InputError } from "./problem";
import { type ConfigText, configText } from "./stack-file";

/** What `Pulumi.yaml` says of the project. */
export interface Project {
    readonly name: string;
    /** The defaults of its configuration, `namespace:key` → text. */
    readonly defaults: Readonly<Record<string, ConfigText>>;
}

/** Reads the project file of a folder. @throws InputError when it is none */
export function readProject(root: string): Project {
    const { name, config } = readMap(path.join(root, FILE));
    if (typeof name !== "string" || name === "")
        throw wrong("there is no name", "a project file begins with the project's name: `name: ml-api`");
    if (config !== undefined && config !== null && !isMap(config)) throw wrong("config is no map");
    const defaults = Object.entries(config ?? {}).flatMap(([key, declared]): [string, ConfigText][] => {
        const byDefault = defaultOf(declared);
        return byDefault === undefined ? [] : [[key.includes(":") ? key : `${name}:${key}`, configText(byDefault)]];
    });
    return { name, defaults: Object.fromEntries(defaults) };
}

const FILE = "Pulumi.yaml";

function readMap(file: string): Readonly<Record<string, unknown>> {
    let content: unknown;
    try {
        content = parse(fs.readFileSync(file, "utf8"), { logLevel: "error" });
    } catch (error) {
        const why = error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error);
        throw wrong(`it cannot be read: ${why}`);
    }
    if (!isMap(content)) throw wrong("it holds no settings", "restore it");
    return content;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(what: string, fix?: string): InputError {
    return new InputError("project", [{ where: FILE, what, ...(fix === undefined ? {} : { fix }) }]);
}

/** A declaration gives its default as `default`, a setting of a provider as `value`, and a short one is the value itself. */
function defaultOf(declared: unknown): unknown {
    if (typeof declared !== "object" || declared === null) return declared;
    const { default: byDefault, value } = declared as { default?: unknown; value?: unknown };
    return byDefault ?? value;
}
