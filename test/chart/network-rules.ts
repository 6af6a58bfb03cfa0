import { BlockList, isIPv6 } from "node:net";

/** Whoever sends or gets a packet: a pod, or an address outside the cluster. */
export type End =
    | { readonly name: string; readonly namespace: string; readonly labels: Labels }
    | { readonly name: string; readonly address: string };
export type Labels = Readonly<Record<string, string>>;

interface Selector {
    readonly matchLabels?: Labels | null;
}
interface Peer {
    readonly podSelector?: Selector;
    readonly namespaceSelector?: Selector;
    readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}
interface Rule {
    readonly ports?: readonly { readonly port: number; readonly protocol: string }[];
    readonly from?: readonly Peer[];
    readonly to?: readonly Peer[];
}
export interface Policy {
    readonly podSelector: Selector;
    readonly policyTypes: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
}

/**
 * Whether a packet that begins a connection passes, by Kubernetes' own rules
 * (kubernetes.io/docs/concepts/services-networking/network-policies).
 *
 * @param policies all of the namespace `here`
 */
export function allowed(
    { policies, here }: { readonly policies: readonly Policy[]; readonly here: string },
    from: End,
    to: End,
    port: number,
    protocol: string,
): boolean {
    const passes = (end: End, other: End, type: "Ingress" | "Egress"): boolean => {
        if (!("namespace" in end) || end.namespace !== here) return true;
        const selecting = policies.filter(
            ({ podSelector, policyTypes }) => policyTypes.includes(type) && selects(podSelector, end.labels),
        );
        if (selecting.length === 0) return true;
        return selecting
            .flatMap((policy) => (type === "Ingress" ? policy.ingress : policy.egress) ?? [])
            .some((rule) => {
                const peers = type === "Ingress" ? rule.from : rule.to;
                const ports = rule.ports ?? [];
                return (
                    (ports.length === 0 || ports.some((one) => one.port === port && one.protocol === protocol)) &&
                    (peers === undefined || peers.length === 0 || peers.some((peer) => isMeant(peer, other, here)))
                );
            });
    };
    return passes(from, to, "Egress") && passes(to, from, "Ingress");
}

function isMeant({ ipBlock, podSelector, namespaceSelector }: Peer, end: End, here: string): boolean {
    if ("address" in end) {
        if (ipBlock === undefined) return false;
        const holds = (cidr: string): boolean => {
            const [network = "", bits] = cidr.split("/");
            if (isIPv6(network) !== isIPv6(end.address)) return false;
            const list = new BlockList();
            list.addSubnet(network, Number(bits), isIPv6(network) ? "ipv6" : "ipv4");
            return list.check(end.address, isIPv6(end.address) ? "ipv6" : "ipv4");
        };
        return holds(ipBlock.cidr) && !(ipBlock.except ?? []).some(holds);
    }
    // Whether a range means pods depends on the network plug-in; nothing here may rely on it.
    if (ipBlock !== undefined) return false;
    const inNamespace =
        namespaceSelector === undefined
            ? end.namespace === here
            : selects(namespaceSelector, { "kubernetes.io/metadata.name": end.namespace });
    return inNamespace && (podSelector === undefined || selects(podSelector, end.labels));
}

function selects({ matchLabels }: Selector, labels: Labels): boolean {
    return Object.entries(matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}
