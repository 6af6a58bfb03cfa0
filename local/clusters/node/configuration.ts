import * as fs from "node:fs/promises";
import * as path from "node:path";
import { stringify } from "yaml";
import type { UnpackedPackages } from "../../debian";
import type { NodeNetwork } from "./network";
import type { Daemon } from "./processes";
import { writeWhole } from "./record";

export const nodeName = "ml-api-node";
export const contextName = "ml-api-node";
/** Inside the node's network namespace; they meet nothing of this machine's network nor of another checkout's node. */
export const podRange = "10.244.0.0/24";
export const serviceRange = "10.96.0.0/16";
export const kubernetesServiceAddress = "10.96.0.1";
const clusterDomain = "cluster.local";
const apiPort = 6443;

/** In the order in which they are started. */
export const daemonNames = [
    "namespaces",
    "etcd",
    "kube-apiserver",
    "containerd",
    "kube-controller-manager",
    "kube-scheduler",
    "coredns",
    "kube-proxy",
    "kubelet",
] as const;
export type DaemonName = (typeof daemonNames)[number];

/** Binaries that the node runs, by the names under which `ensureTools` gives them. */
export const nodeTools = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
] as const;
export type NodeTool = (typeof nodeTools)[number];

/** Debian packages of a node: what runs and connects containers, and a static shell for the pause image. */
export const nodePackages = {
    names: ["containerd", "runc", "containernetworking-plugins", "iptables", "conntrack", "busybox-static", "openssl"],
    // Debian's alternatives would make these when the package is installed.
    links: Object.fromEntries(
        ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"].map(
            (name) => [`usr/sbin/${name}`, "xtables-nft-multi"] as const,
        ),
    ),
    trial: [
        ["usr/bin/containerd", "--version"],
        ["usr/sbin/runc", "--version"],
        ["usr/sbin/iptables", "--version"],
        ["bin/busybox", "true"],
        ["usr/bin/openssl", "version"],
    ] as const,
};

/** Everything of one node on disk. */
export function nodeFiles(stateDir: string) {
    const root = path.join(stateDir, "node");
    return {
        root,
        record: path.join(root, "node.json"),
        lock: path.join(stateDir, "node.lock"),
        kubeconfig: path.join(root, "kubeconfig"),
        pki: path.join(root, "pki"),
        configuration: path.join(root, "configuration"),
        data: path.join(root, "data"),
        temporary: path.join(root, "tmp"),
        log: (daemon: string) => path.join(root, "logs", `${daemon}.log`),
    } as const;
}
export type NodeFiles = ReturnType<typeof nodeFiles>;

export interface NodePlan {
    readonly files: NodeFiles;
    readonly network: NodeNetwork;
    readonly cgroup: string;
    readonly tools: Readonly<Record<NodeTool, string>>;
    readonly packages: UnpackedPackages;
    readonly pauseImage: string;
}

export function serverUrl(network: NodeNetwork): string {
    return `https://${network.nodeAddress}:${apiPort}`;
}

/** Paths inside the node's mount namespace, where /run is its own and short enough for a socket's name. */
export const containerdSocket = "/run/containerd/containerd.sock";

/** What a node keeps, by its place inside the mount namespace and its folder on disk: the usual places, and short names for sockets. */
export const keptPlaces = {
    "/var/lib/containerd": "containerd",
    "/var/lib/cni": "cni",
    "/var/lib/kubelet": "kubelet",
    "/var/log/pods": "pod-logs",
} as const;

