import { expect } from "chai";
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { forgetStackSalt } from "../../local/stack-salt";
import { itThoroughly } from "../thorough";
import { skipWithoutNode } from "./own-node";

const ROOT = path.join(__dirname, "..", "..");

interface Ended {
    readonly code: number;
    readonly text: string;
    readonly seconds: number;
}

/** What the README promises a newcomer, on real pods: `make up` in a fresh clone ends with a prediction. */
describe("from a clone to a prediction", function () {
    this.timeout(600_000);
    let clone: string;
    let state: string | undefined;

    before(async function () {
        await skipWithoutNode(this);
        clone = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-clone-"));
        state = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-state-"));
        const files = execFileSync(
            "git",
            ["-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            { encoding: "utf8" },
        );
        for (const file of files.split("\0").filter((name) => name !== "" && fs.existsSync(path.join(ROOT, name)))) {
            fs.cpSync(path.join(ROOT, file), path.join(clone, file), { recursive: true });
        }
        // What a clone has: the salts of this checkout's own stacks are not committed.
        for (const stack of ["dev", "staging", "production"]) forgetStackSalt(clone, `Pulumi.${stack}.yaml`);
        git("init", "--quiet");
        git("add", ".");
        git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "as cloned");
        fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(clone, "node_modules"));
    });
    after(async () => {
        if (state === undefined) return;
        await mlApi(["cluster", "down"]);
        for (const folder of [clone, state]) fs.rmSync(folder, { recursive: true, force: true });
    });

    const git = (...args: string[]) => execFileSync("git", ["-C", clone, ...args], { encoding: "utf8" }).trim();
    const mlApi = (args: readonly string[], onText?: (text: string, pid: number) => void) =>
        run(path.join(clone, "cli", "ml-api.js"), args, onText);
    /** As typed into a shell that the README's line has set up. */
    const shell = (line: string) => run("sh", ["-c", `eval "$(${clone}/cli/ml-api.js env)" && ${line}`]);

    /** Runs a program as a person would: with no variable of the test run's own Pulumi or cluster. */
    function run(file: string, args: readonly string[], onText?: (text: string, pid: number) => void): Promise<Ended> {
        const own = Object.entries(process.env).filter(
            ([name]) => !/^(?:PULUMI_|KUBECONFIG$|ML_API_(?!CACHE$)|CLUSTER$)/.test(name),
        );
        const began = performance.now();
        const child = spawn(file, args, {
            cwd: clone,
            env: { ...Object.fromEntries(own), XDG_STATE_HOME: state },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let text = "";
        for (const stream of [child.stdout, child.stderr]) {
            stream.setEncoding("utf8").on("data", (chunk: string) => {
                text += chunk;
                onText?.(text, child.pid ?? 0);
            });
        }
        return new Promise((resolve, reject) => {
            child.on("error", reject);
            child.on("close", (code) => {
                resolve({ code: code ?? 130, text, seconds: (performance.now() - began) / 1000 });
            });
        });
    }

    function succeeded(ended: Ended): Ended {
        expect(ended.code, ended.text).to.equal(0);
        return ended;
    }

    it("answers a prediction from a pod, and leaves the clone as it was", async () => {
        const { text } = succeeded(await mlApi(["up", "dev"]));
        expect(text).to.match(/POST http:\/\/mf-demo\.mf-demo-dev\.svc\.cluster\.local\/predict/);
        expect(text).to.match(/200 in \d+ ms: \{"predictions":\[\{"label":"\w+"/);
        expect(git("status", "--short")).to.equal("");
    });

    it("changes nothing the second time", async () => {
        const { text, seconds } = succeeded(await mlApi(["up", "dev"]));
        expect(text)
            .to.contain("unchanged")
            .and.not.to.match(/[1-9]\d* (?:created|updated|replaced|deleted)/);
        expect(text).to.match(/200 in \d+ ms/);
        process.stdout.write(`    the second run took ${seconds.toFixed(1)} s\n`);
    });

    it("answers through its Service from inside the cluster, as `helm test` asks it to", async () => {
        succeeded(await shell("helm test mf-demo --namespace mf-demo-dev --timeout 120s"));
    });

    it("is reached by the commands among the stack's outputs, and refuses who has no key", async () => {
        // The first line opens the port in the background, as it stands; the last one closes it again.
        const line = [
            "pulumi stack output access -s dev | sed 's/8080/18080/g; 2s/^/sleep 3; /' > access.sh",
            ". ./access.sh",
            "echo; curl -s -o /dev/null -w 'without a key: %{http_code}' -X POST http://127.0.0.1:18080/predict",
            "kill $!; rm access.sh",
        ].join("\n");
        const { text } = await shell(line);
        expect(text).to.contain('"predictions"').and.to.contain("without a key: 401");
    });

    it("shows its logs as they come, until it is told to end", async () => {
        let told = false;
        const { code, text } = await mlApi(["logs", "dev"], (so, pid) => {
            if (told || !so.includes("model ready")) return;
            told = true;
            process.kill(pid, "SIGTERM");
        });
        expect(code, text).to.equal(0);
        expect(text).to.match(/^\[pod\/mf-demo-\S+\/api\] \{.*"message": ?"model ready"/m);
    });

    it("opens it on this machine, and says how to ask it there", async () => {
        let asked: Promise<Ended> | undefined;
        const { code, text } = await mlApi(["open", "dev"], (so, pid) => {
            if (asked !== undefined || !so.includes("open until Ctrl-C")) return;
            const curl = so.slice(so.indexOf("curl "), so.indexOf("\nopen until"));
            asked = shell(curl).finally(() => process.kill(pid, "SIGTERM"));
        });
        expect(code, text).to.equal(0);
        expect((await asked)?.text).to.contain('"predictions"');
    });

    itThoroughly("runs staging and production beside it, as typed", async () => {
        for (const stack of ["staging", "production"]) {
            succeeded(await shell(`pulumi up -s ${stack} --yes --skip-preview`));
            expect(succeeded(await mlApi(["predict", stack])).text).to.match(/200 in \d+ ms/);
        }
    });

    itThoroughly(
        "survives being interrupted in the middle of an update: the old version serves, and the next run works",
        async () => {
            const values = path.join(clone, "chart", "environment", "dev", "values-dev.yaml");
            fs.writeFileSync(values, fs.readFileSync(values, "utf8").replace("replicas: 1", "replicas: 2"));
            let interrupted = false;
            const ended = await mlApi(["up", "dev"], (text, pid) => {
                if (interrupted || !/Release mf-demo updating/.test(text)) return;
                interrupted = true;
                process.kill(pid, "SIGTERM");
            });
            expect(interrupted, ended.text).to.equal(true);
            expect(ended.code, ended.text).not.to.equal(0);
            expect(succeeded(await mlApi(["predict", "dev"])).text).to.match(/200 in \d+ ms/);
            expect(succeeded(await mlApi(["up", "dev"])).text).to.match(/200 in \d+ ms/);
            expect(
                succeeded(
                    await shell("kubectl -n mf-demo-dev get deployment mf-demo -o jsonpath='{.status.readyReplicas}'"),
                ).text,
            ).to.equal("2");
        },
    );

    it("says what to do when the sample was edited without its tag", async () => {
        fs.appendFileSync(path.join(clone, "examples", "mf-demo", "train.py"), "\n");
        const { code, text } = await mlApi(["up", "dev"]);
        expect(code).to.equal(1);
        expect(text).to.contain("examples/mf-demo has changed").and.to.contain("npx --no ml-api image --write");
        expect(text).not.to.match(/^\s+at /m);
    });
});
