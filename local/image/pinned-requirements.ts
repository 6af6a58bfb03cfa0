/** One package of a file that `uv pip compile --generate-hashes` wrote. */
interface Pin {
    readonly name: string;
    readonly version: string;
    /** Its lines: name, hashes, and the comment that says what wants it. */
    readonly lines: readonly string[];
    readonly wantedBy: readonly string[];
}

/**
 * The part of files of pinned requirements that some packages need: those packages, and all that they lead to. Versions and hashes
 * are those of the files; where two files pin a package, the first counts.
 *
 * @param roots names of packages
 * @throws Error when no file pins one of them
 */
export function pinnedSubset(files: readonly string[], roots: readonly string[]): string {
    const all = files.flatMap(pinsIn);
    const kept = new Set(roots);
    const missing = roots.filter((root) => !all.some(({ name }) => name === root));
    if (missing.length > 0) throw new Error(`no file of requirements pins ${missing.join(", ")}`);
    for (let before = -1; before !== kept.size;) {
        before = kept.size;
        for (const { name, wantedBy } of all) if (wantedBy.some((parent) => kept.has(parent))) kept.add(name);
    }
    const first = all.filter(
        ({ name }, index) => kept.has(name) && all.findIndex((other) => other.name === name) === index,
    );
    return first
        .sort((one, other) => one.name.localeCompare(other.name, "en"))
        .map(({ lines }) => `${lines.join("\n")}\n`)
        .join("");
}

/** The version that files of pinned requirements name for a package. */
export function pinnedVersion(files: readonly string[], name: string): string | undefined {
    return files.flatMap(pinsIn).find((pin) => pin.name === name)?.version;
}

function pinsIn(text: string): Pin[] {
    const pins: { name: string; version: string; lines: string[]; wantedBy: string[] }[] = [];
    for (const line of text.split("\n")) {
        const [, name, version] = /^([a-z0-9][a-z0-9._-]*)==(\S+)/.exec(line) ?? [];
        const last = pins.at(-1);
        if (name !== undefined && version !== undefined) pins.push({ name, version, lines: [line], wantedBy: [] });
        else if (/^\s+--hash=/.test(line)) last?.lines.push(line);
        else {
            const parent = /^\s+#\s+(?:via\s+)?([a-z0-9][a-z0-9._-]*)$/.exec(line)?.[1];
            if (parent !== undefined && parent !== "via") last?.wantedBy.push(parent);
        }
    }
    return pins;
}
