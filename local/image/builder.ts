import * as fs from "node:fs/promises";
import * as path from "node:path";
import { execute } from "../clusters/node/program";
import { debianPackages, type UnpackedPackages } from "../debian";
import type { Variables } from "../paths";
import type { RunResult } from "../run";

/** What building an image needs to know of its caller; a cluster's context fits. */
export interface ImageContext {
    readonly cacheDir: string;
    readonly variables: Variables;
    readonly log: (line: string) => void;
    readonly signal?: AbortSignal | undefined;
}

export interface BuilderRun {
    readonly timeLimit: number;
    readonly variables?: Variables;
    readonly onErrorLine?: (line: string) => void;
}

/** buildah and debootstrap from Debian packages, with a store of their own in the cache. */
export interface Builder {
    readonly packages: UnpackedPackages;
    /** Runs a program that may mount: in mount and process namespaces that end with it, whatever ends it. */
    run(program: string, args: readonly string[], options: BuilderRun): Promise<RunResult>;
    buildah(command: string, args: readonly string[], options: BuilderRun): Promise<RunResult>;
}

export async function openBuilder(context: ImageContext): Promise<Builder> {
    const packages = await debianPackages({
        purpose: "Image builder (buildah, debootstrap)",
        names: ["buildah", "debootstrap", "debian-archive-keyring", "wget"],
        trial: [["usr/bin/buildah", "--version"]],
        ...context,
    });
    const place = path.join(context.cacheDir, "buildah");
    const settings = await writeSettings(place);
    const run: Builder["run"] = (program, args, options) => {
        // Not even a killed caller leaves it running: it ends with its parent, and its own children end with it.
        const alone = [
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ];
        const libraries = [path.join(place, "ld.so.cache"), packages.daemonEnv["LD_LIBRARY_PATH"] ?? ""];
        return execute("setpriv", [...alone, "/bin/sh", "-c", withLibraries, "sh", ...libraries, program, ...args], {
            ...options,
            variables: { ...packages.env, ...options.variables },
            signal: context.signal,
        });
    };
    return {
        packages,
        run,
        buildah: (command, args, options) => {
            const stores = [
                "--root",
                path.join(place, "storage"),
                "--runroot",
                path.join(place, "run"),
                "--storage-driver",
                "overlay",
            ];
            const words = [
                ...stores,
                "--registries-conf",
                settings.registries,
                command,
                ...(moves.has(command) ? settings.policy : []),
                ...args,
            ];
            // Its steps are told on stdout, and an answer is wanted of the other commands only.
            const toErrors = command === "bud" ? ["/bin/sh", "-c", 'exec "$@" >&2', "sh"] : [];
            const [program = "", ...rest] = [...toErrors, packages.program("usr/bin/buildah"), ...words];
            return run(program, rest, {
                ...options,
                variables: { ...settings.variables, ...options.variables },
            });
        },
    };
}

/**
 * buildah starts itself again without LD_LIBRARY_PATH for each step, so its libraries are made known to the dynamic loader
 * as a system's are: by its cache, of which a longer one lies over the system's in this mount namespace.
 */
const withLibraries = `cache=$1; folders=$2; shift 2
(IFS=:; exec ldconfig -X -C "$cache.$$" $folders) && mv "$cache.$$" "$cache" && mount --bind "$cache" /etc/ld.so.cache && exec "$@"`;

/** Commands that copy images, and want to know whom to trust. */
const moves = new Set(["bud", "pull", "push"]);

interface Settings {
    readonly registries: string;
    readonly policy: readonly string[];
    readonly variables: Variables;
}

/** buildah reads the system's container settings unless it is given others; these make it the same everywhere. */
async function writeSettings(place: string): Promise<Settings> {
    const file = (name: string): string => path.join(place, name);
    await fs.mkdir(file("tmp"), { recursive: true, mode: 0o700 });
    await fs.writeFile(file("policy.json"), JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    await fs.writeFile(
        file("registries.conf"),
        'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "disabled"\n',
    );
    // Where it takes its lock, by default below /etc; no step gets a network of its own.
    await fs.writeFile(
        file("containers.conf"),
        `[network]\nnetwork_backend = "cni"\nnetwork_config_dir = "${file("networks")}"\n`,
    );
    await fs.writeFile(
        file("storage.conf"),
        `[storage]\ndriver = "overlay"\ngraphroot = "${file("storage")}"\nrunroot = "${file("run")}"\n`,
    );
    return {
        registries: file("registries.conf"),
        policy: ["--signature-policy", file("policy.json")],
        variables: {
            CONTAINERS_CONF: file("containers.conf"),
            CONTAINERS_STORAGE_CONF: file("storage.conf"),
            BUILDAH_ISOLATION: "chroot",
            TMPDIR: file("tmp"),
        },
    };
}
