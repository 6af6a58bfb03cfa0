/**
 * Every outside program this repository uses: which version, how it is recognised, and where it comes from.
 * The only place to change when one is upgraded, together with the Go module of its group.
 */

export const toolNames = [
    "pulumi",
    "helm",
    "kubectl",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kwok",
    "kwokctl",
    "coredns",
    "kubeconform",
    "kube-score",
    "helm-3.18",
    "crane",
    "actionlint",
    "promtool",
    "prometheus",
    "kube-network-policies",
] as const;
export type ToolName = (typeof toolNames)[number];

/** Names as Go writes them. */
export interface Platform {
    readonly os: "linux" | "darwin";
    readonly arch: "amd64" | "arm64";
}

export interface PublishedDownload {
    readonly url: string;
    /** The publisher's own list of SHA-256 sums: one bare sum, or lines of sum and file name. */
    readonly checksums: string;
    /** Path of the program inside the archive; absent when the download is the program itself. */
    readonly member?: string;
    /** Takes what lies beside the program in the archive along: Pulumi finds its language hosts there. */
    readonly withNeighbours?: boolean;
}

export interface GoBuild {
    /** Folder of `local/tools` that holds go.mod and go.sum. */
    readonly group: string;
    /** The module its go.mod is there for, as `path@version`. */
    readonly module: string;
    readonly package: string;
    /** Variables set when linking; a program without them does not know its own version. */
    readonly variables: Readonly<Record<string, string>>;
    /** Build tags, for a program that can be built without parts that nobody needs here. */
    readonly tags?: readonly string[];
}

export interface ToolPin {
    /** The version that is downloaded or built. */
    readonly version: string;
    /** Versions that will do when the machine has the tool already, as a semver range. */
    readonly accepts: string;
    /** Undefined for a Go program that does not tell: its version is looked for in the program itself. */
    readonly versionArguments?: readonly string[];
    /** Finds the version in what these arguments print, or in the program; its first group is the version without "v". */
    readonly versionPattern: RegExp;
    /** Undefined where nothing is published, or nothing with a checksum. */
    readonly download: (platform: Platform) => PublishedDownload | undefined;
    readonly build: GoBuild;
}

/** Oldest Go that builds every group: the highest `go` line of their go.mod files. */
export const goVersion = "1.26.0";

/** What a first build of each group takes in Go's own caches, in megabytes as measured on linux/amd64. */
export const groupMegabytes: Readonly<Record<string, { readonly modules: number; readonly compiled: number }>> = {
    pulumi: { modules: 1400, compiled: 1400 },
    kubernetes: { modules: 700, compiled: 2400 },
    etcd: { modules: 300, compiled: 500 },
    kwok: { modules: 450, compiled: 900 },
    helm: { modules: 450, compiled: 800 },
    coredns: { modules: 1700, compiled: 1200 },
    kubeconform: { modules: 50, compiled: 200 },
    "kube-score": { modules: 200, compiled: 700 },
    "helm-3.18": { modules: 450, compiled: 800 },
    crane: { modules: 100, compiled: 300 },
    prometheus: { modules: 1100, compiled: 1100 },
    actionlint: { modules: 50, compiled: 200 },
    "network-policies": { modules: 300, compiled: 500 },
};

const semver = String.raw`v?(\d+\.\d+\.\d+[-+.\w]*)`;

const kubernetesVersion = "1.34.4";

function kubernetes(name: ToolName, accepts: string, onMac: boolean): ToolPin {
    const client = name === "kubectl";
    return {
        version: kubernetesVersion,
        accepts,
        versionArguments: client ? ["version", "--client", "--output", "json"] : ["--version"],
        versionPattern: new RegExp(
            client ? String.raw`"gitVersion":\s*"${semver}"` : String.raw`^Kubernetes ${semver}`,
        ),
        download: ({ os, arch }) => {
            if (os === "darwin" && !onMac) return undefined;
            const url = `https://dl.k8s.io/release/v${kubernetesVersion}/bin/${os}/${arch}/${name}`;
            return { url, checksums: `${url}.sha256` };
        },
        build: {
            group: "kubernetes",
            module: `k8s.io/kubernetes@v${kubernetesVersion}`,
            package: `k8s.io/kubernetes/cmd/${name}`,
            variables: {
                "k8s.io/component-base/version.gitVersion": `v${kubernetesVersion}`,
                "k8s.io/component-base/version.gitMajor": "1",
                "k8s.io/component-base/version.gitMinor": "34",
                "k8s.io/client-go/pkg/version.gitVersion": `v${kubernetesVersion}`,
            },
        },
    };
}

