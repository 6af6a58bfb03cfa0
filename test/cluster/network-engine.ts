/** An engine that enforces NetworkPolicies on a node of a test's own, and addresses outside the cluster that answer. */
import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import { openAccess } from "../../components/config/kubeconfig";
import { nodeName, podRange } from "../../local/clusters/node/configuration";
import { eventually, type OwnNode } from "./own-node";

export const ENGINE = "kube-network-policies";
/** Where packets wait for the engine's word. */
const QUEUE = "100";
const IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount";

const ACCESS = [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: ENGINE, namespace: "kube-system" } },
    {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name: ENGINE },
        rules: [
            { apiGroups: [""], resources: ["pods", "namespaces"], verbs: ["list", "watch"] },
            { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["list", "watch"] },
        ],
    },
    {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name: ENGINE },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: ENGINE },
        subjects: [{ kind: "ServiceAccount", name: ENGINE, namespace: "kube-system" }],
    },
];

/**
 * Starts kube-network-policies inside the node, from when on a connection that no policy allows does not come about. It reads the
 * policies as the ServiceAccount that its own manifests give it.
 *
 * It hands packets over to itself by an nftables rule, for which some kernels lack the expression (CONFIG_NFT_QUEUE); the same rule
 * of iptables does so on all.
 *
 * @param program the engine
 * @param folder for its identity
 */
export async function enforcePolicies(node: OwnNode, program: string, folder: string): Promise<void> {
    const access = path.join(folder, "engine.yaml");
    fs.writeFileSync(access, ACCESS.map((object) => stringify(object)).join("---\n"));
    await node.kubectl("apply", "--namespace", "kube-system", "--filename", access);
    fs.writeFileSync(path.join(folder, "token"), await node.kubectl("create", "token", ENGINE, "-n", "kube-system"));
    const { server, ca = "" } = await openAccess(node.info.context, { KUBECONFIG: node.info.kubeconfig }, 5000);
    fs.writeFileSync(path.join(folder, "ca.crt"), ca);
    const identity = [
        // The node's /run is its own; nothing may get into the machine's.
        'test "$(readlink -f /var/run)" = /run',
        `mkdir -p ${IDENTITY}`,
        `cp ${folder}/token ${folder}/ca.crt ${IDENTITY}`,
    ];
    await node.inside("sh", "-ec", identity.join("\n"));

    const { hostname, port } = new URL(server);
    const words = ["--disable-nri", "--netfilter-bug-1766-fix=false", "--metrics-bind-address=127.0.0.1:0"];
    const engine = await node.startInside(
        [program, ...words, `--nfqueue-id=${QUEUE}`, `--hostname-override=${nodeName}`],
        { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
    );
    let said = "";
    for (const stream of [engine.stdout, engine.stderr])
        stream?.on("data", (data: Buffer) => (said += data.toString()));
    await eventually(() => {
        if (engine.exitCode !== null || !said.includes("Caches are synced"))
            throw new Error(`the engine says:\n${said}`);
        return Promise.resolve();
    });
    const newConnections = "iptables -w -t mangle -A POSTROUTING -m conntrack --ctstate NEW".split(" ");
    // No policy keeps a node away from its own pods, whose probes come from there.
    await node.inside(...newConnections, "-m", "addrtype", "--src-type", "LOCAL", "-j", "RETURN");
    for (const side of ["-s", "-d"])
        await node.inside(...newConnections, side, podRange, "-j", "NFQUEUE", "--queue-num", QUEUE);
}

/**
 * A network namespace with these addresses, which the node routes to and where every port refuses: who is told so was let through.
 *
 * @returns words that, put before a command, run it there
 */
export async function outsideWorld(node: OwnNode, addresses: readonly string[]): Promise<readonly string[]> {
    const { pid = 0 } = await node.startInside(["unshare", "--net", "sleep", "3600"]);
    const namespace = `/proc/${pid}/ns/net`;
    await eventually(() =>
        node.inside("sh", "-ec", `test "$(readlink ${namespace})" != "$(readlink /proc/self/ns/net)"`),
    );
    const enter = ["nsenter", `--net=${namespace}`, "--"];
    const here = (line: string) => node.inside("ip", ...line.split(" "));
    const there = (line: string) => node.inside(...enter, "ip", ...line.split(" "));
    await here(`link add world type veth peer name node netns ${pid}`);
    await here("address add 198.51.100.1/30 dev world");
    await here("link set world up");
    await there("address add 198.51.100.2/30 dev node");
    await there("link set lo up");
    await there("link set node up");
    await there("route add default via 198.51.100.1");
    for (const address of addresses) {
        await there(`address add ${address}/32 dev lo`);
        await here(`route add ${address}/32 via 198.51.100.2`);
    }
    return enter;
}
