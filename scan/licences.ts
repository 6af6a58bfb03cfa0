import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { checkoutRoot } from "../local/paths";
import { lastLines, run } from "../local/run";
import type { Finding, Looked } from "./scanner";

/** What `licences.yaml` says. */
export interface Allowed {
    readonly allowed: readonly string[];
    /** Other names of licences → SPDX. */
    readonly names: Readonly<Record<string, string>>;
}

export interface Package {
    readonly name: string;
    /** An SPDX expression, or what the package says instead; empty when it says nothing. */
    readonly licence: string;
}

/** The packages of package-lock.json and of the sample's Python environment whose licence nobody has allowed. */
export async function licences(python: string): Promise<Looked> {
    const list = parse(readFileSync(join(checkoutRoot, "scan", "licences.yaml"), "utf8")) as Allowed;
    const packages = [
        ...npmPackages(readFileSync(join(checkoutRoot, "package-lock.json"), "utf8")),
        ...(await pythonPackages(python)),
    ];
    return { findings: packages.flatMap((one) => licenceFindings(one, list)), at: `${packages.length} packages` };
}

export function licenceFindings({ name, licence }: Package, list: Allowed): Finding[] {
    if (isAllowed(licence, list)) return [];
    const message = licence === "" ? "it says no licence" : `its licence ${licence} is not in scan/licences.yaml`;
    return [{ check: "licence", object: name, message }];
}

/** One of the parts of an OR has to be allowed, and all of an AND; an exception to a licence (WITH) is one of its own. */
export function isAllowed(licence: string, { allowed, names }: Allowed): boolean {
    const known = names[licence];
    if (known !== undefined) return allowed.includes(known);
    if (allowed.includes(licence)) return true;
    const parts = (word: string): readonly string[] => splitOutside(licence, word);
    for (const [word, holds] of [
        [" OR ", "some"],
        [" / ", "some"],
        [" AND ", "every"],
    ] as const) {
        const split = parts(word);
        if (split.length > 1) return split[holds]((part) => isAllowed(part, { allowed, names }));
    }
    return licence.startsWith("(") && licence.endsWith(")") && isAllowed(licence.slice(1, -1), { allowed, names });
}

/** Splits at a word, but not inside brackets. */
function splitOutside(text: string, word: string): readonly string[] {
    const parts = [""];
    let depth = 0;
    for (let at = 0; at < text.length; at++) {
        depth += text[at] === "(" ? 1 : text[at] === ")" ? -1 : 0;
        if (depth === 0 && text.startsWith(word, at)) {
            parts.push("");
            at += word.length - 1;
        } else parts.push(`${parts.pop() ?? ""}${text[at] ?? ""}`);
    }
    return parts;
}

function npmPackages(lock: string): Package[] {
    const { packages } = JSON.parse(lock) as { packages: Record<string, { license?: string; version?: string }> };
    const found = Object.entries(packages)
        // The empty name is the project itself.
        .filter(([path]) => path !== "")
        .map(([path, { license = "" }]) => ({ name: path.split("node_modules/").at(-1) ?? path, licence: license }));
    return [...new Map(found.map((one) => [`${one.name} ${one.licence}`, one])).values()];
}

/** Asks the environment itself: the package index does not say what the package's own files say. */
const LIST = `
import importlib.metadata as metadata, json
def licence(about):
    # A whole licence text is no name.
    said = (about.get("License") or "").strip()
    classifiers = [one.split(" :: ")[-1] for one in about.get_all("Classifier", []) if one.startswith("License :: OSI")]
    return about.get("License-Expression") or " / ".join(classifiers) or (said if len(said) < 60 else "")
print(json.dumps([{"name": one.metadata["Name"], "licence": licence(one.metadata)} for one in metadata.distributions()]))
`;

async function pythonPackages(python: string): Promise<Package[]> {
    const result = await run(python, ["-c", LIST], { variables: process.env, timeLimit: 60_000 });
    if (result.failure !== undefined)
        throw new Error(`the Python packages cannot be listed: ${lastLines(result.stderr, 3)}`);
    const found = JSON.parse(result.stdout) as Package[];
    // What the environment itself consists of is not chosen here.
    return found.filter(({ name }) => !["pip", "setuptools"].includes(name));
}