/** Writes every configuration file and tells how each daemon is started with it. */
export async function configure(plan: NodePlan): Promise<Readonly<Record<DaemonName, Daemon>>> {
    const { files, network, packages, tools } = plan;
    const texts = await configurationTexts(plan);
    for (const folder of ["etcd", "volume-plugins", ...Object.values(keptPlaces)]) {
        await fs.mkdir(path.join(files.data, folder), { recursive: true, mode: 0o700 });
    }
    await fs.mkdir(files.temporary, { recursive: true, mode: 0o700 });
    for (const [name, text] of Object.entries(texts)) {
        await writeWhole(path.join(files.configuration, name), text);
    }
    await writeWhole(files.kubeconfig, texts["admin.kubeconfig"] ?? "");

    const configuration = (name: string): string => path.join(files.configuration, name);
    const pki = (name: string): string => path.join(files.pki, name);
    const data = (name: string): string => path.join(files.data, name);
    // Not the caller's variables: a proxy setting, say, would send the API server's calls to the kubelet elsewhere.
    const env = { ...packages.daemonEnv, HOME: files.temporary, TMPDIR: files.temporary };
    const daemon = (name: string, command: string, args: readonly string[], reads: readonly string[] = []): Daemon => ({
        name,
        command,
        args,
        env,
        configuration: reads.map((file) => texts[file]).join("\n"),
    });
    return {
        namespaces: daemon("namespaces", "sleep", ["infinity"]),
        etcd: daemon("etcd", tools.etcd, [
            `--name=${nodeName}`,
            `--data-dir=${data("etcd")}`,
            // On loopback: etcd asks nobody for a password, and pods reach every other address of the node.
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            `--initial-cluster=${nodeName}=http://127.0.0.1:2380`,
            "--auto-compaction-retention=1",
            "--logger=zap",
            "--log-level=warn",
        ]),
        "kube-apiserver": daemon(
            "kube-apiserver",
            tools["kube-apiserver"],
            [
                "--etcd-servers=http://127.0.0.1:2379",
                `--advertise-address=${network.nodeAddress}`,
                `--secure-port=${apiPort}`,
                "--allow-privileged=true",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                `--client-ca-file=${pki("ca.crt")}`,
                `--tls-cert-file=${pki("kube-apiserver.crt")}`,
                `--tls-private-key-file=${pki("kube-apiserver.key")}`,
                `--kubelet-certificate-authority=${pki("ca.crt")}`,
                `--kubelet-client-certificate=${pki("kubelet-client.crt")}`,
                `--kubelet-client-key=${pki("kubelet-client.key")}`,
                "--kubelet-preferred-address-types=InternalIP",
                `--service-cluster-ip-range=${serviceRange}`,
                `--service-account-issuer=https://kubernetes.default.svc.${clusterDomain}`,
                `--service-account-key-file=${pki("service-account.key")}`,
                `--service-account-signing-key-file=${pki("service-account.key")}`,
                `--requestheader-client-ca-file=${pki("ca.crt")}`,
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-username-headers=X-Remote-User",
                `--proxy-client-cert-file=${pki("front-proxy.crt")}`,
                `--proxy-client-key-file=${pki("front-proxy.key")}`,
                `--audit-policy-file=${configuration("audit.yaml")}`,
                `--audit-log-path=${files.log("audit")}`,
                "--audit-log-maxsize=20",
                "--audit-log-maxbackup=2",
            ],
            ["audit.yaml"],
        ),
        containerd: daemon(
            "containerd",
            packages.program("usr/bin/containerd"),
            ["--config", configuration("containerd.toml")],
            ["containerd.toml"],
        ),
        "kube-controller-manager": daemon("kube-controller-manager", tools["kube-controller-manager"], [
            `--kubeconfig=${configuration("kube-controller-manager.kubeconfig")}`,
            `--authentication-kubeconfig=${configuration("kube-controller-manager.kubeconfig")}`,
            `--authorization-kubeconfig=${configuration("kube-controller-manager.kubeconfig")}`,
            "--use-service-account-credentials=true",
            // There is one of it, and waiting for an old lease would slow every restart by 15 s.
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            `--root-ca-file=${pki("ca.crt")}`,
            `--cluster-signing-cert-file=${pki("ca.crt")}`,
            `--cluster-signing-key-file=${pki("ca.key")}`,
            `--service-account-private-key-file=${pki("service-account.key")}`,
            // It makes this folder wherever it is, by default below /usr.
            `--flex-volume-plugin-dir=${data("volume-plugins")}`,
        ]),
        "kube-scheduler": daemon("kube-scheduler", tools["kube-scheduler"], [
            `--kubeconfig=${configuration("kube-scheduler.kubeconfig")}`,
            `--authentication-kubeconfig=${configuration("kube-scheduler.kubeconfig")}`,
            `--authorization-kubeconfig=${configuration("kube-scheduler.kubeconfig")}`,
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ]),
        coredns: daemon("coredns", tools.coredns, ["-conf", configuration("Corefile")], ["Corefile"]),
        "kube-proxy": daemon(
            "kube-proxy",
            tools["kube-proxy"],
            [`--config=${configuration("kube-proxy.yaml")}`],
            ["kube-proxy.yaml"],
        ),
        kubelet: daemon(
            "kubelet",
            tools.kubelet,
            [
                `--config=${configuration("kubelet.yaml")}`,
                `--kubeconfig=${configuration("kubelet.kubeconfig")}`,
                `--hostname-override=${nodeName}`,
                `--node-ip=${network.nodeAddress}`,
            ],
            ["kubelet.yaml", "resolv.conf"],
        ),
    };
}

