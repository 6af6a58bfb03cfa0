import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { terminalPicture } from "../../distribution/terminal-picture";
import { Checkout, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");

/** What the docs show, from real runs. With ML_API_PICTURES=docs/pictures the pictures there are drawn anew. */
describe("the pictures of the docs", () => {
    const pictures = path.join(ROOT, "docs", "pictures");
    const drawn: string[] = [];
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        for (const stack of ["dev", "staging"]) {
            succeeded(await checkout.pulumi("stack", "init", stack));
            succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", stack));
        }
    });
    after(async () => {
        for (const stack of ["dev", "staging"]) {
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        checkout.remove();
    });

    async function draw(name: string, shown: string, file: string, ...args: string[]): Promise<string> {
        const { stdout } = succeeded(
            await checkout.run(file, args, { env: { FORCE_COLOR: "1", NO_COLOR: undefined } }),
        );
        const picture = terminalPicture(shown, stdout);
        drawn.push(`${name}.svg`);
        const folder = process.env["ML_API_PICTURES"];
        if (folder !== undefined) {
            fs.mkdirSync(path.join(ROOT, folder), { recursive: true });
            fs.writeFileSync(path.join(ROOT, folder, `${name}.svg`), picture);
        }
        return picture;
    }
    const mlApi = (name: string, ...args: string[]): Promise<string> =>
        draw(name, `npx --no ml-api ${args.join(" ")}`, path.join(ROOT, "cli", "ml-api.js"), ...args);

    it("show the status of all stacks, and of one", async () => {
        expect(await mlApi("status", "status"))
            .to.match(/>dev<.*\n?.*>deployed</)
            .and.to.contain(">absent<");
        expect(await mlApi("status-staging", "status", "staging"))
            .to.contain("2/2 ready")
            .and.to.contain("last deploy");
    });

    it("are all there, and the page shows each of them", () => {
        expect(fs.readdirSync(pictures).sort()).to.deep.equal(drawn.sort());
        const text = fs.readFileSync(path.join(ROOT, "docs", "observability.md"), "utf8");
        for (const name of drawn) expect(text).to.contain(`pictures/${name}`);
    });
});
