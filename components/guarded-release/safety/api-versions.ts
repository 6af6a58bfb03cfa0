import { groupOf, isOwnGroup } from "../render/kinds";
import type { RenderedObject } from "../render/render";

/** The stable API of Kubernetes 1.34: kinds that can be created, by apiVersion. A test compares it with an API server's own list. */
export const STABLE_KINDS: Readonly<Record<string, readonly string[]>> = kinds({
    v1: "Binding ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
    "admissionregistration.k8s.io/v1":
        "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "APIService",
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "authentication.k8s.io/v1": "SelfSubjectReview TokenReview",
    "authorization.k8s.io/v1":
        "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
    "autoscaling/v1": "HorizontalPodAutoscaler",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "batch/v1": "CronJob Job",
    "certificates.k8s.io/v1": "CertificateSigningRequest",
    "coordination.k8s.io/v1": "Lease",
    "discovery.k8s.io/v1": "EndpointSlice",
    "events.k8s.io/v1": "Event",
    "flowcontrol.apiserver.k8s.io/v1": "FlowSchema PriorityLevelConfiguration",
    "networking.k8s.io/v1": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "node.k8s.io/v1": "RuntimeClass",
    "policy/v1": "PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "resource.k8s.io/v1": "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
    "scheduling.k8s.io/v1": "PriorityClass",
    "storage.k8s.io/v1": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
});

/** What Kubernetes served once, and the version that stopped it: 1.N. Without a list of kinds, all of them. */
const REMOVED: readonly { readonly apiVersion: string; readonly kinds?: readonly string[]; readonly minor: number }[] =
    [
        { apiVersion: "extensions/v1beta1", kinds: ["Ingress"], minor: 22 },
        { apiVersion: "extensions/v1beta1", minor: 16 },
        { apiVersion: "apps/v1beta1", minor: 16 },
        { apiVersion: "apps/v1beta2", minor: 16 },
        { apiVersion: "batch/v2alpha1", minor: 21 },
        {
            apiVersion: "admissionregistration.k8s.io/v1beta1",
            kinds: ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
            minor: 22,
        },
        { apiVersion: "apiextensions.k8s.io/v1beta1", minor: 22 },
        { apiVersion: "apiregistration.k8s.io/v1beta1", minor: 22 },
        { apiVersion: "authentication.k8s.io/v1beta1", kinds: ["TokenReview"], minor: 22 },
        { apiVersion: "authorization.k8s.io/v1beta1", minor: 22 },
        { apiVersion: "certificates.k8s.io/v1beta1", kinds: ["CertificateSigningRequest"], minor: 22 },
        { apiVersion: "coordination.k8s.io/v1beta1", kinds: ["Lease"], minor: 22 },
        { apiVersion: "networking.k8s.io/v1beta1", kinds: ["Ingress", "IngressClass"], minor: 22 },
        { apiVersion: "rbac.authorization.k8s.io/v1alpha1", minor: 22 },
        { apiVersion: "rbac.authorization.k8s.io/v1beta1", minor: 22 },
        { apiVersion: "scheduling.k8s.io/v1alpha1", kinds: ["PriorityClass"], minor: 22 },
        { apiVersion: "scheduling.k8s.io/v1beta1", minor: 22 },
        { apiVersion: "storage.k8s.io/v1beta1", kinds: ["CSIStorageCapacity"], minor: 27 },
        {
            apiVersion: "storage.k8s.io/v1beta1",
            kinds: ["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
            minor: 22,
        },
        { apiVersion: "batch/v1beta1", minor: 25 },
        { apiVersion: "discovery.k8s.io/v1beta1", minor: 25 },
        { apiVersion: "events.k8s.io/v1beta1", minor: 25 },
        { apiVersion: "autoscaling/v2beta1", minor: 25 },
        { apiVersion: "autoscaling/v2beta2", minor: 26 },
        { apiVersion: "node.k8s.io/v1beta1", minor: 25 },
        { apiVersion: "policy/v1beta1", minor: 25 },
        { apiVersion: "flowcontrol.apiserver.k8s.io/v1beta1", minor: 26 },
        { apiVersion: "flowcontrol.apiserver.k8s.io/v1beta2", minor: 29 },
        { apiVersion: "flowcontrol.apiserver.k8s.io/v1beta3", minor: 32 },
    ];

export interface ApiVersionFault {
    readonly what: string;
    readonly fix: string;
    /** False for an alpha or beta API, which a cluster may have switched on. */
    readonly certain: boolean;
}

/**
 * What is wrong with the apiVersion and kind of an object under a Kubernetes version such as `1.34.0`; undefined when nothing is,
 * or when only a cluster can tell, because they are those of a custom resource.
 */
export function apiVersionFault(
    { apiVersion, kind }: Pick<RenderedObject, "apiVersion" | "kind">,
    kubeVersion: string,
): ApiVersionFault | undefined {
    if (!isOwnGroup(groupOf(apiVersion)) || STABLE_KINDS[apiVersion]?.includes(kind) === true) return undefined;
    const minor = Number(kubeVersion.split(".")[1]);
    const removed = REMOVED.find((one) => one.apiVersion === apiVersion && (one.kinds?.includes(kind) ?? true));
    if (removed !== undefined && removed.minor > minor) return undefined;
    const fix = replacement(kind);
    if (removed !== undefined)
        return { what: `${apiVersion} ${kind} is gone since Kubernetes 1.${removed.minor}`, fix, certain: true };
    if (/\d(?:alpha|beta)\d/.test(apiVersion)) {
        const what = `${apiVersion} is no stable API: a cluster has it only when somebody switched it on`;
        return { what, fix, certain: false };
    }
    return { what: `Kubernetes has no ${kind} in ${apiVersion}`, fix, certain: true };
}

function replacement(kind: string): string {
    const homes = Object.keys(STABLE_KINDS).filter((apiVersion) => STABLE_KINDS[apiVersion]?.includes(kind) === true);
    const home = homes.at(-1);
    if (home !== undefined) return `write apiVersion: ${home}, and look whether its fields have other names there`;
    if (kind === "PodSecurityPolicy")
        return "take it out: namespaces say it now, with the labels pod-security.kubernetes.io/…";
    return "take it out, or correct the kind";
}

function kinds(lines: Readonly<Record<string, string>>): Record<string, readonly string[]> {
    return Object.fromEntries(Object.entries(lines).map(([apiVersion, names]) => [apiVersion, names.split(" ")]));
}
