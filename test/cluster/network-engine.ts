/** An engine that enforces NetworkPolicies on a node of a test's own, and addresses outside the cluster that answer. */
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import { nodeName, podRange } from "../../local/clusters/node/configuration";
import { ensureTools } from "../../local/tools";
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
 * @returns ends it
 */
export async function enforcePolicies(node: OwnNode, folder: string): Promise<() => Promise<void>> {
    const tool = (await ensureTools([ENGINE], { log: () => undefined }))[ENGINE];
    const access = path.join(folder, "engine.yaml");
    fs.writeFileSync(access, ACCESS.map((object) => stringify(object)).join("---\n"));
    await node.kubectl("apply", "--namespace", "kube-system", "--filename", access);
    fs.writeFileSync(path.join(folder, "token"), await node.kubectl("create", "token", ENGINE, "-n", "kube-system"));
    const { clusters } = parse(fs.readFileSync(node.info.kubeconfig, "utf8")) as {
        clusters: { cluster: { "certificate-authority-data": string } }[];
    };
    const authority = clusters[0]?.cluster["certificate-authority-data"] ?? "";
    fs.writeFileSync(path.join(folder, "ca.crt"), Buffer.from(authority, "base64"));
    // The node's /run is its own; nothing may get into the machine's.
    await node.inside(
        "sh",
        "-ec",
        `
        test "$(readlink -f /var/run)" = /run
        mkdir -p ${IDENTITY}
        cp ${folder}/token ${folder}/ca.crt ${IDENTITY}`,
    );

    const { hostname, port } = new URL(node.info.server);
    const words = ["--disable-nri", "--netfilter-bug-1766-fix=false", "--metrics-bind-address=127.0.0.1:0"];
    const engine = await node.spawnInside(
        [tool.path, ...words, `--nfqueue-id=${QUEUE}`, `--hostname-override=${nodeName}`],
        {
            KUBERNETES_SERVICE_HOST: hostname,
            KUBERNETES_SERVICE_PORT: port,
        },
    );
    const said = linesOf(engine);
    await eventually(() => {
        if (engine.exitCode !== null || !/Caches are synced/.test(said()))
            throw new Error(`the engine says:\n${said()}`);
        return Promise.resolve();
    });
    const rule = (...match: readonly string[]) =>
        node.inside(
            "iptables",
            "-w",
            "-t",
            "mangle",
            "-A",
            "POSTROUTING",
            "-m",
            "conntrack",
            "--ctstate",
            "NEW",
            ...match,
        );
    // No policy keeps a node away from its own pods, whose probes come from there.
    await rule("-m", "addrtype", "--src-type", "LOCAL", "-j", "RETURN");
    for (const side of ["-s", "-d"]) await rule(side, podRange, "-j", "NFQUEUE", "--queue-num", QUEUE);
    return () => ended(engine, "SIGINT");
}

/**
 * A network namespace with these addresses, which the node routes to and where every port refuses: who is told so was let through.
 *
 * @returns runs Python there, and removes it
 */
export async function outsideWorld(
    node: OwnNode,
    addresses: readonly string[],
): Promise<{ enter: readonly string[]; remove: () => Promise<void> }> {
    const holder = await node.spawnInside(["unshare", "--net", "sleep", "3600"]);
    const namespace = `/proc/${holder.pid ?? 0}/ns/net`;
    const enter = ["nsenter", `--net=${namespace}`, "--"];
    await eventually(() =>
        node.inside("sh", "-ec", `test "$(readlink ${namespace})" != "$(readlink /proc/self/ns/net)"`),
    );
    const there = (...words: readonly string[]) => node.inside(...enter, "ip", ...words);
    await node.inside(
        "ip",
        "link",
        "add",
        "world",
        "type",
        "veth",
        "peer",
        "name",
        "node",
        "netns",
        String(holder.pid),
    );
    await node.inside("ip", "address", "add", "198.51.100.1/30", "dev", "world");
    await node.inside("ip", "link", "set", "world", "up");
    await there("address", "add", "198.51.100.2/30", "dev", "node");
    for (const device of ["lo", "node"]) await there("link", "set", device, "up");
    await there("route", "add", "default", "via", "198.51.100.1");
    for (const address of addresses) {
        await there("address", "add", `${address}/32`, "dev", "lo");
        await node.inside("ip", "route", "add", `${address}/32`, "via", "198.51.100.2");
    }
    return { enter, remove: () => ended(holder, "SIGKILL") };
}

function linesOf({ stdout, stderr }: ChildProcess): () => string {
    let text = "";
    for (const stream of [stdout, stderr]) stream?.on("data", (data: Buffer) => (text += data.toString()));
    return () => text;
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
}
