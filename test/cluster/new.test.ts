import { expect } from "chai";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { pythonEnvironment } from "../../local/python";
import { cacheDir } from "../../local/paths";
import { forgetStackSalt } from "../../local/stack-salt";
import { ensureTools } from "../../local/tools";
import { skipWithoutNode } from "./own-node";

const ROOT = path.join(__dirname, "..", "..");
const PAGE = fs.readFileSync(path.join(ROOT, "docs/own-api.md"), "utf8");

interface Ended {
    readonly code: number;
    readonly text: string;
    readonly seconds: number;
}

/** docs/own-api.md, typed in a fresh clone: a model's file becomes an API that answers from a real pod. */
describe("from a model's file to a prediction", function () {
    this.timeout(580_000);
    let folder: string | undefined;
    let clone: string;
    let python: string;
    let registry: ChildProcess | undefined;

    before(async function () {
        await skipWithoutNode(this);
        const requirements = path.join(ROOT, "examples/mf-demo/requirements-test.txt");
        python = await pythonEnvironment(requirements, { log: () => undefined });
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-own-"));
        clone = path.join(folder, "clone");
        fs.mkdirSync(temporary());
        const git = (cwd: string, ...args: string[]): Buffer => execFileSync("git", args, { cwd });
        const files = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").toString();
        for (const file of files.split("\0").filter((name) => name !== "" && fs.existsSync(path.join(ROOT, name))))
            fs.cpSync(path.join(ROOT, file), path.join(clone, file), { recursive: true });
        for (const stack of ["dev", "staging", "production"]) forgetStackSalt(clone, `Pulumi.${stack}.yaml`);
        git(clone, "init", "--quiet");
        git(clone, "add", ".");
        git(clone, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "as cloned");
        fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(clone, "node_modules"));
    });
    after(async () => {
        registry?.kill();
        if (folder === undefined) return;
        await typed("npx --no ml-api cluster down");
        fs.rmSync(folder, { recursive: true, force: true });
    });

    /** Where these commands put what is to be gone afterwards. */
    const temporary = (): string => path.join(folder ?? "", "tmp");
    /** As typed into a shell in the clone, with no variable of the test run's own Pulumi or cluster. */
    function typed(line: string): Promise<Ended> {
        const own = Object.entries(process.env).filter(
            ([name]) => !/^(?:PULUMI_|KUBECONFIG$|ML_API_(?!CACHE$)|CLUSTER$)/.test(name),
        );
        const began = performance.now();
        // `npx` would take seconds to find what stands in the clone.
        const command = line.replaceAll("npx --no ml-api", "./cli/ml-api.js");
        const child = spawn("sh", ["-c", command], {
            cwd: clone,
            env: { ...Object.fromEntries(own), XDG_STATE_HOME: path.join(folder ?? "", "state"), TMPDIR: temporary() },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let text = "";
        for (const stream of [child.stdout, child.stderr])
            stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        return new Promise((resolve, reject) => {
            child.on("error", reject);
            child.on("close", (code) => {
                resolve({ code: code ?? 130, text, seconds: (performance.now() - began) / 1000 });
            });
        });
    }
    const good = (ended: Ended): Ended => {
        expect(ended.code, ended.text).to.equal(0);
        return ended;
    };
    const block = (language: string): string =>
        new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "m").exec(PAGE)?.[1] ?? expect.fail(`no block ${language}`);
    const read = (file: string): string => fs.readFileSync(path.join(clone, file), "utf8");

    it("makes the files and answers from a pod, with the page's two commands", async () => {
        execFileSync(python, ["-c", block("python")], { cwd: clone });
        const [make = "", up = ""] = block("sh").trim().split("\n");
        const made = good(await typed(make));
        expect(made.text).to.contain("created apis/churn/server/ (").and.to.contain("2 features, answers classes");
        const deployed = good(await typed(up));
        expect(deployed.text).to.match(/POST http:\/\/churn\.churn-dev\.svc\.cluster\.local\/predict/);
        expect(deployed.text).to.match(
            /200 in \d+ ms: \{"predictions":\[\{"label":"stays","probabilities":\{"leaves":/,
        );
        const minutes = ((made.seconds + deployed.seconds) / 60).toFixed(1);
        process.stdout.write(
            `    new took ${made.seconds.toFixed(0)} s, up ${deployed.seconds.toFixed(0)} s: ${minutes} min\n`,
        );
    });

    it("gave the server tests that pass", async () => {
        // What pytest would keep of its last runs is no leftover of ours.
        const own = '--basetemp "$TMPDIR/pytest"';
        const tests = `PYTHONDONTWRITEBYTECODE=1 ${python} -m pytest -q -p no:cacheprovider ${own} tests`;
        expect(good(await typed(`cd apis/churn/server && ${tests} && rm -r "$TMPDIR/pytest"`)).text).to.contain(
            "5 passed",
        );
    });

    it("keeps the image contract, and the measured values can be written", async () => {
        const { text } = good(await typed("npx --no ml-api doctor churn-dev --write"));
        expect(text)
            .to.match(/\n\d+ ok, 0 failed, /)
            .and.to.contain("as user 10001, on a read-only root");
        expect(text).to.contain("a prediction that was under way at SIGTERM was answered with 200");
        expect(text).to.contain("apis/churn/values-production.yaml: written");
        expect(parse(read("apis/churn/values-dev.yaml"))).to.have.nested.property("model.loadBudgetSeconds");
        expect(fs.readdirSync(temporary())).to.deep.equal([]);
        expect(fs.readFileSync("/proc/mounts", "utf8")).not.to.contain("ml-api-doctor-");
    });

    it("says what to do when the server was edited, and refuses to overwrite", async () => {
        fs.appendFileSync(path.join(clone, "apis/churn/server/api/app.py"), "\n");
        const stale = await typed("npx --no ml-api image --check");
        expect(stale.code).to.equal(1);
        expect(stale.text).to.contain("apis/churn/server has changed").and.to.contain("values-production.yaml");
        const again = await typed("npx --no ml-api new churn --model churn.joblib --yes");
        expect(again.text).to.contain("there is apis/churn already");
        expect(again.code).to.equal(1);
    });

    it("takes an image from a registry by its digest, and one that the registry does not have not at all", async () => {
        const { crane } = await ensureTools(["crane"], { log: () => undefined });
        const child = spawn(crane.path, ["registry", "serve", "--address", "127.0.0.1:0"], {
            stdio: ["ignore", "ignore", "pipe"],
        });
        registry = child;
        const address = await new Promise<string>((resolve) => {
            child.stderr.setEncoding("utf8").on("data", (text: string) => {
                const port = /127\.0\.0\.1:(\d+)|port (\d+)/.exec(text);
                if (port !== null) resolve(`127.0.0.1:${port[1] ?? port[2] ?? ""}`);
            });
        });
        const values = parse(read("apis/churn/values-staging.yaml")) as { image: { tag: string } };
        const file = path.join(cacheDir(), "images", `churn-${values.image.tag}.tar`);
        const reference = `${address}/team/fraud:1`;
        execFileSync(crane.path, ["push", "--insecure", file, reference], { stdio: "ignore" });
        const digest = execFileSync(crane.path, ["digest", reference], { encoding: "utf8" }).trim();
        const { text } = good(
            await typed(`npx --no ml-api new fraud --image ${reference} --sample '{"a": 1}' --yes --json`),
        );
        expect(text).to.contain('"fraud-production"');
        expect(parse(read("apis/fraud/values-production.yaml"))).to.have.nested.property("image.digest", digest);
        good(await typed("npx --no ml-api check --only stacks render policy differences secrets"));
        expect(good(await typed("npx --no ml-api branch dev")).text).to.contain("churn-dev, dev, fraud-dev");
        const looked = good(await typed("npx --no ml-api doctor fraud-staging --no-start"));
        expect(looked.text).to.contain("named by its digest").and.to.contain("not checked: --no-start was given");
        const none = await typed(`npx --no ml-api new other --image ${address}/team/other:1 --yes`);
        expect(none.text).to.contain("the registry has no such image");
        expect(fs.existsSync(path.join(clone, "apis/other"))).to.equal(false);
    });
});
