import { Agent } from "node:https";
import type { ApiAccess } from "../../config/kubeconfig";
import { request } from "../live/api";
import type { RenderedObject } from "../render/render";
import { diagnose, type LogName, logsWanted } from "./diagnose";
import type { Finding } from "./finding";
import { isReady } from "./progress";
import { controllerOf, type Lists, type Scene, sceneOf } from "./scene";
import { TAINTED } from "./placement";
import { Serving } from "./serving";
import type { Deployment, Happening, Job, Node, Pod, ReplicaSet } from "./shapes";

/** A release in a cluster, and what it is to consist of. */
export interface Place {
    readonly access: ApiAccess;
    readonly namespace: string;
    readonly objects: readonly RenderedObject[];
}

/** What one look at the cluster has shown. */
export interface Look {
    readonly scene: Scene;
    readonly findings: readonly Finding[];
    /** Helm has begun to take the operation back. */
    readonly goesBack: boolean;
}

/** Everything that was seen since the operation began, each in its last state before it went. */
export interface Kept {
    readonly objects: readonly KeptObject[];
    readonly events: readonly Happening[];
    readonly logs: readonly { readonly name: LogName; readonly text: string }[];
    /** What could not be looked at: `events (403)`. */
    readonly unseen: readonly string[];
}

export type KeptObject = { readonly apiVersion: string; readonly kind: string } & (Pod | ReplicaSet | Deployment | Job);

/** Milliseconds for one request. */
const REQUEST_MS = 5000;
/** Of each log only the end is read. */
const LOG_LINES = "200";
const LOG_BYTES = String(128 << 10);

const KINDS = {
    deployments: { kind: "Deployment", apiVersion: "apps/v1", root: "/apis/apps/v1" },
    replicasets: { kind: "ReplicaSet", apiVersion: "apps/v1", root: "/apis/apps/v1" },
    jobs: { kind: "Job", apiVersion: "batch/v1", root: "/apis/batch/v1" },
    pods: { kind: "Pod", apiVersion: "v1", root: "/api/v1" },
    events: { kind: "Event", apiVersion: "v1", root: "/api/v1" },
} as const;
type Plural = keyof typeof KINDS;
/** Enough to say what nodes of a cluster are like. */
const NODES = "200";

/**
 * Looks at the pods of a release, over one connection that it keeps. What is there when it is opened is not the operation's doing.
 * It looks only when it is asked to, and holds no process.
 */
export class Watch {
    private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
    private readonly before = new Set<string>();
    /** The ReplicaSet that each Deployment rolled out at the beginning, by the Deployment's UID. */
    private readonly former = new Map<string, string>();
    private readonly past = new Set<string>();
    private readonly ready = new Set<string>();
    private readonly logs = new Map<string, { readonly name: LogName; readonly text: string }>();
    private readonly objects = new Map<string, KeptObject>();
    private readonly events = new Map<string, Happening>();
    private readonly unseen = new Set<string>();
    private readonly serving = new Serving();
    private nodes: readonly Node[] | undefined;

    private constructor(private readonly place: Place) {}

    /** @throws when the cluster does not answer */
    static async open(place: Place): Promise<Watch> {
        const watch = new Watch(place);
        const lists = await watch.list();
        for (const { metadata } of [...lists.pods, ...lists.jobs]) watch.before.add(metadata.uid);
        for (const [deployment, replicaSet] of currentOf(sceneOf(lists, place.objects, watch.before, watch.past)))
            watch.former.set(deployment, replicaSet);
        return watch;
    }

    close(): void {
        this.agent.destroy();
    }

    /** @throws when the cluster does not answer */
    async look(): Promise<Look> {
        const lists = await this.list();
        const events = await this.get<Happening & { metadata: { uid: string } }>("events");
        const { objects } = this.place;
        const all = sceneOf(lists, objects, this.before, new Set());
        for (const [deployment, replicaSet] of currentOf(all)) {
            const former = this.former.get(deployment);
            if (former !== undefined && former !== replicaSet) this.past.add(former);
        }
        const scene = sceneOf(lists, objects, this.before, this.past);
        for (const pod of scene.pods) if (isReady(pod)) this.ready.add(pod.metadata.uid);
        const servers = scene.pods.filter(({ metadata }) => controllerOf(metadata)?.kind !== "Job");
        this.serving.look(servers, lists.pods, Date.now());
        await Promise.all(logsWanted(scene).map((name) => this.readLog(name)));
        this.keep(scene, events);
        const logs = new Map(Array.from(this.logs, ([key, { text }]) => [key, text]));
        const goesBack = all.replicaSets.some(({ metadata }) => this.past.has(metadata.uid));
        return { scene, findings: diagnose(scene, events, logs, this.ready), goesBack };
    }

