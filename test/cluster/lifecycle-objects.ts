/** What the examples of the chart expect a cluster to have, and what a person makes in a namespace before the install. */

export const clusterObjects: readonly object[] = [
    { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "serving" }, value: 1000 },
    { apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", metadata: { name: "nvidia" }, handler: "runc" },
];

/** A strict namespace, and all Secrets that any of the examples reads. */
export function objectsIn(namespace: string): readonly object[] {
    const secret = (name: string, stringData: Record<string, string>) => ({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name, namespace },
        stringData,
    });
    const login = JSON.stringify({ auths: { "registry.example.org": { auth: "cGVyc29uOndvcmQ=" } } });
    return [
        {
            apiVersion: "v1",
            kind: "Namespace",
            metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
        },
        secret("churn-key", { keys: "the-key\n", key: "the-key" }),
        secret("feature-store", { password: "word" }),
        secret("sentry", { dsn: "https://sentry.example.org/1" }),
        { ...secret("registry", { ".dockerconfigjson": login }), type: "kubernetes.io/dockerconfigjson" },
    ];
}

/** A folder of this machine as the claim "models". */
export function volumeIn(namespace: string, folder: string): readonly object[] {
    const size = { storage: "1Gi" };
    const volume = { accessModes: ["ReadOnlyMany"], storageClassName: "" };
    return [
        {
            apiVersion: "v1",
            kind: "PersistentVolume",
            metadata: { name: "models" },
            spec: { ...volume, capacity: size, hostPath: { path: folder, type: "Directory" } },
        },
        {
            apiVersion: "v1",
            kind: "PersistentVolumeClaim",
            metadata: { name: "models", namespace },
            spec: { ...volume, volumeName: "models", resources: { requests: size } },
        },
    ];
}
