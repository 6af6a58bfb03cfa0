import { readFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import {
    ApiException,
    CoreV1Api,
    KubeConfig,
    KubernetesObjectApi,
    type KubernetesObject,
    V1ObjectMeta,
    V1Secret,
} from "@kubernetes/client-node";

/** What Helm has recorded of one revision of a release. */
export interface HelmRecord {
    revision: number;
    status: string;
    description: string;
}

interface Content {
    version: number;
    info: { status: string; description: string };
}

function decode(secret: V1Secret): Content {
    const inner = Buffer.from(secret.data?.release ?? "", "base64").toString();
    return JSON.parse(gunzipSync(Buffer.from(inner, "base64")).toString()) as Content;
}

function encode(content: Content): string {
    return Buffer.from(gzipSync(JSON.stringify(content)).toString("base64")).toString("base64");
}

/** The same cluster and user, with the user's credential handed out by a program as cloud providers do. */
export function execKubeconfig(kubeconfig: string): string {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const user = config.getCurrentUser();
    const pem = (data: string | undefined, file: string | undefined): string | undefined => {
        if (data !== undefined) return Buffer.from(data, "base64").toString();
        return file === undefined ? undefined : readFileSync(file, "utf8");
    };
    const credential = {
        apiVersion: "client.authentication.k8s.io/v1",
        kind: "ExecCredential",
        status: {
            token: user?.token,
            clientCertificateData: pem(user?.certData, user?.certFile),
            clientKeyData: pem(user?.keyData, user?.keyFile),
        },
    };
    const exec = {
        apiVersion: credential.apiVersion,
        interactiveMode: "Never",
        command: "printf",
        args: ["%s", JSON.stringify(credential)],
    };
    const whole = JSON.parse(config.exportConfig()) as { users: { name: string; user: object }[] };
    return JSON.stringify({ ...whole, users: whole.users.map(({ name }) => ({ name, user: { exec } })) });
}

/** The cluster of the tests, looked at without Pulumi and without Helm. */
export class TestCluster {
    private readonly core: CoreV1Api;
    private readonly objects: KubernetesObjectApi;

    constructor(kubeconfig: string) {
        const config = new KubeConfig();
        config.loadFromFile(kubeconfig);
        this.core = config.makeApiClient(CoreV1Api);
        this.objects = KubernetesObjectApi.makeApiClient(config);
    }

    /** An object, or undefined when there is none. */
    async find(
        apiVersion: string,
        kind: string,
        name: string,
        namespace?: string,
    ): Promise<KubernetesObject | undefined> {
        try {
            return await this.objects.read({
                apiVersion,
                kind,
                metadata: { name, ...(namespace !== undefined && { namespace }) },
            });
        } catch (error) {
            if (error instanceof ApiException && error.code === 404) return undefined;
            throw error;
        }
    }

    async configMap(namespace: string, name: string): Promise<Record<string, string>> {
        return (await this.core.readNamespacedConfigMap({ namespace, name })).data ?? {};
    }

    async secretData(namespace: string, name: string): Promise<Record<string, string>> {
        return (await this.core.readNamespacedSecret({ namespace, name })).data ?? {};
    }

    /** A release's revisions, oldest first. */
    async records(namespace: string, release: string): Promise<HelmRecord[]> {
        return (await this.recordSecrets(namespace, release))
            .map(decode)
            .map(({ version, info }) => ({ revision: version, ...info }))
            .sort((a, b) => a.revision - b.revision);
    }

    /** Leaves a record as a process does that was killed in the middle of an upgrade. */
    async leavePending(namespace: string, release: string): Promise<string> {
        const secrets = await this.recordSecrets(namespace, release);
        const newest = secrets.sort((a, b) => decode(a).version - decode(b).version).at(-1);
        if (newest === undefined) throw new Error(`no record of ${release}`);
        const content = decode(newest);
        const revision = content.version + 1;
        const name = `sh.helm.release.v1.${release}.v${String(revision)}`;
        const pending = { ...content, version: revision, info: { ...content.info, status: "pending-upgrade" } };
        const labels = { ...newest.metadata?.labels, status: "pending-upgrade", version: String(revision) };
        await this.create(namespace, name, labels, newest.type, { release: encode(pending) });
        return name;
    }

    async deleteSecret(namespace: string, name: string): Promise<void> {
        await this.core.deleteNamespacedSecret({ namespace, name });
    }

    /** Takes a release's records away; the result puts them back. */
    async hideRecords(namespace: string, release: string): Promise<() => Promise<void>> {
        const secrets = await this.recordSecrets(namespace, release);
        for (const secret of secrets) await this.deleteSecret(namespace, secret.metadata?.name ?? "");
        return async () => {
            for (const { metadata, type, data } of secrets) {
                await this.create(namespace, metadata?.name ?? "", metadata?.labels ?? {}, type, data ?? {});
            }
        };
    }

    async deleteNamespace(name: string): Promise<void> {
        try {
            await this.core.deleteNamespace({ name });
        } catch (error) {
            if (!(error instanceof ApiException) || error.code !== 404) throw error;
        }
    }

    private async create(
        namespace: string,
        name: string,
        labels: Record<string, string>,
        type: string | undefined,
        data: Record<string, string>,
    ): Promise<void> {
        const metadata = Object.assign(new V1ObjectMeta(), { name, labels });
        await this.core.createNamespacedSecret({
            namespace,
            body: Object.assign(new V1Secret(), { metadata, type, data }),
        });
    }

    private async recordSecrets(namespace: string, release: string): Promise<V1Secret[]> {
        const labelSelector = `owner=helm,name=${release}`;
        return (await this.core.listNamespacedSecret({ namespace, labelSelector })).items;
    }
}
