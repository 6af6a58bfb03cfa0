import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { execute, indent, ProgramError } from "./clusters/node/program";
import type { Variables } from "./paths";
import { isAlive } from "./processes";
import { lastLines, type RunResult } from "./run";

/** Debian packages unpacked into a folder of their own, and how to run programs from there. */
export interface UnpackedPackages {
    readonly directory: string;
    /** Absolute path of a file of the packages, `program("usr/sbin/runc")`; the system's own where the folder has none. */
    program(name: string): string;
    /** The caller's variables, with PATH, LD_LIBRARY_PATH and XTABLES_LIBDIR naming the unpacked parts first. */
    readonly env: Readonly<Record<string, string>>;
    /** These three alone, over the system's own folders: the same whoever calls. */
    readonly daemonEnv: Readonly<Record<string, string>>;
}

/** Where a Debian system keeps its programs, whatever the caller's PATH says. */
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface PackagesRequest {
    /** Names for the progress lines: "containerd and what it needs". */
    readonly purpose: string;
    /** Programs by package name. What the system has is not downloaded; what they depend on and it lacks is. */
    readonly names: readonly string[];
    /** Links that a package's install script would have made: place in the folder → target. */
    readonly links?: Readonly<Record<string, string>>;
    /** Each must end with code 0 when run from the folder, else the folder is made anew (a system library went away, say). */
    readonly trial: readonly (readonly [string, ...string[]])[];
    readonly cacheDir: string;
    readonly variables: Variables;
    readonly log: (line: string) => void;
    readonly signal?: AbortSignal | undefined;
}

const listsLimit = 180_000;
const downloadLimit = 600_000;
const unpackLimit = 120_000;
const requiredBytes = 600 * 1024 * 1024;
/** Written last into an unpacked folder: a folder without it is not whole. */
const manifest = "ml-api-packages.txt";

/**
 * Downloads packages and unpacks them into the cache, once. Nothing is installed: apt works on lists and a cache of its
 * own and only reads the system's sources, keys and settings. What apt finds installed is not downloaded again: programs
 * and libraries that the system has are used from there.
 */
export async function debianPackages(request: PackagesRequest): Promise<UnpackedPackages> {
    const architecture = await debianArchitecture(request.purpose);
    const release = await releaseName();
    const list = JSON.stringify([release, [...request.names].sort(), request.links ?? {}]);
    const hash = createHash("sha256").update(list).digest("hex").slice(0, 10);
    const directory = path.join(request.cacheDir, `debian-${hash}-${architecture}`);
    const packages = unpacked(directory, architecture, request.variables);
    const problem = await tryPackages(packages, request);
    if (problem === undefined) {
        return packages;
    }
    if (problem !== "absent") {
        request.log(`${request.purpose}: the copy in the cache does not run any more (${problem}); it is made anew.`);
    }
    await download(directory, request);
    const again = await tryPackages(packages, request);
    if (again !== undefined) {
        throw new Error(
            `${request.purpose}: the Debian packages were unpacked to ${directory}, but do not run there: ${again}.\n` +
                "    A package of this machine is probably half upgraded; `apt-get -f install` says so.",
        );
    }
    return packages;
}

/** Why Debian packages cannot be had on this machine; undefined when they can. */
export async function whyNoPackages(): Promise<string | undefined> {
    for (const program of ["apt-get", "dpkg", "dpkg-deb"]) {
        try {
            await execute(program, ["--version"], { timeLimit: 10_000 });
        } catch (error) {
            const missing = error instanceof ProgramError && error.missing;
            return missing
                ? `${program} is missing (containerd and runc are taken from Debian packages)`
                : String(error);
        }
    }
    return undefined;
}

function unpacked(directory: string, architecture: string, variables: Variables): UnpackedPackages {
    const multiarch = gnuTriplet(architecture);
    const places = ["usr/sbin", "usr/bin", "sbin", "bin"].map((place) => path.join(directory, place));
    const libraries = [`usr/lib/${multiarch}`, `lib/${multiarch}`, "usr/lib"].map((place) =>
        path.join(directory, place),
    );
    const modules = path.join(directory, `usr/lib/${multiarch}/xtables`);
    const before = (own: readonly string[], theirs: string | undefined): string =>
        [...own, ...(theirs === undefined || theirs === "" ? [] : [theirs])].join(":");
    const inherited = Object.entries(variables).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, value] as const],
    );
    return {
        directory,
        program: (name) =>
            [path.join(directory, name), path.join("/", name)].find(existsSync) ?? path.join(directory, name),
        env: {
            ...Object.fromEntries(inherited),
            PATH: before(places, variables["PATH"] ?? systemPath),
            LD_LIBRARY_PATH: before(libraries, variables["LD_LIBRARY_PATH"]),
            XTABLES_LIBDIR: modules,
        },
        daemonEnv: { PATH: before(places, systemPath), LD_LIBRARY_PATH: libraries.join(":"), XTABLES_LIBDIR: modules },
    };
}

