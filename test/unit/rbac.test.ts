import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import { manifestsOf, parseSubject } from "../../cli/rbac";
import { objectsIn } from "../../components/guarded-release/render/manifest";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { quotaOf } from "../../rbac/bootstrap";
import { type Manifest, toYaml } from "../../rbac/manifests";
import { READING, rulesOf, type Rule } from "../../rbac/need";
import type { Deployed } from "../../rbac/needs";
import { resourceOf } from "../../rbac/resource-name";

const NAMESPACE = "mf-demo-production";
const golden = (name: string): RenderedObject[] =>
    objectsIn(fs.readFileSync(path.join(__dirname, `../chart/golden/${name}.yaml`), "utf8"), NAMESPACE);
const production: Deployed = {
    release: "mf-demo",
    namespace: NAMESPACE,
    createNamespace: false,
    objects: golden("production"),
};
const rules = (manifests: readonly Manifest[]): readonly Rule[] =>
    manifests.flatMap((manifest) => manifest.rules ?? []);
const verbs = (all: readonly Rule[], resource: string) =>
    all.filter(({ resources }) => resources[0] === resource).flatMap((rule) => rule.verbs);

describe("the rights that ml-api rbac prints", () => {
    it("name what the chart renders to, and no wildcard", () => {
        const all = rules(manifestsOf("production", production, {}));
        for (const { apiGroups, resources, verbs } of all)
            expect(JSON.stringify([apiGroups, resources, verbs]), "wildcard").not.to.contain("*");
        expect(verbs(all, "deployments")).to.deep.equal(["get", "list", "create", "patch", "delete"]);
        expect(verbs(all, "jobs")).to.deep.equal(["get", "list", "watch", "create", "delete"]);
        expect(verbs(all, "ingresses")).to.deep.equal([]);
        const withIngress = { ...production, objects: golden("ci/ingress") };
        expect(verbs(rules(manifestsOf("production", withIngress, {})), "ingresses")).to.include("create");
    });

    it("leave the namespace as soon as the stack makes it itself, and say so", () => {
        const kinds = (deployed: Deployed) => manifestsOf("production", deployed, {}).map(({ object }) => object.kind);
        expect(kinds(production)).to.deep.equal(["Role", "RoleBinding"]);
        const making = { ...production, createNamespace: true };
        expect(kinds(making)).to.deep.equal(["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]);
        const cluster = rules(manifestsOf("production", making, {}).slice(2));
        expect(verbs(cluster, "namespaces")).to.have.members(["create", "get", "watch", "patch", "delete"]);
        expect(cluster.filter(({ verbs: some }) => some.includes("delete"))[0]?.resourceNames).to.deep.equal([
            NAMESPACE,
        ]);
    });

    it("let a pull request read no Secret and write nothing", () => {
        const secret: RenderedObject = { apiVersion: "v1", kind: "Secret", metadata: { name: "own" } };
        const objects = [...production.objects, secret];
        const all = rules(manifestsOf("production", { ...production, objects }, { pullRequest: true }));
        expect(new Set(all.flatMap((rule) => rule.verbs))).to.deep.equal(new Set(["get", "list"]));
        expect(verbs(all, "secrets")).to.deep.equal([]);
    });

    it("let a person reach the API and write nothing", () => {
        const all = rules(manifestsOf("production", production, { open: true }));
        const writing = all.filter((rule) => rule.verbs.some((verb) => !READING.includes(verb)));
        expect(writing.map(({ resources }) => resources[0])).to.deep.equal(["pods/portforward"]);
    });

    it("never tie to a name what RBAC cannot: create and list", () => {
        for (const options of [{}, { bootstrap: true }, { open: true }, { pullRequest: true }] as const) {
            const all = rules(manifestsOf("production", { ...production, createNamespace: true }, options));
            for (const { resourceNames, verbs: some, resources } of all)
                if (resourceNames !== undefined)
                    expect(some, resources[0]).not.to.include.members(["create"]).and.not.include("list");
        }
    });

    it("are valid YAML with the reason beside each rule", () => {
        const text = toYaml(manifestsOf("production", production, {}));
        const [role] = parseAllDocuments(text).map((document) => document.toJS() as { rules: unknown[] });
        expect(text.match(/^ {2}# /gm)?.length).to.be.at.least(role?.rules.length ?? Infinity);
        expect(text).to.contain('apiGroups: [ "" ]').and.to.contain("verbs: [ get, list, create, patch, delete ]");
    });

    it("go to whom one names", () => {
        expect(parseSubject("user:a@example.org")).to.deep.equal({ kind: "User", name: "a@example.org" });
        expect(parseSubject("serviceaccount:ci/deploy")).to.deep.equal({
            kind: "ServiceAccount",
            name: "deploy",
            namespace: "ci",
        });
        for (const wrong of [
            "a",
            "user:",
            "user:a b",
            "serviceaccount:ci",
            "serviceaccount:ci/a/b",
            "group:a\nkind: b",
            "group:\u001b[2J",
        ])
            expect(() => parseSubject(wrong), wrong).to.throw("It is user:NAME");
        const text = toYaml(manifestsOf("production", production, { to: { kind: "Group", name: 'a": {}#' } }));
        expect((parseAllDocuments(text)[1]?.toJS() as { subjects: { name: string }[] }).subjects[0]?.name).to.equal(
            'a": {}#',
        );
    });
});

describe("the quota of an environment", () => {
    it("holds twice what runs at most, and no door of its own", () => {
        expect(quotaOf(golden("production"))).to.deep.include({
            "services.loadbalancers": "0",
            "services.nodeports": "0",
        });
        const scaled = quotaOf(golden("ci/autoscaling-hpa"));
        const hpa = golden("ci/autoscaling-hpa").find(({ kind }) => kind === "HorizontalPodAutoscaler");
        const { maxReplicas } = hpa?.spec as { maxReplicas: number };
        expect(Number(scaled["pods"])).to.be.at.least(2 * maxReplicas);
        expect(quotaOf(golden("ci/gpu-surge"))).to.have.property("requests.nvidia.com/gpu");
    });
});

describe("the name of a resource", () => {
    it("is its kind's plural", () => {
        const names = [
            "NetworkPolicy",
            "Ingress",
            "Gateway",
            "HTTPRoute",
            "Endpoints",
            "PodMonitor",
            "ScaledObject",
            "StorageClass",
        ];
        expect(names.map((kind) => resourceOf({ apiVersion: "g/v1", kind }).resource)).to.deep.equal([
            "networkpolicies",
            "ingresses",
            "gateways",
            "httproutes",
            "endpoints",
            "podmonitors",
            "scaledobjects",
            "storageclasses",
        ]);
    });
    it("stands in one rule with all its verbs", () => {
        const need = { group: "", resource: "secrets" } as const;
        expect(
            rulesOf([
                { ...need, verbs: ["delete", "get"], why: "a" },
                { ...need, verbs: ["list", "get"], why: "b" },
                { ...need, verbs: ["get"], names: ["x"], why: "c" },
            ]).map(({ verbs: some, why }) => [some, why]),
        ).to.deep.equal([
            [["get"], ["c"]],
            [
                ["get", "list", "delete"],
                ["a", "b"],
            ],
        ]);
    });
});
