import { expect } from "chai";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openAccess } from "../../components/config/kubeconfig";
import { Checkout, type Ended, succeeded } from "./checkout";
import { HeldApi } from "./held-api";
import { KilledRun } from "./killed-run";
import { POINTS } from "./points";

const ROOT = path.join(__dirname, "..", "..");
const NAMESPACE = "mf-demo-dev";
const VALUES = "chart/environment/dev/values-dev.yaml";
/** Each is run below as it stands, or (`up`, `open`) by the tests of `make up`. */
const DOCUMENTED = [...fs.readFileSync(path.join(ROOT, "docs", "operations.md"), "utf8").matchAll(/```sh\n(.*?)```/gs)]
    .flatMap(([, block = ""]) => block.trim().split("\n"))
    .filter((line) => !line.endsWith("npx --no ml-api up dev"));

/** The commands of docs/operations.md, on a release that is well, one whose run was killed, and one that somebody's helm works on. */
describe("the on-call commands", function () {
    let checkout: Checkout;
    let api: HeldApi;
    const ran = new Set<string>();

    before(async () => {
        const { ML_API_TEST_KUBECONFIG: kubeconfig, ML_API_CONTEXT: context = "" } = process.env;
        if (kubeconfig === undefined) throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        api = new HeldApi(await openAccess(undefined, process.env, 10_000));
        await api.start();
        checkout.write("held.yaml", api.kubeconfig(context));
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        succeeded(await up());
    });
    after(async () => {
        api.stop();
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
    });

    it("show a release that is well, and all stacks", async () => {
        const { text } = succeeded(await documented("npx --no ml-api status dev"));
        expect(text).to.match(/^release +mf-demo in namespace mf-demo-dev, cluster \S+$/m);
        expect(text)
            .to.match(/^state +deployed, revision 1$/m)
            .and.to.match(/^pods +1\/1 ready$/m);
        expect(text).not.to.match(/^(?:lease|hold|state lock)/m);
        const all = succeeded(await documented("npx --no ml-api status")).stdout;
        expect(all).to.match(/^dev +deployed +1 +1\/1 +localhost\/mf-demo:\S+ +\d+ s/m);
        expect(all).to.match(/^staging +absent +-/m);
        const { stdout } = succeeded(await mlApi("status", "dev", "--json"));
        expect((JSON.parse(stdout) as { stacks: { state: string }[] }).stacks[0]?.state).to.equal("deployed");
        expect((await mlApi("recover", "dev")).text).to.contain("dev: nothing to recover");
    });

    it("say in one sentence when there is nothing to show", async () => {
        for (const [command, name, words] of [
            ["logs", "staging", "staging is not deployed → npx --no ml-api up staging"],
            ["open", "staging", "staging is not deployed → npx --no ml-api up staging"],
            ["status", "prod", '"prod" is neither a stack nor an environment; the stacks are dev, production, staging'],
        ] as const) {
            const { code, text } = await mlApi(command, name);
            expect({ code, text: text.trim() }).to.deep.equal({ code: 1, text: `ml-api: ${words}` });
        }
        const dead = { server: "https://127.0.0.1:1", "insecure-skip-tls-verify": true };
        const kubeconfig = {
            "current-context": "dead",
            contexts: [{ name: "dead", context: { cluster: "dead", user: "dead" } }],
            clusters: [{ name: "dead", cluster: dead }],
            users: [{ name: "dead", user: { token: "x" } }],
        };
        checkout.write("dead.yaml", JSON.stringify(kubeconfig));
        const env = { KUBECONFIG: checkout.file("dead.yaml"), ML_API_CONTEXT: "" };
        const why = "the API server https://127.0.0.1:1 refuses connections";
        const status = await run(["status", "dev"], env);
        expect(status.code).to.equal(1);
        expect(status.text).to.match(new RegExp(`^state +not known: ${why}$`, "m"));
        for (const command of ["logs", "recover"]) {
            const { code, text } = await run([command, "dev"], env);
            expect(code).to.equal(1);
            expect(text)
                .to.contain(why)
                .and.not.to.match(/^\s+at /m);
            expect(text.trim().split("\n")).to.have.length(1);
        }
    });

    it("show what a killed run has left, and put it right", async () => {
        checkout.edit(VALUES, /memory: \d+Mi/, "memory: 200Mi");
        const killed = new KilledRun(checkout, ["up", "--yes", "--skip-preview", "--stack", "dev"], {
            KUBECONFIG: checkout.file("held.yaml"),
        });
        await killed.until(api.holdAt(POINTS["with Helm's record pending"]()));
        await killed.killFamily();
        api.drop();

        const { code, text } = await mlApi("status", "dev");
        expect(code).to.equal(1);
        expect(text).to.match(
            /^state +pending-upgrade, revision 2 .*→ npx --no ml-api up dev, or npx --no ml-api recover dev$/m,
        );
        expect(text).to.match(/^state lock +process \d+ of \S+ on \S+ \(dead\), since .* → pulumi cancel --stack dev/m);
        const asked = await mlApi("recover", "dev");
        expect(asked.code).to.equal(1);
        expect(asked.text).to.contain("nothing was changed: there is no terminal to ask at");
        const { stdout } = succeeded(await documented("npx --no ml-api recover dev", "--yes"));
        expect(stdout).to.contain('revision 2 was "pending-upgrade"; it is marked as failed');
        expect(stdout).to.contain("the lock of a dead run is released: process");
        expect(asked.text, "the plan says the same").to.contain(stdout.split("\n").slice(1).join("\n"));
        succeeded(await documented("pulumi up --stack dev", "--yes", "--skip-preview"));
        expect((await mlApi("status", "dev")).text).to.match(/^state +deployed, revision 3$/m);
    });

    it("leave somebody's helm alone, unless a person knows that it is dead", async () => {
        const args = ["upgrade", "mf-demo", "./chart", "--reuse-values", "--set", "resources.requests.memory=900Ti"];
        const helm = spawn("helm", [...args, "--wait", "--namespace", NAMESPACE], {
            cwd: checkout.root,
            env: checkout.env,
            stdio: "ignore",
        });
        try {
            const until = Date.now() + 60_000;
            while (!(await mlApi("status", "dev")).text.includes("pending-upgrade, revision 4")) {
                if (Date.now() > until) throw new Error("the upgrade did not begin");
                await sleep(500);
            }
        } finally {
            helm.kill("SIGKILL");
        }
        const { code, text } = await mlApi("recover", "dev");
        expect(code).to.equal(1);
        expect(text).to.contain("a helm that is not this program's may be at work, so nothing was changed");
        expect(text).to.contain("If you know that it is: npx --no ml-api recover dev --force");
        const forced = succeeded(await documented("npx --no ml-api recover dev --force", "--yes")).stdout;
        expect(forced).to.contain("taken back to revision 3: Deployment/mf-demo");
        succeeded(await up());
        expect((await mlApi("status", "dev")).text).to.match(/^pods +1\/1 ready$/m);
    });

    it("are all those of the page", async () => {
        succeeded(await documented("pulumi refresh --stack dev", "--yes", "--skip-preview"));
        succeeded(await documented("pulumi cancel --stack dev", "--yes"));
        // The pods only pretend, and have no logs.
        expect((await documented("npx --no ml-api logs dev --previous")).text).not.to.contain("unknown");
        expect([...new Set(DOCUMENTED)].filter((line) => !ran.has(line))).to.deep.equal([]);
    });

    /** A command of the page, with what a test has to add because nobody is there to be asked. */
    function documented(line: string, ...more: string[]): Promise<Ended> {
        expect(DOCUMENTED).to.contain(line);
        ran.add(line);
        const [program = "", ...args] = line.replace(/^npx --no /, "").split(" ");
        return program === "ml-api" ? mlApi(...args, ...more) : checkout.pulumi(...args, ...more);
    }

    function mlApi(...args: string[]): Promise<Ended> {
        return run(args, {});
    }

    function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
        return checkout.run(path.join(ROOT, "cli", "ml-api.js"), args, { env, seconds: 60 });
    }

    function up(): Promise<Ended> {
        return checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev");
    }
});