function kwok(name: ToolName): ToolPin {
    return {
        version: "0.8.0",
        accepts: ">=0.8.0 <0.9.0-0",
        versionArguments: ["--version"],
        versionPattern: new RegExp(String.raw`^${name} version ${semver}`),
        // Its releases come without checksums.
        download: () => undefined,
        build: {
            group: "kwok",
            module: "sigs.k8s.io/kwok@v0.8.0",
            package: `sigs.k8s.io/kwok/cmd/${name}`,
            variables: {},
        },
    };
}

/** Helm 3 of one minor version, with the version of Kubernetes that it renders for unless told another. */
function helm(version: string, accepts: string, group: string, kubernetesMinor: string): ToolPin {
    return {
        version,
        accepts,
        versionArguments: ["version", "--template", "{{.Version}}"],
        versionPattern: new RegExp(`^${semver}`),
        download: ({ os, arch }) => {
            const url = `https://get.helm.sh/helm-v${version}-${os}-${arch}.tar.gz`;
            return { url, checksums: `${url}.sha256sum`, member: `${os}-${arch}/helm` };
        },
        build: {
            group,
            module: `helm.sh/helm/v3@v${version}`,
            package: "helm.sh/helm/v3/cmd/helm",
            variables: {
                "helm.sh/helm/v3/internal/version.version": `v${version}`,
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": kubernetesMinor,
                "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor": "1",
                "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor": kubernetesMinor,
            },
        },
    };
}

