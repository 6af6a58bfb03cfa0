import { expect } from "chai";
import { changesBetween, pathText } from "../../components/guarded-release/changes/changes";
import type { RenderedObject } from "../../components/guarded-release/render/render";

const object = (kind: string, name: string, more: object = {}): RenderedObject => ({
    apiVersion: "v1",
    kind,
    metadata: { name },
    ...more,
});
const deployment = (spec: object, name = "mf-demo"): RenderedObject => ({
    ...object("Deployment", name, { spec }),
    apiVersion: "apps/v1",
});
const pods = (...containers: object[]) => ({ template: { spec: { containers } } });
const shown = (before: RenderedObject, after: RenderedObject) =>
    changesBetween([before], [after]).flatMap(({ fields }) =>
        fields.map(
            ({ path, before: was, after: is }) => `${pathText(path)}: ${JSON.stringify(was)} → ${JSON.stringify(is)}`,
        ),
    );

describe("what changes between two renders", () => {
    it("is named by object and field", () => {
        const before = [object("Service", "x"), deployment({ replicas: 2 })];
        const after = [deployment({ replicas: 3 }), object("ConfigMap", "y")];
        expect(changesBetween(before, after)).to.deep.equal([
            { name: "ConfigMap/y", action: "create", fields: [], restartsPods: false },
            {
                name: "Deployment/mf-demo",
                action: "update",
                fields: [{ path: ["spec", "replicas"], before: 2, after: 3 }],
                restartsPods: false,
            },
            { name: "Service/x", action: "delete", fields: [], restartsPods: false },
        ]);
    });

    it("says which pods restart: those whose template changes, and no Job's", () => {
        const with1 = { ...pods({ name: "api", image: "a:1" }), replicas: 1 };
        const with2 = { ...pods({ name: "api", image: "a:2" }), replicas: 1 };
        const restarted = (kind: string) =>
            changesBetween([object(kind, "a", { spec: with1 })], [object(kind, "a", { spec: with2 })])[0]?.restartsPods;
        expect(["Deployment", "StatefulSet", "DaemonSet"].map(restarted)).to.deep.equal([true, true, true]);
        expect(restarted("Job")).to.equal(false);
        expect(changesBetween([deployment(with1)], [deployment({ ...with1, replicas: 2 })])[0]?.restartsPods).to.equal(
            false,
        );
    });

    it("matches the items of a list by what names them, never by their place", () => {
        const api = { name: "api", image: "a:1", ports: [{ containerPort: 80 }], env: [{ name: "A", value: "1" }] };
        expect(
            shown(
                deployment(pods(api)),
                deployment(
                    pods(
                        { name: "proxy", image: "p:1" },
                        {
                            ...api,
                            image: "a:2",
                            ports: [{ containerPort: 81 }, { containerPort: 80 }],
                            env: [
                                { name: "0", value: "0" },
                                { name: "A", value: "2" },
                            ],
                        },
                    ),
                ),
            ),
        ).to.deep.equal([
            'spec.template.spec.containers[api].env[A].value: "1" → "2"',
            'spec.template.spec.containers[api].env[0]: undefined → {"name":"0","value":"0"}',
            'spec.template.spec.containers[api].image: "a:1" → "a:2"',
            'spec.template.spec.containers[api].ports[81]: undefined → {"containerPort":81}',
            'spec.template.spec.containers[proxy]: undefined → {"name":"proxy","image":"p:1"}',
        ]);
    });

    it("tells another order of the same items, because Kubernetes does", () => {
        const [a, b] = [
            { name: "a", image: "a" },
            { name: "b", image: "b" },
        ];
        expect(shown(deployment(pods(a, b)), deployment(pods(b, a)))).to.deep.equal([
            'spec.template.spec.containers[*]: ["a","b"] → ["b","a"]',
        ]);
    });

    it("shows one item more in the middle of a list without names as that item", () => {
        const rule = (cidr: string) => ({ to: [{ ipBlock: { cidr } }] });
        const policy = (...egress: object[]) => object("NetworkPolicy", "x", { spec: { egress } });
        expect(shown(policy(rule("a"), rule("c")), policy(rule("a"), rule("b"), rule("c")))).to.deep.equal([
            'spec.egress[1]: undefined → {"to":[{"ipBlock":{"cidr":"b"}}]}',
        ]);
        expect(shown(policy(rule("a"), rule("b")), policy(rule("a"), rule("c")))).to.deep.equal([
            'spec.egress[1].to[0].ipBlock.cidr: "b" → "c"',
        ]);
    });

    it("takes an object of another group, namespace or name for another object, of another version for the same", () => {
        const ingress = (apiVersion: string, namespace?: string): RenderedObject => ({
            apiVersion,
            kind: "Ingress",
            metadata: { name: "x", ...(namespace === undefined ? {} : { namespace }) },
        });
        const actions = (before: RenderedObject, after: RenderedObject) =>
            changesBetween([before], [after]).map(({ name, action }) => `${action} ${name}`);
        expect(actions(ingress("networking.k8s.io/v1beta1"), ingress("networking.k8s.io/v1"))).to.deep.equal([
            "update Ingress/x",
        ]);
        expect(actions(ingress("extensions/v1beta1"), ingress("networking.k8s.io/v1"))).to.deep.equal([
            "delete extensions/v1beta1/Ingress/x",
            "create networking.k8s.io/v1/Ingress/x",
        ]);
        expect(actions(ingress("v1", "a"), ingress("v1", "b"))).to.deep.equal([
            "delete v1/a/Ingress/x",
            "create v1/b/Ingress/x",
        ]);
    });

    it("does not lose an object that a chart renders twice", () => {
        const [one, two] = [object("A", "x", { spec: 1 }), object("A", "x", { spec: 2 })];
        expect(changesBetween([one, one], [one, two]).map(({ name, action }) => `${action} ${name}`)).to.deep.equal([
            "update v1/A/x#2",
        ]);
    });

    it("writes keys that are no plain words in quotes", () => {
        expect(pathText(["metadata", "annotations", "ml-api/key-generation"])).to.equal(
            'metadata.annotations["ml-api/key-generation"]',
        );
        expect(pathText(["data", "model.json"])).to.equal('data["model.json"]');
        expect(pathText(["spec", "ports", "[http]", "port"])).to.equal("spec.ports[http].port");
    });
});
