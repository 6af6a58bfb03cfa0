import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { expect } from "chai";
import { passedBefore } from "../passed";

describe("a check that has passed before", () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-passed-"));
    const root = path.join(folder, "clone");
    const write = (file: string, text: string) => {
        fs.writeFileSync(path.join(root, file), text);
    };
    const passed = (...name: string[]) => passedBefore(name, /\.ts$/, root, path.join(folder, "cache"));

    before(() => {
        fs.mkdirSync(root);
        write("a.ts", "1");
        execFileSync("git", ["init", "--quiet"], { cwd: root });
    });
    after(() => {
        fs.rmSync(folder, { recursive: true });
    });

    it("is made again when a file that it reads is another, is new or is gone; not for other files", () => {
        expect(passed("lint")?.before).to.equal(false);
        passed("lint")?.remember();
        expect(passed("lint")).to.include({ before: true, files: 1 });
        write("values.yaml", "replicas: 2");
        expect(passed("lint")?.before).to.equal(true);

        write("b.ts", "");
        expect(passed("lint")?.before, "a new file").to.equal(false);
        fs.rmSync(path.join(root, "b.ts"));
        expect(passed("lint")?.before).to.equal(true);
        write("a.ts", "2");
        expect(passed("lint")?.before, "another text").to.equal(false);
        fs.renameSync(path.join(root, "a.ts"), path.join(root, "c.ts"));
        write("c.ts", "1");
        expect(passed("lint")?.before, "another name").to.equal(false);
    });

    it("is made again when it is another check, and where git knows no files", () => {
        passed("lint")?.remember();
        expect(passed("types")?.before).to.equal(false);
        expect(passedBefore(["lint"], /^/, folder, folder)).to.equal(undefined);
    });
});
