/** Rollouts of a release under a constant load, and what they cost: see rollouts.test.ts. */
import { type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type ApiAccess, openAccess } from "../../components/config/kubeconfig";
import { request } from "../../components/guarded-release/live/api";
import { checkoutRoot } from "../../local/paths";
import type { RunResult } from "../../local/run";
import { environmentValues, merged, type Values } from "../chart/helm";
import type { Ended, LoadSettings } from "./load";
import { eventually, keySecret, type OwnNode } from "./own-node";

export const rolloutKinds = ["image", "config", "keys", "scale down", "eviction", "rollback"] as const;
export type RolloutKind = (typeof rolloutKinds)[number];

/** What was asked while pods went and came, by the milliseconds in which that began and ended. */
export interface Change {
    readonly from: number;
    readonly to: number;
    /** Pods that ended, with the milliseconds at which they were told to (SIGTERM). */
    readonly ended: ReadonlyMap<string, number>;
}
export interface Counted {
    readonly requests: number;
    /** Lost requests by kind. */
    readonly failed: Readonly<Record<string, number>>;
    /** Long requests that each ended pod was still working on when it was told to end. */
    readonly inFlightAtEnd: readonly number[];
    readonly losses: readonly Ended[];
}

/** What the load or the rollout did not do, so that the count says nothing; empty when it says something. */
export function shortcomings({ from, to }: Change, { requests, inFlightAtEnd }: Counted): string[] {
    const due = ((to - from) / 1000) * 60;
    return [
        ...(requests < due * 0.95 ? [`${requests} requests and not 60 a second`] : []),
        ...(inFlightAtEnd.length === 0 ? ["no pod ended"] : []),
        ...(inFlightAtEnd.includes(0) ? ["a pod ended without a long request in flight"] : []),
    ];
}

interface Pod {
    readonly metadata: {
        readonly name: string;
        readonly deletionTimestamp?: string;
        readonly deletionGracePeriodSeconds?: number;
    };
    readonly spec: { readonly containers: readonly { lifecycle?: { preStop?: { sleep?: { seconds?: number } } } }[] };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const release = "wine";
/** The chart's default; long requests may take almost all of it. */
const requestTimeoutSeconds = 30;
/**
 * A lone idle node knows of a pod's end before its server does, and loses nothing whatever the pod does. Nodes of large or busy
 * clusters know seconds later; well below the chart's preStop, which is there for them.
 */
export const nodeLearnsLateSeconds = 4;
const slowApi = fs.readFileSync(path.join(__dirname, "slow_api.py"), "utf8");

/**
 * Keeps a load of 60 short requests a second and one long one a second on a release with two pods and the chart's own times, and
 * rolls it out in one way or another.
 */
export class Rollouts {
    private readonly records: Ended[] = [];
    private readonly ends = new Map<string, number>();
    private values: Values;
    private serial = 0;
    private load: ChildProcess | undefined;
    private watching = true;
    private pods: readonly Pod[] = [];

    private constructor(
        private readonly node: OwnNode,
        private readonly namespace: string,
        private readonly access: ApiAccess,
    ) {
        this.values = merged(environmentValues("dev"), {
            image: { ...node.image },
            replicas: 2,
            apiKey: { existingSecret: "key", generation: 1 },
            // Long requests sleep, each in a thread of its own; there are as many as the limit has cores.
            resources: { limits: { cpu: "64" } },
            api: { requestTimeoutSeconds, maxConcurrentRequests: 64, logLevel: "warning" },
            merge: { container: { command: ["/opt/venv/bin/python", "-c", slowApi] } },
        });
    }

    /** Installs the release and starts the load. */
    static async start(node: OwnNode, namespace: string): Promise<Rollouts> {
        const access = await openAccess(undefined, { KUBECONFIG: node.info.kubeconfig }, 10_000);
        const rollouts = new Rollouts(node, namespace, access);
        for (const [name, ...keys] of [
            ["key-1", "the-key"],
            ["key-2-with-1", "another-key", "the-key"],
        ] as const)
            await node.kubectl("apply", "--filename", node.valuesFile(keySecret(name, keys) as Values));
        await node.tagImage("again");
        await rollouts.upgrade({ apiKey: { existingSecret: "key-1" } });
        void rollouts.watch();
        await rollouts.startLoad();
        return rollouts;
    }

