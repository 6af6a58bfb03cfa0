import { expect } from "chai";
import {
    deploymentIn,
    merged,
    only,
    podTemplatesIn,
    renderObjects,
    smallest,
    templateMany,
    type KubernetesObject,
    type Values,
} from "./helm";

interface Rule {
    readonly ports?: readonly { readonly port: number; readonly protocol: string }[];
    readonly from?: readonly object[];
    readonly to?: readonly object[];
}
interface Policy {
    readonly podSelector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly policyTypes: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
}

const policies = (objects: readonly KubernetesObject[]): Record<string, Policy> =>
    Object.fromEntries(
        objects
            .filter(({ kind }) => kind === "NetworkPolicy")
            .map(({ metadata, spec }) => [metadata.name, spec as unknown as Policy]),
    );
const dns: Rule = {
    ports: [
        { port: 53, protocol: "UDP" },
        { port: 53, protocol: "TCP" },
    ],
};

describe("chart: who may talk to whom", function () {
    this.timeout(20_000);

    const ofApi = (values: Values): Policy | undefined => policies(renderObjects(merged(smallest, values)))["mf-demo"];

    it("is denied by default, in both directions, for every pod of the release", () => {
        const objects = renderObjects(merged(smallest, { verify: { candidate: true } }));
        const found = Object.values(policies(objects));
        const pods = podTemplatesIn(objects);
        expect(pods).to.have.lengthOf(4);
        for (const pod of pods) {
            const selecting = found.filter(({ podSelector }) =>
                Object.entries(podSelector.matchLabels).every(([name, value]) => pod.metadata.labels?.[name] === value),
            );
            expect(selecting, JSON.stringify(pod.metadata.labels)).to.have.lengthOf(1);
            expect(selecting[0]?.policyTypes).to.deep.equal(["Ingress", "Egress"]);
        }
    });

    it("is the own namespace's pods on the API's port, and DNS", () => {
        const policy = ofApi({ api: { port: 9000 } });
        expect(policy?.ingress).to.deep.equal([
            { ports: [{ port: 9000, protocol: "TCP" }], from: [{ podSelector: {} }] },
        ]);
        expect(policy?.egress).to.deep.equal([dns]);
    });

    const all: Values = { network: { to: { all: { cidr: "0.0.0.0/0" } } }, verify: { candidate: true } };

    it("lets the pods of the test and of the verification ask the API and nobody else, and nobody ask them", () => {
        const objects = renderObjects(merged(smallest, all));
        for (const job of ["test", "verify"]) {
            const policy = policies(objects)[`mf-demo-${job}`];
            expect(policy?.ingress).to.equal(undefined);
            const to = [{ podSelector: deploymentIn(objects).spec.selector }];
            expect(policy?.egress).to.deep.equal([dns, { ports: [{ port: 8080, protocol: "TCP" }], to }]);
        }
    });

    it("lets a candidate reach what the API may reach, before the upgrade and only then, and nobody ask it", () => {
        const objects = renderObjects(merged(smallest, all));
        const { metadata } = only(objects, "NetworkPolicy", "mf-demo-candidate");
        const candidate = policies(objects)["mf-demo-candidate"];
        expect(metadata.annotations).to.include({ "helm.sh/hook": "pre-upgrade", "helm.sh/hook-weight": "-1" });
        expect(candidate?.ingress).to.equal(undefined);
        expect(candidate?.egress).to.have.lengthOf(2).and.to.deep.equal(policies(objects)["mf-demo"]?.egress);
    });

    it("is whoever is named besides, and null names nobody", () => {
        const policy = ofApi({
            network: {
                from: { ingress: { namespace: "on" }, shop: { namespace: "shop", pods: { app: "1e3" } }, gone: null },
                to: { store: { namespace: "feast", port: 6566 }, own: { pods: { app: "redis" } }, gone: null },
            },
        });
        const inNamespace = (name: string): object => ({
            namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
        });
        expect(policy?.ingress?.[0]?.from).to.deep.equal([
            { podSelector: {} },
            { podSelector: {}, ...inNamespace("on") },
            { podSelector: { matchLabels: { app: "1e3" } }, ...inNamespace("shop") },
        ]);
        expect(policy?.egress?.slice(1)).to.deep.equal([
            { ports: [{ port: 443, protocol: "TCP" }], to: [{ podSelector: { matchLabels: { app: "redis" } } }] },
            { ports: [{ port: 6566, protocol: "TCP" }], to: [{ podSelector: {}, ...inNamespace("feast") }] },
        ]);
    });

    it("is never the cloud's metadata service, whatever range holds its address", () => {
        const [alibaba, most, six] = ["100.100.100.200/32", "169.254.169.254/32", "fd00:ec2::254/128"];
        const ranges: Record<string, string[]> = {
            "0.0.0.0/0": [alibaba, most],
            "0.0.0.0/1": [alibaba],
            "100.64.0.0/10": [alibaba],
            "128.0.0.0/1": [most],
            "169.254.0.0/16": [most],
            "169.254.169.200/25": [most],
            "169.254.169.254/31": [most],
            "::/0": [six],
            "fd00::/8": [six],
            "fd00:ec2::/32": [six],
            "fd00:ec2::/118": [six],
            "fd00:ec2::/119": [],
            "fd00::/21": [],
            "10.0.0.0/8": [],
            "169.254.169.0/25": [],
            "169.254.168.0/24": [],
            "169.254.169.252/31": [],
            "169.254.169.255/32": [],
            "203.0.113.7/32": [],
            "2001:db8::/32": [],
        };
        const { run, objects } = templateMany(
            Object.keys(ranges).map((cidr) => merged(smallest, { network: { to: { one: { cidr } } } })),
        );
        expect(run.status, run.stderr).to.equal(0);
        Object.entries(ranges).forEach(([cidr, except], index) => {
            const block = policies(objects(index))["mf-demo"]?.egress?.[1]?.to?.[0];
            expect(block, cidr).to.deep.equal({
                ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) },
            });
        });
    });

    it("is somebody else's business when it is turned off", () => {
        expect(policies(renderObjects(merged(smallest, { network: { enabled: false } })))).to.deep.equal({});
    });
});

