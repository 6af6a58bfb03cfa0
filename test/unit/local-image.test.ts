import { expect } from "chai";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { registryUrl } from "../../local/image/base";
import { contentTag, imageFiles } from "../../local/image/content-tag";
import { parseIgnore } from "../../local/image/dockerignore";
import { pipMounts, pipSettings } from "../../local/image/pip-settings";

describe("a .dockerignore", () => {
    const cases: readonly (readonly [rules: string, ignored: readonly string[], kept: readonly string[]])[] = [
        ["tests", ["tests", "tests/a/b.py"], ["tests.py", "src/tests"]],
        ["/tests/", ["tests/a"], ["a/tests"]],
        ["*.pyc", ["a.pyc"], ["b/a.pyc", "apyc"]],
        ["**/*.pyc", ["a.pyc", "b/c/a.pyc"], ["a.py"]],
        ["**/__pycache__", ["__pycache__/x", "a/__pycache__/x"], ["a/pycache"]],
        ["docs/**", ["docs/a/b"], ["doc"]],
        ["a?c", ["abc"], ["ac", "a/c"]],
        ["[ab].txt", ["a.txt", "b.txt"], ["c.txt"]],
        ["*\n!keep", ["a", "b/c"], ["keep", "keep/x"]],
        ["data\n!data/small\ndata/small/x", ["data/big", "data/small/x"], ["data/small/y"]],
        ["# tests\n\n  b  \r\n", ["b"], ["tests"]],
        ["\\!odd", ["!odd"], ["odd"]],
        ["a.b", ["a.b"], ["aXb"]],
    ];
    for (const [rules, ignored, kept] of cases) {
        it(`reads ${JSON.stringify(rules)}`, () => {
            const ignores = parseIgnore(rules);
            expect(ignored.filter((place) => !ignores(place))).to.deep.equal([]);
            expect(kept.filter(ignores)).to.deep.equal([]);
        });
    }
});

describe("an image's content tag", () => {
    let folder = "";
    beforeEach(async () => {
        folder = await fs.mkdtemp(path.join(os.tmpdir(), "ml-api-tag-"));
        await write("Dockerfile", "FROM scratch\n");
        await write(".dockerignore", "Dockerfile\n.dockerignore\nREADME.md\ntests\n**/*.pyc\n");
        await write("app/main.py", "print(1)\n");
    });
    afterEach(() => fs.rm(folder, { recursive: true }));
    const write = async (place: string, text: string): Promise<void> => {
        await fs.mkdir(path.dirname(path.join(folder, place)), { recursive: true });
        await fs.writeFile(path.join(folder, place), text);
    };
    const changed = async (change: () => Promise<unknown>): Promise<boolean> => {
        const before = await contentTag(folder);
        await change();
        return (await contentTag(folder)) !== before;
    };

    it("has 16 hex digits and counts the Dockerfile and what enters the image", async () => {
        expect(await contentTag(folder)).to.match(/^[0-9a-f]{16}$/);
        expect(await imageFiles(folder)).to.deep.equal(["Dockerfile", "app/main.py"]);
    });

    it("changes with content, names, the Dockerfile, line ends and the right to execute", async () => {
        expect(await changed(() => write("app/main.py", "print(2)\n"))).to.equal(true);
        expect(await changed(() => write("app/main.py", "print(2)\r\n"))).to.equal(true);
        expect(await changed(() => write("Dockerfile", "FROM other\n"))).to.equal(true);
        expect(
            await changed(() => fs.rename(path.join(folder, "app/main.py"), path.join(folder, "app/run.py"))),
        ).to.equal(true);
        expect(await changed(() => fs.chmod(path.join(folder, "app/run.py"), 0o755))).to.equal(true);
    });

    it("stays with times, other rights, what is ignored and the place of the folder", async () => {
        expect(await changed(() => fs.utimes(path.join(folder, "app/main.py"), 1, 1))).to.equal(false);
        expect(await changed(() => fs.chmod(path.join(folder, "app/main.py"), 0o600))).to.equal(false);
        expect(await changed(() => write("README.md", "x"))).to.equal(false);
        expect(await changed(() => write("tests/test.py", "x"))).to.equal(false);
        expect(await changed(() => write("app/main.pyc", "x"))).to.equal(false);
        const copy = `${folder}-copy`;
        await fs.cp(folder, copy, { recursive: true });
        try {
            expect(await contentTag(copy)).to.equal(await contentTag(folder));
        } finally {
            await fs.rm(copy, { recursive: true });
        }
    });

    it("takes a symbolic link for what it says, wherever it leads", async () => {
        const link = path.join(folder, "app/link");
        expect(await changed(() => fs.symlink("/nowhere", link))).to.equal(true);
        await fs.rm(link);
        expect(await changed(() => fs.symlink("..", link))).to.equal(true);
    });
});

describe("what a build is told of this machine", () => {
    it("gives pip its variables as settings", () => {
        const settings = pipSettings({
            PIP_INDEX_URL: "https://x/simple",
            PIP_FIND_LINKS: "/a  /b",
            PIP_CONFIG_FILE: "/c",
            HOME: "/h",
        });
        expect(settings).to.equal("[global]\nfind-links = /a\n    /b\nindex-url = https://x/simple\n");
        expect(pipSettings({ HOME: "/h" })).to.equal(undefined);
    });

    it("lets pip trust what the machine's other programs trust, unless pip is told itself", () => {
        expect(pipSettings({ SSL_CERT_FILE: "/certs.pem" })).to.equal("[global]\ncert = /certs.pem\n");
        expect(pipSettings({ SSL_CERT_FILE: "/certs.pem", PIP_CERT: "/own.pem" })).to.equal(
            "[global]\ncert = /own.pem\n",
        );
    });

    it("hands in only what exists, each at its own place", async () => {
        const folder = await fs.mkdtemp(path.join(os.tmpdir(), "ml-api-pip-"));
        try {
            await fs.writeFile(path.join(folder, "own.pem"), "");
            const variables = {
                HOME: folder,
                PIP_CERT: path.join(folder, "own.pem"),
                PIP_FIND_LINKS: path.join(folder, "none"),
            };
            const mounts = new Map((await pipMounts(variables, folder)).map(([from, to]) => [to, from]));
            expect(mounts.get(path.join(folder, "own.pem"))).to.equal(path.join(folder, "own.pem"));
            expect(mounts.get("/root/.config/pip/pip.conf")).to.equal(path.join(folder, "pip.conf"));
            expect(mounts.has(path.join(folder, "none"))).to.equal(false);
        } finally {
            await fs.rm(folder, { recursive: true });
        }
    });
});

describe("the registry of a base image", () => {
    it("is Docker Hub unless the name begins with a host", () => {
        expect(registryUrl("python:3.11-slim")).to.equal("https://registry-1.docker.io/v2/");
        expect(registryUrl("docker.io/library/python:3.11")).to.equal("https://registry-1.docker.io/v2/");
        expect(registryUrl("user/python")).to.equal("https://registry-1.docker.io/v2/");
        expect(registryUrl("registry.example.com/python:1@sha256:00")).to.equal("https://registry.example.com/v2/");
        expect(registryUrl("localhost:5000/python")).to.equal("https://localhost:5000/v2/");
    });
});