async function tryPackages(packages: UnpackedPackages, request: PackagesRequest): Promise<string | undefined> {
    try {
        await fs.access(path.join(packages.directory, manifest));
    } catch {
        return "absent";
    }
    for (const [name, ...args] of request.trial) {
        try {
            await execute(packages.program(name), args, {
                timeLimit: 20_000,
                variables: packages.env,
                signal: request.signal,
            });
        } catch (error) {
            return error instanceof Error ? error.message : String(error);
        }
    }
    return undefined;
}

async function download(directory: string, request: PackagesRequest): Promise<void> {
    await fs.mkdir(request.cacheDir, { recursive: true });
    await sweepPartials(directory);
    await requireSpace(request);
    const partial = `${directory}.partial-${process.pid}`;
    const started = Date.now();
    try {
        const apt = await privateApt(path.join(partial, "apt"));
        request.log(`${request.purpose}: reading the package lists (into the cache, not into the system)`);
        const lists = await runApt(["update"], apt, listsLimit, request);
        const wanted = [
            "install",
            "--download-only",
            "--no-install-recommends",
            "--no-upgrade",
            "--yes",
            ...request.names,
        ];
        // A list that could not be had is only a warning to apt, and the reason when a package is missing now.
        const plan = await runApt(["--print-uris", ...wanted], apt, 60_000, request, lists.stderr);
        request.log(`${request.purpose}: downloading ${size(plan.stdout)}`);
        await runApt(wanted, apt, downloadLimit, request);
        const root = path.join(partial, "root");
        const archives = await unpackArchives(path.join(partial, "apt", "cache", "archives"), root, request);
        for (const [place, target] of Object.entries(request.links ?? {})) {
            await fs.mkdir(path.dirname(path.join(root, place)), { recursive: true });
            await fs.rm(path.join(root, place), { force: true });
            await fs.symlink(target, path.join(root, place));
        }
        await fs.writeFile(path.join(root, manifest), archives.map((name) => `${name}\n`).join(""));
        await fs.rm(directory, { recursive: true, force: true });
        await fs.rename(root, directory);
        request.log(`${request.purpose}: ${archives.length} packages unpacked in ${seconds(started)} s`);
    } finally {
        await fs.rm(partial, { recursive: true, force: true });
    }
}

async function unpackArchives(archives: string, root: string, request: PackagesRequest): Promise<string[]> {
    await fs.mkdir(root, { recursive: true });
    const names = (await fs.readdir(archives)).filter((name) => name.endsWith(".deb")).sort();
    // The dynamic loader belongs to the system's C library, and a second C library beside it does not start.
    const wanted = names.filter((name) => !/^libc6_/.test(name));
    if (wanted.length === 0) {
        // Everything is installed: the folder stays empty, and each program is the system's.
        return [];
    }
    for (const name of wanted) {
        try {
            await execute("dpkg-deb", ["-x", path.join(archives, name), root], {
                timeLimit: unpackLimit,
                signal: request.signal,
            });
        } catch (error) {
            throw explained(error, request);
        }
    }
    return wanted;
}

/** Folders and settings under which apt reads everything of the system and writes nothing into it; the place of the settings. */
async function privateApt(folder: string): Promise<string> {
    for (const place of ["lists/partial", "cache/archives/partial", "log", "dpkg"]) {
        await fs.mkdir(path.join(folder, place), { recursive: true });
    }
    // apt takes its lock beside the status file, so it reads a copy.
    await fs.copyFile("/var/lib/dpkg/status", path.join(folder, "dpkg", "status"));
    const dump = (await execute("apt-config", ["dump"], { timeLimit: 20_000 })).stdout;
    const settings = path.join(folder, "apt.conf");
    await fs.writeFile(settings, aptSettings(folder, dump));
    return settings;
}

/**
 * The system's network and source settings without its hooks (which would clean the system's own cache) and without the
 * extra indexes that desktops add.
 */
export function aptSettings(folder: string, dump: string): string {
    const kept = dump
        .split("\n")
        .filter((line) => /^(Acquire::|APT::Architecture|APT::Default-Release)/i.test(line))
        .filter((line) => !/^Acquire::(IndexTargets|Changelogs|CompressionTypes|cdrom|Languages)/i.test(line));
    return [
        ...kept,
        `Dir::State "${folder}";`,
        `Dir::State::lists "${folder}/lists";`,
        `Dir::State::status "${folder}/dpkg/status";`,
        `Dir::State::extended_states "${folder}/extended_states";`,
        `Dir::Cache "${folder}/cache";`,
        `Dir::Log "${folder}/log";`,
        // The parts folder was read through `apt-config dump`; reading it again would bring the hooks back.
        `Dir::Etc::main "/dev/null";`,
        `Dir::Etc::parts "/dev/null";`,
        `Acquire::Languages "none";`,
        `Acquire::Retries "2";`,
        `Acquire::http::Timeout "20";`,
        `Acquire::https::Timeout "20";`,
        `APT::Sandbox::User "root";`,
        `APT::Get::AllowUnauthenticated "false";`,
        "",
    ].join("\n");
}