async function configurationTexts(plan: NodePlan): Promise<Readonly<Record<string, string>>> {
    const { files, network } = plan;
    const users = ["admin", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"];
    const kubeconfigs = await Promise.all(
        users.map(
            async (user) => [`${user}.kubeconfig`, await kubeconfig(files.pki, user, serverUrl(network))] as const,
        ),
    );
    return {
        ...Object.fromEntries(kubeconfigs),
        "audit.yaml": stringify(auditPolicy),
        "containerd.toml": containerdSettings(plan),
        "cni/10-bridge.conflist": JSON.stringify(cniNetwork(), null, 2),
        Corefile: corefile(plan),
        "resolv.conf": "# A pod's own lookups go to the cluster's DNS alone; the node has no way out.\n",
        "kube-proxy.yaml": stringify(kubeProxySettings(plan)),
        "kubelet.yaml": stringify(kubeletSettings(plan)),
    };
}

async function kubeconfig(pki: string, user: string, server: string): Promise<string> {
    const inline = async (file: string): Promise<string> =>
        (await fs.readFile(path.join(pki, file))).toString("base64");
    return stringify(
        {
            apiVersion: "v1",
            kind: "Config",
            clusters: [
                { name: contextName, cluster: { server, "certificate-authority-data": await inline("ca.crt") } },
            ],
            users: [
                {
                    name: user,
                    user: {
                        "client-certificate-data": await inline(`${user}.crt`),
                        "client-key-data": await inline(`${user}.key`),
                    },
                },
            ],
            contexts: [{ name: contextName, context: { cluster: contextName, user } }],
            "current-context": contextName,
        },
        { lineWidth: 0 },
    );
}

/** Who changed what, without the constant renewals. */
const auditPolicy = {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules: [
        {
            level: "None",
            resources: [
                { group: "coordination.k8s.io", resources: ["leases"] },
                { group: "", resources: ["events"] },
            ],
        },
        { level: "None", verbs: ["get", "list", "watch"] },
        { level: "Metadata" },
    ],
};

function containerdSettings({ files, packages, pauseImage }: NodePlan): string {
    const text = JSON.stringify;
    const cri = 'plugins."io.containerd.grpc.v1.cri"';
    return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = ${text(containerdSocket)}

[${cri}]
sandbox_image = ${text(pauseImage)}
# Where a process may not lower its score, runc fails with "can't get final child's PID from pipe: EOF".
restrict_oom_score_adj = true
# A profile would be loaded into the kernel for the whole machine, and stay.
disable_apparmor = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[${cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[${cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[${cri}.containerd.runtimes.runc.options]
BinaryName = ${text(packages.program("usr/sbin/runc"))}
SystemdCgroup = false

[${cri}.cni]
bin_dir = ${text(packages.program("usr/lib/cni"))}
conf_dir = ${text(path.join(files.configuration, "cni"))}
`;
}

function cniNetwork(): unknown {
    return {
        cniVersion: "1.0.0",
        name: "pods",
        plugins: [
            {
                type: "bridge",
                bridge: "cni0",
                isGateway: true,
                ipMasq: true,
                // A pod may reach itself through its own Service.
                hairpinMode: true,
                ipam: {
                    type: "host-local",
                    ranges: [[{ subnet: podRange }]],
                    routes: [{ dst: "0.0.0.0/0" }],
                },
            },
            { type: "portmap", capabilities: { portMappings: true } },
        ],
    };
}

function corefile({ files, network }: NodePlan): string {
    const reverse = "in-addr.arpa:53 ip6.arpa:53";
    return `${clusterDomain}:53 ${reverse} {
    bind ${network.nodeAddress}
    errors
    kubernetes ${clusterDomain} in-addr.arpa ip6.arpa {
        kubeconfig ${path.join(files.configuration, "coredns.kubeconfig")} ${contextName}
        pods insecure
        ttl 5
    }
}
# The node has no way out, so every other name does not exist; a server that says so is quicker than one that is not there.
.:53 {
    bind ${network.nodeAddress}
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`;
}

function kubeProxySettings({ files }: NodePlan): unknown {
    return {
        apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
        kind: "KubeProxyConfiguration",
        mode: "iptables",
        clusterCIDR: podRange,
        hostnameOverride: nodeName,
        clientConnection: { kubeconfig: path.join(files.configuration, "kube-proxy.kubeconfig") },
        // The limit is the whole machine's; it is not ours to change.
        conntrack: { maxPerCore: 0, min: 0 },
        healthzBindAddress: "0.0.0.0:10256",
        metricsBindAddress: "127.0.0.1:10249",
        // Rules follow a pod that became ready, or not ready, within this time.
        iptables: { minSyncPeriod: "0s", syncPeriod: "30s" },
    };
}

function kubeletSettings({ files, network, cgroup }: NodePlan): unknown {
    return {
        apiVersion: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        address: network.nodeAddress,
        authentication: {
            anonymous: { enabled: false },
            webhook: { enabled: true },
            x509: { clientCAFile: path.join(files.pki, "ca.crt") },
        },
        authorization: { mode: "Webhook" },
        tlsCertFile: path.join(files.pki, "kubelet-server.crt"),
        tlsPrivateKeyFile: path.join(files.pki, "kubelet-server.key"),
        containerRuntimeEndpoint: `unix://${containerdSocket}`,
        // Below a group of its own: a second kubelet on this machine would end pods it finds in the common one.
        cgroupRoot: `/${cgroup}`,
        cgroupDriver: "cgroupfs",
        failCgroupV1: false,
        failSwapOn: false,
        clusterDomain,
        clusterDNS: [network.nodeAddress],
        resolvConf: path.join(files.configuration, "resolv.conf"),
        volumePluginDir: path.join(files.data, "volume-plugins"),
        // What it would set is set already, in the node's own view of /proc/sys; so it never writes the machine's.
        protectKernelDefaults: true,
        // The images came from this machine and cannot be pulled again, so a filling disk must not cost them.
        imageGCHighThresholdPercent: 100,
        imageGCLowThresholdPercent: 99,
        evictionHard: {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        // A kubelet that was just started says so within this time instead of 10 s.
        nodeStatusUpdateFrequency: "2s",
        nodeStatusReportFrequency: "5m",
        serializeImagePulls: false,
        registryPullQPS: 0,
        eventRecordQPS: 0,
    };
}

/** What CoreDNS may read; the identity is its own. */
export const corednsAccess = [
    {
        collection: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        object: {
            apiVersion: "rbac.authorization.k8s.io/v1",
            kind: "ClusterRole",
            metadata: { name: "system:coredns" },
            rules: [
                {
                    apiGroups: [""],
                    resources: ["endpoints", "services", "pods", "namespaces"],
                    verbs: ["list", "watch"],
                },
                { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
            ],
        },
    },
    {
        collection: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        object: {
            apiVersion: "rbac.authorization.k8s.io/v1",
            kind: "ClusterRoleBinding",
            metadata: { name: "system:coredns" },
            roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:coredns" },
            subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "system:coredns" }],
        },
    },
] as const;
