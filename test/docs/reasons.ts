/**
 * Why a block of a page cannot be run here: the words that may stand behind `needs=`. They are counted and printed; a word that no
 * block uses fails the test.
 */
export const REASONS: Readonly<Record<string, string>> = {
    cloud: "a cluster and a registry of a cloud account",
    clone: "the address of your own fork; everything else is tested from a copy of this checkout",
    cosign: "a signature that a run of a GitHub workflow made",
    docker: "a Docker daemon",
    github: "a repository on GitHub, and the right to administer it",
    itself: "it runs all tests, this one too",
    kind: "kind, whose nodes are containers of Docker or Podman",
    minikube: "minikube, whose node is a container or a virtual machine",
    network: "hosts that are no package registries",
    "pulumi-cloud": "an organization in Pulumi Cloud",
    "python-packages":
        "packages of PyPI in an environment of its own; the tests of the sample API install the same files",
    quiet: "minutes on a machine that does nothing else: a measurement, whose result stands in the page",
    uv: "the newest versions of packages, which are others every day",
    "your-cluster": "a cluster of yours; test/cluster/current.test.ts types the same on a simulated one",
    "your-image": "an image in a registry of yours",
    "your-server": "a server of yours that runs",
};