    /** Ends the load with its last answer. */
    async stop(): Promise<void> {
        this.watching = false;
        if (this.load === undefined) return;
        const { load } = this;
        const ended = new Promise((resolve) => {
            load.on("close", resolve);
        });
        this.load.stdin?.end();
        await Promise.race([ended, sleep((requestTimeoutSeconds + 15) * 1000)]);
        this.load.kill("SIGKILL");
    }

    /** One rollout, until no old pod is left. What was asked may still be in the air: `counted` waits for it. */
    async change(kind: RolloutKind): Promise<Change> {
        if (kind === "scale down") {
            await this.measured(() => this.upgrade({ replicas: 3 }));
            // The newest pod is the first to go, and is to have long requests by then.
            await sleep(10_000);
        }
        if (kind === "rollback") await this.measured(() => this.upgrade({ env: this.another() }));
        return this.measured(() => this.begin(kind));
    }

    /**
     * The negative control: pods that end at once when they are told to, without the chart's pause and the sample's own drain,
     * which would make up for it. They stay until `heal`.
     */
    async changeWithoutPreStop(): Promise<Change> {
        const container = "/spec/template/spec/containers/0";
        const patch = [
            { op: "remove", path: `${container}/lifecycle` },
            { op: "add", path: `${container}/env/-`, value: { name: "DRAIN_SECONDS", value: "0.1" } },
        ];
        const name = `deployment/${release}`;
        await this.node.kubectl("patch", name, "--type", "json", "--patch", JSON.stringify(patch));
        await this.node.kubectl("rollout", "status", name);
        return this.measured(async () => {
            await this.node.kubectl("rollout", "restart", name);
            await this.node.kubectl("rollout", "status", name);
        });
    }

    /** A version that is ready and predicts nothing: its verification fails, and Helm takes it back. */
    async changeThatFails(verify: Values): Promise<Change> {
        const values = merged(this.values, { env: { BROKEN: "1" }, verify });
        return this.measured(async () => {
            const { failure, stdout, stderr } = await this.install(values, "--atomic");
            if (failure === undefined) throw new Error(`it was accepted: ${stdout}${stderr}`);
        });
    }

    /** Back to the chart's pods after the negative control. */
    async heal(): Promise<void> {
        await this.measured(() => this.upgrade({ env: this.another() }));
    }

    /** Waits for the last answer to what began in that time. */
    async counted({ from, to, ended }: Change): Promise<Counted> {
        await sleep(Math.max(0, to + (requestTimeoutSeconds + 1) * 1000 - Date.now()));
        const own = this.records.filter(({ began }) => began >= from && began < to);
        const losses = this.records.filter(
            (one) =>
                one.failure !== undefined &&
                ((one.began >= from && one.began < to) || (one.ended >= from && one.ended < to)),
        );
        const failed: Record<string, number> = {};
        for (const { failure = "" } of losses) failed[failure] = (failed[failure] ?? 0) + 1;
        const inFlightAtEnd = [...ended].map(
            ([pod, at]) =>
                this.records.filter(
                    (one) => one.share === "long" && one.pod === pod && one.began < at && one.ended > at,
                ).length,
        );
        return { requests: own.length, failed, inFlightAtEnd, losses };
    }

    private async begin(kind: RolloutKind): Promise<void> {
        switch (kind) {
            case "image": {
                const { tag } = this.values["image"] as { tag: string };
                return this.upgrade({ image: { tag: tag === "again" ? this.node.image.tag : "again" } });
            }
            case "config":
                return this.upgrade({ env: this.another() });
            case "keys": {
                const { generation } = this.values["apiKey"] as { generation: number };
                // The pods of both generations accept the key that the load keeps.
                const existingSecret = generation % 2 === 1 ? "key-2-with-1" : "key-1";
                return this.upgrade({ apiKey: { existingSecret, generation: generation + 1 } });
            }
            case "scale down":
                return this.upgrade({ replicas: 2 });
            case "eviction":
                for (const { metadata } of this.present()) await this.evict(metadata.name);
                return;
            case "rollback":
                succeeded(await this.node.helm("rollback", release, "--wait", "--timeout", "240s"));
        }
    }

    /** Through the Eviction API, which refuses while the budget does not allow it. */
    private async evict(name: string): Promise<void> {
        const body = JSON.stringify({
            apiVersion: "policy/v1",
            kind: "Eviction",
            metadata: { name, namespace: this.namespace },
        });
        const where = { path: `/api/v1/namespaces/${this.namespace}/pods/${name}/eviction`, timeoutMs: 10_000 };
        await eventually(async () => {
            const { status, body: said } = await request(this.access, { method: "POST", ...where, body });
            if (status >= 300) throw new Error(`eviction of ${name}: ${status} ${said}`);
        }, 120);
    }

