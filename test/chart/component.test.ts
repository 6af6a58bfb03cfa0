import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { schemaText } from "../../distribution/component-schema";
import { readManifest } from "../../distribution/npm-package";
import { checkoutRoot } from "../../local/paths";

// That the package installs, deploys and is started as a plugin, test/cluster/npm-package.test.ts shows.
describe("the component's schema", function () {
    this.timeout(120_000);

    it("is checked in as the types and comments make it now", async () => {
        const checkedIn = readFileSync(join(checkoutRoot, "components", "plugin", "schema.json"), "utf8");
        expect(checkedIn, "npx --no ml-api component generate").to.equal(schemaText(await readManifest()));
    });
});
