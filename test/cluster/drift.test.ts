import { expect } from "chai";
import * as path from "node:path";
import { Checkout, type Ended, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const ML_API = path.join(ROOT, "cli", "ml-api.js");
const NAMESPACE = "mf-demo-dev";

interface Report {
    objects: {
        name: string;
        state: string;
        fields: { text: string; release?: unknown; live?: unknown; by?: { manager: string } }[];
    }[];
    extras: { name: string; claims: boolean }[];
    unknown: unknown[];
    unlisted: string[];
}

/** What somebody can do to the objects of a release behind its back, on a real API server; the pods are simulated. */
describe("ml-api drift", function () {
    let checkout: Checkout;

    before(async () => {
        checkout = new Checkout();
        // The stack of the checkout itself is asked for, as a person does.
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        checkout.edit("chart/environment/dev/values-dev.yaml", "replicas: 1", "replicas: 2");
        succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
    });

    const drift = (...args: string[]): Promise<Ended> => checkout.run(ML_API, ["drift", "dev", ...args]);
    const kubectl = (...args: string[]): Promise<string> => checkout.kubectl("--namespace", NAMESPACE, ...args);
    const patch = (object: string, type: string, body: object): Promise<string> =>
        kubectl("patch", object, `--type=${type}`, "--patch", JSON.stringify(body));
    async function report(): Promise<Report> {
        const { stdout, text } = await drift("--json");
        try {
            return JSON.parse(stdout) as Report;
        } catch {
            throw new Error(text);
        }
    }
    const shown = (value: unknown): string => (value === undefined ? "-" : JSON.stringify(value));
    /** `Deployment/mf-demo spec.replicas 2 → 5 (kubectl)` */
    const told = ({ objects, extras }: Report): string[] => [
        ...objects.flatMap(({ name, state, fields }) =>
            fields.length === 0
                ? [`${name} ${state}`]
                : fields.map(
                      ({ text, release, live, by }) =>
                          `${name} ${text} ${shown(release)} → ${shown(live)}${by === undefined ? "" : ` (${by.manager})`}`,
                  ),
        ),
        ...extras.filter(({ claims }) => claims).map(({ name }) => `${name} claims`),
    ];

    it("finds none in a release that nobody has touched", async () => {
        const { code, text } = await drift();
        expect(text).to.contain("no drift").and.not.to.contain("not listed");
        expect(code, text).to.equal(0);
        expect(await report()).to.deep.include({ objects: [], extras: [], unknown: [], unlisted: [] });
    });

    const container = "spec.template.spec.containers[api]";
    const deployment = "deployment/mf-demo";
    const inContainer = (fields: object): object => ({
        spec: { template: { spec: { containers: [{ name: "api", ...fields }] } } },
    });
    const mutations: [string, () => Promise<unknown>, RegExp][] = [
        [
            "scaled by hand",
            () => kubectl("scale", deployment, "--replicas=5"),
            /^Deployment\/mf-demo spec\.replicas 2 → 5 \(kubectl\)$/,
        ],
        [
            "another image",
            () => kubectl("set", "image", deployment, "api=localhost/mf-demo:other"),
            /^Deployment\/mf-demo spec\.template\.spec\.containers\[api\]\.image "localhost.*" → "localhost\/mf-demo:other" \(kubectl-set\)$/,
        ],
        [
            "a variable more",
            () => kubectl("set", "env", deployment, "DEBUG_TOKEN=hunter2"),
            /^Deployment\/mf-demo spec\.template\.spec\.containers\[api\]\.env\[DEBUG_TOKEN\] - → \{"name":"DEBUG_TOKEN","value":"\[secret\]"\} \(kubectl-set\)$/,
        ],
        [
            "other limits",
            () => patch(deployment, "strategic", inContainer({ resources: { requests: { memory: "100Mi" } } })),
            new RegExp(
                `^Deployment/mf-demo ${container.replaceAll(/[.[\]]/g, "\\$&")}\\.resources\\.requests\\.memory "192Mi" → "100Mi" \\(kubectl-patch\\)$`,
            ),
        ],
        [
            "a sidecar",
            () =>
                patch(deployment, "strategic", {
                    spec: { template: { spec: { containers: [{ name: "spy", image: "localhost/spy:1" }] } } },
                }),
            /^Deployment\/mf-demo spec\.template\.spec\.containers\[spy\] - → \{.*"localhost\/spy:1".*\} \(kubectl-patch\)$/,
        ],
        [
            "a probe that is gone",
            () => patch(deployment, "json", [{ op: "remove", path: "/spec/template/spec/containers/0/livenessProbe" }]),
            /^Deployment\/mf-demo spec\.template\.spec\.containers\[api\]\.livenessProbe \{.*\} → -$/,
        ],
        [
            "a default that was overruled",
            () => patch(deployment, "merge", { spec: { template: { spec: { schedulerName: "another" } } } }),
            /^Deployment\/mf-demo spec\.template\.spec\.schedulerName .*"another" \(kubectl-patch\)$/,
        ],
        [
            "a label more",
            () => kubectl("label", "service/mf-demo", "team=other"),
            /^Service\/mf-demo metadata\.labels\.team - → "other" \(kubectl-label\)$/,
        ],
        [
            "a mark of Helm's taken away",
            () => kubectl("label", "service/mf-demo", "app.kubernetes.io/managed-by-"),
            /^Service\/mf-demo metadata\.labels\["app\.kubernetes\.io\/managed-by"\] "Helm" → -/,
        ],
        [
            "another port",
            () => patch("service/mf-demo", "json", [{ op: "replace", path: "/spec/ports/0/port", value: 8081 }]),
            /^Service\/mf-demo spec\.ports\[http\]\.port 80 → 8081 \(kubectl-patch\)$/,
        ],
        [
            "an object that is gone",
            () => kubectl("delete", "poddisruptionbudget/mf-demo"),
            /^PodDisruptionBudget\/mf-demo missing$/,
        ],
        [
            "an object that claims to be the release's",
            () =>
                kubectl("create", "configmap", "left").then(() =>
                    kubectl("label", "configmap/left", "app.kubernetes.io/instance=mf-demo"),
                ),
            /^ConfigMap\/left claims$/,
        ],
    ];

    for (const [what, mutate, words] of mutations) {
        it(`reports ${what}, once, and puts it right`, async () => {
            await mutate();
            const found = told(await report());
            const { code, text } = await drift();
            expect(code, text).to.equal(2);
            expect(text).not.to.contain("hunter2");
            expect(
                found.filter((line) => words.test(line)),
                found.join("\n"),
            ).not.to.have.lengthOf(0);
            expect(new Set(found.map((line) => line.split(" ")[0])), found.join("\n")).to.have.property("size", 1);

            const fixed = await drift("--fix", "--yes");
            if (what.includes("claims")) {
                expect(fixed.text).to.contain("ConfigMap/left stays");
                await kubectl("delete", "configmap/left");
            }
            const after = await drift();
            expect(after.code, fixed.text + after.text).to.equal(0);
        });
    }

    it("asks before it changes anything, and changes nothing where it cannot ask", async () => {
        await kubectl("scale", deployment, "--replicas=3");
        const { code, text } = await drift("--fix");
        expect(code).to.equal(1);
        expect(text).to.contain("nothing was changed").and.to.contain("--yes").and.to.contain("spec.replicas: 2 → 3");
        expect(await kubectl("get", deployment, "-o=jsonpath={.spec.replicas}")).to.equal("3");
        succeeded(await drift("--fix", "--yes"));
    });

    it("lists what nobody owns, and leaves alone what controllers and kubectl do", async () => {
        await kubectl("create", "configmap", "stray", "--from-literal=a=b");
        await kubectl("rollout", "restart", deployment);
        const { code, text } = await drift();
        expect(text).to.contain("nobody's: ConfigMap/stray (");
        expect(code, text).to.equal(0);
        await kubectl("delete", "configmap/stray");
    });

    it("cannot tell without a cluster, a release, or while an update is under way", async () => {
        const dead = await checkout.run(ML_API, ["drift", "staging"]);
        expect(dead.code).to.equal(1);
        expect(dead.text).to.contain(
            "drift cannot be told: there is no deployed release mf-demo in namespace mf-demo-staging",
        );
    });
});
