import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isReplacement } from "../rpc/detailed-diff";
import type { EngineLog } from "../rpc/engine";
import { InitFailure, Unimplemented } from "../rpc/failure";
import type { Properties } from "../rpc/properties";
import { containsUnknown, isObject, isUnknown, objectsIn, reveal, textOf, without } from "../rpc/properties";
import type { CheckInput, Diff, Existing, Failure } from "../rpc/provider";
import type { Mapping, Request } from "./cluster";
import { ApiError, NoSuchKind } from "./cluster";
import type { Mutability } from "./diff";
import { objectDiff, prune } from "./diff";
import { creator, transferred } from "./field-managers";
import { isNamespacedKind } from "../../../components/guarded-release/render/kinds";
import {
    annotation,
    describe,
    idOf,
    markSecrets,
    metadataOf,
    nameOf,
    namespaceOf,
    normalize,
    setMetadata,
    statusOf,
    withType,
} from "./object";
import { readiness } from "./readiness";

export interface ObjectSettings {
    namespace: string;
    mutability: Mutability;
    serverSideApply: boolean;
    patchForce: boolean;
    upsert: boolean;
}

/** What these functions need of the cluster. */
export interface Api {
    unreachable(): Promise<string | undefined>;
    mapping(apiVersion: string, kind: string): Promise<Mapping>;
    request(request: Request): Promise<Properties>;
}

const autonamed = "pulumi.com/autonamed";
const defaultTimeoutSeconds = 600;

function setAutonamed(object: Properties, name: string): Properties {
    const { annotations } = metadataOf(object);
    if (isUnknown(annotations)) return setMetadata(object, { name });
    return setMetadata(object, {
        name,
        annotations: { ...(isObject(annotations) ? annotations : {}), [autonamed]: "true" },
    });
}

function suffix(seed: Uint8Array): string {
    const hex = seed.length > 0 ? createHash("sha256").update(seed).digest("hex") : randomBytes(4).toString("hex");
    return hex.slice(0, 8);
}

/** The record of an object: what the server returned, and the inputs beside it. */
function stateOf(live: Properties, inputs: Properties, fieldManager: string): Properties {
    return {
        ...markSecrets(live, inputs),
        __inputs: markSecrets(inputs, inputs),
        __initialApiVersion: inputs.apiVersion ?? null,
        __fieldManager: fieldManager,
    };
}

function liveOf(state: Properties): Properties {
    return without(reveal(state), "__inputs", "__initialApiVersion", "__fieldManager");
}

function inputsOf(state: Properties): Properties {
    const inputs = reveal(state).__inputs;
    return isObject(inputs) ? inputs : {};
}

function isGone(error: unknown): boolean {
    return error instanceof NoSuchKind || (error instanceof ApiError && error.code === 404);
}

/** Objects of any kind that the API server knows. */
export class Objects {
    private cancelled = false;

    constructor(
        private readonly api: Api,
        private readonly settings: ObjectSettings,
        private readonly log: EngineLog,
    ) {}

    cancel(): void {
        this.cancelled = true;
    }

    async check(input: CheckInput): Promise<{ inputs: Properties; failures: Failure[] }> {
        if (/Patch$/.test(input.type) || /List$/.test(input.type)) {
            throw new Unimplemented(
                `the stand-in for the Kubernetes provider has no ${input.type}: use the published plugin`,
            );
        }
        // Names are worked on in clear; what was secret is marked again in the end.
        const metadata = reveal(input.news.metadata ?? {});
        let inputs = normalize(withType({ ...input.news, metadata }, input.type));
        if (isObject(metadata)) inputs = this.named(inputs, input);
        if (this.settings.serverSideApply && textOf(metadataOf(inputs).generateName) !== "" && nameOf(inputs) === "") {
            throw new Error("the `.metadata.generateName` field is not supported in Server-Side Apply mode");
        }
        if (isObject(metadata) && metadata.namespace === undefined && (await this.isNamespaced(inputs))) {
            inputs = setMetadata(inputs, { namespace: this.settings.namespace });
        }
        return { inputs: markSecrets(inputs, input.news), failures: [] };
    }

