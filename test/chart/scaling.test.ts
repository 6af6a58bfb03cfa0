import { expect } from "chai";
import {
    containerIn,
    deploymentIn,
    merged,
    objectsIn,
    outcomes,
    smallest,
    type KubernetesObject,
    type Values,
} from "./helm";

const kinds = (objects: readonly KubernetesObject[]): string[] => objects.map(({ kind }) => kind);
const specOf = (objects: readonly KubernetesObject[], kind: string): Record<string, unknown> =>
    objects.find((object) => object.kind === kind)?.spec ?? {};

const on: Values = { enabled: true };
const cases = {
    fixed: { replicas: 3 },
    single: {},
    hpa: { replicas: 7, autoscaling: on },
    hpaOfEverything: {
        autoscaling: {
            ...on,
            cpuPercent: 0,
            memoryPercent: 75,
            metrics: {
                queue: { averageValue: "30", external: true, selector: { queue: "churn", gone: null } },
                in_flight: { averageValue: "1500m" },
                gone: null,
            },
            behavior: { scaleDown: { stabilizationWindowSeconds: 1000000, policies: [{ type: "Pods", value: 1 }] } },
        },
    },
    hpaFromOne: { autoscaling: { ...on, minReplicas: 1 } },
    keda: {
        replicas: 7,
        autoscaling: {
            ...on,
            engine: "keda",
            triggers: {
                requests: { type: "prometheus", metadata: { threshold: "20", gone: null }, authentication: "prom" },
                always: { type: "x", metadata: {} },
                gone: null,
            },
            behavior: { scaleUp: { stabilizationWindowSeconds: 0 } },
        },
    },
    kedaByTriggersOnly: {
        autoscaling: {
            ...on,
            engine: "keda",
            cpuPercent: 0,
            triggers: { a: { type: "cron", metadata: { start: "0" } } },
        },
    },
    off: { autoscaling: { metrics: { a: { averageValue: "1" } }, triggers: { cpu: { type: "cpu", metadata: {} } } } },
    replace: {
        replicas: 2,
        gpu: {
            count: 2,
            type: "example.com/card",
            runtimeClass: "nvidia",
            nodeLabels: { card: "L4", gone: null },
            rollout: "replace",
        },
    },
    surge: { gpu: { count: 1, rollout: "surge" } },
    noGpu: { gpu: { runtimeClass: "nvidia", nodeLabels: { card: "L4" }, rollout: "replace" } },
} satisfies Record<string, Values>;

