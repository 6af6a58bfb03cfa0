import { existsSync, mkdirSync, readdirSync, readlinkSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { choosePlugins, pulumiHome, type PluginOptions } from "../../local/plugins";
import { askPluginVersion } from "../../local/plugin-version";
import type { RunResult } from "../../local/run";
import { scratch, type Scratch } from "../unit/local-fakes";

describe("choosing the Pulumi plugins", () => {
    let place: Scratch;
    let lines: string[];
    let ran: string[];
    let answer: RunResult;
    let reachable: boolean;
    let asked: number;

    beforeEach(() => {
        place = scratch();
        lines = [];
        ran = [];
        answer = { stdout: "", stderr: "" };
        reachable = false;
        asked = 0;
        for (const name of names) place.script(`checkout/local/plugins/bin/${name}`, "true");
        place.script("pulumi/pulumi", "true");
    });
    afterEach(() => {
        place.remove();
    });

    it("takes those on PATH when all three fit", async () => {
        for (const name of names) place.script(`bin/${name}`, "true");
        const choice = await choosePlugins(options());
        expect(choice).to.deep.include({ kind: "published", path: [], variables: {} });
        expect(lines).to.deep.equal(["plugins  published ones, on PATH"]);
        expect(asked).to.equal(0);
    });

    it("lets pulumi download what is not on PATH in a fitting version, and does not let the wrong one win", async () => {
        reachable = true;
        for (const name of names) place.script(`bin/${name}`, "true");
        const choice = await choosePlugins(
            options({
                askVersion: (program) =>
                    Promise.resolve(
                        program.endsWith("random") ? "3.0.0" : "9.9.9".replace("9.9.9", versionOf(program)),
                    ),
            }),
        );
        expect(choice).to.deep.include({ kind: "published", variables: { PULUMI_IGNORE_AMBIENT_PLUGINS: "true" } });
        expect(ran).to.deep.equal([
            "plugin install resource kubernetes 4.32.0",
            "plugin install resource random 4.21.1",
        ]);
    });

    it("finds the language host beside pulumi, where its release puts it", async () => {
        reachable = true;
        place.script("pulumi/pulumi-language-nodejs", "true");
        expect((await choosePlugins(options())).kind).to.equal("published");
    });

    it("asks nobody for what was downloaded before", async () => {
        place.script("pulumi/pulumi-language-nodejs", "true");
        for (const folder of ["resource-kubernetes-v4.32.0", "resource-random-v4.21.1"])
            mkdirSync(join(place.path, "cache/pulumi-plugins", folder), { recursive: true });
        expect((await choosePlugins(options())).kind).to.equal("published");
        expect([asked, ran.length]).to.deep.equal([0, 0]);
    });

    it("takes the stand-ins when the published ones cannot be had, and says why in one line", async () => {
        place.script("pulumi/pulumi-language-nodejs", "true");
        const choice = await choosePlugins(options());
        expect(choice).to.deep.equal({
            kind: "stand-in",
            line: "plugins  stand-ins of local/plugins (the published ones cannot be had: api.github.com is away, get.pulumi.com is away)",
            path: [join(place.path, "state", "stand-ins", "bin")],
            variables: { PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true", ML_API_HELM: "/h/helm" },
        });
        expect(lines).to.deep.equal([choice.line]);
        const placed = join(place.path, "state", "stand-ins");
        expect(realpathSync(join(placed, "bin", "pulumi-language-nodejs"))).to.equal(
            realpathSync(join(place.path, "checkout/local/plugins/bin/pulumi-language-nodejs")),
        );
        const folders = readdirSync(join(placed, "plugins"), { withFileTypes: true });
        expect(folders.map((folder) => folder.isDirectory())).to.deep.equal([true, true]);
        expect(existsSync(join(placed, "plugins/resource-kubernetes-v4.32.0/pulumi-resource-kubernetes"))).to.equal(
            true,
        );
        expect(existsSync(join(placed, "plugins/resource-random-v4.21.1/pulumi-resource-random"))).to.equal(true);
        // Beside the language host lies the CLI itself, not a link that it would follow away from it.
        expect(realpathSync(join(placed, "bin", "pulumi"))).to.equal(realpathSync(placed) + "/bin/pulumi");
        expect(pulumiHome(join(place.path, "state"), join(place.path, "cache"), "stand-in")).to.contain("pulumi-home");
        expect(realpathSync(join(place.path, "state/pulumi-home/plugins"))).to.equal(
            realpathSync(join(placed, "plugins")),
        );
    });

    it("takes the stand-ins when the download fails", async () => {
        reachable = true;
        answer = { stdout: "", stderr: "error: 403 HTTP error\n", failure: "ended with code 1" };
        place.script("pulumi/pulumi-language-nodejs", "true");
        expect((await choosePlugins(options())).line).to.contain("403 HTTP error");
    });

    it("takes the stand-ins for a pulumi that comes without its language host", async () => {
        reachable = true;
        expect((await choosePlugins(options())).line).to.contain("pulumi-language-nodejs is not on PATH");
    });

    it("stays with its choice until the state is gone", async () => {
        place.script("pulumi/pulumi-language-nodejs", "true");
        await choosePlugins(options());
        reachable = true;
        asked = 0;
        expect((await choosePlugins(options())).kind).to.equal("stand-in");
        expect(asked).to.equal(0);
        writeFileSync(join(place.path, "state/plugins.json"), "{");
        expect((await choosePlugins(options())).kind).to.equal("published");
    });

    it("can be told by ML_API_PLUGINS", async () => {
        for (const name of names) place.script(`bin/${name}`, "true");
        expect((await choosePlugins(options({}, "stand-in"))).kind).to.equal("stand-in");
        expect((await choosePlugins(options({}, "published"))).kind).to.equal("published");
        expect(await choosePlugins(options({}, "real")).catch(String)).to.contain('ML_API_PLUGINS is "real"');
    });

    it("says what is missing when ML_API_PLUGINS=published cannot be", async () => {
        expect(await choosePlugins(options({}, "published")).catch(String)).to.contain(
            "cannot be had: pulumi-language-nodejs is not on PATH",
        );
    });

    it("keeps downloads in the cache, so that `make down` does not cost them", () => {
        const home = pulumiHome(join(place.path, "state"), join(place.path, "cache"));
        expect(readlinkSync(join(home, "plugins"))).to.equal(join(place.path, "cache/pulumi-plugins"));
        expect(pulumiHome(join(place.path, "state"), join(place.path, "cache"))).to.equal(home);
    });

    it("gets no version from a program that is no plugin", async () => {
        const variables = { PATH: "/usr/bin:/bin" };
        expect(await askPluginVersion(place.script("bin/a", "exit 1"), "resource", variables, 2000)).to.equal(
            undefined,
        );
        expect(await askPluginVersion(place.script("bin/b", "sleep 60"), "resource", variables, 200)).to.equal(
            undefined,
        );
        expect(await askPluginVersion(join(place.path, "bin/c"), "resource", variables, 200)).to.equal(undefined);
    });

    function options(overrides: Partial<PluginOptions> = {}, wish?: string): PluginOptions {
        return {
            pulumi: { name: "pulumi", path: join(place.path, "pulumi/pulumi"), version: "3.259.0", source: "download" },
            helm: { name: "helm", path: "/h/helm", version: "3.20.2", source: "path" },
            stateDir: join(place.path, "state"),
            cacheDir: join(place.path, "cache"),
            checkout: join(place.path, "checkout"),
            variables: { PATH: join(place.path, "bin"), ML_API_PLUGINS: wish },
            log: (line) => {
                lines.push(line);
            },
            origins: {
                problem: (url) => {
                    asked += 1;
                    return Promise.resolve(reachable ? undefined : `${new URL(url).host} is away`);
                },
                giveUp: () => undefined,
            },
            run: (_, args) => {
                ran.push(args.join(" "));
                return Promise.resolve(answer);
            },
            askVersion: (program) => Promise.resolve(versionOf(program)),
            ...overrides,
        };
    }
});

const names = ["pulumi-language-nodejs", "pulumi-resource-kubernetes", "pulumi-resource-random"];

function versionOf(program: string): string {
    if (program.endsWith("kubernetes")) return "4.32.0";
    return program.endsWith("random") ? "4.21.1" : "3.259.0";
}
