import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import { lookUp, setValues } from "../branching/values-edit";
import { readStack } from "../components/config/stack";
import { stackNames } from "../components/config/stack-file";
import { isValues, leaves, type Value, type Values } from "../components/config/values";
import { cannotStart, startImage } from "../local/image/start";
import type { OpenImage } from "../local/image/unpack";
import { checkoutRoot } from "../local/paths";
import { type Check, checkTable, failed, unchecked } from "./doctor-checks";
import { imageChecks } from "./doctor-image";
import { type Paths, serverChecks } from "./doctor-server";
import { type Measured, startedChecks } from "./doctor-started";
import { findTarget, type Target, withImage } from "./doctor-target";
import { ExitCode } from "./exit-code";
import { memoryFor } from "./new-files";

export interface DoctorOptions {
    /** JSON, or `@file` with it. */
    readonly sample?: string;
    /** File with an accepted key; else the variable ML_API_KEY. */
    readonly keyFile?: string;
    readonly live?: string;
    readonly ready?: string;
    readonly predict?: string;
    readonly metrics?: string;
    /** False: only look, start nothing. */
    readonly start?: boolean;
    readonly write?: boolean;
    readonly json?: boolean;
}

interface Diagnosis {
    readonly checks: readonly Check[];
    /** What to write into a values file; empty when nothing was measured. */
    readonly values: Values;
}

/** Checks an image, or a server that runs, against docs/image-contract.md, and proposes values. */
export async function doctorCommand(text: string, options: DoctorOptions): Promise<void> {
    const target = findTarget(checkoutRoot, text);
    if (options.write === true && (target.kind === "url" || target.valuesFile === undefined))
        throw new Error(`--write needs a stack: its values file is written → npx --no ml-api doctor STACK --write`);
    const { checks, values } =
        target.kind === "url" ? await checkServer(target.url, options) : await checkImage(target, options);
    const good = checks.every(({ status }) => status !== "failed");
    if (options.json === true)
        process.stdout.write(
            `${JSON.stringify({ version: 1, target: text, ok: good, checks, values }, undefined, 2)}\n`,
        );
    else process.stdout.write(`${checkTable(checks)}${proposal(values)}`);
    if (options.write === true) {
        const written = writeProposal(checkoutRoot, text, values);
        for (const file of written) process.stderr.write(`${file}: written\n`);
        if (written.length === 0) process.stderr.write("the values files say so already\n");
    }
    if (!good) throw new ExitCode(1, "the image contract is not kept → docs/image-contract.md");
}

function proposal(values: Values): string {
    return Object.keys(values).length === 0 ? "" : `\nFor the values file, as measured here:\n\n${stringify(values)}`;
}

/**
 * Writes proposed values: the size into the values file of the stack, all else into those of its API in every environment, which
 * have to agree in it.
 *
 * @returns the files that were changed
 */
export function writeProposal(root: string, stack: string, values: Values): readonly string[] {
    const { name, valuesFile } = readStack(root, stack);
    const files = stackNames(root).flatMap((one) => {
        const settings = readStack(root, one);
        return settings.name === name ? [settings.valuesFile] : [];
    });
    const changes = leaves(values).flatMap(([key, value]): [string, string | number][] =>
        typeof value === "string" || typeof value === "number" ? [[key, value]] : [],
    );
    return [...new Set(files)].filter((file) => {
        const full = path.join(root, file);
        const before = fs.readFileSync(full, "utf8");
        const own = changes.filter(([key]) => file === valuesFile || !key.startsWith("resources."));
        const after = setValues(before, own, file);
        if (after !== before) fs.writeFileSync(full, after);
        return after !== before;
    });
}

async function checkServer(url: string, options: DoctorOptions): Promise<Diagnosis> {
    const checks = await serverChecks({
        address: { url },
        paths: pathsOf(options),
        key: keyOf(options),
        sample: sampleOf(options),
        maxRequestBytes: 1 << 20,
        // Others use it: their places are not taken.
        maxConcurrentRequests: undefined,
    });
    const start = ["starts", "port", "signals", "drain", "memory"].map((name) =>
        unchecked(name, "only where it is started here: give the image"),
    );
    return { checks: [...checks, ...start], values: {} };
}

async function checkImage(target: Extract<Target, { kind: "image" }>, options: DoctorOptions): Promise<Diagnosis> {
    return withImage(target.reference, async (image) => {
        const looked = imageChecks(target.reference, image);
        const { checks, values } = await startHere(image, target.values, options);
        return { checks: [...looked, ...checks], values };
    });
}

/** A port that no image listens on by itself, so that PORT is seen to be read. */
const PORT = 18_080;
/** Few, so that one more is quickly reached. */
const PLACES = 2;
const KEY = "a-key-of-ml-api-doctor";

