import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { imagePatterns, parseImageReference } from "../../branching/image-reference";
import { setValues } from "../../branching/values-edit";
import { BLOCK_LIST } from "../../components/config/blocked";
import { setImage } from "../../cli/set-image";
import { ProjectFolder } from "./project-folder";

const ROOT = path.resolve(__dirname, "../..");
const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const OTHER = `sha256:${"f".repeat(64)}`;

describe("an edit of a values file", () => {
    const file = "values-dev.yaml";
    const set = (text: string, ...changes: [string, string | boolean | number][]): string =>
        setValues(text, changes, file);

    it("replaces a value in the quotes that it had, and leaves every other byte alone", () => {
        const text = [
            "# top\r",
            "replicas:   2   # odd   spaces\r",
            "\r",
            "image:   # of the API\r",
            "    tag: 'old'     # was 1.0\r",
            '    digest: ""\r',
            "    repository: localhost/a\r",
            "# end, without a line end",
        ].join("\n");
        const edited = set(text, ["image.tag", "new"], ["image.digest", DIGEST], ["image.repository", "ghcr.io/t/a"]);
        expect(edited).to.equal(
            text.replace("'old'", "'new'").replace('""', `"${DIGEST}"`).replace("localhost/a", "ghcr.io/t/a"),
        );
        expect(set(edited, ["image.tag", "new"], ["image.digest", DIGEST])).to.equal(edited);
    });

    it("adds what is missing beside its neighbours, wherever the map stands", () => {
        for (const [before, after] of [
            ["image:\n  repository: a\nreplicas: 1\n", 'image:\n  repository: a\n  digest: "d"\nreplicas: 1\n'],
            ["image:\n  repository: a # x", 'image:\n  repository: a # x\n  digest: "d"\n'.slice(0, -1)],
            [
                "image:\n    pullSecrets:\n        a: true\n",
                'image:\n    digest: "d"\n    pullSecrets:\n        a: true\n',
            ],
            ["image: {}\n", 'image: { digest: "d" }\n'],
            ["image: {repository: a}\n", 'image: { digest: "d", repository: a}\n'],
            ["image:\nreplicas: 1\n", 'image:\n  digest: "d"\nreplicas: 1\n'],
            ["image:\n  digest:\n  tag: x\n", 'image:\n  digest: "d"\n  tag: x\n'],
            ["replicas: 1\n", 'replicas: 1\nimage:\n  digest: "d"\n'],
            ["# only words\n", '# only words\nimage:\n  digest: "d"\n'],
            ["", 'image:\n  digest: "d"\n'],
        ] as const)
            expect(set(before, ["image.digest", "d"]), before).to.equal(after);
    });

    it("quotes what would become a number or a truth, and writes real ones plain", () => {
        expect(set("image:\n  tag: abc\n", ["image.tag", "12e4"])).to.equal('image:\n  tag: "12e4"\n');
        expect(set("image:\n  tag: abc\n", ["image.tag", "no"])).to.equal('image:\n  tag: "no"\n');
        expect(set("image:\n  tag: abc\n", ["image.tag", ""])).to.equal('image:\n  tag: ""\n');
        expect(set("a: {unpack: false}\n", ["a.unpack", true])).to.equal("a: {unpack: true}\n");
    });

    it("is refused where it would change more than it says", () => {
        for (const [text, words] of [
            ["x: &i {digest: a}\nimage: *i\n", "image is an alias"],
            ["image:\n  digest: &d a\nother: *d\n", "has the anchor &d"],
            ["image:\n  digest: |\n    a\n", "is a block of text"],
            ["image:\n  digest: [a]\n", "is no single value"],
            ["image: a\n", "image is no map"],
            ["image: [\n", "values"],
        ] as const)
            expect(() => set(text, ["image.digest", "d"]), text).to.throw(words);
    });
});

describe("an image's reference", () => {
    const patterns = imagePatterns(ROOT);
    const parse = (text: string) => parseImageReference(text, patterns, ["ghcr.io/team", "localhost"]);

    it("has a repository, a digest, and a tag for people", () => {
        expect(parse(`ghcr.io/team/churn@${DIGEST}`)).to.deep.equal({
            repository: "ghcr.io/team/churn",
            tag: "",
            digest: DIGEST,
        });
        expect(parse(`registry.local:5000/a/b:1.2@${DIGEST}`)).to.deep.equal({
            repository: "registry.local:5000/a/b",
            tag: "1.2",
            digest: DIGEST,
        });
    });

    for (const [text, words] of [
        ["", "no reference"],
        ["ghcr.io/team/churn", "has no digest"],
        ["ghcr.io/team/churn:1.0", "has no digest"],
        [`https://ghcr.io/team/churn@${DIGEST}`, "does not begin with https://"],
        [`ghcr.io/team/churn@${DIGEST.toUpperCase()}`, "is a SHA256"],
        [`ghcr.io/team/churn@sha256:${"A".repeat(64)}`, "capital letters"],
        [`ghcr.io/team/churn@sha256:${"a".repeat(63)}`, "63 of 64 digits"],
        [`ghcr.io/team/churn@sha256:${"a".repeat(63)}g`, 'the character "g"'],
        [`ghcr.io/team/churn@${"a".repeat(64)}`, "does not say its algorithm"],
        [`ghcr.io/team/churn@sha512:${"a".repeat(128)}`, "is a sha512"],
        [`ghcr.io/team/churn@${DIGEST}@${DIGEST}`, "2 digests"],
        [`ghcr.io/team/churn@${DIGEST}\n`, "U+000A"],
        [`ghcr.io/team/churn @${DIGEST}`, "U+0020"],
        [`ghcr.io/teаm/churn@${DIGEST}`, "U+0430"],
        [`ghcr.io/team/ch\u200burn@${DIGEST}`, "U+200B"],
        [`ghcr.io/Team/churn@${DIGEST}`, "ghcr.io/team/churn would be one"],
        [`ghcr.io//churn@${DIGEST}`, "is no image's name"],
        [`ghcr.io/team/churn:@${DIGEST}`, "is no tag"],
        [`@${DIGEST}`, "is no image's name"],
        [`gchr.io/team/churn@${DIGEST}`, 'did you mean "ghcr.io"?'],
    ] as const) {
        it(`is refused: ${JSON.stringify(text.replace(DIGEST, "<digest>"))}`, () => {
            expect(JSON.stringify(parse(text))).to.contain(JSON.stringify(words).slice(1, -1));
        });
    }
});

