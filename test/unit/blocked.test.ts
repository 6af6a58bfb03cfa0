import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { BLOCK_LIST, blockedIn, blockedText, parseBlocked, readBlocked } from "../../components/config/blocked";
import { checkProject } from "../../components/config/project";
import { ProjectFolder } from "./project-folder";

const BAD = `sha256:${"ab".repeat(32)}`;
const entry = (more = ""): string =>
    `blocked:\n  - digest: ${BAD}\n    reason: leaks memory\n    who: ada\n    when: 2026-11-22\n${more}`;

describe("the block list", () => {
    it("of this repository is readable, and blocks nothing yet", () => {
        expect(readBlocked(path.resolve(__dirname, "../.."))).to.deep.equal([]);
    });

    it("finds a digest in an image's name, in values, in a manifest and in a model's bare sum, and nowhere else", () => {
        const list = parseBlocked(entry());
        const hex = BAD.slice("sha256:".length);
        for (const one of [
            `ghcr.io/team/api@${BAD}`,
            { image: { digest: BAD } },
            { model: { download: { sha256: hex } } },
            `kind: Deployment\nimage: x@sha256:${hex.toUpperCase()}\n`,
        ])
            expect(blockedIn(list, one), JSON.stringify(one)).to.have.lengthOf(1);
        for (const one of ["", {}, `x@sha256:${"ac".repeat(32)}`, `a${hex}`, hex.slice(1), undefined])
            expect(blockedIn(list, one), JSON.stringify(one)).to.deep.equal([]);
        expect(blockedIn([], `x@${BAD}`)).to.deep.equal([]);
        expect(blockedIn(list, BAD, BAD, { BAD })).to.have.lengthOf(1);
    });

    it("says to who is stopped what was blocked, why, since when and by whom", () => {
        const [one] = parseBlocked(entry());
        if (one === undefined) throw new Error("nothing was read");
        expect(blockedText(one)).to.equal(
            `${BAD} is blocked since 2026-11-22: leaks memory (ada, branching/blocked.yaml:2)`,
        );
    });

    it("that is wrong is refused with every fault and its line, never read as empty", () => {
        for (const [text, ...words] of [
            ["", "a map with the key `blocked`"],
            ["blockd: []\n", 'no key "blockd", did you mean "blocked"?', "`blocked` is no list"],
            ["blocked:\n  - sha256:abc\n", "blocked.yaml:2: an entry is a map"],
            [entry().replace("reason: leaks memory", "reson: x"), 'no key "reson"', "has no reason"],
            [entry().replace(BAD, BAD.toUpperCase()), "is no digest"],
            [entry().replace(BAD, `${BAD}0`), "is no digest"],
            [entry().replace("2026-11-22", "2026-11-31"), "is no day"],
            [entry().replace("2026-11-22", "yesterday"), "is no day"],
            ["blocked: [\n", "blocked.yaml:"],
        ] as const) {
            const refused = () => parseBlocked(text);
            for (const word of words) expect(refused, text).to.throw(word);
        }
    });

    it("is a part of `ml-api check`, with the line of the values file", () => {
        const project = new ProjectFolder();
        try {
            project.addStack("dev", `image:\n  repository: a/b\n  digest: ${BAD}\n`);
            expect(checkProject(project.root)).to.deep.equal([]);
            project.write(BLOCK_LIST, entry());
            const [problem, ...more] = checkProject(project.root);
            expect(more).to.deep.equal([]);
            expect(problem?.where).to.equal("chart/environment/dev/values-dev.yaml:4");
            expect(problem?.what).to.contain("leaks memory");
        } finally {
            fs.rmSync(project.root, { recursive: true, force: true });
        }
    });
});
