import { expect } from "chai";
import { spawnSync } from "node:child_process";
import {
    cpSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    statSync,
    utimesSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { generate } from "../../distribution/generated";
import { digestOf, type Package, packageChart, writeRepository } from "../../distribution/package";
import { ensureTools } from "../../local/tools";
import { chartFolder, helmBinary } from "./helm";
import { helmWithHome, imageRegistry, webServer } from "./repositories";

describe("chart: the package", function () {
    this.timeout(30_000);

    let made: Package;
    let folder: string;

    before(async () => {
        made = await packageChart(helmBinary(), chartFolder);
        folder = mkdtempSync(join(tmpdir(), "ml-api-repository-"));
        await writeRepository(made, folder);
        for (const place of ["pulled", "from-registry"]) mkdirSync(join(folder, place));
    });
    after(() => {
        rmSync(folder, { recursive: true });
    });

    it("holds the chart and nothing else: no environments, no index, no test inputs", () => {
        const { stdout } = spawnSync("tar", ["-tzf", join(folder, made.name)], { encoding: "utf8" });
        const chart = readdirSync(chartFolder, { recursive: true, encoding: "utf8" })
            .filter((file) => statSync(join(chartFolder, file)).isFile())
            .filter((file) => !/^(environment|ci)\/|^index\.yaml$|\.gitkeep$/.test(file));
        expect(stdout.trim().split("\n")).to.have.members(chart.map((file) => `ml-api/${file}`));
        expect(chart).to.include.members(["Chart.yaml", "README.md", "values.schema.json", "templates/NOTES.txt"]);
    });

    it("is the same bytes from another folder at another time, and other bytes for another chart", async () => {
        const copy = join(folder, "copy");
        cpSync(chartFolder, copy, { recursive: true });
        for (const file of readdirSync(copy, { recursive: true, encoding: "utf8" })) utimesSync(join(copy, file), 1, 1);
        expect(digestOf((await packageChart(helmBinary(), copy)).content)).to.equal(digestOf(made.content));
        writeFileSync(join(copy, "values.yaml"), `${readFileSync(join(copy, "values.yaml"), "utf8")}# one more line\n`);
        expect(digestOf((await packageChart(helmBinary(), copy)).content)).not.to.equal(digestOf(made.content));
        rmSync(copy, { recursive: true });
    });

    it("is the same bytes under Helm 3.18", async () => {
        const tools = await ensureTools(["helm-3.18"], { log: () => undefined });
        const other = await packageChart(tools["helm-3.18"].path, chartFolder);
        expect(digestOf(other.content)).to.equal(digestOf(made.content));
        expect(other.index).to.equal(made.index);
    }).timeout(600_000);

    it("and the table of values in the README are checked in as they are now", async () => {
        const stale = await generate(helmBinary(), { check: true });
        expect(stale, "run: npx --no ml-api chart generate").to.deep.equal([]);
    });

    it("is listed by the index with its digest and without a host or a time", () => {
        const { entries, ...rest } = parse(made.index) as { entries: Record<string, Record<string, unknown>[]> };
        expect(rest).to.deep.equal({ apiVersion: "v1" });
        const [entry, ...others] = entries["ml-api"] ?? [];
        expect(others).to.deep.equal([]);
        expect(entry).to.include({ name: "ml-api", digest: digestOf(readFileSync(join(folder, made.name))) });
        expect(entry).not.to.have.property("created");
        expect(entry?.["urls"]).to.deep.equal([made.name]);
    });

    it("is found by Helm in any web server's folder that has both", async () => {
        const server = await webServer(folder);
        try {
            const helm = helmWithHome(join(folder, "home"));
            await helm("repo", "add", "ours", server.url);
            expect(JSON.parse(await helm("search", "repo", "ml-api", "--output", "json"))).to.deep.include({
                name: "ours/ml-api",
                version: made.name.replace(/^ml-api-|\.tgz$/g, ""),
                app_version: "",
                description: (parse(readFileSync(join(chartFolder, "Chart.yaml"), "utf8")) as { description: string })
                    .description,
            });
            await helm("pull", "ours/ml-api", "--destination", join(folder, "pulled"));
            expect(digestOf(readFileSync(join(folder, "pulled", made.name)))).to.equal(digestOf(made.content));
        } finally {
            server.close();
        }
    });

    it("goes through a registry for images unchanged", async () => {
        const { crane } = await ensureTools(["crane"], { log: () => undefined });
        const registry = await imageRegistry(crane.path);
        try {
            const place = `oci://${registry.address}/charts`;
            const helm = helmWithHome(join(folder, "home"));
            await helm("push", join(folder, made.name), place, "--plain-http");
            await helm("pull", `${place}/ml-api`, "--plain-http", "--destination", join(folder, "from-registry"));
            expect(digestOf(readFileSync(join(folder, "from-registry", made.name)))).to.equal(digestOf(made.content));
        } finally {
            registry.process.kill();
        }
    }).timeout(300_000);
});
