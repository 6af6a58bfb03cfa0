import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { forgetStackSalt, hideStackSalt } from "../../local/stack-salt";

describe("the salt of a local stack", () => {
    let checkout: string;
    const git = (...args: string[]) =>
        execFileSync("git", ["-C", checkout, "-c", "user.name=t", "-c", "user.email=t@t", ...args], {
            encoding: "utf8",
        }).trim();
    const file = () => path.join(checkout, "Pulumi.dev.yaml");

    beforeEach(() => {
        checkout = fs.mkdtempSync(path.join(os.tmpdir(), "salt-"));
        git("init", "--quiet");
        fs.writeFileSync(file(), "config:\n  a: b\n");
        git("add", ".");
        git("commit", "--quiet", "-m", "x");
    });
    afterEach(() => {
        fs.rmSync(checkout, { recursive: true });
    });

    it("is not seen by git, and not committed with an edit of the same file", () => {
        fs.appendFileSync(file(), "encryptionsalt: v1:abc\n");
        expect(git("status", "--short")).to.equal("M Pulumi.dev.yaml");
        hideStackSalt(checkout, ["Pulumi.dev.yaml"]);
        expect(git("status", "--short")).to.equal("");

        fs.writeFileSync(file(), "config:\n  a: c\nencryptionsalt: v1:abc\n");
        hideStackSalt(checkout, ["Pulumi.dev.yaml"]);
        expect(git("diff", "--cached")).to.equal("");
        git("commit", "--quiet", "-am", "y");
        expect(git("show", "HEAD:Pulumi.dev.yaml")).to.equal("config:\n  a: c");
        expect(fs.readFileSync(file(), "utf8")).to.contain("encryptionsalt");
    });

    it("is forgotten with its passphrase, unless the file holds secrets that need it", () => {
        fs.writeFileSync(file(), "config:\n  a: b\nencryptionsalt: v1:abc\n");
        forgetStackSalt(checkout, "Pulumi.dev.yaml");
        expect(fs.readFileSync(file(), "utf8")).to.equal("config:\n  a: b\n");
        const secret = "config:\n  a:\n    secure: v1:x\nencryptionsalt: v1:abc\n";
        fs.writeFileSync(file(), secret);
        forgetStackSalt(checkout, "Pulumi.dev.yaml");
        expect(fs.readFileSync(file(), "utf8")).to.equal(secret);
    });

    it("may be hidden again and again, and where there is no git at all", () => {
        hideStackSalt(checkout, ["Pulumi.dev.yaml", "Pulumi.none.yaml"]);
        hideStackSalt(checkout, ["Pulumi.dev.yaml"]);
        expect(
            fs.readFileSync(path.join(checkout, ".git", "info", "attributes"), "utf8").match(/Pulumi/g),
        ).to.have.length(1);
        fs.rmSync(path.join(checkout, ".git"), { recursive: true });
        hideStackSalt(checkout, ["Pulumi.dev.yaml"]);
    });
});
