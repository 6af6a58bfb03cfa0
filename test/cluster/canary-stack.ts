import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { findCanary } from "./canary";
import { Checkout, type Ended, succeeded } from "./checkout";

export const CANARY_NAMESPACE = "mf-demo-dev";
export const VALUES = "chart/environment/dev/values-dev.yaml";
const OWN_SECRET = "chart/templates/own-secret.yaml";

/** No two runs have the same; with characters that JSON, URLs and shells write differently. */
export const canary = (): string => `canary/${randomBytes(12).toString("hex")}+&<%='"$`;

/** The secrets of a {@link CanaryStack}, and what they are. */
export const SECRETS = [
    ["key", "that a stack gives as its API key"],
    ["previousKey", "that was the API key before"],
    ["named", "that the values name by its Secret"],
    ["rendered", "that a template writes into a Secret"],
] as const;

/** The stack dev of a checkout of its own, whose every secret is a canary, and everything that anybody can see of it. */
export class CanaryStack {
    readonly key = canary();
    readonly previousKey = canary();
    /** In a Secret of the namespace that the values name. */
    readonly named = canary();
    /** What a template writes into a Secret. */
    readonly rendered = canary();
    /** What was shown or left behind, by where. */
    readonly seen = new Map<string, string | Buffer>();

    private constructor(readonly checkout: Checkout) {}

    /** Deployed once, with the key that is the previous one later on; then changed so that every secret is new in the next deploy. */
    static async begin(): Promise<CanaryStack> {
        const stack = new CanaryStack(Checkout.whole());
        await stack.prepare();
        return stack;
    }

    private async prepare(): Promise<void> {
        const { checkout } = this;
        this.writeSecret(canary());
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        await this.setKey("apiKey", this.previousKey);
        succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
        const literal = `--from-literal=token=${this.named}`;
        await checkout.kubectl("-n", CANARY_NAMESPACE, "create", "secret", "generic", "named", literal);

        await this.setKey("apiKey", this.key);
        await this.setKey("previousApiKey", this.previousKey);
        for (const [name, value] of [
            ["keyGeneration", "2"],
            ["acceptPreviousKey", "true"],
        ] as const)
            succeeded(await checkout.pulumi("config", "set", name, value, "--stack", "dev"));
        this.writeSecret(this.rendered);
        const more = "secrets:\n  UPSTREAM_TOKEN:\n    secret: named\n    key: token\n";
        checkout.write(VALUES, `${checkout.read(VALUES)}\n${more}`);
    }

    async setKey(name: string, value: string): Promise<void> {
        succeeded(await this.checkout.pulumi("config", "set", "--secret", name, value, "--stack", "dev"));
    }

    /** A template of the chart that writes a secret into a Secret. */
    writeSecret(data: string, extra = ""): void {
        const token = Buffer.from(data).toString("base64");
        const head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: own\n";
        this.checkout.write(OWN_SECRET, `${head}${extra}data:\n  token: ${token}\n`);
    }

    /** Runs Pulumi and keeps what it prints. */
    async look(where: string, args: string[], works: boolean | "either" = true): Promise<Ended> {
        return this.keep(where, await this.checkout.pulumi(...args, "--stack", "dev"), works);
    }

    /** Looks at a preview that a wrong configuration stops. */
    async lookAtRefusal(where: string, config: string): Promise<void> {
        // Pulumi writes what it is given into the stack file.
        const before = this.checkout.read("Pulumi.dev.yaml");
        await this.look(where, ["preview", "--diff", "--config", config], false);
        this.checkout.write("Pulumi.dev.yaml", before);
    }

    /** Runs the command and keeps what it prints. */
    async command(args: readonly string[], works: boolean | "either" = true): Promise<Ended> {
        return this.keep(`ml-api ${args.join(" ")}`, await this.checkout.run("cli/ml-api.js", args), works);
    }

    private keep(where: string, ended: Ended, works: boolean | "either"): Ended {
        this.seen.set(this.seen.has(where) ? `${where}, again` : where, ended.text);
        if (works === true) return succeeded(ended);
        if (works === false && ended.code === 0) throw new Error(`${where} did not fail:\n${ended.text}`);
        return ended;
    }

    /** Keeps what Pulumi has of the stack, the events of its namespace, and every file of the back end and of Pulumi's logs. */
    async lookAtState(): Promise<void> {
        const { seen, checkout } = this;
        await this.look("state", ["stack", "export"]);
        await this.look("outputs", ["stack", "output", "--json"]);
        await this.look("history", ["stack", "history", "--json"]);
        seen.set("events", await checkout.kubectl("-n", CANARY_NAMESPACE, "get", "events", "-o", "json"));
        seen.set("stack file", checkout.read("Pulumi.dev.yaml"));
        this.lookAtFiles("back end", fileURLToPath(process.env["PULUMI_BACKEND_URL"] ?? ""));
        this.lookAtFiles("log", path.join(process.env["PULUMI_HOME"] ?? "", "logs"));
    }

    /** @returns how many there are */
    lookAtFiles(what: string, folder: string): number {
        if (!fs.existsSync(folder)) return 0;
        const files = fs
            .readdirSync(folder, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile())
            .map((entry) => path.join(entry.parentPath, entry.name));
        for (const file of files) this.seen.set(`${what}: ${path.relative(folder, file)}`, fs.readFileSync(file));
        return files.length;
    }

    /** Where a secret was seen, and in what form. */
    leaks(secret: string): string[] {
        return [...this.seen].flatMap(([where, text]) => {
            const found = findCanary(secret, text);
            return found === undefined ? [] : [`${where}: ${found}`];
        });
    }

    async remove(): Promise<void> {
        await this.checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await this.checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        this.checkout.remove();
    }
}
