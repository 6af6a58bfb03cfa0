import { expect } from "chai";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse, stringify } from "yaml";
import { expectGolden } from "./golden";
import { chartFolder, helm, helmBinary, inTemporaryFolder } from "./helm";

interface Index {
    apiVersion: string;
    entries: Record<string, { name: string; version: string; urls: string[]; created?: string; digest?: string }[]>;
    generated?: string;
}

const templatesFolder = join(chartFolder, "templates");
const templateFiles = readdirSync(templatesFolder, { recursive: true, encoding: "utf8" }).filter((file) =>
    /\.\w+$/.test(file),
);

function packaged<T>(use: (folder: string, archive: string) => T): T {
    return inTemporaryFolder((folder) => {
        const run = helm(["package", chartFolder, "-d", folder]);
        expect(run.status, run.stderr).to.equal(0);
        const [archive, ...others] = readdirSync(folder);
        if (archive === undefined || others.length > 0) {
            throw new Error(`helm package made ${others.length + 1} files`);
        }
        return use(folder, archive);
    });
}

describe("chart: the package", function () {
    this.timeout(20_000);

    it("holds the chart and nothing else: no environments, no index, no test inputs", () => {
        packaged((folder, archive) => {
            const { stdout } = spawnSync("tar", ["-tzf", join(folder, archive)], { encoding: "utf8" });
            const files = ["Chart.yaml", "README.md", ".helmignore", "values.yaml", "values.schema.json"];
            const expected = [...files, ...templateFiles.map((file) => `templates/${file}`)].map(
                (file) => `ml-api/${file}`,
            );
            expect(stdout.trim().split("\n")).to.have.members(expected);
        });
    });

    it("is listed by index.yaml as helm repo index lists it, without what differs at each packaging", () => {
        packaged((folder) => {
            expect(helm(["repo", "index", folder]).status).to.equal(0);
            const index = parse(readFileSync(join(folder, "index.yaml"), "utf8")) as Index;
            // Two packages of the same chart differ in their time stamps, hence in their digests.
            delete index.generated;
            for (const entry of Object.values(index.entries).flat()) {
                delete entry.created;
                delete entry.digest;
            }
            const comment =
                "# Index of the chart repository that this folder becomes once the package lies beside it.\n";
            expectGolden(join(chartFolder, "index.yaml"), comment + stringify(index, { lineWidth: 0 }));
        });
    });

    it("is found through index.yaml and pulled by Helm from any web server that has both", async () => {
        const folder = mkdtempSync(join(tmpdir(), "ml-api-repository-"));
        const server = createServer((request, response) => {
            const name =
                request.url === "/index.yaml" ? join(chartFolder, "index.yaml") : join(folder, request.url ?? "");
            response.end(readFileSync(name));
        });
        try {
            await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
            const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
            expect(helm(["package", chartFolder, "-d", folder]).status).to.equal(0);
            const own = { HELM_CACHE_HOME: folder, HELM_CONFIG_HOME: folder, HELM_DATA_HOME: folder };
            await promisify(execFile)(
                helmBinary(),
                ["pull", "ml-api", "--repo", url, "--untar", "-d", join(folder, "pulled")],
                {
                    env: { ...process.env, ...own, NO_PROXY: "127.0.0.1" },
                },
            );
            expect(readFileSync(join(folder, "pulled/ml-api/values.yaml"))).to.deep.equal(
                readFileSync(join(chartFolder, "values.yaml")),
            );
        } finally {
            server.close();
            rmSync(folder, { recursive: true });
        }
    });
});

describe("chart: templates", () => {
    it("depend on nothing but the values: no cluster, clock, chance or history", () => {
        const forbidden =
            /\blookup\b|\bnow\b|\bdate\b|\brand\w*\b|\bgen\w+(?:Cert|CA|Key|Password)\w*\b|\buuidv4\b|\bhtpasswd\b|\bbcrypt\b|\.Capabilities|\.Release\.(?:Revision|IsInstall|IsUpgrade)/;
        for (const file of templateFiles) {
            const actions = readFileSync(join(templatesFolder, file), "utf8").replace(
                /\{\{-?\s*\/\*[\s\S]*?\*\/\s*-?\}\}/g,
                "",
            );
            // Words in quotes are messages, not functions.
            for (const [action] of actions.matchAll(/\{\{[\s\S]*?\}\}/g)) {
                expect(action.replace(/"(?:[^"\\]|\\.)*"/g, ""), file).not.to.match(forbidden);
            }
        }
    });

    it("never print what the program notes in global", () => {
        for (const file of templateFiles) {
            expect(readFileSync(join(templatesFolder, file), "utf8"), file).not.to.contain(".Values.global");
        }
    });
});
