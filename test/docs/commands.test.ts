import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { cloneCheckout, newcomersEnvironment } from "./clone";
import { pages, shellBlocks } from "./markdown";
import { Session } from "./session";

/** Every block that no tag gives to another test: typed as it stands into a clone, without a cluster. */
describe("every command that needs no cluster", function () {
    this.timeout(120_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-pages-"));
    const env = newcomersEnvironment(folder);
    let clone: string;

    before(() => {
        clone = cloneCheckout(folder, env);
    });
    after(() => {
        fs.rmSync(folder, { recursive: true, force: true });
    });

    for (const page of pages()) {
        const blocks = shellBlocks(page).filter(({ tags }) => !("run" in tags) && !("needs" in tags));
        if (blocks.length === 0) continue;
        describe(page.file, () => {
            let session: Session;
            before(() => {
                // A page beside code is read in its folder.
                const beside = page.file.startsWith("docs/") ? "." : path.dirname(page.file);
                session = new Session(folder, path.join(clone, beside), env);
            });
            for (const { line, text } of blocks) {
                it(`line ${line}: ${text.split("\n")[0] ?? ""}`, async () => {
                    await session.run(text);
                });
            }
        });
    }
});