    diff(input: Existing & { news: Properties }): Diff {
        const live = liveOf(input.state);
        const wanted = reveal(normalize(input.news));
        const changes = objectDiff(wanted, live, reveal(normalize(inputsOf(input.state))), this.settings.mutability);
        // An object that keeps its name cannot exist twice.
        const sameName = nameOf(wanted) === nameOf(live);
        const samePlace = namespaceOf(wanted) === namespaceOf(live);
        const deleteBeforeReplace =
            [...changes.values()].some(isReplacement) &&
            nameOf(wanted) !== "" &&
            annotation(wanted, autonamed) !== "true" &&
            sameName &&
            samePlace;
        return { changes, deleteBeforeReplace };
    }

    async create(input: {
        urn: string;
        news: Properties;
        preview: boolean;
        timeoutSeconds: number;
    }): Promise<{ id: string; state: Properties }> {
        const object = reveal(input.news);
        if (input.preview) return { id: "", state: await this.previewCreate(input.urn, object, input.news) };
        await this.requireCluster();
        const manager =
            annotation(object, "pulumi.com/patchFieldManager") || `${creator}-${randomBytes(4).toString("hex")}`;
        let live: Properties;
        try {
            live = await this.postPatiently(object, manager);
        } catch (error) {
            throw this.creationError(input.urn, object, error);
        }
        const problem = await this.settle(input.urn, object, live, input.timeoutSeconds, (latest) => (live = latest));
        const state = stateOf(live, input.news, manager);
        if (problem === undefined) return { id: idOf(live), state };
        throw new InitFailure(
            `resource "${input.urn}" was successfully created, but the Kubernetes API server reported that it failed ` +
                `to fully initialize or become live: ${problem}`,
            idOf(live),
            state,
        );
    }

    async read(input: Existing): Promise<{ id: string; state: Properties; inputs: Properties } | undefined> {
        const imported = Object.keys(input.inputs).length === 0;
        const [name = "", namespace = ""] = input.id.split("/").reverse();
        const known = imported ? liveOf(input.state) : reveal(input.inputs);
        const object = setMetadata(withType(known, input.type), { name, ...(namespace !== "" && { namespace }) });
        let live: Properties;
        try {
            live = await this.get(object);
        } catch (error) {
            if (isGone(error)) return undefined;
            throw error;
        }
        const inputs = imported ? normalize(without(live, "status")) : prune(live, normalize(known));
        const marked = markSecrets(inputs, input.inputs);
        const manager = textOf(input.state.__fieldManager) || `${creator}-${randomBytes(4).toString("hex")}`;
        return { id: input.id, state: stateOf(live, marked, manager), inputs: marked };
    }

    async update(
        input: Existing & { news: Properties; preview: boolean; timeoutSeconds: number },
    ): Promise<Properties> {
        const object = reveal(normalize(input.news));
        const inputs = normalize(input.news);
        const manager =
            annotation(object, "pulumi.com/patchFieldManager") || textOf(input.state.__fieldManager) || creator;
        if (input.preview) {
            if (containsUnknown(object) || (await this.api.unreachable()) !== undefined) return input.news;
        } else await this.requireCluster();

        let live: Properties;
        let problem: string | undefined;
        try {
            live = await this.apply(object, manager, input.preview);
        } catch (error) {
            if (input.preview && error instanceof ApiError && error.code === 403) return input.news;
            if (error instanceof NoSuchKind || input.preview) throw error;
            problem = error instanceof Error ? error.message : String(error);
            try {
                live = await this.get(object);
            } catch (unread) {
                throw new Error(`update of resource "${input.urn}" failed: ${problem}`, { cause: unread });
            }
        }
        if (input.preview) return stateOf(without(live, "status"), inputs, manager);
        problem ??= await this.settle(input.urn, object, live, input.timeoutSeconds, (latest) => (live = latest));
        const state = stateOf(live, inputs, manager);
        if (problem === undefined) return state;
        throw new InitFailure(
            `the Kubernetes API server reported that "${idOf(live)}" failed to fully initialize or become live: ${problem}`,
            idOf(live),
            state,
        );
    }