describe("chart: scale", function () {
    this.timeout(20_000);
    const objects = {} as Record<keyof typeof cases, KubernetesObject[]>;

    before(async () => {
        const names = Object.keys(cases) as (keyof typeof cases)[];
        (await outcomes(names.map((name) => merged(smallest, cases[name])))).forEach((result, index) => {
            if (result.kind !== "rendered") {
                throw new Error(`${names[index] ?? ""}: ${result.message}`);
            }
            objects[names[index] ?? "fixed"] = objectsIn(result.manifests);
        });
    });

    describe("by an autoscaler", () => {
        it("is nobody's but the autoscaler's: the Deployment says no number", () => {
            for (const name of ["hpa", "hpaOfEverything", "hpaFromOne", "keda", "kedaByTriggersOnly"] as const) {
                expect(deploymentIn(objects[name]).spec, name).not.to.have.property("replicas");
            }
            expect(deploymentIn(objects.fixed).spec.replicas).to.equal(3);
        });

        it("is of one kind at a time, and of none when it is off", () => {
            expect(kinds(objects.hpa)).to.include("HorizontalPodAutoscaler").and.not.to.include("ScaledObject");
            expect(kinds(objects.keda)).to.include("ScaledObject").and.not.to.include("HorizontalPodAutoscaler");
            for (const name of ["fixed", "off"] as const) {
                expect(kinds(objects[name])).not.to.include.oneOf(["HorizontalPodAutoscaler", "ScaledObject"]);
            }
        });

        it("follows the CPU of the API's own container unless it is told otherwise", () => {
            expect(specOf(objects.hpa, "HorizontalPodAutoscaler")).to.deep.equal({
                scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "mf-demo" },
                minReplicas: 2,
                maxReplicas: 10,
                metrics: [
                    {
                        type: "ContainerResource",
                        containerResource: {
                            name: "cpu",
                            container: "api",
                            target: { type: "Utilization", averageUtilization: 70 },
                        },
                    },
                ],
            });
            expect(containerIn(deploymentIn(objects.hpa).spec.template).name).to.equal("api");
        });

        it("can follow memory, metrics of the pods and of others, at a pace of one's own", () => {
            const target = (averageValue: string): object => ({ target: { type: "AverageValue", averageValue } });
            expect(specOf(objects.hpaOfEverything, "HorizontalPodAutoscaler")).to.deep.include({
                metrics: [
                    {
                        type: "ContainerResource",
                        containerResource: {
                            name: "memory",
                            container: "api",
                            target: { type: "Utilization", averageUtilization: 75 },
                        },
                    },
                    { type: "Pods", pods: { metric: { name: "in_flight" }, ...target("1500m") } },
                    {
                        type: "External",
                        external: {
                            metric: { name: "queue", selector: { matchLabels: { queue: "churn" } } },
                            ...target("30"),
                        },
                    },
                ],
                behavior: {
                    scaleDown: { stabilizationWindowSeconds: 1000000, policies: [{ type: "Pods", value: 1 }] },
                },
            });
        });

        it("can be KEDA, by CPU and by triggers", () => {
            expect(specOf(objects.keda, "ScaledObject")).to.deep.equal({
                scaleTargetRef: { name: "mf-demo" },
                minReplicaCount: 2,
                maxReplicaCount: 10,
                advanced: {
                    horizontalPodAutoscalerConfig: { behavior: { scaleUp: { stabilizationWindowSeconds: 0 } } },
                },
                triggers: [
                    { type: "cpu", metricType: "Utilization", metadata: { value: "70", containerName: "api" } },
                    { type: "x", name: "always", metadata: {} },
                    {
                        type: "prometheus",
                        name: "requests",
                        metadata: { threshold: "20" },
                        authenticationRef: { name: "prom" },
                    },
                ],
            });
            expect(specOf(objects.kedaByTriggersOnly, "ScaledObject")).to.deep.include({
                triggers: [{ type: "cron", name: "a", metadata: { start: "0" } }],
            });
        });
    });

    describe("against a drain", () => {
        it("is kept by a budget where there are two pods or more, never by one that stops the drain", () => {
            for (const name of ["fixed", "hpa", "keda"] as const) {
                expect(specOf(objects[name], "PodDisruptionBudget"), name).to.deep.equal({
                    maxUnavailable: 1,
                    unhealthyPodEvictionPolicy: "AlwaysAllow",
                    selector: deploymentIn(objects[name]).spec.selector,
                });
            }
            for (const name of ["single", "hpaFromOne"] as const) {
                expect(kinds(objects[name]), name).not.to.include("PodDisruptionBudget");
            }
        });

        it("is spread over zones and nodes, each version by itself", () => {
            const { topologySpreadConstraints: spread } = deploymentIn(objects.fixed).spec.template.spec as unknown as {
                topologySpreadConstraints: object[];
            };
            const { selector } = deploymentIn(objects.fixed).spec;
            expect(spread).to.deep.equal(
                ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map((topologyKey) => ({
                    maxSkew: 1,
                    topologyKey,
                    whenUnsatisfiable: "ScheduleAnyway",
                    matchLabelKeys: ["pod-template-hash"],
                    labelSelector: selector,
                })),
            );
        });
    });

    describe("of graphics cards", () => {
        const strategy = (name: keyof typeof cases): unknown =>
            (deploymentIn(objects[name]).spec as unknown as { strategy: object }).strategy;

        it("comes with all that a card needs: number, toleration, runtime and nodes", () => {
            const { spec } = deploymentIn(objects.replace).spec.template;
            expect(spec).to.deep.include({
                runtimeClassName: "nvidia",
                nodeSelector: { card: "L4" },
                tolerations: [{ key: "example.com/card", operator: "Exists", effect: "NoSchedule" }],
            });
            expect(spec.containers[0]?.resources?.limits).to.include({ "example.com/card": "2" });
        });

        it("does not wait for ever for the card of the pod that it replaces", () => {
            expect(strategy("replace")).to.deep.equal({
                type: "RollingUpdate",
                rollingUpdate: { maxSurge: 0, maxUnavailable: 1 },
            });
        });

        it("loses no capacity where there is a card to spare, nor where none is used", () => {
            for (const name of ["surge", "fixed", "noGpu"] as const) {
                expect(strategy(name), name).to.deep.equal({
                    type: "RollingUpdate",
                    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
                });
            }
        });

        it("leaves no trace without a card", () => {
            expect(deploymentIn(objects.noGpu).spec.template).to.deep.equal(deploymentIn(objects.single).spec.template);
        });
    });
});
