import { expect } from "chai";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { killAll } from "../../local/processes";
import { cloneCheckout, newcomersEnvironment } from "../docs/clone";
import { Session } from "../docs/session";
import { family } from "./killed-run";

const UP = "npx --no ml-api up dev";

/** The command that people type, after a death and after a loss: one more time is enough. */
describe("ml-api up, once more", function () {
    this.timeout(300_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-up-again-"));
    const env: NodeJS.ProcessEnv = { ...newcomersEnvironment(folder), CLUSTER: "simulated" };
    let clone: string;
    let session: Session;

    before(async () => {
        clone = cloneCheckout(folder, env);
        session = new Session(folder, clone, env);
        await session.run(UP);
    });
    after(async () => {
        await session.run("npx --no ml-api cluster down");
        fs.rmSync(folder, { recursive: true, force: true });
    });

    function edit(memory: string): void {
        const file = path.join(clone, "chart/environment/dev/values-dev.yaml");
        fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(/memory: \w+/, `memory: ${memory}`));
    }

    /** `ml-api up` with all that it has started, at the moment when its output says so. */
    async function killedAt(words: RegExp): Promise<void> {
        const args = ["cli/ml-api.js", "up", "dev"];
        const child = spawn(process.execPath, args, { cwd: clone, env, stdio: ["ignore", "pipe", "pipe"] });
        let text = "";
        await new Promise<void>((resolve, reject) => {
            const see = (chunk: string): void => {
                text += chunk;
                if (words.test(text)) resolve();
            };
            for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", see);
            child.on("close", () => {
                reject(new Error(`it ended before it was killed:\n${text}`));
            });
        });
        killAll(family(child.pid ?? 0));
    }

    const memory =
        'eval "$(npx --no ml-api env)"; kubectl -n mf-demo-dev get deployment mf-demo -o jsonpath="{.spec.template.spec.containers[0].resources.requests.memory}"';

    it("after it was killed in the middle releases the dead lock, repairs and deploys", async () => {
        edit("193Mi");
        await killedAt(/Release mf-demo updating/);
        const text = await session.run(UP);
        expect(text).to.contain("the lock of a dead run is released");
        expect(await session.run(memory)).to.match(/193Mi$/);
        expect(await session.run('eval "$(npx --no ml-api env)"; pulumi preview --stack dev')).to.contain("unchanged");
    });

    it("after its namespace was deleted makes all of it again", async () => {
        await session.run('eval "$(npx --no ml-api env)"; kubectl delete namespace mf-demo-dev --timeout=60s');
        const text = await session.run(UP);
        expect(text).to.contain("the namespace of dev is gone: Pulumi looks at what is left first");
        expect(await session.run(memory)).to.match(/193Mi$/);
    });
});