    /** Deletes the object and waits until it is gone, for a Namespace with everything in it. */
    async delete(input: Existing & { timeoutSeconds: number }): Promise<void> {
        const live = liveOf(input.state);
        const { uid } = metadataOf(live);
        const policy = annotation(inputsOf(input.state), "pulumi.com/deletionPropagationPolicy").toLowerCase();
        const propagationPolicy = { orphan: "Orphan", background: "Background" }[policy] ?? "Foreground";
        const end = Date.now() + 1000 * this.timeout(live, input.timeoutSeconds);
        try {
            await this.call("DELETE", live, { body: { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy } });
            for (let pause = 100; ; pause = Math.min(2 * pause, 1000)) {
                const left = await this.get(live);
                // Somebody made a new one of the same name.
                if (uid !== undefined && metadataOf(left).uid !== uid) return;
                if (this.cancelled) throw new Error(`waiting for ${idOf(live)} to be deleted: context canceled`);
                if (Date.now() > end) throw new Error(this.stillThere(left));
                this.log.status(input.urn, `waiting for ${describe(live)} to be deleted`);
                await sleep(pause);
            }
        } catch (error) {
            if (!isGone(error)) throw error;
        }
    }

    private stillThere(object: Properties): string {
        const reasons = objectsIn(statusOf(object).conditions)
            .filter((condition) => condition.status === "True")
            .map((condition) => textOf(condition.message));
        const { finalizers } = metadataOf(object);
        const waiting = Array.isArray(finalizers) ? [`finalizers ${finalizers.map(textOf).join(", ")}`] : [];
        const detail = [...reasons, ...waiting].join("; ");
        return `timed out waiting for ${describe(object)} to be deleted${detail === "" ? "" : `: ${detail}`}`;
    }

    private named(inputs: Properties, { name, olds, autoname, seed }: CheckInput): Properties {
        const { name: own, generateName } = metadataOf(inputs);
        if (isUnknown(own) || textOf(own) !== "" || isUnknown(generateName) || textOf(generateName) !== "")
            return inputs;
        if (annotation(reveal(olds), autonamed) === "true") return setAutonamed(inputs, nameOf(reveal(olds)));
        if (Object.keys(olds).length > 0 && nameOf(reveal(olds)) === "") return inputs;
        if (autoname === undefined) return setAutonamed(inputs, `${name}-${suffix(seed)}`);
        if ("proposed" in autoname) return setAutonamed(inputs, autoname.proposed);
        throw new Error("autonaming is disabled, resource requires the .metadata.name field to be set");
    }

    private async isNamespaced(object: Properties): Promise<boolean> {
        const [apiVersion, kind] = [textOf(object.apiVersion), textOf(object.kind)];
        const known = isNamespacedKind(apiVersion, kind);
        if (known !== undefined) return known;
        if ((await this.api.unreachable()) !== undefined) return true;
        try {
            return (await this.api.mapping(apiVersion, kind)).namespaced;
        } catch (error) {
            // Its definition may be created by the same program.
            if (error instanceof NoSuchKind) return true;
            throw error;
        }
    }

    private async requireCluster(): Promise<void> {
        if (this.cancelled) throw new Error("context canceled");
        const reason = await this.api.unreachable();
        if (reason !== undefined) throw new Error(`configured Kubernetes cluster is unreachable: ${reason}`);
    }

    private async call(
        method: Request["method"],
        object: Properties,
        request: Omit<Request, "method" | "path"> = {},
    ): Promise<Properties> {
        const mapping = await this.api.mapping(textOf(object.apiVersion), textOf(object.kind));
        const namespace = namespaceOf(object) || this.settings.namespace;
        const place = mapping.namespaced ? `${mapping.path}/namespaces/${encodeURIComponent(namespace)}` : mapping.path;
        const item = method === "POST" ? "" : `/${encodeURIComponent(nameOf(object))}`;
        return this.api.request({ ...request, method, path: `${place}/${mapping.resource}${item}` });
    }

    private get(object: Properties): Promise<Properties> {
        return this.call("GET", object);
    }

    private post(object: Properties, manager: string, preview: boolean): Promise<Properties> {
        const dryRun: Record<string, string> = preview ? { dryRun: "All" } : {};
        if (this.settings.upsert) return this.patch(object, manager, { ...dryRun, force: String(this.force(object)) });
        return this.call("POST", object, { body: object, query: { ...dryRun, fieldManager: creator } });
    }