describe("ml-api set-image", () => {
    let project: ProjectFolder;
    beforeEach(() => {
        project = new ProjectFolder();
        for (const name of ["dev", "staging", "production"])
            project.addStack(
                name,
                '# the image\nimage:\n  repository: localhost/mf-demo\n  tag: "1" # now\nreplicas: 1\n',
            );
        for (const file of ["chart/values.schema.json", "branching/branches.yaml", "policy/exemptions.yaml"])
            project.write(file, fs.readFileSync(path.join(ROOT, file), "utf8"));
        project.write("policy/settings.yaml", "registries: [ghcr.io/team, localhost]\n");
    });
    afterEach(() => {
        project.remove();
    });
    const DEV = "chart/environment/dev/values-dev.yaml";

    it("writes the digest, and takes a tag away that would lie; a second time it changes nothing", () => {
        const before = project.read(DEV);
        const result = setImage(project.root, "dev", `ghcr.io/team/churn@${DIGEST}`);
        expect(result).to.deep.include({ changed: true, file: DEV, warnings: [] });
        expect(project.read(DEV)).to.equal(
            before
                .replace("localhost/mf-demo", "ghcr.io/team/churn")
                .replace('tag: "1" # now', `tag: "" # now\n  digest: "${DIGEST}"`),
        );
        const after = project.read(DEV);
        expect(setImage(project.root, "dev", `ghcr.io/team/churn@${DIGEST}`).changed).to.equal(false);
        expect(project.read(DEV)).to.equal(after);
        setImage(project.root, "dev", `ghcr.io/team/churn:2.0@${OTHER}`);
        expect(project.read(DEV)).to.equal(after.replace('tag: ""', 'tag: "2.0"').replace(DIGEST, OTHER));
    });

    it("warns of a foreign registry in dev, and refuses it where the policy does", () => {
        const foreign = `quay.io/other/churn@${DIGEST}`;
        expect(setImage(project.root, "dev", foreign).warnings.join()).to.contain("comes from none of ghcr.io/team");
        const before = project.read("chart/environment/staging/values-staging.yaml");
        expect(() => setImage(project.root, "staging", foreign)).to.throw("comes from none of ghcr.io/team");
        expect(() => setImage(project.root, "staging", `ghcr.io/teams/churn@${DIGEST}`)).to.throw("comes from none");
        expect(project.read("chart/environment/staging/values-staging.yaml")).to.equal(before);
    });

    it("says that staging takes only what dev has run", () => {
        expect(setImage(project.root, "staging", `ghcr.io/team/churn@${DIGEST}`).warnings.join()).to.contain(
            "ml-api promote dev staging",
        );
    });

    it("refuses what is blocked, and what a stack file overrides, at once", () => {
        project.write(BLOCK_LIST, `blocked:\n  - {digest: "${DIGEST}", reason: leaks, who: ada, when: 2026-11-22}\n`);
        project.write(
            "Pulumi.dev.yaml",
            "config:\n  ml-api:environment: dev\n  ml-api:values:\n    image:\n      tag: x\n",
        );
        const refused = () => setImage(project.root, "dev", `ghcr.io/team/churn@${DIGEST}`);
        expect(refused).to.throw("2 problems");
        expect(refused).to.throw(/leaks[^]*the stack file sets image\.tag/);
    });

    it("reaches an API in apis/<name>", () => {
        project.write(
            "Pulumi.churn-dev.yaml",
            "config:\n  ml-api:environment: dev\n  ml-api:name: churn\n  ml-api:valuesDir: apis/churn\n",
        );
        project.write("apis/churn/values-dev.yaml", "environment: dev\nimage: {repository: localhost/churn}\n");
        expect(setImage(project.root, "churn-dev", `ghcr.io/team/churn@${DIGEST}`).file).to.equal(
            "apis/churn/values-dev.yaml",
        );
        expect(project.read("apis/churn/values-dev.yaml")).to.contain(`digest: "${DIGEST}"`);
    });
});
