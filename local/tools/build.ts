import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { coerce, gte } from "semver";
import type { Variables } from "../paths";
import { lastLines, type Run, type RunResult } from "../run";
import { diskShortage, type Disk, type DiskNeed } from "./disk";
import { groupMegabytes, type GoBuild, goVersion } from "./pins";

export interface Go {
    readonly program: string;
    readonly version: string;
    readonly moduleCache: string;
    readonly buildCache: string;
}

export interface BuildOptions {
    readonly go: Go;
    /** Folder with one Go module per group. */
    readonly modules: string;
    readonly run: Run;
    readonly variables: Variables;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: (progress: BuildProgress) => void;
    /** Where the whole output of a failed build is kept. */
    readonly logFile: string;
}

export interface BuildProgress {
    readonly fetched: number;
    readonly compiled: number;
    /** Packages that the program consists of; those compiled by an earlier build are not compiled again. */
    readonly total: number | undefined;
}

/** Milliseconds. Fetching modules over a slow line and compiling on one core must both fit. */
const fetchLimit = 20 * 60_000;
const buildLimit = 90 * 60_000;

/** Go as found on PATH, or why it cannot be used, as the end of a sentence. */
export async function findGo(
    program: string | undefined,
    run: Run,
    variables: Variables,
): Promise<Go | { readonly problem: string }> {
    if (program === undefined) return { problem: "no Go is on PATH" };
    const asked = await run(program, ["env", "GOVERSION", "GOMODCACHE", "GOCACHE"], {
        variables: goVariables(variables),
        timeLimit: 15_000,
    });
    if (asked.failure !== undefined)
        return { problem: `"${program} env" ${asked.failure}: ${lastLines(asked.stderr, 2)}` };
    const [found = "", moduleCache = "", buildCache = ""] = asked.stdout.split("\n");
    const version = coerce(/^go(\d+\.\d+(?:\.\d+)?)/.exec(found)?.[1]);
    if (version === null) return { problem: `${program} says its version is "${found}"` };
    if (!gte(version, goVersion)) return { problem: `${program} is Go ${version.version}` };
    return { program, version: version.version, moduleCache, buildCache };
}

/** What a build of these groups is going to write, at most. */
export function buildNeeds(builds: readonly GoBuild[], go: Go, cache: string): readonly DiskNeed[] {
    const cold = [...new Set(builds.filter(({ module }) => !isFetched(module, go)).map(({ group }) => group))];
    const sum = (part: "modules" | "compiled"): number =>
        cold.reduce((total, group) => total + (groupMegabytes[group]?.[part] ?? 500), 0);
    return [
        { path: go.moduleCache, megabytes: sum("modules"), purpose: "sources of Go modules" },
        { path: go.buildCache, megabytes: sum("compiled"), purpose: "compiled packages" },
        // A program and the parts it is linked from, twice for a moment.
        { path: cache, megabytes: 150 * builds.length + 500, purpose: "the tools themselves" },
    ];
}

export function checkDisk(needs: readonly DiskNeed[], disk: Disk): void {
    const shortage = diskShortage(needs, disk);
    if (shortage !== undefined) throw new Error(shortage);
}

/** Builds one program into `folder` under `name`; throws with the last lines of what Go said. */
export async function build(pin: GoBuild, name: string, folder: string, options: BuildOptions): Promise<void> {
    const cwd = join(options.modules, pin.group);
    const temporary = join(folder, ".go");
    await mkdir(temporary);
    await rm(options.logFile, { force: true });
    // Go's own scratch folder lies inside, so that a killed build leaves nothing elsewhere.
    const variables = { ...goVariables(options.variables), GOTMPDIR: temporary };
    const progress: { fetched: number; compiled: number; total: number | undefined } = {
        fetched: 0,
        compiled: 0,
        total: undefined,
    };
    const onErrorLine = (line: string): void => {
        if (line.startsWith("go: downloading ")) progress.fetched += 1;
        else if (line !== "" && !line.startsWith("go: ") && !line.startsWith("#")) progress.compiled += 1;
        options.onProgress?.({ ...progress });
    };
    const shared = { cwd, variables, onErrorLine, signal: options.signal };

    const tags = pin.tags === undefined ? [] : ["-tags", pin.tags.join(",")];
    const listed = await options.run(options.go.program, ["list", "-deps", ...tags, pin.package], {
        ...shared,
        timeLimit: fetchLimit,
    });
    if (listed.failure !== undefined) throw await buildError("list", listed, pin, name, options);
    progress.total = listed.stdout.trim().split("\n").length;
    progress.compiled = 0;

    const settings = Object.entries(pin.variables).map(([variable, value]) => `-X ${variable}=${value}`);
    const args = [
        "build",
        "-trimpath",
        "-v",
        ...tags,
        "-ldflags",
        ["-s", "-w", ...settings].join(" "),
        "-o",
        join(folder, name),
        pin.package,
    ];
    const built = await options.run(options.go.program, args, { ...shared, timeLimit: buildLimit });
    if (built.failure !== undefined) throw await buildError("build", built, pin, name, options);
}

/** Nothing a user set for other work may change what is built here; proxies and caches stay theirs. */
function goVariables(variables: Variables): Variables {
    return {
        ...variables,
        GOFLAGS: "-mod=readonly -buildvcs=false",
        GOWORK: "off",
        GOTOOLCHAIN: "local",
        CGO_ENABLED: "0",
        GOOS: undefined,
        GOARCH: undefined,
    };
}

async function buildError(
    step: string,
    result: RunResult,
    pin: GoBuild,
    name: string,
    options: BuildOptions,
): Promise<Error> {
    if (result.interrupted === true)
        return new Error(`Interrupted while building ${name}; the next run goes on where this one was.`);
    const full = result.stdout + result.stderr;
    const said = lastLines(result.stderr.replaceAll(/^go: downloading .*\n/gm, ""), 8);
    await writeFile(options.logFile, full).catch(() => undefined); // The disk may be what is wrong.
    return new Error(
        [
            `Building ${name} from ${pin.package} failed: "go ${step}" ${result.failure ?? "failed"}.`,
            ...said.split("\n").map((line) => `  ${line}`),
            `Everything it said: ${options.logFile}`,
            adviceFor(full, options),
        ].join("\n"),
    );
}

function adviceFor(output: string, options: BuildOptions): string {
    if (/no space left on device|disk quota exceeded/i.test(output)) {
        return `No disk space is left: look at ${options.go.buildCache}, ${options.go.moduleCache} and the folder above.`;
    }
    if (/dial tcp|no such host|i\/o timeout|proxyconnect|TLS handshake|connection re/i.test(output)) {
        return `Go could not fetch modules: check the network, and GOPROXY if this machine needs a mirror (now ${options.variables["GOPROXY"] ?? "Go's default"}).`;
    }
    if (/checksum mismatch|missing go\.sum entry/i.test(output)) {
        return "A module is not what go.sum lists. If go.mod was edited, run `go mod download` in that folder; else do not trust the network.";
    }
    return "Run it again; if it fails the same way, `go clean -cache` takes a broken compile cache out of the way.";
}

/** Its sources are there; then most of it was compiled once, too. */
function isFetched(module: string, go: Go): boolean {
    return existsSync(join(go.moduleCache, module));
}