    private another(): Values {
        return { VERSION: String(++this.serial) };
    }

    private async upgrade(change: Values): Promise<void> {
        this.values = merged(this.values, change);
        succeeded(await this.install(this.values, "--wait"));
    }

    private install(values: Values, ...flags: readonly string[]): Promise<RunResult> {
        const chart = path.join(checkoutRoot, "chart");
        const more = ["--install", "--timeout", "240s", "--values", this.node.valuesFile(values)];
        return this.node.helm("upgrade", release, chart, ...flags, ...more);
    }

    private async measured(work: () => Promise<void>): Promise<Change> {
        const from = Date.now();
        const old = this.present().map(({ metadata }) => metadata.name);
        const known = new Set(this.ends.keys());
        await work();
        const { replicas: wanted } = this.values as { replicas: number };
        // What is known of the pods is half a second old.
        await sleep(1_000);
        await eventually(() => {
            const ready = this.pods.filter(({ status: { conditions = [] } }) =>
                conditions.some(({ type, status }) => type === "Ready" && status === "True"),
            );
            // Whoever is told to end is gone, and as many serve as should.
            if (this.pods.length !== wanted || ready.length !== wanted) return Promise.reject(new Error("not yet"));
            return Promise.resolve();
        }, 180);
        const ended = new Map([...this.ends].filter(([name]) => !known.has(name) && old.includes(name)));
        return { from, to: Date.now(), ended };
    }

    private present(): readonly Pod[] {
        return this.pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    }

    /** Looks at the pods all the time, so that none ends unseen. */
    private async watch(): Promise<void> {
        const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=api`;
        const where = { path: `/api/v1/namespaces/${this.namespace}/pods`, query: { labelSelector: selector } };
        while (this.watching) {
            await sleep(500);
            // A busy machine may answer late; the next look tells as much.
            const answer = await request(this.access, { ...where, timeoutMs: 10_000 }).catch(() => undefined);
            if (answer?.status !== 200) continue;
            this.pods = (JSON.parse(answer.body) as { items: Pod[] }).items;
            for (const { metadata, spec } of this.pods) {
                const { name, deletionTimestamp, deletionGracePeriodSeconds = 0 } = metadata;
                if (deletionTimestamp === undefined || this.ends.has(name)) continue;
                const pause = spec.containers[0]?.lifecycle?.preStop?.sleep?.seconds ?? 0;
                this.ends.set(name, Date.parse(deletionTimestamp) + (pause - deletionGracePeriodSeconds) * 1000);
            }
        }
    }

    private async startLoad(): Promise<void> {
        const service = await this.node.kubectl("get", "service", release, "--output", "jsonpath={.spec.clusterIP}");
        const { inputs } = (this.values["verify"] as { sample: { inputs: Record<string, number> } }).sample;
        const body = (seconds: number): string =>
            JSON.stringify({ inputs: seconds === 0 ? inputs : { ...inputs, magnesium: 1000 + seconds * 1000 } });
        const settings: LoadSettings = {
            url: `http://${service}:80`,
            path: "/predict",
            key: "the-key",
            short: { perSecond: 60, bodies: [body(0), body(0.05), body(0.2)], seconds: 30 },
            // Up to the declared time-out, but for what the way there and back takes on a busy machine.
            long: { perSecond: 1.5, bodies: [28, 20, 25, 27, 15].map(body), seconds: requestTimeoutSeconds + 5 },
        };
        this.load = await this.node.start(path.join(__dirname, "load.ts"), JSON.stringify(settings));
        if (this.load.stdout === null) throw new Error("no pipe");
        createInterface(this.load.stdout).on("line", (line) => {
            this.records.push(JSON.parse(line) as Ended);
        });
        await eventually(() => {
            const answered = this.records.filter(({ failure }) => failure === undefined).length;
            if (answered >= 30) return Promise.resolve();
            const [first] = this.records;
            return Promise.reject(new Error(`the load has no answers: ${first?.failure ?? "nothing has ended"}`));
        });
    }
}

function succeeded({ failure, stderr, stdout }: RunResult): void {
    if (failure !== undefined) throw new Error(`helm ${failure}: ${stderr}${stdout}`);
}