    kept(): Kept {
        const all = { objects: this.objects, events: this.events, logs: this.logs };
        return {
            objects: [...all.objects.values()],
            events: [...all.events.values()],
            logs: [...all.logs.values()],
            unseen: [...this.unseen],
        };
    }

    /** Whether requests came to the new version; undefined for a release without servers, or when pods may not be seen. */
    inService(): string | undefined {
        const isServer = this.place.objects.some(({ kind }) => kind === "Deployment" || kind === "StatefulSet");
        if (!isServer || [...this.unseen].some((what) => what.startsWith("pods "))) return undefined;
        const { seconds } = this.serving;
        return seconds === undefined
            ? "the new version was never in service"
            : `the new version was in service for about ${seconds} s`;
    }

    private keep(scene: Scene, events: readonly (Happening & { metadata: { uid: string } })[]): void {
        const add = (plural: Plural, found: readonly (Pod | ReplicaSet | Deployment | Job)[]): void => {
            const { kind, apiVersion } = KINDS[plural];
            for (const object of found) this.objects.set(object.metadata.uid, { apiVersion, kind, ...object });
        };
        add("deployments", scene.deployments);
        add("replicasets", scene.replicaSets);
        add("jobs", scene.jobs);
        add("pods", scene.pods);
        for (const event of events) {
            const { uid = "", kind } = event.involvedObject;
            if (this.objects.has(uid) || kind === "PersistentVolumeClaim") this.events.set(event.metadata.uid, event);
        }
    }

    private async list(): Promise<Lists> {
        const pods = await this.get<Pod>("pods");
        const told = pods.flatMap(({ status }) => status?.conditions?.map(({ message = "" }) => message) ?? []);
        const tainted = told.some((message) => message.includes(TAINTED));
        // A deployer need not have the right to read nodes; once is enough to know.
        if (tainted) this.nodes ??= await this.items<Node>("nodes", "/api/v1/nodes", { limit: NODES });
        return {
            deployments: await this.get<Deployment>("deployments"),
            replicaSets: await this.get<ReplicaSet>("replicasets"),
            jobs: await this.get<Job>("jobs"),
            pods,
            ...(this.nodes === undefined ? {} : { nodes: this.nodes }),
        };
    }

    private get<T>(plural: Plural): Promise<readonly T[]> {
        return this.items(plural, `${KINDS[plural].root}/namespaces/${this.place.namespace}/${plural}`);
    }

    private async items<T>(what: string, path: string, query: Record<string, string> = {}): Promise<readonly T[]> {
        const options = { path, query, timeoutMs: REQUEST_MS, agent: this.agent };
        const { status, body } = await request(this.place.access, options);
        if (status !== 200) {
            // The rest is worth a look even so.
            this.unseen.add(`${what} (${status})`);
            return [];
        }
        return (JSON.parse(body) as { items?: T[] }).items ?? [];
    }

    private async readLog(name: LogName): Promise<void> {
        const known = this.logs.get(name.key);
        if (known?.name.final === true) return;
        const { status, body } = await request(this.place.access, {
            path: `/api/v1/namespaces/${this.place.namespace}/pods/${name.pod}/log`,
            query: {
                container: name.container,
                previous: String(name.previous),
                tailLines: LOG_LINES,
                limitBytes: LOG_BYTES,
            },
            timeoutMs: REQUEST_MS,
            agent: this.agent,
        }).catch(() => ({ status: 0, body: "" }));
        // A container that is gone already has no log any more; what was read of it before stays.
        if (status === 200 && !body.startsWith("unable to retrieve container logs"))
            this.logs.set(name.key, { name, text: body });
    }
}

/** Which ReplicaSet each Deployment rolls out, by their UIDs. */
function currentOf({ replicaSets }: Scene): [string, string][] {
    return replicaSets.map(({ metadata }) => [controllerOf(metadata)?.uid ?? "", metadata.uid]);
}
