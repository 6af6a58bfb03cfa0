/**
 * Runs a workflow of .github/workflows as GitHub would: jobs by their needs, each in a folder of its own, their steps in order, with the
 * conditions, matrices, outputs and artifacts that the file says. `run:` steps are really run, by bash. `uses:` steps are replaced by
 * what they stand for, see {@link Standins}; one that is not known here is an error, never skipped.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { type Contexts, type Expressions, expressions } from "./expression";
import { type Job, type Matrix, type Step, stepName, type Workflow } from "./workflow";

type Outcome = "success" | "failure" | "skipped";

export interface StepResult {
    readonly name: string;
    readonly outcome: Outcome;
    /** What it printed. */
    readonly text: string;
}

export interface JobResult {
    /** `deploy`, or `deploy (dev)` of a matrix. */
    readonly name: string;
    readonly result: Outcome;
    readonly steps: readonly StepResult[];
}

/** A step that is done here instead of by an action. Throws to fail it. */
export type Standin = (folder: string, step: Step, filled: Readonly<Record<string, string>>) => void;

/** Actions that bring programs, packages or a log-in, all of which a test has already. */
export const setUpActions: Readonly<Record<string, Standin>> = Object.fromEntries(
    [
        "actions/setup-node",
        "actions/setup-go",
        "actions/cache",
        "pulumi/actions",
        "pulumi/auth-actions",
        "sigstore/cosign-installer",
    ].map((action) => [action, () => undefined]),
);

export interface WorkflowEvent {
    /** The text of the workflow's file. */
    readonly workflow: string;
    /** The context `github`. */
    readonly github: Contexts;
    /** Variables of the repository. */
    readonly vars?: Readonly<Record<string, string>>;
    /** For the programs that steps run. */
    readonly env: NodeJS.ProcessEnv;
    /** Name of an action, without its commit → what it stands for; and commands that are replaced as a whole, by their text. */
    readonly standins: Readonly<Record<string, Standin>>;
    /** Whether a person agrees to deploy to an environment; everybody agrees by default. */
    readonly approve?: (environment: string) => boolean;
}

interface Ended {
    readonly result: Outcome;
    readonly outputs: Readonly<Record<string, string>>;
}

export class WorkflowRun {
    readonly jobs: JobResult[] = [];
    /** What the jobs hand to each other lies here, a folder for each artifact. */
    private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-workflow-"));
    private readonly ended = new Map<string, Ended>();

    private constructor(
        private readonly event: WorkflowEvent,
        private readonly say: Expressions,
    ) {}

    /** Runs it to its end. Never rejects because of a step that failed. */
    static async of(event: WorkflowEvent): Promise<WorkflowRun> {
        const run = new WorkflowRun(event, await expressions());
        try {
            const { jobs } = parse(event.workflow) as Workflow;
            const waiting = new Map(Object.entries(jobs));
            while (waiting.size > 0) {
                const next = [...waiting].find(([, job]) => needsOf(job).every((name) => run.ended.has(name)));
                if (next === undefined)
                    throw new Error(`these jobs wait for each other: ${[...waiting.keys()].join()}`);
                waiting.delete(next[0]);
                run.ended.set(next[0], await run.job(...next));
            }
            return run;
        } finally {
            fs.rmSync(run.folder, { recursive: true, force: true });
        }
    }

    /** `decide: success`, in the order in which they ended. */
    get results(): string[] {
        return this.jobs.map(({ name, result }) => `${name}: ${result}`);
    }

    /** Everything that was printed, of one job or of all. */
    text(job?: string): string {
        const of = this.jobs.filter(({ name }) => job === undefined || name === job);
        return of.flatMap(({ steps }) => steps.map(({ text }) => text)).join("");
    }

    private async job(id: string, job: Job): Promise<Ended> {
        const needs = Object.fromEntries(needsOf(job).map((name) => [name, this.ended.get(name)]));
        const contexts = { github: this.event.github, vars: this.event.vars ?? {}, needs, secrets: {} };
        const before = Object.values(needs).every((one) => one?.result === "success") ? "success" : "failure";
        if (!this.say.condition(job.if, contexts, before)) {
            this.jobs.push({ name: id, result: "skipped", steps: [] });
            return { result: "skipped", outputs: {} };
        }
        let ended: Ended = { result: "success", outputs: {} };
        for (const matrix of this.combinations(job.strategy?.matrix, contexts)) {
            const words = Object.values(matrix);
            const name = words.length === 0 ? id : `${id} (${words.join(", ")})`;
            const one = await this.one(name, job, { ...contexts, matrix });
            ended = { result: one.result === "failure" ? "failure" : ended.result, outputs: one.outputs };
        }
        return ended;
    }

    private combinations(matrix: Matrix | undefined, contexts: Contexts): Readonly<Record<string, string>>[] {
        if (matrix === undefined) return [{}];
        const [[axis, values] = ["", ""]] = Object.entries(matrix);
        if (typeof values !== "string") return [...values];
        return (this.say.value(values, contexts) as string[]).map((value) => ({ [axis]: value }));
    }