describe("chart: ways in from outside", function () {
    this.timeout(20_000);

    const rendered = (values: Values): KubernetesObject[] => renderObjects(merged(smallest, values));
    const ingress: Values = { enabled: true, className: "nginx", host: "churn.example.org" };

    it("are closed by default", () => {
        const kinds = rendered({ ingress: { host: "a" }, gateway: { host: "a" } }).map(({ kind }) => kind);
        expect(kinds).not.to.include.oneOf(["Ingress", "HTTPRoute"]);
    });

    it("may be an Ingress, whose controller waits longer than the API and takes bodies as large as it does", () => {
        const object = only(
            rendered({
                api: { requestTimeoutSeconds: 90, maxRequestBytes: 12345678 },
                ingress: { ...ingress, path: "/churn", tlsSecret: "churn-tls" },
            }),
            "Ingress",
        );
        expect(object.metadata.annotations).to.deep.equal({
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "95",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "95",
            "nginx.ingress.kubernetes.io/proxy-body-size": "12345678",
        });
        expect(object.spec).to.deep.equal({
            ingressClassName: "nginx",
            tls: [{ hosts: ["churn.example.org"], secretName: "churn-tls" }],
            rules: [
                {
                    host: "churn.example.org",
                    http: {
                        paths: [
                            {
                                path: "/churn",
                                pathType: "Prefix",
                                backend: { service: { name: "mf-demo", port: { name: "http" } } },
                            },
                        ],
                    },
                },
            ],
        });
    });

    it("may be an Ingress of HAProxy, or of a class that the chart knows nothing about", () => {
        const annotations = (values: Values): unknown =>
            only(rendered({ ingress: { ...ingress, ...values } }), "Ingress").metadata.annotations;
        expect(annotations({ className: "haproxy" })).to.deep.equal({
            "haproxy.org/timeout-server": "35s",
            "haproxy-ingress.github.io/timeout-server": "35s",
            "haproxy-ingress.github.io/proxy-body-size": "1048576",
        });
        expect(annotations({ className: "traefik" })).to.equal(undefined);
        expect(only(rendered({ ingress }), "Ingress").spec).not.to.have.property("tls");
    });

    it("are annotated as one wants: one's own words win, null leaves out, even of the chart's own", () => {
        const own = {
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "",
            "nginx.ingress.kubernetes.io/proxy-body-size": null,
            "example.org/on": "on",
        };
        const { annotations } = only(rendered({ ingress: { ...ingress, annotations: own } }), "Ingress").metadata;
        expect(annotations).to.deep.equal({
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "",
            "example.org/on": "on",
        });
    });

    it("may be a route of a Gateway, with the same time-out", () => {
        const gateway: Values = { enabled: true, parent: { name: "public" }, host: "churn.example.org", path: "/v1" };
        const values: Values = { service: { port: 8000 }, api: { requestTimeoutSeconds: 90 }, gateway };
        const parent = { group: "gateway.networking.k8s.io", kind: "Gateway", name: "public" };
        expect(only(rendered(values), "HTTPRoute").spec).to.deep.equal({
            parentRefs: [parent],
            hostnames: ["churn.example.org"],
            rules: [
                {
                    matches: [{ path: { type: "PathPrefix", value: "/v1" } }],
                    backendRefs: [{ group: "", kind: "Service", name: "mf-demo", port: 8000 }],
                    timeouts: { request: "95s" },
                },
            ],
        });
        const elsewhere = merged(values, { gateway: { parent: { namespace: "infra", section: "https" } } });
        expect(only(rendered(elsewhere), "HTTPRoute").spec).to.deep.include({
            parentRefs: [{ ...parent, namespace: "infra", sectionName: "https" }],
        });
    });
});
