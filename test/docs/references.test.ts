import { expect } from "chai";
import { Command } from "commander";
import * as fs from "node:fs";
import * as path from "node:path";
import { commandReference } from "../../cli/command-reference";
import { references } from "../../cli/docs";
import { program } from "../../cli/main";
import { componentReference } from "../../distribution/component-reference";
import { settingsReference } from "../../distribution/settings-reference";
import { checkoutRoot } from "../../local/paths";

describe("the references", () => {
    it("are checked in as the code makes them now", async () => {
        for (const [file, wanted] of Object.entries(await references(program()))) {
            const found = fs.readFileSync(path.join(checkoutRoot, file), "utf8");
            expect(found, `${file} → npx --no ml-api docs generate, and commit it`).to.equal(wanted);
        }
    });

    it("show each command's help, also of those in groups, and what stands behind its options", () => {
        const root = new Command("x");
        root.command("one").description("first | of two").option("--json", "as JSON").addHelpText("after", "\nMore.");
        root.command("group").command("two").argument("<env>", "where").description("the other");
        const page = commandReference(root);
        expect(page).to.contain("| [`x one`](#x-one) | first \\| of two |");
        expect(page).to.match(/## x one\n\n```text\nUsage: x one \[options\]\n[^]*--json +as JSON[^]*\nMore\.\n```/);
        expect(page).to.contain("## x group two").and.to.contain("Usage: x group two [options] <env>");
    });

    it("refuse a setting, or a part of the component, about which nothing is said", () => {
        expect(settingsReference("config: {a: {type: string, description: Its name., default: x}}")).to.contain(
            '| `a` | string | `"x"` | Its name. |',
        );
        expect(() => settingsReference("config: {a: {type: string}}")).to.throw("Pulumi.yaml says nothing about a →");
        const silent = { resources: { "p:index:Api": { inputProperties: { a: {} }, properties: {} } } };
        expect(() => componentReference(silent)).to.throw("nothing is said about Api.a →");
    });
});