    private async one(name: string, job: Job, outer: Contexts): Promise<Ended> {
        const steps: StepResult[] = [];
        const end = (result: Outcome, outputs = {}): Ended => {
            this.jobs.push({ name, result, steps });
            return { result, outputs };
        };
        if (job.environment !== undefined) {
            const environment = this.say.fill(job.environment, outer);
            if (this.event.approve?.(environment) === false) {
                steps.push({ name: "approval", outcome: "failure", text: `${environment} was rejected\n` });
                return end("failure");
            }
        }
        const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-job-"));
        try {
            const env = this.filled(job.env ?? {}, outer);
            const told: Record<string, unknown> = {};
            const contexts = { ...outer, env, steps: told };
            let state: "success" | "failure" = "success";
            for (const [index, step] of job.steps.entries()) {
                if (!this.say.condition(step.if, contexts, state)) {
                    steps.push({ name: stepName(step), outcome: "skipped", text: "" });
                    if (step.id !== undefined) told[step.id] = { outcome: "skipped", outputs: {} };
                    continue;
                }
                const output = path.join(this.folder, `output-${this.jobs.length}-${index}`);
                fs.writeFileSync(output, "");
                const { code, text } = await this.step(folder, step, contexts, { ...env, GITHUB_OUTPUT: output });
                const outcome = code === 0 ? "success" : "failure";
                if (code !== 0) state = "failure";
                steps.push({ name: stepName(step), outcome, text });
                if (step.id !== undefined) told[step.id] = { outcome, outputs: lines(fs.readFileSync(output, "utf8")) };
            }
            return end(state, this.filled(job.outputs ?? {}, contexts));
        } finally {
            fs.rmSync(folder, { recursive: true, force: true });
        }
    }

    private async step(
        folder: string,
        step: Step,
        contexts: Contexts,
        env: Readonly<Record<string, string>>,
    ): Promise<{ code: number; text: string }> {
        const own = { ...env, ...this.filled(step.env ?? {}, contexts) };
        const known = this.standin(step);
        if (known !== undefined) {
            try {
                known(folder, step, this.filled(step.with ?? {}, contexts));
                return { code: 0, text: "" };
            } catch (error) {
                return { code: 1, text: `${error instanceof Error ? error.message : String(error)}\n` };
            }
        }
        if (step.run !== undefined) return this.bash(folder, step.run, own);
        const local = step.uses?.startsWith("./") === true ? step.uses : undefined;
        if (local === undefined) throw new Error(`nobody told this test what ${step.uses ?? "a step"} stands for`);
        const action = parse(fs.readFileSync(path.join(folder, local, "action.yaml"), "utf8")) as {
            runs: { steps: Step[] };
        };
        let text = "";
        for (const inner of action.runs.steps) {
            const ended = await this.bash(folder, inner.run ?? "", own);
            text += ended.text;
            if (ended.code !== 0) return { code: ended.code, text };
        }
        return { code: 0, text };
    }

    private standin({ uses, run }: Step): Standin | undefined {
        const action = uses?.replace(/@.*$/, "");
        if (action === "actions/upload-artifact")
            return (folder, _, filled) => {
                this.upload(folder, filled);
            };
        if (action === "actions/download-artifact")
            return (folder, _, filled) => {
                this.download(folder, filled);
            };
        return this.event.standins[action ?? run?.trim() ?? ""];
    }

    private upload(folder: string, { name = "", path: file = "", "if-no-files-found": none }: Record<string, string>) {
        const from = path.join(folder, file);
        if (!fs.existsSync(from)) {
            if (none === "ignore") return;
            throw new Error(`there is no ${file} to keep`);
        }
        fs.mkdirSync(path.join(this.folder, "artifacts", name), { recursive: true });
        fs.copyFileSync(from, path.join(this.folder, "artifacts", name, path.basename(file)));
    }

    private download(folder: string, { name, pattern = "" }: Record<string, string>): void {
        const all = path.join(this.folder, "artifacts");
        const names = fs.existsSync(all) ? fs.readdirSync(all) : [];
        const wanted = names.filter((one) => one === name || (name === undefined && path.matchesGlob(one, pattern)));
        if (name !== undefined && wanted.length === 0) throw new Error(`there is no artifact ${name}`);
        for (const one of wanted) fs.cpSync(path.join(all, one), folder, { recursive: true });
    }

    private filled(texts: Readonly<Record<string, unknown>>, contexts: Contexts): Record<string, string> {
        return Object.fromEntries(
            Object.entries(texts).map(([key, text]) => [key, this.say.fill(String(text), contexts)]),
        );
    }

    /** As a runner does with `shell: bash`. */
    private bash(cwd: string, script: string, env: Readonly<Record<string, string>>) {
        const { github } = this.event;
        const names = ["ref", "sha", "repository", "actor", "run_id", "event_name", "api_url"];
        const given: Record<string, string> = {};
        for (const [name, value] of [...names.map((one) => [one, ""] as const), ...Object.entries(github)])
            if (typeof value === "string") given[`GITHUB_${name.toUpperCase()}`] = value;
        const variables: NodeJS.ProcessEnv = {
            ...{ ...this.event.env, ...given },
            ...{ CI: "true", RUNNER_TEMP: this.folder, ...env },
        };
        return new Promise<{ code: number; text: string }>((resolve, reject) => {
            const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
                ...{ cwd, env: variables },
                stdio: ["ignore", "pipe", "pipe"],
            });
            let text = "";
            for (const stream of [child.stdout, child.stderr])
                stream.setEncoding("utf8").on("data", (more: string) => (text += more));
            child.on("error", reject);
            child.on("close", (code) => {
                resolve({ code: code ?? 130, text });
            });
        });
    }
}

function needsOf({ needs = [] }: Job): readonly string[] {
    return typeof needs === "string" ? [needs] : needs;
}

/** `name=value` lines of GITHUB_OUTPUT. */
function lines(text: string): Record<string, string> {
    const pairs = text.split("\n").filter((line) => line !== "");
    return Object.fromEntries(pairs.map((line) => [line.split("=", 1).join(), line.slice(line.indexOf("=") + 1)]));
}
