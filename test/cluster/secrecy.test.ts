import { expect } from "chai";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { findCanary, formsOf } from "./canary";
import { Checkout, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const NAMESPACE = "mf-demo-dev";

/** No two runs have the same; with characters that JSON, URLs and shells write differently. */
const canary = () => `canary/${randomBytes(12).toString("hex")}+&<%='"$`;

describe("the search for a secret", () => {
    const secret = canary();

    it("finds it in every form, packed and cut", () => {
        for (const [name, form] of formsOf(secret)) {
            expect(findCanary(secret, `before ${form} after`), name).to.be.a("string");
            const cut = `before\n  ${form.slice(0, 9)}\n  ${form.slice(9)}\n`;
            expect(findCanary(secret, cut), `${name}, cut`).to.be.a("string");
        }
        const text = `a: ${secret}\n`;
        const record = Buffer.from(gzipSync(text).toString("base64")).toString("base64");
        expect(findCanary(secret, JSON.stringify({ release: record }))).to.equal("base64 > base64 > gzip > plain");
        expect(findCanary(secret, record.replaceAll(/(.{60})/g, "$1\n  "))).to.equal("base64 > base64 > gzip > plain");
        expect(findCanary(secret, Buffer.from(`xy${text}`).toString("base64url"))).to.be.a("string");
    });

    it("does not find what is not there", () => {
        expect(findCanary(secret, `before ${canary()} after ${secret.slice(1)}`)).to.equal(undefined);
        expect(findCanary(secret, gzipSync(canary()))).to.equal(undefined);
    });
});

/** Two API keys that a stack gives, one in a Secret that the values name, and one that a template writes into a Secret. */
describe("a secret", function () {
    const key = canary();
    const previousKey = canary();
    const named = canary();
    const rendered = canary();
    let checkout: Checkout;
    /** What anybody can see, by where. */
    const seen = new Map<string, string | Buffer>();

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        // The command needs the whole project.
        for (const entry of fs.readdirSync(ROOT).filter((name) => !/^(?:node_modules|\.git|Pulumi\..*)$/.test(name)))
            fs.cpSync(path.join(ROOT, entry), checkout.file(entry), { recursive: true });
        checkout.write("chart/templates/own-secret.yaml", ownSecret("first"));
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        await set("apiKey", previousKey);
        succeeded(await up());
        await checkout.kubectl(
            "-n",
            NAMESPACE,
            "create",
            "secret",
            "generic",
            "named",
            `--from-literal=token=${named}`,
        );

        await set("apiKey", key);
        await set("previousApiKey", previousKey);
        for (const [name, value] of [
            ["keyGeneration", "2"],
            ["acceptPreviousKey", "true"],
        ] as const)
            succeeded(await checkout.pulumi("config", "set", name, value, "--stack", "dev"));
        checkout.write("chart/templates/own-secret.yaml", ownSecret("second"));
        const values = "chart/environment/dev/values-dev.yaml";
        checkout.write(
            values,
            `${checkout.read(values)}\nsecrets:\n  UPSTREAM_TOKEN:\n    secret: named\n    key: token\n`,
        );

        await look("preview", ["preview"]);
        await look("preview --diff", ["preview", "--diff"]);
        await look("preview --json", ["preview", "--json"]);
        await look("preview in detail", [
            "preview",
            "--diff",
            "--show-full-output",
            "--show-config",
            "--show-replacement-steps",
        ]);
        await look("preview with logs", ["preview", "--logtostderr", "-v=8", "--logflow"]);
        for (const form of [[], ["--markdown"], ["--json"]]) await lookAtDiff(form);
        await look("up", ["up", "--yes", "--diff"]);
        await look("up --json", ["up", "--yes", "--json"]);
        await look("a failed preview", ["preview", "--diff", "--config", "protect=maybe"], false);
        await look("state", ["stack", "export"]);
        await look("outputs", ["stack", "output", "--json"]);
        await look("history", ["stack", "history", "--json"]);
        seen.set("events", await checkout.kubectl("-n", NAMESPACE, "get", "events", "-o", "json"));
        seen.set("stack file", checkout.read("Pulumi.dev.yaml"));
        seen.set(
            "diff of a release that is up to date",
            (await checkout.run("cli/ml-api.js", ["diff", "dev", "--markdown"])).text,
        );
        for (const file of filesBelow(fileURLToPath(process.env["PULUMI_BACKEND_URL"] ?? "")))
            seen.set(`back end: ${path.basename(file)}`, fs.readFileSync(file));
        for (const file of filesBelow(path.join(process.env["PULUMI_HOME"] ?? "", "logs")))
            seen.set(`log: ${path.basename(file)}`, fs.readFileSync(file));
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
    });

    const set = async (name: string, value: string) =>
        succeeded(await checkout.pulumi("config", "set", "--secret", name, value, "--stack", "dev"));
    const up = () => checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev");

    async function look(where: string, args: string[], works = true): Promise<void> {
        const ended = await checkout.pulumi(...args, "--stack", "dev");
        if (works) succeeded(ended);
        seen.set(where, ended.text);
    }

    async function lookAtDiff(form: string[]): Promise<void> {
        const ended = succeeded(await checkout.run("cli/ml-api.js", ["diff", "dev", ...form]));
        expect(ended.text).to.contain("named");
        seen.set(["ml-api diff", ...form].join(" "), ended.text);
    }

    function ownSecret(note: string): string {
        const data = note === "first" ? canary() : rendered;
        return `apiVersion: v1\nkind: Secret\nmetadata:\n  name: own\ndata:\n  token: ${Buffer.from(data).toString("base64")}\n`;
    }

    function leaks(secret: string): string[] {
        return [...seen].flatMap(([where, text]) => {
            const found = findCanary(secret, text);
            return found === undefined ? [] : [`${where}: ${found}`];
        });
    }

    for (const [what, secret] of [
        ["that a stack gives as its API key", key],
        ["that was the API key before", previousKey],
        ["that the values name by its Secret", named],
        ["that a template writes into a Secret", rendered],
    ] as const) {
        it(`${what} is in no preview, diff, log or state`, () => {
            expect(leaks(secret)).to.deep.equal([]);
        });
    }

    it("that is the API key is not in Helm's record either", async () => {
        const records = await checkout.kubectl("-n", NAMESPACE, "get", "secrets", "-l", "owner=helm", "-o", "json");
        const { text } = succeeded(await checkout.run("helm", ["get", "all", "mf-demo", "-n", NAMESPACE]));
        for (const secret of [key, previousKey, named]) expect(findCanary(secret, records + text)).to.equal(undefined);
        // What a template writes into a Secret is part of the release.
        expect(findCanary(rendered, records)).to.match(/^base64 > base64 > gzip > base64/);
    });

    it("is found where it belongs: in the cluster's Secret, and in the state for who holds the stack's key", async () => {
        const secret = await checkout.kubectl("-n", NAMESPACE, "get", "secret", "mf-demo-key-2-with-1", "-o", "yaml");
        expect(findCanary(key, secret)).to.be.a("string");
        expect(findCanary(previousKey, secret)).to.be.a("string");
        const { text } = succeeded(await checkout.pulumi("stack", "export", "--show-secrets", "--stack", "dev"));
        for (const one of [key, previousKey, rendered]) expect(findCanary(one, text)).to.be.a("string");
    });
});

function filesBelow(folder: string): string[] {
    if (!fs.existsSync(folder)) return [];
    return fs
        .readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name));
}
