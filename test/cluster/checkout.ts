import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { forgetStackSalt } from "../../local/stack-salt";

const ROOT = path.join(__dirname, "..", "..");
/** What `pulumi` needs of a checkout. */
const DEPLOYED = [
    "index.ts",
    "components",
    "branching",
    "chart",
    "package.json",
    "tsconfig.json",
    "tsconfig.pulumi.json",
    "Pulumi.yaml",
    "Pulumi.dev.yaml",
    "Pulumi.staging.yaml",
    "Pulumi.production.yaml",
];

export interface Ended {
    readonly code: number;
    /** stdout and stderr, as a person sees them. */
    readonly text: string;
    readonly stdout: string;
}

/** Fails a test with everything that a program printed, unless it ended well. */
export function succeeded(ended: Ended): Ended {
    if (ended.code !== 0) throw new Error(`ended with ${ended.code}:\n${ended.text}`);
    return ended;
}

/** A copy of the checkout to edit and deploy from, so that no test changes the real one. */
export class Checkout {
    readonly root = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-checkout-"));

    constructor(readonly env: NodeJS.ProcessEnv = process.env) {
        for (const entry of DEPLOYED)
            fs.cpSync(path.join(ROOT, entry), path.join(this.root, entry), { recursive: true });
        // The salts of this checkout's own stacks belong to another passphrase than the tests'.
        for (const stack of ["dev", "staging", "production"]) forgetStackSalt(this.root, `Pulumi.${stack}.yaml`);
        fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(this.root, "node_modules"));
    }

    /** A copy of everything, for those who run the command as well. */
    static whole(env: NodeJS.ProcessEnv = process.env): Checkout {
        const checkout = new Checkout(env);
        const left = /^(?:node_modules|\.git|Pulumi\..*)$/;
        for (const entry of fs.readdirSync(ROOT).filter((name) => !left.test(name)))
            fs.cpSync(path.join(ROOT, entry), checkout.file(entry), { recursive: true });
        return checkout;
    }

    file(name: string): string {
        return path.join(this.root, name);
    }

    read(name: string): string {
        return fs.readFileSync(this.file(name), "utf8");
    }

    write(name: string, text: string): void {
        fs.mkdirSync(path.dirname(this.file(name)), { recursive: true });
        fs.writeFileSync(this.file(name), text);
    }

    /** Replaces a text that must be there. */
    edit(name: string, from: string | RegExp, to: string): void {
        const before = this.read(name);
        const after = before.replace(from, to);
        if (after === before) throw new Error(`${name} holds no ${String(from)}`);
        this.write(name, after);
    }

    /** Runs a program in this checkout; never rejects. Killed after `seconds`. */
    run(
        file: string,
        args: readonly string[],
        { seconds = 240, env = {} }: { seconds?: number; env?: NodeJS.ProcessEnv } = {},
    ): Promise<Ended> {
        return new Promise((resolve) => {
            const options = {
                cwd: this.root,
                env: { ...this.env, ...env },
                timeout: seconds * 1000,
                maxBuffer: 64 << 20,
            };
            execFile(file, args, options, (error, stdout, stderr) => {
                const code = error === null ? 0 : typeof error.code === "number" ? error.code : 130;
                resolve({ code, stdout, text: stdout + stderr });
            });
        });
    }

    pulumi(...args: string[]): Promise<Ended> {
        return this.run("pulumi", [...args, "--non-interactive"]);
    }

    async kubectl(...args: string[]): Promise<string> {
        const { code, stdout, text } = await this.run("kubectl", args);
        if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${text}`);
        return stdout.trim();
    }

    remove(): void {
        fs.rmSync(this.root, { recursive: true, force: true });
    }
}
