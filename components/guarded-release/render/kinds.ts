/** Kinds of the Kubernetes API itself that live outside namespaces. */
const clusterScoped = new Set(
    [
        "ComponentStatus Namespace Node PersistentVolume",
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
        "CustomResourceDefinition APIService SelfSubjectReview TokenReview",
        "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
        "CertificateSigningRequest ClusterTrustBundle FlowSchema PriorityLevelConfiguration",
        "IngressClass IPAddress ServiceCIDR RuntimeClass ClusterRole ClusterRoleBinding",
        "DeviceClass ResourceSlice PriorityClass CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    ].flatMap((line) => line.split(" ")),
);

/** Groups of Kubernetes itself whose names look like those of custom resources. */
const ownGroups = new Set(
    [
        "admissionregistration apiextensions apiregistration authentication authorization certificates coordination",
        "discovery events flowcontrol.apiserver internal.apiserver networking node rbac.authorization resource",
        "scheduling storage storagemigration",
    ].flatMap((line) => line.split(" ").map((group) => `${group}.k8s.io`)),
);

/** `apps` of `apps/v1`, `""` of `v1`. */
export function groupOf(apiVersion: string): string {
    return apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
}

/** Whether a group is one of Kubernetes itself. */
export function isOwnGroup(group: string): boolean {
    return !group.includes(".") || ownGroups.has(group);
}

/** Undefined for a kind that only a cluster can tell about. */
export function isNamespacedKind(apiVersion: string, kind: string): boolean | undefined {
    return isOwnGroup(groupOf(apiVersion)) ? !clusterScoped.has(kind) : undefined;
}
