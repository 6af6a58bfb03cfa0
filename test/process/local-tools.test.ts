import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
    existsSync,
    mkdirSync,
    readdirSync,
    readFileSync,
    statSync,
    truncateSync,
    utimesSync,
    writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { isAlive } from "../../local/processes";
import { run } from "../../local/run";
import { duration, ensureTools, findTools, onPath, type ToolOptions } from "../../local/tools";
import { findChecksum } from "../../local/tools/download";
import { createOrigins } from "../../local/tools/origins";
import { pins, type PublishedDownload, type ToolPin } from "../../local/tools/pins";
import { failure, fakeOrigin, scratch, type FakeOrigin, type Scratch } from "../unit/local-fakes";

const neverAsked = {
    problem: (): Promise<string | undefined> => Promise.resolve("nothing.invalid refuses connections"),
    giveUp: (): void => undefined,
};

describe("getting the tools", () => {
    let place: Scratch;
    let lines: string[];
    let origin: FakeOrigin | undefined;

    beforeEach(() => {
        place = scratch();
        lines = [];
    });
    afterEach(async () => {
        await origin?.close();
        origin = undefined;
        place.remove();
    });

    it("takes a tool that is on PATH in a fitting version, and touches neither cache nor network", async () => {
        place.script("bin/helm", "echo v3.20.9");
        const { helm } = await ensureTools(["helm"], options({ origins: createOrigins() }));
        expect(helm).to.deep.equal({
            name: "helm",
            path: join(place.path, "bin/helm"),
            version: "3.20.9",
            source: "path",
        });
        expect(lines).to.deep.equal([`helm  3.20.9  on PATH (${join(place.path, "bin/helm")})`]);
        expect(existsSync(join(place.path, "cache"))).to.equal(false);
    });

    it("goes by the first program on PATH, as a shell does", async () => {
        place.script("bin/helm", "echo v2.0.0");
        place.script("bin2/helm", "echo v3.20.2");
        fakeGo();
        const { helm } = await ensureTools(
            ["helm"],
            options({ variables: { PATH: path("bin", "bin2", "go-bin"), HOME: place.path } }),
        );
        expect(helm.source).to.equal("built");
        expect(lines.at(-1)).to.contain(`[${join(place.path, "bin/helm")} is 2.0.0, not >=3.20.0 <4.0.0]`);
    });

    it("passes over a tool on PATH that does not answer in time", async () => {
        place.script("bin/helm", "sleep 60");
        fakeGo();
        const { helm } = await ensureTools(
            ["helm"],
            options({
                run: (program, args, given) =>
                    run(program, args, { ...given, timeLimit: program.endsWith("bin/helm") ? 200 : given.timeLimit }),
            }),
        );
        expect(helm.source).to.equal("built");
        expect(lines.at(-1)).to.contain("did not end within 0.2 s");
    });

    it("passes over a tool on PATH that prints no version", async () => {
        place.script("bin/helm", "echo hello");
        fakeGo();
        expect((await ensureTools(["helm"], options())).helm.source).to.equal("built");
    });

    it("takes the cached tool before it asks any publisher", async () => {
        const program = cached("echo v3.20.2");
        const { helm } = await ensureTools(["helm"], options());
        expect(helm).to.deep.equal({ name: "helm", path: program, version: "3.20.2", source: "cache" });
        expect(lines).to.deep.equal(["helm  3.20.2  from the cache"]);
    });

    it("does not take its own cache on PATH for a tool that the machine has", async () => {
        const program = cached("echo v3.20.2");
        const { helm } = await ensureTools(
            ["helm"],
            options({ variables: { PATH: path("cache/helm-3.20.2-linux-amd64"), HOME: place.path } }),
        );
        expect(helm).to.include({ path: program, source: "cache" });
    });

    it("runs a cached tool once to try it, and again only when it changed", async () => {
        const program = cached(`echo run >> ${place.path}/runs\necho v3.20.2`);
        const runs = (): number => readFileSync(join(place.path, "runs"), "utf8").trim().split("\n").length;
        await ensureTools(["helm"], options());
        await ensureTools(["helm"], options());
        expect(runs()).to.equal(1);
        utimesSync(program, new Date(), new Date(1_000_000));
        await ensureTools(["helm"], options());
        expect(runs()).to.equal(2);
    });

    for (const [what, spoil] of [
        [
            "is empty",
            (program: string) => {
                truncateSync(program, 0);
            },
        ],
        [
            "does not run",
            (program: string) => {
                writeFileSync(program, "#!/bin/sh\nexit 3\n");
            },
        ],
        [
            "is another version",
            (program: string) => {
                writeFileSync(program, "#!/bin/sh\necho v3.19.0\n");
            },
        ],
    ] as const) {
        it(`makes a cached tool again when it ${what}`, async () => {
            fakeGo();
            spoil(cached("echo v3.20.2"));
            const { helm } = await ensureTools(["helm"], options());
            expect(helm.source).to.equal("built");
            expect(lines.at(-1)).to.contain("the cached one is broken");
            expect((await ensureTools(["helm"], options())).helm.source).to.equal("cache");
        });
    }

    it("finds what is there without making anything", async () => {
        fakeGo();
        expect(await findTools(["helm"], options())).to.deep.equal({});
        cached("echo v3.20.2");
        expect((await findTools(["helm"], options())).helm?.source).to.equal("cache");
        expect(lines).to.deep.equal([]);
    });

    describe("from its publisher", () => {
        const program = "#!/bin/sh\necho v3.20.2\n";
        const sum = createHash("sha256").update(program).digest("hex");

        it("downloads and checks it, and keeps it in the cache", async () => {
            await serve({ "/helm": program, "/helm.sha256": `${sum}  helm\n` });
            const { helm } = await ensureTools(["helm"], options({ origins: createOrigins(), pins: published() }));
            expect(helm).to.include({
                source: "download",
                path: join(place.path, "cache/helm-3.20.2-linux-amd64/helm"),
            });
            expect(lines[0]).to.match(/^helm {2}3\.20\.2 {2}downloaded from 127\.0\.0\.1:\d+ \(0 s\)$/);
            expect(statSync(helm.path).mode & 0o755).to.equal(0o755);
            expect((await ensureTools(["helm"], options({ pins: published() }))).helm.source).to.equal("cache");
        });

        it("unpacks an archive, with what lies beside the program where that is needed", async () => {
            place.script("pack/linux/helm", "echo v3.20.2");
            place.script("pack/linux/helper", "true");
            const archive = await packed();
            await serve({
                "/helm.tar.gz": archive,
                "/sums": `${createHash("sha256").update(archive).digest("hex")} *helm.tar.gz\n`,
            });
            const pins = published({
                url: `${origin?.url ?? ""}/helm.tar.gz`,
                checksums: `${origin?.url ?? ""}/sums`,
                member: "linux/helm",
                withNeighbours: true,
            });
            const { helm } = await ensureTools(["helm"], options({ origins: createOrigins(), pins }));
            expect(helm.source).to.equal("download");
            expect(readdirSync(join(helm.path, "..")).sort()).to.deep.equal([".tried", "helm", "helper"]);
        });

        it("refuses a download that is not what its publisher lists, and installs nothing", async () => {
            fakeGo();
            await serve({ "/helm": program.replace("3.20", "6.66"), "/helm.sha256": sum });
            const message = await failure(
                ensureTools(["helm"], options({ origins: createOrigins(), pins: published() })),
            );
            expect(message).to.contain("is not what its publisher lists").and.to.contain(sum);
            expect(madeFolders()).to.deep.equal([]);
        });

        for (const [what, files] of [
            ["is not there", {}],
            ["has no checksum beside it", { "/helm": program }],
            [
                "is not in the list of checksums",
                { "/helm": program, "/helm.sha256": `${sum}  other\n${sum}  another\n` },
            ],
        ] as const) {
            it(`builds it when the download ${what}`, async () => {
                fakeGo();
                await serve(files);
                expect(
                    (await ensureTools(["helm"], options({ origins: createOrigins(), pins: published() }))).helm.source,
                ).to.equal("built");
            });
        }

        it("asks an origin once in a run, however many tools come from there", async () => {
            fakeGo();
            await serve({});
            const origins = createOrigins();
            await ensureTools(["helm"], options({ origins, pins: published() }));
            const before = origin?.requests.length ?? 0;
            await ensureTools(["helm"], options({ origins, pins: published(), cache: join(place.path, "cache2") }));
            expect(origin?.requests.filter((request) => request === "HEAD /")).to.have.length(1);
            expect(origin?.requests, "nothing more is tried where a download failed").to.have.length(before);
        });

        it("gives an origin that does not answer only its time limit", async () => {
            origin = await fakeOrigin(() => undefined);
            fakeGo();
            const started = Date.now();
            const { helm } = await ensureTools(["helm"], options({ origins: createOrigins(300), pins: published() }));
            expect(helm.source).to.equal("built");
            expect(Date.now() - started).to.be.below(3000);
        });
    });

    describe("from its Go module", () => {
        it("builds it read-only, static and for this machine, whatever the user set for other work", async () => {
            fakeGo();
            await ensureTools(
                ["helm"],
                options({
                    variables: {
                        PATH: path("bin", "go-bin"),
                        HOME: place.path,
                        GOFLAGS: "-mod=vendor",
                        GOOS: "plan9",
                        GOPROXY: "https://proxy.invalid",
                    },
                }),
            );
            const environment = readFileSync(join(place.path, "go-env"), "utf8");
            expect(environment)
                .to.match(/^GOFLAGS=-mod=readonly -buildvcs=false$/m)
                .and.to.match(/^CGO_ENABLED=0$/m)
                .and.to.match(/^GOPROXY=https:\/\/proxy\.invalid$/m);
            expect(environment).not.to.match(/^GOOS=/m);
            expect(readFileSync(join(place.path, "go-args"), "utf8"))
                .to.contain("-trimpath")
                .and.to.contain("-X helm.sh/helm/v3/internal/version.version=v3.20.2");
        });

        it("leaves out the parts that its build tags name", async () => {
            fakeGo();
            const { helm } = pins;
            const tagged = { helm: { ...helm, build: { ...helm.build, tags: ["no_cloud", "no_mail"] } } };
            await ensureTools(["helm"], options({ pins: tagged }));
            expect(readFileSync(join(place.path, "go-args"), "utf8")).to.contain("-tags no_cloud,no_mail ");
        });

        it("says how far it is, where nothing can be drawn over", async () => {
            fakeGo('echo "go: downloading x v1" >&2; for p in a b c; do echo "pkg/$p" >&2; done');
            let clock = 0;
            await ensureTools(["helm"], options({ progressEvery: 0, now: () => (clock += 1000) }));
            expect(
                lines.some((line) => /^helm 3\.20\.2: compiling: 3 of at most 4 packages, \d+ s$/.test(line)),
                lines.join("\n"),
            ).to.equal(true);
            expect(lines.at(-1)).to.match(/^helm {2}3\.20\.2 {2}built from its Go module \(\d+ s\)$/);
        });

        it("leaves nothing that could be taken for a tool when it fails, and says what Go said", async () => {
            fakeGo("echo 'x.go:1: undefined: y' >&2; exit 1");
            const message = await failure(ensureTools(["helm"], options()));
            expect(message).to.contain("Building helm").and.to.contain("undefined: y").and.to.contain("helm-build.log");
            expect(madeFolders()).to.deep.equal([]);
        });

        it("names the disk when the disk is what is full", async () => {
            fakeGo("echo 'link: write: no space left on device' >&2; exit 1");
            expect(await failure(ensureTools(["helm"], options()))).to.contain("No disk space is left");
        });

        it("does not take a build that does not run for a tool", async () => {
            fakeGo(undefined, "exit 1");
            expect(await failure(ensureTools(["helm"], options()))).to.contain("the result is not usable");
            expect(madeFolders()).to.deep.equal([]);
        });

        it("is not fooled by what a killed build left, and takes it away", async () => {
            fakeGo();
            const dead = spawn("true");
            await new Promise((resolve) => dead.once("close", resolve));
            place.script(`cache/.making-${dead.pid ?? 0}-helm-3.20.2-linux-amd64-abc/helm`, "echo v3.20.2");
            expect((await ensureTools(["helm"], options())).helm.source).to.equal("built");
            expect(readdirSync(join(place.path, "cache")).filter((name) => name.startsWith(".making"))).to.deep.equal(
                [],
            );
        });

        it("is ended with all its children, and leaves nothing, when this program is told to end", async () => {
            fakeGo(`sleep 300 & echo $! > ${place.path}/child; wait`);
            const script = `require("ts-node/register/transpile-only");
                const { ensureTools } = require("./local/tools");
                ensureTools(["helm"], { cache: ${JSON.stringify(join(place.path, "cache"))}, modules: ${JSON.stringify(place.path)},
                    platform: { os: "linux", arch: "amd64" }, origins: { problem: async () => "no", giveUp() {} }, log() {} });`;
            const child = spawn(process.execPath, ["-e", script], {
                env: { ...process.env, PATH: path("go-bin") },
                stdio: "ignore",
            });
            while (!existsSync(join(place.path, "child")) || readFileSync(join(place.path, "child"), "utf8") === "")
                await sleep(20);
            child.kill("SIGTERM");
            const signal = await new Promise((resolve) =>
                child.once("exit", (_, by) => {
                    resolve(by);
                }),
            );
            expect(signal).to.equal("SIGTERM");
            expect(isAlive(Number(readFileSync(join(place.path, "child"), "utf8")))).to.equal(false);
            expect(readdirSync(join(place.path, "cache"))).to.deep.equal([".locks"]);
            expect(readdirSync(join(place.path, "cache/.locks"))).to.deep.equal([]);
        });

        it("is done once when two runs ask at the same time", async () => {
            fakeGo(`echo build >> ${place.path}/builds; sleep 0.3`);
            const [one, two] = await Promise.all([ensureTools(["helm"], options()), ensureTools(["helm"], options())]);
            expect([one.helm.source, two.helm.source].sort()).to.deep.equal(["built", "cache"]);
            expect(readFileSync(join(place.path, "builds"), "utf8")).to.equal("build\n");
        });

        for (const [what, go] of [
            ["is not there", undefined],
            ["is too old", 'echo "go1.22.5"; echo /m; echo /c'],
        ] as const) {
            it(`says in one message what to do when Go ${what}`, async () => {
                if (go !== undefined) place.script("go-bin/go", go);
                const message = await failure(ensureTools(["helm", "kwok"], options()));
                expect(message).to.contain("helm, kwok must be built from source, which needs Go 1.26.0 or newer");
                expect(message).to.contain(go === undefined ? "no Go is on PATH" : "is Go 1.22.5");
                expect(message)
                    .to.contain("https://go.dev/dl/")
                    .and.to.contain("helm >=3.20.0 <4.0.0, kwok >=0.8.0 <0.9.0")
                    .and.to.contain("CLUSTER=current");
            });
        }

        it("looks at the disk before it starts, and says what needs how much", async () => {
            fakeGo();
            const message = await failure(
                ensureTools(["helm"], options({ disk: { freeMegabytes: () => 1000, device: () => 1 } })),
            );
            expect(message)
                .to.contain("Not enough disk space")
                .and.to.contain("1.9 GB are needed, 1.0 GB are free")
                .and.to.contain("ML_API_CACHE");
            expect(existsSync(join(place.path, "go-args"))).to.equal(false);
        });

        it("asks for little disk space when the sources are there already", async () => {
            fakeGo();
            mkdirSync(join(place.path, "mod/helm.sh/helm/v3@v3.20.2"), { recursive: true });
            await ensureTools(["helm"], options({ disk: { freeMegabytes: () => 1000, device: () => 1 } }));
        });
    });

    it("writes one line per tool, in columns, in the order asked for", async () => {
        place.script("bin/helm", "echo v3.20.2");
        place.script("bin/kube-controller-manager", "echo Kubernetes v1.34.4");
        await ensureTools(["helm", "kube-controller-manager", "helm"], options());
        expect(lines).to.deep.equal([
            `helm                     3.20.2  on PATH (${join(place.path, "bin/helm")})`,
            `kube-controller-manager  1.34.4  on PATH (${join(place.path, "bin/kube-controller-manager")})`,
        ]);
    });

    it("writes durations for people", () => {
        expect([0, 4400, 59_400, 72_000, 3_600_000].map(duration)).to.deep.equal([
            "0 s",
            "4 s",
            "59 s",
            "1 min 12 s",
            "60 min 0 s",
        ]);
    });

    it("looks on PATH for programs only, and only in absolute folders", () => {
        place.file("bin/plain", "");
        mkdirSync(join(place.path, "bin/folder"));
        place.script("bin2/plain", "true");
        const variables = { PATH: `relative::${path("bin", "bin2")}` };
        expect(onPath("plain", variables)).to.equal(join(place.path, "bin2/plain"));
        expect(onPath("folder", variables)).to.equal(undefined);
        expect(onPath("plain", {})).to.equal(undefined);
    });

    describe("a publisher's list of checksums", () => {
        const [a, b] = ["a".repeat(64), "B".repeat(64)];
        it("is read in every form publishers use", () => {
            expect(findChecksum(a, "x")).to.equal(a);
            expect(findChecksum(`${a}  x\n${b} *y\n`, "y")).to.equal("b".repeat(64));
            expect(findChecksum(`${a}  dist/x\r\n`, "x")).to.equal(a);
        });
        it("says nothing about a file it does not name", () => {
            expect(findChecksum(`${a}  x\n`, "y")).to.equal(undefined);
            expect(findChecksum(`${a}\n${b}\n`, "y")).to.equal(undefined);
            expect(findChecksum("<html>not found</html>", "y")).to.equal(undefined);
        });
    });

    function options(overrides: ToolOptions = {}): ToolOptions {
        return {
            log: (line) => {
                lines.push(line);
            },
            variables: { PATH: path("bin", "go-bin"), HOME: place.path },
            cache: join(place.path, "cache"),
            modules: place.path,
            platform: { os: "linux", arch: "amd64" },
            origins: neverAsked,
            ...overrides,
        };
    }

    /** Folders under test, and those where the shell's own programs are. */
    function path(...folders: readonly string[]): string {
        return [...folders.map((folder) => join(place.path, folder)), "/usr/bin", "/bin"].join(":");
    }

    /** A Go that "builds" a script; `during` is run while it builds. */
    function fakeGo(during = "true", made = "echo v3.20.2"): void {
        mkdirSync(join(place.path, "helm"), { recursive: true });
        place.script(
            "go-bin/go",
            `case $1 in
            env) printf '%s\\n' go1.26.8 ${place.path}/mod ${place.path}/gocache ;;
            list) printf '%s\\n' a b c d ;;
            build) env > ${place.path}/go-env; echo "$@" > ${place.path}/go-args
                ${during}
                while [ "$1" != -o ]; do shift; done
                printf '#!/bin/sh\\n${made}\\n' > "$2"; chmod +x "$2" ;;
            esac`,
        );
    }

    function cached(body: string): string {
        return place.script("cache/helm-3.20.2-linux-amd64/helm", body);
    }

    function madeFolders(): readonly string[] {
        return readdirSync(join(place.path, "cache")).filter((name) => name !== ".locks" && !name.endsWith(".log"));
    }

    async function serve(files: Readonly<Record<string, string | Buffer>>): Promise<void> {
        origin = await fakeOrigin((request, response) => {
            const content = files[request.url ?? ""];
            response.writeHead(content === undefined ? 404 : 200).end(request.method === "HEAD" ? undefined : content);
        });
    }

    function published(download?: PublishedDownload): Readonly<Record<string, ToolPin>> {
        const at = origin?.url ?? "";
        return {
            helm: {
                version: "3.20.2",
                accepts: ">=3.20.0 <4.0.0-0",
                versionArguments: ["version"],
                versionPattern: /^v(\S+)/,
                download: () => download ?? { url: `${at}/helm`, checksums: `${at}/helm.sha256` },
                build: {
                    group: "helm",
                    module: "helm.sh/helm/v3@v3.20.2",
                    package: "helm.sh/helm/v3/cmd/helm",
                    variables: {},
                },
            },
        };
    }

    async function packed(): Promise<Buffer> {
        const tar = spawn("tar", ["-czf", join(place.path, "archive"), "-C", join(place.path, "pack"), "linux"]);
        await new Promise((resolve) => tar.once("close", resolve));
        return readFileSync(join(place.path, "archive"));
    }
});
