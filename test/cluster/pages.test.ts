import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { cloneCheckout, newcomersEnvironment } from "../docs/clone";
import { pages, readPage, shellBlocks } from "../docs/markdown";
import { Session } from "../docs/session";

/**
 * Every block with `run=cluster`, as a newcomer types it: into a clone, on the cluster that the README's first command starts. Its
 * pods are simulated; what real ones do is shown by the specs of the commands. First the README, then the other pages.
 */
describe("every command that needs a cluster", function () {
    this.timeout(300_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-pages-"));
    const env = { ...newcomersEnvironment(folder), CLUSTER: "simulated" };
    let clone: string;

    before(() => {
        clone = cloneCheckout(folder, env);
    });
    after(async () => {
        await new Session(folder, clone, env).run("./cli/ml-api.js cluster down");
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const README = "README.md";
    const others = pages().filter(({ file }) => file !== README);
    for (const page of [readPage(README), ...others]) {
        const blocks = shellBlocks(page).filter(({ tags }) => tags["run"] === "cluster");
        if (blocks.length === 0) continue;
        describe(page.file, () => {
            let session: Session;
            before(async () => {
                session = new Session(folder, clone, env);
                // The README says it in its second block, for all that comes after it.
                if (page.file !== README) await session.run('eval "$(npx --no ml-api env)"');
            });
            for (const { line, text } of blocks) {
                it(`line ${line}: ${text.split("\n")[0] ?? ""}`, async () => {
                    await session.run(text);
                });
            }
        });
    }
});