async function runApt(
    args: readonly string[],
    settings: string,
    timeLimit: number,
    request: PackagesRequest,
    before = "",
): Promise<RunResult> {
    try {
        return await execute("apt-get", args, {
            timeLimit,
            variables: {
                ...request.variables,
                APT_CONFIG: settings,
                DEBIAN_FRONTEND: "noninteractive",
                LC_ALL: "C.UTF-8",
            },
            signal: request.signal,
        });
    } catch (error) {
        throw explained(error, request, before);
    }
}

/** What a failure of apt or dpkg means for the person who waits for it. */
function explained(error: unknown, request: PackagesRequest, before = ""): unknown {
    if (!(error instanceof ProgramError)) {
        return error;
    }
    const said = before + error.result.stderr;
    const facts = indent(
        lastLines(
            said
                .split("\n")
                .filter((line) => /^(E:|W:|Err:|dpkg)/.test(line))
                .join("\n") || said,
            6,
        ),
    );
    const fail = (what: string, todo: string): Error =>
        new Error(`${request.purpose}: ${what}\n${facts}\n    → ${todo}`);
    if (error.failure === "was interrupted") {
        return error;
    }
    if (/No space left on device|enough free space/.test(said)) {
        return fail(
            `the disk with ${request.cacheDir} is full.`,
            "Free about 1 GB there, or set ML_API_CACHE to another disk.",
        );
    }
    if (
        /Could not resolve|Failed to fetch|Could not connect|Unable to connect|timed out/i.test(said) ||
        /did not end within/.test(error.failure)
    ) {
        return fail(
            "the Debian packages could not be downloaded.",
            "Check that `apt-get update` works on this machine, or use CLUSTER=current or CLUSTER=simulated, which need none.",
        );
    }
    if (/Unable to locate package|has no installation candidate/.test(said)) {
        return fail(
            "apt's sources on this machine do not have a package that is needed.",
            "Enable the distribution's main repository (Ubuntu: universe too) in /etc/apt, or use CLUSTER=current or CLUSTER=simulated.",
        );
    }
    return fail(
        `apt failed (${error.failure}).`,
        "Run `apt-get update` and `apt-get check` on this machine to see why.",
    );
}

async function requireSpace(request: PackagesRequest): Promise<void> {
    const { bavail, bsize } = await fs.statfs(request.cacheDir);
    const free = bavail * bsize;
    if (free < requiredBytes) {
        throw new Error(
            `${request.purpose}: ${Math.floor(free / 2 ** 20)} MB are free in ${request.cacheDir}, ${requiredBytes / 2 ** 20} MB are needed.\n` +
                "    → Free some space there, or set ML_API_CACHE to a folder on another disk.",
        );
    }
}

/** Removes what runs that were killed left of this folder. */
async function sweepPartials(directory: string): Promise<void> {
    const prefix = `${path.basename(directory)}.partial-`;
    for (const name of await fs.readdir(path.dirname(directory))) {
        const pid = Number(name.slice(prefix.length));
        if (name.startsWith(prefix) && !isAlive(pid)) {
            await fs.rm(path.join(path.dirname(directory), name), { recursive: true, force: true });
        }
    }
}

async function debianArchitecture(purpose: string): Promise<string> {
    try {
        return (await execute("dpkg", ["--print-architecture"], { timeLimit: 10_000 })).stdout.trim();
    } catch (error) {
        if (error instanceof ProgramError && error.missing) {
            throw new Error(
                `${purpose}: dpkg is not on this machine, and the parts of the local node come from Debian packages.\n` +
                    "    → Use a Debian or Ubuntu machine, or CLUSTER=current (your own cluster) or CLUSTER=simulated.",
                { cause: error },
            );
        }
        throw error;
    }
}

/** Packages of one release do not fit another, so its name is part of the cache's key. */
async function releaseName(): Promise<string> {
    const text = await fs.readFile("/etc/os-release", "utf8").catch(() => "");
    const field = (key: string): string => new RegExp(`^${key}="?([^"\\n]*)`, "m").exec(text)?.[1] ?? "";
    return `${field("ID")}-${field("VERSION_ID")}${field("VERSION_CODENAME")}`;
}

function gnuTriplet(architecture: string): string {
    const triplets: Readonly<Record<string, string>> = {
        amd64: "x86_64-linux-gnu",
        arm64: "aarch64-linux-gnu",
        armhf: "arm-linux-gnueabihf",
        ppc64el: "powerpc64le-linux-gnu",
        riscv64: "riscv64-linux-gnu",
        s390x: "s390x-linux-gnu",
    };
    return triplets[architecture] ?? architecture;
}

/** "17 packages, 61 MB", from what `--print-uris` says. */
function size(uris: string): string {
    const sizes = [...uris.matchAll(/^'[^']+' \S+ (\d+) /gm)].map((match) => Number(match[1]));
    const megabytes = Math.ceil(sizes.reduce((sum, bytes) => sum + bytes, 0) / 2 ** 20);
    return `${sizes.length} packages, ${megabytes} MB`;
}

function seconds(started: number): string {
    return ((Date.now() - started) / 1000).toFixed(0);
}
