import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { arch, platform as osPlatform } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { Listr, type ListrTask } from "listr2";
import { withLock } from "./lock";
import { cacheDir, checkoutRoot, type Variables } from "./paths";
import { run as runProgram, type Run } from "./run";
import { build, buildNeeds, checkDisk, findGo, type BuildProgress, type Go } from "./tools/build";
import { disk as realDisk, type Disk } from "./tools/disk";
import { download } from "./tools/download";
import { originsOfThisRun, type Origins } from "./tools/origins";
import { goVersion, pins as realPins, type Platform, type ToolName, type ToolPin } from "./tools/pins";
import { checkStored, install, storeFolder } from "./tools/store";
import { askVersion, fits, readableRange } from "./tools/version";

export { toolNames, type ToolName } from "./tools/pins";

export type ToolSource = "path" | "cache" | "download" | "built";

export interface Tool {
    readonly name: ToolName;
    /** Absolute path of the program. */
    readonly path: string;
    readonly version: string;
    readonly source: ToolSource;
}

/** Everything that can differ between machines; tests replace it, ordinary callers give `log` at most. */
export interface ToolOptions {
    /** One line for people. */
    readonly log?: (line: string) => void;
    readonly signal?: AbortSignal | undefined;
    readonly variables?: Variables;
    readonly cache?: string;
    /** Folder with one Go module per tool group. */
    readonly modules?: string;
    readonly pins?: Readonly<Record<string, ToolPin>>;
    readonly platform?: Platform;
    readonly origins?: Origins;
    readonly run?: Run;
    readonly disk?: Disk;
    readonly now?: () => number;
    /** Draws moving progress; by default when standard output is a terminal and no `log` is given. */
    readonly terminal?: boolean;
    /** Milliseconds between two progress lines where nothing moves. */
    readonly progressEvery?: number;
}

type Machine = Required<Omit<ToolOptions, "signal">> & { readonly signal: AbortSignal | undefined };

type Found = { readonly tool: Tool; readonly note?: string };
interface Missing {
    readonly name: ToolName;
    /** Why what was found on PATH or in the cache will not do. */
    readonly notes: readonly string[];
}

/**
 * Gets every named tool, from the first place that has it: on PATH in a fitting version, the cache, the publisher's
 * download, a build from its pinned Go module. Prints one line per tool that says which it was.
 */
export async function ensureTools<Name extends ToolName>(
    names: readonly Name[],
    options: ToolOptions = {},
): Promise<Record<Name, Tool>> {
    const machine = machineOf(options);
    const unique = [...new Set(names)];
    const looked = await Promise.all(unique.map((name) => lookFor(name, machine)));
    const line = lineWriter(unique, machine);
    const tools = new Map<ToolName, Tool>();
    for (const found of looked) {
        if (!("tool" in found)) continue;
        tools.set(found.tool.name, found.tool);
        const text = line(found.tool, foundText(found));
        const key = `${found.tool.path}\n${text}`;
        // One command may need the same tool in several steps; people need to read it once.
        if (!told.has(key)) machine.log(text);
        told.add(key);
    }
    const missing = looked.filter((found): found is Missing => !("tool" in found));
    for (const tool of await makeAll(missing, line, machine)) tools.set(tool.name, tool);
    return Object.fromEntries(tools) as Record<Name, Tool>;
}

const told = new Set<string>();

/** The named tools that are there already, on PATH or in the cache; starts no download and no build, prints nothing. */
export async function findTools<Name extends ToolName>(
    names: readonly Name[],
    options: ToolOptions = {},
): Promise<Partial<Record<Name, Tool>>> {
    const machine = machineOf(options);
    const looked = await Promise.all([...new Set(names)].map((name) => lookFor(name, machine)));
    return Object.fromEntries(
        looked.flatMap((found) => ("tool" in found ? [[found.tool.name, found.tool]] : [])),
    ) as Partial<Record<Name, Tool>>;
}

/** The first program of this name on PATH, as a shell would find it; folders below `except` are not looked at. */
export function onPath(name: string, variables: Variables, except: readonly string[] = []): string | undefined {
    const folders = (variables["PATH"] ?? "").split(delimiter).filter((folder) => isAbsolute(folder));
    return folders
        .filter((folder) => !except.some((skipped) => folder === skipped || folder.startsWith(`${skipped}/`)))
        .map((folder) => join(folder, name))
        .find(isProgram);
}

const pathLimit = 10_000;