function prometheus(name: "promtool" | "prometheus"): ToolPin {
    return {
        version: "3.15.0",
        accepts: ">=3.0.0 <4.0.0-0",
        versionArguments: ["--version"],
        versionPattern: new RegExp(`^${name}, version ${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/prometheus/prometheus/releases/download/v3.15.0";
            const folder = `prometheus-3.15.0.${os}-${arch}`;
            return {
                url: `${release}/${folder}.tar.gz`,
                checksums: `${release}/sha256sums.txt`,
                member: `${folder}/${name}`,
            };
        },
        build: {
            group: "prometheus",
            // Prometheus 3.15.0 is numbered so as a Go module.
            module: "github.com/prometheus/prometheus@v0.315.0",
            package: `github.com/prometheus/prometheus/cmd/${name}`,
            variables: { "github.com/prometheus/common/version.Version": "3.15.0" },
            // Without the clients of all clouds, which would find what to watch.
            tags: ["remove_all_sd"],
        },
    };
}

/** All parts of one control plane have one minor version; kubectl may be one away. */
const samePlane = ">=1.34.0 <1.35.0-0";

export const pins: Readonly<Record<ToolName, ToolPin>> = {
    pulumi: {
        version: "3.259.0",
        // Never older than the SDK in package.json, which is made for it.
        accepts: ">=3.259.0 <4.0.0-0",
        versionArguments: ["version"],
        versionPattern: new RegExp(`^${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/pulumi/pulumi/releases/download/v3.259.0";
            return {
                url: `${release}/pulumi-v3.259.0-${os}-${arch === "amd64" ? "x64" : arch}.tar.gz`,
                checksums: `${release}/pulumi-3.259.0-checksums.txt`,
                member: "pulumi/pulumi",
                withNeighbours: true,
            };
        },
        build: {
            group: "pulumi",
            module: "github.com/pulumi/pulumi/pkg/v3@v3.259.0",
            package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            variables: { "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": "v3.259.0" },
        },
    },
    // The version inside the Kubernetes provider: what Helm prints here is what the provider does.
    helm: helm("3.20.2", ">=3.20.0 <4.0.0-0", "helm", "34"),
    kubectl: kubernetes("kubectl", ">=1.33.0 <1.36.0-0", true),
    etcd: {
        version: "3.6.10",
        accepts: ">=3.6.5 <3.7.0-0",
        versionArguments: ["--version"],
        versionPattern: new RegExp(String.raw`^etcd Version: ${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/etcd-io/etcd/releases/download/v3.6.10";
            const folder = `etcd-v3.6.10-${os}-${arch}`;
            return {
                url: `${release}/${folder}.${os === "darwin" ? "zip" : "tar.gz"}`,
                checksums: `${release}/SHA256SUMS`,
                member: `${folder}/etcd`,
            };
        },
        build: {
            group: "etcd",
            module: "go.etcd.io/etcd/server/v3@v3.6.10",
            package: "go.etcd.io/etcd/server/v3",
            variables: {},
        },
    },
    "kube-apiserver": kubernetes("kube-apiserver", samePlane, false),
    "kube-controller-manager": kubernetes("kube-controller-manager", samePlane, false),
    "kube-scheduler": kubernetes("kube-scheduler", samePlane, false),
    kubelet: kubernetes("kubelet", samePlane, false),
    "kube-proxy": kubernetes("kube-proxy", samePlane, false),
    kwok: kwok("kwok"),
    kwokctl: kwok("kwokctl"),
    coredns: {
        version: "1.15.0",
        accepts: ">=1.11.0 <2.0.0-0",
        versionArguments: ["-version"],
        versionPattern: new RegExp(`^CoreDNS-${semver}`),
        download: ({ os, arch }) => {
            const url = `https://github.com/coredns/coredns/releases/download/v1.15.0/coredns_1.15.0_${os}_${arch}.tgz`;
            return { url, checksums: `${url}.sha256`, member: "coredns" };
        },
        build: {
            group: "coredns",
            module: "github.com/coredns/coredns@v1.15.0",
            package: "github.com/coredns/coredns",
            variables: {},
        },
    },
    kubeconform: {
        version: "0.8.0",
        accepts: ">=0.8.0 <0.9.0-0",
        versionArguments: ["-v"],
        versionPattern: new RegExp(`^${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/yannh/kubeconform/releases/download/v0.8.0";
            return {
                url: `${release}/kubeconform-${os}-${arch}.tar.gz`,
                checksums: `${release}/CHECKSUMS`,
                member: "kubeconform",
            };
        },
        build: {
            group: "kubeconform",
            module: "github.com/yannh/kubeconform@v0.8.0",
            package: "github.com/yannh/kubeconform/cmd/kubeconform",
            variables: { "main.version": "v0.8.0" },
        },
    },
    "kube-score": {
        version: "1.20.0",
        accepts: ">=1.20.0 <1.21.0-0",
        versionArguments: ["version"],
        versionPattern: new RegExp(`^kube-score version: ${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/zegl/kube-score/releases/download/v1.20.0";
            return {
                url: `${release}/kube-score_1.20.0_${os}_${arch}.tar.gz`,
                checksums: `${release}/checksums.txt`,
                member: "kube-score",
            };
        },
        build: {
            group: "kube-score",
            module: "github.com/zegl/kube-score@v1.20.0",
            package: "github.com/zegl/kube-score/cmd/kube-score",
            variables: { "main.version": "1.20.0" },
        },
    },
    // The oldest Helm that the chart promises to render the same under.
    "helm-3.18": helm("3.18.6", ">=3.18.0 <3.19.0-0", "helm-3.18", "33"),
    crane: {
        version: "0.22.1",
        accepts: ">=0.20.0 <1.0.0-0",
        versionArguments: ["version"],
        versionPattern: new RegExp(`^${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/google/go-containerregistry/releases/download/v0.22.1";
            const system = os === "linux" ? "Linux" : "Darwin";
            return {
                url: `${release}/go-containerregistry_${system}_${arch === "amd64" ? "x86_64" : arch}.tar.gz`,
                checksums: `${release}/checksums.txt`,
                member: "crane",
            };
        },
        build: {
            group: "crane",
            module: "github.com/google/go-containerregistry@v0.22.1",
            package: "github.com/google/go-containerregistry/cmd/crane",
            variables: { "github.com/google/go-containerregistry/cmd/crane/cmd.Version": "0.22.1" },
        },
    },
    actionlint: {
        version: "1.7.12",
        accepts: ">=1.7.12 <1.8.0-0",
        versionArguments: ["-version"],
        versionPattern: new RegExp(`^${semver}`),
        download: ({ os, arch }) => {
            const release = "https://github.com/rhysd/actionlint/releases/download/v1.7.12";
            return {
                url: `${release}/actionlint_1.7.12_${os}_${arch}.tar.gz`,
                checksums: `${release}/actionlint_1.7.12_checksums.txt`,
                member: "actionlint",
            };
        },
        build: {
            group: "actionlint",
            module: "github.com/rhysd/actionlint@v1.7.12",
            package: "github.com/rhysd/actionlint/cmd/actionlint",
            variables: { "github.com/rhysd/actionlint.version": "v1.7.12" },
        },
    },
    promtool: prometheus("promtool"),
    // Without its own pages: those are made by another tool chain, and what is asked here is its API.
    prometheus: prometheus("prometheus"),
    "kube-network-policies": {
        version: "0.8.0",
        accepts: ">=0.8.0 <0.9.0-0",
        // Go writes its modules into each program it builds: `dep`, path, version and sum, with tabs between them.
        versionPattern: new RegExp(String.raw`\tsigs\.k8s\.io/kube-network-policies\t${semver}[\t\n]`),
        // Only images are published.
        download: () => undefined,
        build: {
            group: "network-policies",
            module: "sigs.k8s.io/kube-network-policies@v0.8.0",
            package: "sigs.k8s.io/kube-network-policies/cmd",
            variables: {},
        },
    },
};
