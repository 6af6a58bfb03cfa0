/** Pods that ask for more than the restricted profile allows are refused by the cluster, and named in warnings. */
export const NAMESPACE_LABELS = Object.fromEntries(
    ["enforce", "audit", "warn"].map((mode) => [`pod-security.kubernetes.io/${mode}`, "restricted"]),
);
