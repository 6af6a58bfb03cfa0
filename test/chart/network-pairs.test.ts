import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { objectsIn } from "../../components/guarded-release/render/manifest";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { allowed, type End, type Labels, type Policy } from "./network-rules";

const HERE = "ml-api";
const GOLDEN = path.join(__dirname, "golden");
const renders = [
    "dev",
    "staging",
    "production",
    ...fs.readdirSync(path.join(GOLDEN, "ci")).map((file) => `ci/${path.basename(file, ".yaml")}`),
];
const read = (render: string): string => fs.readFileSync(path.join(GOLDEN, `${render}.yaml`), "utf8");
const METADATA = ["169.254.169.254", "fd00:ec2::254"].map((address) => ({ name: `metadata ${address}`, address }));
const STRANGERS: readonly End[] = [
    { name: "a pod next door", namespace: HERE, labels: { app: "other" } },
    { name: "a pod of another namespace", namespace: "elsewhere", labels: { app: "other" } },
    { name: "the internet", address: "192.0.2.1" },
    ...METADATA,
];

/**
 * What the NetworkPolicies allow, by Kubernetes' own rules, for every pair of pods, neighbours and addresses of every render.
 * test/cluster/network-node.test.ts sends packets, and has an engine decide over them.
 */
describe("chart: every pair of pods, by the rules of its NetworkPolicies", () => {
    it("is looked at in every render but the one that turns them off", () => {
        const without = renders.filter((name) => !read(name).includes("kind: NetworkPolicy"));
        expect(without).to.deep.equal(["ci/network-off"]);
    });
    for (const render of renders) {
        const objects = objectsIn(read(render), HERE);
        const policies = objects.filter(({ kind }) => kind === "NetworkPolicy").map(({ spec }) => spec as Policy);
        if (policies.length === 0) continue;
        const pods = podsOf(objects);
        const port = portOf(objects);
        const reach = (from: End, to: End, at = port, protocol = "TCP") =>
            allowed({ policies, here: HERE }, from, to, at, protocol);

        it(`${render}: all that is reached is the API, at its port`, () => {
            expect(pods.length).to.be.at.least(2);
            for (const to of pods) {
                for (const from of [...pods, ...STRANGERS]) {
                    if (from === to) continue;
                    const isApi = to.labels["app.kubernetes.io/component"] === "api";
                    if (!isApi) expect(reach(from, to), `${from.name} → ${to.name}`).to.equal(false);
                    expect(reach(from, to, port + 1), `${from.name} → ${to.name}, another port`).to.equal(false);
                }
            }
        });

        it(`${render}: the pods of its own Jobs reach the API, and so does a neighbour`, () => {
            const api = pods.find(({ labels }) => labels["app.kubernetes.io/component"] === "api");
            if (api === undefined) throw new Error("there is no API");
            const jobs = pods.filter(({ labels }) =>
                ["test", "verify"].includes(labels["app.kubernetes.io/component"] ?? ""),
            );
            for (const job of jobs) expect(reach(job, api), job.name).to.equal(true);
            expect(reach(STRANGERS[0] as End, api)).to.equal(true);
            if (!/network|open|everything/.test(render))
                expect(reach(STRANGERS[1] as End, api), "another namespace").to.equal(false);
        });

        it(`${render}: no pod reaches the metadata service, and all find names`, () => {
            for (const pod of pods) {
                for (const address of METADATA)
                    for (const at of [80, 443])
                        expect(reach(pod, address, at), `${pod.name} → ${address.name}`).to.equal(false);
                const dns = { name: "DNS", namespace: "kube-system", labels: { "k8s-app": "kube-dns" } };
                expect(reach(pod, dns, 53, "UDP"), `${pod.name} → DNS`).to.equal(true);
            }
        });
    }
});

describe("the rules themselves", () => {
    const pod = (app: string): End => ({ name: app, namespace: HERE, labels: { app } });
    const [a, b] = [pod("a"), pod("b")];
    const policy = (rest: object): Policy => ({ podSelector: {}, policyTypes: ["Ingress", "Egress"], ...rest });
    const passes = (policies: readonly Policy[], from: End, to: End, port: number): boolean =>
        allowed({ policies, here: HERE }, from, to, port, "TCP");

    it("let everything pass that no policy selects, and nothing that one selects without a word", () => {
        expect(passes([], a, b, 80)).to.equal(true);
        expect(passes([policy({})], a, b, 80)).to.equal(false);
        expect(passes([policy({ ingress: [{}], egress: [{}] })], a, b, 80)).to.equal(true);
    });
    it("add up, need both ends, and know exceptions of ranges", () => {
        const out = policy({
            policyTypes: ["Egress"],
            podSelector: { matchLabels: { app: "a" } },
            egress: [{ to: [{ podSelector: {} }] }],
        });
        const shut = policy({ policyTypes: ["Ingress"], podSelector: { matchLabels: { app: "b" } } });
        expect(passes([out], a, b, 80)).to.equal(true);
        expect(passes([out, shut], a, b, 80)).to.equal(false);
        expect(passes([out, shut, policy({ ingress: [{}], egress: [{}] })], a, b, 80)).to.equal(true);
        const range = policy({
            egress: [{ to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.169.254/32"] } }] }],
        });
        expect(passes([range], a, { name: "x", address: "192.0.2.1" }, 443)).to.equal(true);
        expect(passes([range], a, { name: "x", address: "169.254.169.254" }, 443)).to.equal(false);
        expect(passes([range], a, b, 443), "pods are not meant by ranges").to.equal(false);
    });
});

function podsOf(objects: readonly RenderedObject[]): { name: string; namespace: string; labels: Labels }[] {
    return objects.flatMap(({ kind, metadata, spec }) => {
        const template = (spec as { template?: { metadata?: { labels?: Labels } } } | undefined)?.template;
        return template === undefined
            ? []
            : [{ name: `${kind}/${metadata.name}`, namespace: HERE, labels: template.metadata?.labels ?? {} }];
    });
}

function portOf(objects: readonly RenderedObject[]): number {
    const deployment = objects.find(
        ({ kind, metadata }) => kind === "Deployment" && metadata.annotations?.["helm.sh/hook"] === undefined,
    );
    const spec = deployment?.spec as
        { template: { spec: { containers: { ports: { containerPort: number }[] }[] } } } | undefined;
    return spec?.template.spec.containers[0]?.ports[0]?.containerPort ?? 0;
}