async function startHere(image: OpenImage, values: Values, options: DoctorOptions): Promise<Diagnosis> {
    const names = [
        "starts",
        "port",
        "live while loading",
        "ready means ready",
        "predict path",
        "429",
        "413",
        "drain",
        "memory",
    ];
    const why = options.start === false ? "--no-start was given" : cannotStart(image);
    if (why !== undefined) return { checks: names.map((name) => unchecked(name, why)), values: {} };
    const given = lookUp(values, "verify.sample");
    const declared =
        typeof given === "object" && given !== null && Object.keys(given).length > 0
            ? JSON.stringify(given)
            : undefined;
    const sample = sampleOf(options) ?? declared;
    const paths = pathsOf(options, values);
    const maxRequestBytes = Math.max(10_000, 2 * (sample?.length ?? 0));
    const budget = Number(lookUp(values, "model.loadBudgetSeconds") ?? 120);
    const started = await startImage(image, {
        port: PORT,
        keys: [KEY],
        env: {
            LOG_LEVEL: "info",
            REQUEST_TIMEOUT_SECONDS: "30",
            MAX_CONCURRENT_REQUESTS: String(PLACES),
            MAX_REQUEST_BYTES: String(maxRequestBytes),
            WEB_CONCURRENCY: "1",
            OMP_NUM_THREADS: "1",
            UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: "35",
            HF_HUB_OFFLINE: "1",
            TRANSFORMERS_OFFLINE: "1",
            XDG_CACHE_HOME: "/tmp",
            ...textsOf(lookUp(values, "env")),
        },
    }).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    if (typeof started === "string")
        return {
            checks: [failed("starts", started, "does its ENTRYPOINT exist, and may user 10001 run it?")],
            values: {},
        };
    try {
        const { checks, measured } = await startedChecks(started, {
            paths,
            port: PORT,
            key: KEY,
            sample,
            maxRequestBytes,
            maxConcurrentRequests: PLACES,
            budgetSeconds: budget,
        });
        const other = started.listens().find((port) => port !== PORT);
        return { checks, values: proposed(measured, paths, measured === undefined ? other : undefined) };
    } finally {
        await started.remove();
    }
}

function textsOf(value: Value | undefined): Record<string, string> {
    return Object.fromEntries(
        Object.entries(isValues(value) ? value : {}).flatMap(([name, text]) =>
            typeof text === "string" ? [[name, text]] : [],
        ),
    );
}

/** What the values files should say, from what was measured: room for one and a half times the memory, and for a slower disk. */
export function proposed(measured: Measured | undefined, paths: Paths, port?: number): Values {
    const different = Object.entries(paths).filter(([name, value]) => value !== DEFAULT_PATHS[name as keyof Paths]);
    const api = {
        ...(port === undefined ? {} : { port }),
        ...(different.length === 0 || measured === undefined ? {} : { paths: Object.fromEntries<string>(different) }),
    };
    return {
        ...(measured === undefined
            ? {}
            : {
                  resources: { requests: { memory: memoryFor(measured.peakBytes, 0) } },
                  model: { loadBudgetSeconds: Math.max(30, Math.ceil((measured.readySeconds * 4) / 10) * 10) },
              }),
        ...(Object.keys(api).length === 0 ? {} : { api }),
    };
}

const DEFAULT_PATHS: Paths = { live: "/livez", ready: "/readyz", predict: "/predict", metrics: "/metrics" };

function pathsOf(options: DoctorOptions, values: Values = {}): Paths {
    const one = (name: keyof Paths): string => {
        const declared = lookUp(values, `api.paths.${name}`);
        return options[name] ?? (typeof declared === "string" && declared !== "" ? declared : DEFAULT_PATHS[name]);
    };
    return { live: one("live"), ready: one("ready"), predict: one("predict"), metrics: one("metrics") };
}

function keyOf({ keyFile }: DoctorOptions): string | undefined {
    const text = keyFile === undefined ? (process.env["ML_API_KEY"] ?? "") : fs.readFileSync(keyFile, "utf8");
    const [first = ""] = text.split("\n");
    return first.trim() === "" ? undefined : first.trim();
}

function sampleOf({ sample }: DoctorOptions): string | undefined {
    if (sample === undefined) return undefined;
    const text = sample.startsWith("@") ? fs.readFileSync(sample.slice(1), "utf8") : sample;
    try {
        return JSON.stringify(JSON.parse(text));
    } catch (error) {
        throw new Error(
            `--sample is no JSON (${error instanceof Error ? error.message : ""}) → quote it for the shell, or give @file`,
            { cause: error },
        );
    }
}