async function lookFor(name: ToolName, machine: Machine): Promise<Found | Missing> {
    const pin = pinOf(name, machine);
    const notes: string[] = [];
    const program = onPath(name, machine.variables, [machine.cache]);
    if (program !== undefined) {
        const asked = await askVersion(program, pin, machine.run, machine.variables, pathLimit);
        if ("problem" in asked) notes.push(`${program}: ${asked.problem}`);
        else if (fits(asked.version, pin.accepts))
            return { tool: { name, path: program, version: asked.version, source: "path" } };
        else notes.push(`${program} is ${asked.version}, not ${readableRange(pin.accepts)}`);
    }
    const stored = await checkStored(folderOf(name, machine), name, pin, machine.run, machine.variables);
    if (stored.state === "good") {
        const tool: Tool = { name, path: stored.program, version: pin.version, source: "cache" };
        return notes[0] === undefined ? { tool } : { tool, note: notes[0] };
    }
    if (stored.state === "bad") notes.push(`the cached one is broken: ${stored.reason}`);
    return { name, notes };
}

/** Makes the tools one after the other: two builds at once would only share the same cores. */
async function makeAll(missing: readonly Missing[], line: LineWriter, machine: Machine): Promise<readonly Tool[]> {
    if (missing.length === 0) return [];
    const prepared = prepareBuilds(missing, machine);
    const tools: Tool[] = [];
    if (!machine.terminal) {
        for (const one of missing) {
            const { version } = pinOf(one.name, machine);
            const progress = plainProgress(`${one.name} ${version}`, machine);
            const made = await make(one, prepared, machine, progress.update, machine.log);
            machine.log(line(made.tool, made.text));
            tools.push(made.tool);
        }
        return tools;
    }
    const tasks = missing.map((one): ListrTask => {
        return {
            title: `${one.name} ${pinOf(one.name, machine).version}`,
            task: async (_, task) => {
                const show = (text: string): void => {
                    task.output = text;
                };
                const made = await make(one, prepared, machine, show, show);
                task.title = line(made.tool, made.text);
                tools.push(made.tool);
            },
        };
    });
    await new Listr(tasks, {
        concurrent: false,
        exitOnError: true,
        registerSignalListeners: false,
        // Whoever called prints the error, once.
        rendererOptions: { showErrorMessage: false },
    }).run();
    return tools;
}

interface Made {
    readonly tool: Tool;
    /** Where it came from, for its line. */
    readonly text: string;
}

async function make(
    one: Missing,
    builds: Preparation,
    machine: Machine,
    show: (text: string) => void,
    tell: (text: string) => void,
): Promise<Made> {
    const pin = pinOf(one.name, machine);
    const folder = folderOf(one.name, machine);
    const lock = join(machine.cache, ".locks", folder.slice(machine.cache.length + 1));
    const onWait = (pid: number): void => {
        tell(`${one.name}: another run (process ${pid}) is making it; waiting`);
    };
    return withLock(lock, () => makeLocked(one, pin, folder, builds, machine, show), {
        onWait,
        signal: machine.signal,
    });
}

async function makeLocked(
    one: Missing,
    pin: ToolPin,
    folder: string,
    builds: Preparation,
    machine: Machine,
    show: (text: string) => void,
): Promise<Made> {
    const { name } = one;
    const { run, variables, signal, origins, now } = machine;
    const done = (path: string, source: ToolSource, text: string): Made => {
        return { tool: { name, path, version: pin.version, source }, text: [text, ...notesText(one.notes)].join(" ") };
    };
    const stored = await checkStored(folder, name, pin, run, variables);
    if (stored.state === "good") return done(stored.program, "cache", "made by another run meanwhile");

    const started = now();
    const published = pin.download(machine.platform);
    let refused = published === undefined ? "no download with a checksum is published" : undefined;
    if (published !== undefined) {
        refused = await origins.problem(published.url);
        if (refused === undefined) {
            const onProgress = (text: string): void => {
                show(`downloading: ${text}`);
            };
            const path = await install(folder, name, pin, run, variables, async (aside) => {
                const why = await download(published, name, aside, { origins, run, variables, signal, onProgress });
                if (why !== undefined) throw new NotDownloaded(why);
            }).catch((error: unknown) => {
                if (!(error instanceof NotDownloaded)) throw error;
                refused = error.message;
                return undefined;
            });
            if (path !== undefined)
                return done(
                    path,
                    "download",
                    `downloaded from ${new URL(published.url).host} (${duration(now() - started)})`,
                );
        }
    }
    const go = await builds.ready(name, refused ?? "");
    const onProgress = (progress: BuildProgress): void => {
        show(progressText(progress));
    };
    const logFile = join(machine.cache, `${name}-build.log`);
    const path = await install(folder, name, pin, run, variables, (aside) =>
        build(pin.build, name, aside, { go, modules: machine.modules, run, variables, signal, onProgress, logFile }),
    );
    return done(path, "built", `built from its Go module (${duration(now() - started)})`);
}

class NotDownloaded extends Error {}

interface Preparation {
    /** Go, once it is known to be there and the disk to have room for all that may be built; `why` explains the build. */
    readonly ready: (name: ToolName, why: string) => Promise<Go>;
}

