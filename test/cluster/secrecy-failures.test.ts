import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { canary, CanaryStack, SECRETS, VALUES } from "./canary-stack";
import { evidenceIn } from "./drill";
import { findCanary } from "./canary";

const HELPERS = "chart/templates/_helpers.tpl";

/** What a deploy that fails shows and leaves behind, and every other way in which something goes wrong beside a secret. */
describe("a secret, where something goes wrong,", function () {
    // Looking takes two minutes, and more where other things run.
    this.timeout(900_000);
    let stack: CanaryStack;
    /** A person wrote it where it does not belong. */
    const misplaced = canary();
    let evidence: readonly string[] = [];

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        stack = await CanaryStack.begin();
        const { checkout } = stack;
        checkout.env["XDG_STATE_HOME"] = checkout.file(".state");
        const values = checkout.read(VALUES);
        const restore = (): void => {
            checkout.write(VALUES, values);
            stack.writeSecret(stack.rendered);
        };

        // A deploy that fails: its words, its evidence, and what is said about it afterwards.
        const helpers = checkout.read(HELPERS);
        checkout.edit(HELPERS, /"releaseTimeout" \(.*\)$/m, '"releaseTimeout" 20');
        checkout.write(VALUES, `${values}\nmerge: {pod: {nodeSelector: {disk: none}}}\n`);
        const failed = await stack.look("a failed deploy", ["up", "--yes", "--diff", "--debug"], false);
        const folder = evidenceIn({ ...failed, pieces: [] });
        if (folder === undefined) throw new Error(`no evidence was kept: ${failed.text}`);
        stack.lookAtFiles("evidence", folder);
        evidence = [...stack.seen.keys()].filter((name) => name.startsWith("evidence"));
        for (const args of [
            ["status", "dev"],
            ["status", "dev", "--json"],
        ])
            await stack.command(args, "either");
        await stack.look("a deploy that fails again", ["up", "--yes", "--json"], false);
        checkout.write(HELPERS, helpers);
        restore();

        // What the API server and Helm say about a Secret that is wrong.
        stack.writeSecret(stack.rendered, "type: kubernetes.io/dockerconfigjson\n");
        await stack.look("a Secret without what its type needs", ["up", "--yes", "--diff"], false);
        for (const [where, data] of [
            ["a Secret with data that is not base64", `  token: "${escaped(stack.rendered)}"`],
            ["a Secret whose quote is not closed", `  token: "${escaped(stack.rendered)}\n`],
            ["a Secret whose data is a list", `  - "${escaped(stack.rendered)}"`],
        ] as const) {
            checkout.write(
                "chart/templates/own-secret.yaml",
                `apiVersion: v1\nkind: Secret\nmetadata:\n  name: own\ndata:\n${data}\n`,
            );
            await stack.look(where, ["up", "--yes", "--diff"], false);
        }
        restore();

        // What is said about a secret that stands where it must not: all that a pull request shows, and every refusal.
        const git = (...args: string[]): string =>
            execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", ...args], {
                cwd: checkout.root,
                encoding: "utf8",
                stdio: ["ignore", "pipe", "pipe"],
            });
        git("init", "--quiet");
        git("add", ".");
        git("commit", "--quiet", "--message", "as it was");
        checkout.write(VALUES, `${values}\nenv:\n  DATABASE_PASSWORD: '${misplaced.replaceAll("'", "''")}'\n`);
        const steps = ["stacks", "render", "secrets", "policy", "differences", "preview", "diff"];
        const check = ["check", "--base", "HEAD", "--only", ...steps, "--markdown", "comment.md"];
        await stack.command(check, false);
        stack.seen.set("comment of a pull request", checkout.read("comment.md"));
        await stack.command(["check", "--base", "HEAD", "--only", ...steps, "--json"], false);
        await stack.command(["diff", "dev", "--base", "HEAD", "--markdown"]);
        await stack.look("preview of a secret among the values", ["preview", "--diff"], "either");
        checkout.write(VALUES, values.replace("secret: named", `secret: '${misplaced.replaceAll("'", "''")}'`));
        await stack.look("a secret in place of a Secret's name", ["preview", "--diff"], "either");
        restore();
        await stack.lookAtRefusal("a wrong value beside it", "keyGeneration=x");
        const wrong = { ...checkout.env, PULUMI_CONFIG_PASSPHRASE: "another", PULUMI_CONFIG_PASSPHRASE_FILE: "" };
        const locked = await checkout.run("pulumi", ["preview", "--stack", "dev", "--non-interactive"], { env: wrong });
        expect(locked.code, locked.text).not.to.equal(0);
        stack.seen.set("another passphrase", locked.text);
        await stack.setKey("apiKey", stack.key.slice(0, 12));
        await stack.look("a key that is too weak", ["preview", "--diff"], false);
        await stack.setKey("apiKey", stack.key);

        // And then all is well again, as far as anybody is told.
        await stack.look("the deploy that works", ["up", "--yes", "--diff"]);
        for (const args of [
            ["status", "dev", "--json"],
            ["drift", "dev"],
            ["drift", "dev", "--json"],
            ["rollback", "dev"],
            ["rollback", "dev", "--json"],
            ["hold", "dev"],
            ["rotate-key", "dev", "--status"],
            ["rbac", "dev"],
            ["recover", "dev", "--yes"],
        ])
            await stack.command(args, "either");
        await stack.lookAtState();
    });
    after(() => stack.remove());

    it("the deploy has left evidence", () => {
        expect(evidence).to.include.members([
            "evidence: findings.md",
            "evidence: objects.yaml",
            "evidence: events.txt",
        ]);
    });

    for (const [name, what] of SECRETS) {
        it(`${what} is in no message, evidence, comment or report`, () => {
            expect(stack.leaks(stack[name])).to.deep.equal([]);
        });
    }

    it("that somebody wrote among the values is refused, and shown by nothing but Pulumi's own diff of the values", () => {
        expect(stack.seen.get("comment of a pull request")).to.contain("no-secret-value");
        // Pulumi prints the inputs of a Release as the values file has them; all that is ours goes through the redaction.
        expect(stack.leaks(misplaced)).to.deep.equal(["preview of a secret among the values: JSON"]);
    });

    it("would have been found, there as anywhere", () => {
        for (const [where, text] of stack.seen)
            expect(findCanary(stack.key, `${text.toString("latin1")}\n${stack.key}`), where).to.be.a("string");
    });
});

/** Inside double quotes of YAML. */
function escaped(text: string): string {
    return text.replaceAll(/["\\]/g, "\\$&");
}
