import type { Values } from "../../components/config/values";

/** What a person who deploys one of the examples adds to it, and what one node with two cores needs to be smaller. */
export interface Case {
    readonly adds?: Values;
    /** A server that answers like the contract asks, instead of the sample API: for examples of other images, or of many processes. */
    readonly plainApi?: true;
    /** How many pods it comes to; `replicas` of the chart unless told. */
    readonly pods?: number;
    /** What of the feature cannot be seen on one local node, and why. */
    readonly unseen?: string;
}

/** The examples of chart/ci that are installed, upgraded, rolled back and uninstalled. */
export const shown: Readonly<Record<string, Case>> = {
    smallest: {},
    open: {},
    secrets: {},
    "labels-and-pull-secrets": { unseen: "a registry that asks who one is: the image is on the node already" },
    merge: {
        plainApi: true,
        // The image of the sidecar is another team's.
        adds: { merge: { pod: { initContainers: [] } } },
        unseen: "the sidecar, whose image is not the API's",
    },
    "model-volume": {},
    "other-image": { plainApi: true },
    "warm-up": { plainApi: true },
    workers: {
        adds: { resources: { requests: { memory: "1Gi" } }, model: { memory: "64Mi" } },
    },
    "verify-off": {},
    "verify-candidate": {},
    network: { unseen: "that it keeps anybody out: the node's network enforces no NetworkPolicy" },
    "network-off": {},
    ingress: { unseen: "a request through it: there is no controller" },
    "ingress-haproxy": { unseen: "a request through it: there is no controller" },
    gateway: { unseen: "a request through it: only the kind is defined here, there is no Gateway" },
    observability: { unseen: "metrics and alerts: only the kinds are defined here, there is no Prometheus" },
    "autoscaling-hpa": {
        pods: 3,
        unseen: "more pods than the fewest: no metrics server says that they are busy",
    },
    "autoscaling-keda": { pods: 1, unseen: "any scaling: only the kind is defined here, there is no KEDA" },
    // The node says that it has cards, which are counted as real ones are; nothing computes on them.
    "gpu-replace": {
        adds: { gpu: { type: "example.org/only-card" }, model: { memory: "32Mi" }, storage: { sharedMemory: "64Mi" } },
        unseen: "computing on a card: the node only says that it has one",
    },
    "gpu-surge": {
        adds: { gpu: { type: "example.org/card" }, model: { memory: "32Mi" }, storage: { sharedMemory: "64Mi" } },
        unseen: "computing on a card: the node only says that it has two",
    },
    everything: {
        plainApi: true,
        pods: 2,
        adds: {
            model: { download: { urlSecret: "", sha256: "", unpack: false, cacheClaim: "" }, memory: "32Mi" },
            storage: { sharedMemory: "64Mi" },
            resources: { requests: { memory: "256Mi" }, limits: { cpu: "1" } },
        },
        unseen: "the download: see model-download",
    },
};

/** The examples that are not installed here, and why. */
export const notShown: Readonly<Record<string, string>> = {
    "model-image": "OCI image volumes are behind a feature gate in the node's Kubernetes and not in its containerd",
    "model-download": "needs a server of models: model.test.ts has one and installs it on a node",
    "model-cache": "needs a server of models: model.test.ts has one and installs it on a node",
};

/** Cards that the node is told to have. */
export const cards: Readonly<Record<string, string>> = {
    "example.org/only-card": "1",
    "example.org/card": "2",
    "nvidia.com/gpu": "2",
};

/** As the image contract asks, in a few lines: any path is fine, a prediction needs a key and fails at first. */
export const plainApi = `
import http.server, os, signal
keys = os.environ["API_KEYS_FILE"]
answers = iter([503])
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        known = self.headers["authorization"] == "Bearer " + open(keys).readline().strip()
        self.answer(next(answers, 200) if known else 401)
    def answer(self, status):
        self.send_response(status)
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Api).serve_forever()
`;