/** Looks for Go and disk space once, and only when something must be built. */
function prepareBuilds(missing: readonly Missing[], machine: Machine): Preparation {
    let prepared: Promise<Go> | undefined;
    const prepare = async (first: ToolName, why: string): Promise<Go> => {
        const names = missing.map(({ name }) => name).slice(missing.findIndex(({ name }) => name === first));
        const found = await findGo(onPath("go", machine.variables), machine.run, machine.variables);
        if ("problem" in found) throw new Error(await noGoText(names, found.problem, why, machine));
        checkDisk(
            buildNeeds(
                names.map((name) => pinOf(name, machine).build),
                found,
                machine.cache,
            ),
            machine.disk,
        );
        return found;
    };
    return {
        ready: (name, why) => (prepared ??= prepare(name, why)),
    };
}

/** Lists what would have to be built: of several missing tools some may still be downloadable. */
async function noGoText(names: readonly ToolName[], problem: string, why: string, machine: Machine): Promise<string> {
    const needed: string[] = [];
    for (const name of names) {
        const published = pinOf(name, machine).download(machine.platform);
        if (published === undefined || (await machine.origins.problem(published.url)) !== undefined) needed.push(name);
    }
    const ranges = needed.map((name) => `${name} ${readableRange(pinOf(name as ToolName, machine).accepts)}`);
    return [
        `${needed.join(", ")} must be built from source, which needs Go ${goVersion} or newer; ${problem}.`,
        `Why not downloaded: ${why}.`,
        "What to do, one of:",
        `  - install Go ${goVersion} or newer (https://go.dev/dl/), put it on PATH, run this again;`,
        `  - install on PATH yourself: ${ranges.join(", ")};`,
        "  - use a cluster you have: with CLUSTER=current only pulumi and helm are needed.",
    ].join("\n");
}

type LineWriter = (tool: Tool, text: string) => string;

/** Lines of one call stand in columns. */
function lineWriter(names: readonly ToolName[], machine: Machine): LineWriter {
    const nameWidth = Math.max(...names.map((name) => name.length));
    const versionWidth = Math.max(...names.map((name) => pinOf(name, machine).version.length));
    return ({ name, version }, text) => `${name.padEnd(nameWidth)}  ${version.padEnd(versionWidth)}  ${text}`;
}

function foundText({ tool, note }: Found): string {
    const where = tool.source === "path" ? `on PATH (${tool.path})` : "from the cache";
    return [where, ...notesText(note === undefined ? [] : [note])].join(" ");
}

function notesText(notes: readonly string[]): readonly string[] {
    return notes.length === 0 ? [] : [`[${notes.join("; ")}]`];
}

function progressText({ fetched, compiled, total }: BuildProgress): string {
    if (total === undefined)
        return fetched === 0 ? "reading its Go module" : `fetching sources: ${fetched} modules so far`;
    return `compiling: ${compiled} of at most ${total} packages`;
}

/** One line now and then, where nothing can be drawn over. */
function plainProgress(
    what: string,
    { log, now, progressEvery }: Machine,
): { readonly update: (text: string) => void } {
    const started = now();
    let last = started;
    return {
        update: (text) => {
            if (now() - last < progressEvery) return;
            last = now();
            log(`${what}: ${text}, ${duration(last - started)}`);
        },
    };
}

/** "4 s", "1 min 12 s". */
export function duration(milliseconds: number): string {
    const seconds = Math.round(milliseconds / 1000);
    return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function folderOf(name: ToolName, machine: Machine): string {
    return storeFolder(machine.cache, name, pinOf(name, machine).version, machine.platform);
}

function pinOf(name: ToolName, machine: Machine): ToolPin {
    const pin = machine.pins[name];
    if (pin === undefined) throw new Error(`No tool called "${name}" is pinned in local/tools/pins.ts.`);
    return pin;
}

function isProgram(path: string): boolean {
    try {
        accessSync(path, constants.X_OK);
        return statSync(realpathSync(path)).isFile();
    } catch {
        return false;
    }
}

function machineOf(options: ToolOptions): Machine {
    const variables = options.variables ?? process.env;
    return {
        variables,
        log: (text) => {
            process.stdout.write(`${text}\n`);
        },
        cache: cacheDir(variables),
        modules: join(checkoutRoot, "local", "tools"),
        pins: realPins,
        platform: options.platform ?? thisPlatform(),
        origins: originsOfThisRun,
        run: runProgram,
        disk: realDisk,
        now: Date.now,
        terminal: options.log === undefined && process.stdout.isTTY,
        progressEvery: 30_000,
        signal: undefined,
        ...options,
    };
}

function thisPlatform(): Platform {
    const os = osPlatform();
    const cpu = arch();
    if ((os === "linux" || os === "darwin") && (cpu === "x64" || cpu === "arm64")) {
        return { os, arch: cpu === "x64" ? "amd64" : "arm64" };
    }
    throw new Error(
        `This machine is ${os} on ${cpu}; the tools are built for linux and darwin on x64 and arm64. On Windows, use WSL 2.`,
    );
}
