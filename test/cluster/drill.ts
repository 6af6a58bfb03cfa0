import { spawn } from "node:child_process";
import { expect } from "chai";
import { parse, stringify } from "yaml";
import type { Values } from "../../components/config/values";
import { type Checkout, type Ended, succeeded } from "./checkout";

/** Seconds within which the right words must appear. */
const WITHIN = 15;

export interface TimedEnd extends Ended {
    /** When each piece of the output came, in seconds after the release's operation had begun. */
    readonly pieces: readonly { readonly at: number; readonly text: string }[];
}

/** A stack of a checkout with a release of its own, whose deploy is made to fail. */
export class DrilledStack {
    readonly namespace: string;

    constructor(
        readonly checkout: Checkout,
        readonly stack: string,
        private readonly base: Values,
    ) {
        this.namespace = `mf-demo-${stack}`;
    }

    /** Makes the stack. Its release is as `base` says from then on, with these values laid over it. */
    async init(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
        this.checkout.write(this.file, stringify({ config: { "ml-api:environment": "dev", ...config } }));
        succeeded(await this.checkout.pulumi("stack", "init", this.stack, "--no-select"));
        this.set({});
    }

    set(values: Values): void {
        const file = parse(this.checkout.read(this.file)) as { config: Record<string, unknown> };
        file.config["ml-api:values"] = { ...this.base, ...values };
        this.checkout.write(this.file, stringify(file));
    }

    /** `pulumi up`, as a person types it in CI. */
    up(env: NodeJS.ProcessEnv = {}): Promise<TimedEnd> {
        return timed(this.checkout, "pulumi", [...UP, "--stack", this.stack], env);
    }

    kubectl(...args: string[]): Promise<string> {
        return this.checkout.kubectl("--namespace", this.namespace, ...args);
    }

    /** Revisions of the release, oldest first: `1 superseded`. */
    async history(): Promise<string[]> {
        const args = ["history", "mf-demo", "--namespace", this.namespace, "--output", "json"];
        const { stdout } = succeeded(await this.checkout.run("helm", args));
        return (JSON.parse(stdout) as { revision: number; status: string }[]).map(
            ({ revision, status }) => `${revision} ${status}`,
        );
    }

    /** `IMAGE serves` while at least one pod is ready; after a rollback, one that was ready may still be draining. */
    async serving(): Promise<string> {
        const path = "{.spec.template.spec.containers[0].image} {.status.readyReplicas}";
        const [image = "", ready] = (
            await this.kubectl("get", "deployment", "mf-demo", "-o", `jsonpath=${path}`)
        ).split(" ");
        return `${image} ${Number(ready ?? 0) > 0 ? "serves" : "does not serve"}`;
    }

    async remove(): Promise<void> {
        await this.checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", this.stack);
        await this.checkout.pulumi("stack", "rm", "--yes", "--force", this.stack);
    }

    private get file(): string {
        return `Pulumi.${this.stack}.yaml`;
    }
}

export const UP = ["up", "--yes", "--skip-preview", "--non-interactive"];

/** Runs a program of a checkout and notes when it says what. Interrupted after four minutes. */
export function timed(
    checkout: Checkout,
    file: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
): Promise<TimedEnd> {
    return new Promise((resolve, reject) => {
        const child = spawn(file, args, {
            cwd: checkout.root,
            env: { ...checkout.env, ...env },
            timeout: 240_000,
            killSignal: "SIGINT",
        });
        let began: number | undefined;
        let stdout = "";
        let text = "";
        const pieces: { at: number; text: string }[] = [];
        const add = (piece: string): void => {
            text += piece;
            if (began === undefined && /Release mf-demo (?:creating|updating) \(0s\)/.test(text)) began = Date.now();
            pieces.push({ at: began === undefined ? 0 : (Date.now() - began) / 1000, text: piece });
        };
        child.stdout.setEncoding("utf8").on("data", (piece: string) => {
            stdout += piece;
            add(piece);
        });
        child.stderr.setEncoding("utf8").on("data", add);
        child.on("error", reject);
        child.on("close", (code) => {
            resolve({ code: code ?? 130, stdout, text, pieces });
        });
    });
}

/** When a text was first seen, in seconds. Fails with the whole output when it never was. */
export function saidAfter({ pieces, text }: TimedEnd, words: RegExp): number {
    let all = "";
    for (const piece of pieces) {
        all += piece.text;
        if (words.test(all)) return piece.at;
    }
    throw new Error(`nothing matches ${String(words)} in:\n${text}`);
}

/** A deploy that failed, said why in time, and named its evidence. @returns the evidence folder */
export function failedWith(ended: TimedEnd, words: readonly RegExp[], within = WITHIN): string {
    expect(ended.code, ended.text).not.to.equal(0);
    for (const one of words)
        expect(saidAfter(ended, one), `${String(one)} in time:\n${ended.text}`).to.be.at.most(within);
    expect(ended.text).not.to.match(/^\s+at .*[:(]\d+:\d+\)?$/m);
    const folder = evidenceIn(ended);
    if (folder === undefined) throw new Error(`no evidence is named:\n${ended.text}`);
    return folder;
}

/** The evidence folder that a failed deploy has named. */
export function evidenceIn({ text }: TimedEnd): string | undefined {
    return /evidence \(objects, events, logs\): (\S+)/.exec(text)?.[1];
}
