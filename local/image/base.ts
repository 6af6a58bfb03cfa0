import * as fs from "node:fs/promises";
import * as path from "node:path";
import { execute } from "../clusters/node/program";
import type { Variables } from "../paths";
import { originsOfThisRun } from "../tools/origins";
import { archiveFolder } from "./archive";
import type { Builder, ImageContext } from "./builder";

const suite = "bookworm";
const included = ["python3", "python3-venv", "ca-certificates"];
/** Raised when what is done to the root file system below changes. */
const revision = 1;
export const localBase = `localhost/ml-api-base:${suite}-${revision}`;

/**
 * What the Dockerfile is built on: undefined for its own default, where the registry that has it answers, else the name
 * of a Debian with Python that is made here. The choice is printed.
 */
export async function chooseBase(
    builder: Builder,
    context: ImageContext,
    dockerfile: string,
): Promise<string | undefined> {
    const published = /^ARG BASE=(\S+)/m.exec(dockerfile)?.[1];
    if (published !== undefined) {
        const problem = await originsOfThisRun.problem(registryUrl(published));
        if (problem === undefined && (await canPull(builder, published))) {
            context.log(`Image base: ${published} (published)`);
            return undefined;
        }
        context.log(
            `Image base: Debian ${suite} with Python, made here (${published} cannot be had: ${problem ?? "it cannot be pulled"})`,
        );
    }
    await ensureLocalBase(builder, context);
    return localBase;
}

/** Where the image of a name would be pulled from: the first part when it looks like a host, else Docker Hub. */
export function registryUrl(image: string): string {
    const [first = "", ...rest] = image.split("/");
    const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
    return `https://${isHost && first !== "docker.io" ? first : "registry-1.docker.io"}/v2/`;
}

async function canPull(builder: Builder, image: string): Promise<boolean> {
    return builder.buildah("pull", ["--quiet", "--policy", "missing", image], { timeLimit: 300_000 }).then(
        () => true,
        () => false,
    );
}

async function ensureLocalBase(builder: Builder, context: ImageContext): Promise<void> {
    const known = await builder.buildah("images", ["--quiet", "--filter", `reference=${localBase}`], {
        timeLimit: 30_000,
    });
    if (known.stdout.trim() !== "") {
        return;
    }
    const file = path.join(context.cacheDir, "images", `ml-api-base-${suite}-${revision}.tar`);
    if (
        !(await fs.access(file).then(
            () => true,
            () => false,
        ))
    ) {
        await makeRoot(builder, context, file);
    }
    await builder.buildah("pull", ["--quiet", `docker-archive:${file}`], { timeLimit: 180_000 });
}

async function makeRoot(builder: Builder, context: ImageContext, file: string): Promise<void> {
    const { packages } = builder;
    const begun = Date.now();
    const root = `${file}.root-${process.pid}`;
    await fs.mkdir(path.dirname(file), { recursive: true });
    context.log(`Image base: debootstrap of Debian ${suite} (once, about 1 min)`);
    try {
        await builder.run(
            packages.program("usr/sbin/debootstrap"),
            [
                "--variant=minbase",
                `--include=${included.join(",")}`,
                `--keyring=${packages.program("usr/share/keyrings/debian-archive-keyring.gpg")}`,
                suite,
                root,
                await mirror(),
            ],
            {
                timeLimit: 900_000,
                variables: {
                    ...(await proxyOfApt(context)),
                    DEBOOTSTRAP_DIR: packages.program("usr/share/debootstrap"),
                    LC_ALL: "C.UTF-8",
                },
            },
        );
        await fs.writeFile(path.join(root, "etc/apt/sources.list"), `deb http://deb.debian.org/debian ${suite} main\n`);
        // Both were copied from this machine.
        await fs.rm(path.join(root, "etc/hostname"), { force: true });
        await fs.rm(path.join(root, "etc/resolv.conf"), { force: true });
        // As the published image has it.
        await fs.symlink("/usr/bin/python3", path.join(root, "usr/local/bin/python"));
        const left = [
            "var/cache/apt/*",
            "var/lib/apt/lists/*",
            "var/log/*",
            "usr/share/doc/*",
            "usr/share/man/*",
            "usr/share/locale/*",
            "dev/*",
        ];
        await archiveFolder({
            folder: root,
            reference: localBase,
            file,
            config: {
                Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                Cmd: ["/usr/bin/python3"],
            },
            tar: ["--anchored", ...left.map((pattern) => `--exclude=./${pattern}`)],
            signal: context.signal,
        });
        context.log(`Image base: made in ${((Date.now() - begun) / 1000).toFixed(0)} s`);
    } finally {
        await fs.rm(root, { recursive: true, force: true });
    }
}

/** debootstrap downloads by itself and knows nothing of apt's settings. */
async function proxyOfApt({ variables }: ImageContext): Promise<Variables> {
    const { stdout } = await execute("apt-config", ["dump", "Acquire::http::Proxy"], { timeLimit: 20_000 });
    const proxy = /^Acquire::http::Proxy "(http[^"]+)";$/m.exec(stdout)?.[1];
    return proxy === undefined || variables["http_proxy"] !== undefined ? {} : { http_proxy: proxy };
}

/** The mirror this machine's own apt uses, when it is a Debian; it is the one that can be reached. */
async function mirror(): Promise<string> {
    const published = "http://deb.debian.org/debian";
    const release = await fs.readFile("/etc/os-release", "utf8").catch(() => "");
    if (!/^ID=debian$/m.test(release)) {
        return published;
    }
    const folder = "/etc/apt/sources.list.d";
    const names = await fs.readdir(folder).catch(() => []);
    const files = [
        "/etc/apt/sources.list",
        ...names.filter((name) => /\.(list|sources)$/.test(name)).map((name) => path.join(folder, name)),
    ];
    for (const file of files) {
        const text = await fs.readFile(file, "utf8").catch(() => "");
        const found = /^(?:deb(?:\s+\[[^\]]*\])?|URIs:)\s+(https?:\/\/\S+\/debian)\/?(?=\s|$)/m.exec(text)?.[1];
        if (found !== undefined) {
            return found;
        }
    }
    return published;
}
