import { isDeepStrictEqual } from "node:util";
import { packageVersion } from "../package-version";
import type { DetailedDiff } from "../rpc/detailed-diff";
import { detailedDiff } from "../rpc/detailed-diff";
import type { EngineLog } from "../rpc/engine";
import type { Properties } from "../rpc/properties";
import { reveal } from "../rpc/properties";
import type { CheckInput, Diff, Existing, Failure, ResourceProvider } from "../rpc/provider";
import { serveProvider } from "../rpc/provider";
import { Cluster } from "./cluster";
import { Helm } from "./helm";
import type { Target } from "./kubeconfig";
import { NoCluster, resolveTarget } from "./kubeconfig";
import { objectsOf } from "./manifest";
import type { Api } from "./objects";
import { Objects } from "./objects";
import { Releases, releaseType } from "./release";
import { placed, renderChart } from "./template";

const defaultRequestSeconds = 60;

type Variables = ReadonlyMap<string, string>;

function setting(variables: Variables, name: string): string {
    return variables.get(`kubernetes:config:${name}`) ?? "";
}

/** A switch of the provider, or the environment variable that means the same. */
function enabled(variables: Variables, name: string, environment: string, fallback = false): boolean {
    const value = variables.get(`kubernetes:config:${name}`) ?? process.env[environment];
    return value === undefined ? fallback : value === "true";
}

function nested(variables: Variables, name: string): Record<string, unknown> {
    const value = setting(variables, name);
    if (value === "") return {};
    try {
        return JSON.parse(value) as Record<string, unknown>;
    } catch (error) {
        throw new Error(`failed to unmarshal ${name} option: ${(error as Error).message}`, { cause: error });
    }
}

function noCluster(reason: string): Api {
    const fail = (): Promise<never> =>
        Promise.reject(new Error(`configured Kubernetes cluster is unreachable: ${reason}`));
    return { unreachable: () => Promise.resolve(reason), mapping: fail, request: fail };
}

/** Everything that the provider's settings decide. */
interface Configured {
    cluster: Cluster | undefined;
    api: Api;
    helm: Helm;
    objects: Objects;
    releases: Releases;
    skipUnreachable: boolean;
    deleteUnreachable: boolean;
}

const forgetHint =
    "If the cluster was deleted, remove the resource from Pulumi's state by running the operation again with the " +
    'environment variable PULUMI_K8S_DELETE_UNREACHABLE set to "true"';

class KubernetesProvider implements ResourceProvider {
    readonly version = packageVersion("@pulumi/kubernetes");
    private configured: Configured | undefined;

    constructor(private readonly log: EngineLog) {}

