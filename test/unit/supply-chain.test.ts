import { expect } from "chai";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { signSteps, verifySteps } from "../../branching/generators/supply-chain";
import { type Scratch, scratch } from "./local-fakes";

const ROOT = path.join(__dirname, "..", "..");
interface Step {
    readonly name?: string;
    readonly if?: string;
    readonly run?: string;
}

/** The steps as a runner's shell runs them, with programs that write down how they were called. */
describe("the signature of an image", () => {
    let folder: Scratch;
    beforeEach(() => {
        folder = scratch();
        for (const name of ["npx", "python3"]) folder.script(name, "exit 0");
        folder.file("digest", `sha256:${"a".repeat(64)}`);
    });
    afterEach(() => {
        folder.remove();
    });

    function runScript(steps: readonly object[], cosign: string): { status: number | null; calls: string[] } {
        folder.script("cosign", `echo "$*" >> ${folder.path}/calls\n${cosign}`);
        const script = (steps as readonly Step[]).find(({ run }) => run !== undefined)?.run ?? "";
        const env = {
            PATH: `${folder.path}:/usr/bin:/bin`,
            ...{ REPOSITORY: "ghcr.io/Team", API: "churn", FOLDER: "apis/churn", STACK: "production", TOKEN: "t" },
            ...{ GITHUB_ACTOR: "a", GITHUB_REPOSITORY: "team/apis.v2", RUNNER_TEMP: folder.path },
        };
        const shell = ["--noprofile", "--norc", "-eo", "pipefail", "-c", script];
        const { status } = spawnSync("bash", shell, { cwd: folder.path, env, encoding: "utf8" });
        const calls = path.join(folder.path, "calls");
        return { status, calls: fs.existsSync(calls) ? fs.readFileSync(calls, "utf8").trim().split("\n") : [] };
    }
    const digest = `sha256:${"a".repeat(64)}`;
    const images = (...names: string[]) => folder.script("jq", `printf '%s\\n' ${names.join(" ")}`);

    it("is asked for of every image of ours before a deploy, and by the workflow that builds them", () => {
        images(`ghcr.io/team/churn:x@${digest}`, "localhost/mf-demo:x", `docker.io/library/busybox@${digest}`);
        const { status, calls } = runScript(verifySteps("x"), "exit 0");
        expect(status).to.equal(0);
        const verified = calls.filter((call) => call.startsWith("verify"));
        expect(verified).to.have.lengthOf(1);
        expect(verified[0]).to.contain(`ghcr.io/team/churn:x@${digest}`);
        const [, identity = ""] = /--certificate-identity-regexp (\S+)/.exec(verified[0] ?? "") ?? [];
        const signer = (repository: string) =>
            `https://github.com/${repository}/.github/workflows/image.yaml@refs/heads/feature/x`;
        expect(signer("team/apis.v2")).to.match(new RegExp(identity));
        for (const other of ["team/apis-v2", "team/apis.v2x", "other/apis.v2", `x/https://github.com/team/apis.v2`])
            expect(signer(other)).not.to.match(new RegExp(identity));
    });

    it("that is missing stops the deploy", () => {
        images(`ghcr.io/team/churn:x@${digest}`);
        expect(runScript(verifySteps("x"), 'case "$1" in verify) exit 1;; esac').status).not.to.equal(0);
    });

    it("is made of the digest that was pushed, and of what is in it", () => {
        fs.mkdirSync(path.join(folder.path, "audit", "bin"), { recursive: true });
        for (const name of ["pip", "pip-audit"]) folder.script(`audit/bin/${name}`, "echo '{}' > sbom.json");
        const { status, calls } = runScript(signSteps("x"), "exit 0");
        expect(status).to.equal(0);
        expect(calls).to.include(`sign --yes ghcr.io/team/churn@${digest}`);
        expect(calls.some((call) => call.startsWith("attest --yes --type cyclonedx"))).to.equal(true);
    });

    it("is made after the push, and looked at before the deploy", () => {
        const steps = (file: string, job: string): readonly string[] => {
            const workflow = parse(fs.readFileSync(path.join(ROOT, ".github/workflows", file), "utf8")) as {
                jobs: Record<string, { steps: Step[] }>;
            };
            return (workflow.jobs[job]?.steps ?? []).map(({ name = "" }) => name);
        };
        const built = steps("image.yaml", "build");
        expect(built.indexOf("Say what is in it, and sign it")).to.be.greaterThan(built.indexOf("Push"));
        const deployed = steps("push.yaml", "deploy");
        const looked = deployed.indexOf("Was every image of ours signed by its workflow?");
        expect(looked).to.be.greaterThan(-1).and.lessThan(deployed.indexOf("Deploy"));
    });
});