    /** A namespace or a definition may appear a moment later: somebody else creates it at the same time. */
    private async postPatiently(object: Properties, manager: string): Promise<Properties> {
        for (let pause = 500; ; pause *= 2) {
            try {
                return await this.post(object, manager, false);
            } catch (error) {
                if (!isGone(error) || pause > 4000 || this.cancelled) throw error;
                await sleep(pause);
            }
        }
    }

    /** The object as the server would make it; as the program wrote it where the server cannot tell yet. */
    private async previewCreate(urn: string, object: Properties, news: Properties): Promise<Properties> {
        if (containsUnknown(object) || !this.settings.serverSideApply) return news;
        if ((await this.api.unreachable()) !== undefined) return news;
        try {
            return stateOf(without(await this.post(object, creator, true), "status"), news, creator);
        } catch (error) {
            // 403 forbidden, 404 not yet, 409 exists and will be replaced.
            if (error instanceof NoSuchKind) return news;
            if (error instanceof ApiError && [403, 404, 409].includes(error.code)) return news;
            throw this.creationError(urn, object, error);
        }
    }

    private creationError(urn: string, object: Properties, error: unknown): Error {
        const message = error instanceof Error ? error.message : String(error);
        const exists = error instanceof ApiError && error.reason === "AlreadyExists";
        const hint = exists
            ? `. To manage it from here, import it: pulumi import ... ${idOf(object)}. To keep it, leave it out of the program`
            : "";
        return new Error(
            `resource "${urn}" was not successfully created by the Kubernetes API server: ${message}${hint}`,
        );
    }

    private force(object: Properties): boolean {
        return this.settings.patchForce || annotation(object, "pulumi.com/patchForce") === "true";
    }

    private patch(object: Properties, manager: string, query: Record<string, string>): Promise<Properties> {
        return this.call("PATCH", object, {
            body: object,
            contentType: "application/apply-patch+yaml",
            query: { ...query, fieldManager: manager },
        });
    }

    private async apply(object: Properties, manager: string, preview: boolean): Promise<Properties> {
        const live = await this.get(object);
        if (object.kind === "CustomResourceDefinition") {
            const { resourceVersion = null } = metadataOf(live);
            const query: Record<string, string> = preview ? { dryRun: "All" } : {};
            return this.call("PUT", object, { body: setMetadata(object, { resourceVersion }), query });
        }
        const managers = transferred(live, manager);
        if (managers !== undefined && !preview) {
            const { resourceVersion = null } = metadataOf(live);
            await this.call("PATCH", object, {
                contentType: "application/json-patch+json",
                body: [
                    { op: "replace", path: "/metadata/managedFields", value: managers },
                    { op: "replace", path: "/metadata/resourceVersion", value: resourceVersion },
                ],
            });
        }
        const force = this.force(object) || (preview && managers !== undefined);
        return this.patch(object, manager, { force: String(force), ...(preview && { dryRun: "All" }) });
    }

    private timeout(object: Properties, timeoutSeconds: number): number {
        if (timeoutSeconds > 0) return timeoutSeconds;
        const annotated = Number(annotation(object, "pulumi.com/timeoutSeconds"));
        return annotated > 0 ? annotated : defaultTimeoutSeconds;
    }

    /** Waits until the object is ready. Returns why it did not become so. */
    private async settle(
        urn: string,
        inputs: Properties,
        created: Properties,
        timeoutSeconds: number,
        seen: (live: Properties) => void,
    ): Promise<string | undefined> {
        if (annotation(inputs, "pulumi.com/skipAwait") === "true") return undefined;
        const end = Date.now() + 1000 * this.timeout(inputs, timeoutSeconds);
        const what = describe(created);
        try {
            for (let live = created; ; live = await this.get(live)) {
                seen(live);
                const state = readiness(live);
                if (state === undefined) return undefined;
                if ("failed" in state) return state.failed;
                if (this.cancelled) return `${state.waitingFor}: context canceled`;
                if (Date.now() > end) return `timed out waiting for ${what}: ${state.waitingFor}`;
                this.log.status(urn, `waiting for ${what}: ${state.waitingFor}`);
                await sleep(500);
            }
        } catch (error) {
            // The object exists: it has to be recorded, whatever happened while it was watched.
            return error instanceof Error ? error.message : String(error);
        }
    }
}