    configure(variables: Variables): Promise<void> {
        let target: Target | undefined;
        let reason = "";
        try {
            target = resolveTarget({
                kubeconfig: setting(variables, "kubeconfig"),
                context: setting(variables, "context"),
                cluster: setting(variables, "cluster"),
                namespace: setting(variables, "namespace"),
            });
        } catch (error) {
            if (!(error instanceof NoCluster)) throw error;
            reason = error.message;
        }
        if (setting(variables, "renderYamlToDirectory") !== "") {
            throw new Error(
                "the stand-in for the Kubernetes provider has no renderYamlToDirectory: use the published plugin",
            );
        }
        const client = nested(variables, "kubeClientSettings");
        const seconds = Number(client.timeout ?? process.env.PULUMI_K8S_CLIENT_TIMEOUT ?? defaultRequestSeconds);
        const cluster = target === undefined ? undefined : new Cluster(target, seconds);
        const api: Api = cluster ?? noCluster(reason);
        const helmSettings = nested(variables, "helmReleaseSettings");
        const helmSetting = (name: string, environment: string): string => {
            const value = helmSettings[name];
            return typeof value === "string" ? value : (process.env[environment] ?? "");
        };
        const driver = helmSetting("driver", "PULUMI_K8S_HELM_DRIVER");
        const helm = new Helm({
            driver: driver === "" ? "secret" : driver,
            pluginsPath: helmSetting("pluginsPath", "PULUMI_K8S_HELM_PLUGINS_PATH"),
            registryConfigPath: helmSetting("registryConfigPath", "PULUMI_K8S_HELM_REGISTRY_CONFIG_PATH"),
            repositoryConfigPath: helmSetting("repositoryConfigPath", "PULUMI_K8S_HELM_REPOSITORY_CONFIG_PATH"),
            repositoryCache: helmSetting("repositoryCache", "PULUMI_K8S_HELM_REPOSITORY_CACHE"),
        });
        const namespace = target?.namespace ?? (setting(variables, "namespace") || "default");
        const objects = new Objects(
            api,
            {
                namespace,
                mutability: {
                    secrets: enabled(variables, "enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
                    configMaps: enabled(variables, "enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
                },
                serverSideApply: enabled(
                    variables,
                    "enableServerSideApply",
                    "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
                    true,
                ),
                patchForce: enabled(variables, "enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
                upsert: enabled(variables, "upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
            },
            this.log,
        );
        this.configured = {
            cluster,
            api,
            helm,
            objects,
            releases: new Releases(helm, target, namespace, () => api.unreachable(), this.log),
            skipUnreachable: enabled(variables, "skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
            deleteUnreachable: enabled(variables, "deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        };
        return Promise.resolve();
    }

    diffConfig(olds: Properties, news: Properties): DetailedDiff {
        const place = new Set(["kubeconfig", "context", "cluster"]);
        const plain = (properties: Properties): Properties => reveal(properties);
        return detailedDiff(plain(news), plain(olds), plain(olds), ([first]) => {
            return place.has(String(first)) && this.leadsElsewhere(plain(olds), plain(news));
        });
    }

    async check(input: CheckInput): Promise<{ inputs: Properties; failures?: Failure[] }> {
        const { objects, releases, skipUnreachable, api } = this.settings();
        if (skipUnreachable && (await api.unreachable()) !== undefined) {
            this.log.warn(
                input.urn,
                "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping...",
            );
            return { inputs: input.olds };
        }
        return input.type === releaseType ? releases.check(input) : objects.check(input);
    }

    diff(input: Existing & { news: Properties; ignoreChanges: string[] }): Promise<Diff> {
        const { objects, releases } = this.settings();
        return Promise.resolve(input.type === releaseType ? releases.diff(input) : objects.diff(input));
    }

    create(input: {
        urn: string;
        type: string;
        news: Properties;
        preview: boolean;
        timeoutSeconds: number;
    }): Promise<{ id: string; state: Properties }> {
        const { objects, releases } = this.settings();
        return input.type === releaseType ? releases.create(input) : objects.create(input);
    }

    async read(input: Existing): Promise<{ id: string; state: Properties; inputs: Properties } | undefined> {
        const { objects, releases, api, skipUnreachable, deleteUnreachable } = this.settings();
        const reason = await api.unreachable();
        if (reason !== undefined) {
            this.log.warn(input.urn, `configured Kubernetes cluster is unreachable: ${reason}`);
            if (deleteUnreachable) return undefined;
            if (skipUnreachable) return input;
            throw new Error(`failed to read resource state due to unreachable cluster. ${forgetHint}`);
        }
        return input.type === releaseType ? releases.read(input) : objects.read(input);
    }

    update(input: Existing & { news: Properties; preview: boolean; timeoutSeconds: number }): Promise<Properties> {
        const { objects, releases } = this.settings();
        return input.type === releaseType ? releases.update(input) : objects.update(input);
    }

    async delete(input: Existing & { timeoutSeconds: number }): Promise<void> {
        const { objects, releases, api, deleteUnreachable } = this.settings();
        if (input.type === releaseType) return releases.delete(input);
        const reason = await api.unreachable();
        if (reason === undefined) return objects.delete(input);
        this.log.warn(input.urn, `configured Kubernetes cluster is unreachable: ${reason}`);
        if (!deleteUnreachable) throw new Error(`configured Kubernetes cluster is unreachable. ${forgetHint}`);
    }

    async invoke(token: string, args: Properties): Promise<Properties> {
        const { helm, cluster } = this.settings();
        if (token === "kubernetes:helm:template") return renderChart(reveal(args), helm, cluster);
        if (token === "kubernetes:yaml:decode") {
            const { text, defaultNamespace } = reveal(args);
            if (typeof text !== "string") throw new Error("missing required field 'text' of type string");
            const namespace = typeof defaultNamespace === "string" ? defaultNamespace : "";
            return { result: objectsOf(text).map((object) => placed(object, namespace)) };
        }
        throw new Error(
            `the stand-in for the Kubernetes provider has no function "${token}": use the published plugin`,
        );
    }

    async cancel(): Promise<void> {
        this.configured?.objects.cancel();
        await this.configured?.helm.cancel();
    }

    private settings(): Configured {
        if (this.configured === undefined) throw new Error("the provider was not configured");
        return this.configured;
    }

    /** Whether other settings mean another cluster, in which case everything has to be made again. */
    private leadsElsewhere(olds: Properties, news: Properties): boolean {
        const clusterOf = (properties: Properties): unknown => {
            const value = (name: string): string => {
                const property = properties[name];
                return typeof property === "string" ? property : property === undefined ? "" : JSON.stringify(property);
            };
            try {
                const target = resolveTarget({
                    kubeconfig: value("kubeconfig"),
                    context: value("context"),
                    cluster: value("cluster"),
                    namespace: "",
                });
                return target.kubeconfig.clusters;
            } catch {
                return undefined;
            }
        };
        const [before, after] = [clusterOf(olds), clusterOf(news)];
        return before !== undefined && after !== undefined && !isDeepStrictEqual(before, after);
    }
}

export async function main(args: readonly string[]): Promise<void> {
    await serveProvider(args, (log) => new KubernetesProvider(log));
}
