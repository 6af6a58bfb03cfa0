import { expect } from "chai";
import { itThoroughly } from "../thorough";
import { Checkout, type Ended } from "./checkout";

/** How Pulumi writes "not known before the update" and "secret" into a preview. */
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const SECRET = "4dabf18193072939515e22adb298388d";

interface Step {
    readonly op: string;
    readonly urn: string;
    readonly newState?: { readonly inputs?: Record<string, unknown> };
    readonly detailedDiff?: Record<string, unknown> | null;
}

/**
 * The program on a real engine, a real Helm and a real API server. The pods are simulated, so nothing here says that an API
 * answers; test/cluster/predict.test.ts does.
 */
describe("deploying", function () {
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        for (const stack of ["dev", "staging", "production"]) succeeded(await checkout.pulumi("stack", "init", stack));
    });
    after(async () => {
        for (const stack of ["dev", "staging", "production"]) {
            await checkout.pulumi("state", "unprotect", "--all", "--yes", "--stack", stack);
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        checkout.remove();
    });

    function succeeded(ended: Ended): Ended {
        expect(ended.code, ended.text).to.equal(0);
        return ended;
    }

    /** Refused with these words, as a message and not as a crash. */
    function refused(ended: Ended, ...words: (string | RegExp)[]): void {
        expect(ended.code, ended.text).not.to.equal(0);
        for (const word of words)
            expect(ended.text, ended.text).to.match(
                typeof word === "string" ? new RegExp(word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")) : word,
            );
        expect(ended.text).not.to.match(/^\s+at .*[:(]\d+:\d+\)?$/m);
        expect(ended.text).not.to.contain("unhandled exception");
    }

    async function preview(stack: string): Promise<Step[]> {
        const { stdout } = succeeded(await checkout.pulumi("preview", "--json", "--stack", stack));
        return (JSON.parse(stdout) as { steps: Step[] }).steps;
    }

    const typeOf = ({ urn }: Step) => (urn.split("::")[2] ?? "").split("$").at(-1) ?? "";
    const changes = (steps: Step[]) =>
        steps.filter(({ op }) => op !== "same").map((step) => `${step.op} ${typeOf(step)}`);
    const up = (stack: string, ...args: string[]) =>
        checkout.pulumi("up", "--yes", "--skip-preview", "--stack", stack, ...args);
    const outputs = async (stack: string) =>
        JSON.parse(succeeded(await checkout.pulumi("stack", "output", "--json", "--stack", stack)).stdout) as Record<
            string,
            string
        >;

    describe("what it deploys", () => {
        it("shows every value of the release in the very first preview: known, and not secret", async () => {
            const steps = await preview("dev");
            const release = steps.find((step) => typeOf(step) === "kubernetes:helm.sh/v3:Release");
            const values = JSON.stringify(release?.newState?.inputs?.["values"]);
            expect(values).to.contain('"existingSecret":"mf-demo-key-1"');
            expect(values).not.to.contain(UNKNOWN).and.not.to.contain(SECRET);
            const objects = steps.find((step) => typeOf(step) === "ml-api:index:RenderedObjects")?.newState?.inputs?.[
                "objects"
            ] as object;
            expect(Object.keys(objects)).to.include.members([
                "Deployment/mf-demo",
                "Service/mf-demo",
                "ServiceAccount/mf-demo",
            ]);
        });

        it("makes namespace, key and release, and tells where they are", async () => {
            succeeded(await up("dev"));
            expect(await outputs("dev")).to.deep.include({
                release: "mf-demo",
                namespace: "mf-demo-dev",
                status: "deployed",
                url: "http://mf-demo.mf-demo-dev.svc.cluster.local",
            });
            expect(
                await checkout.kubectl(
                    "get",
                    "namespace",
                    "mf-demo-dev",
                    "-o",
                    "jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}",
                ),
            ).to.equal("restricted");
            expect(
                await checkout.kubectl(
                    "-n",
                    "mf-demo-dev",
                    "get",
                    "secret",
                    "mf-demo-key-1",
                    "-o",
                    "jsonpath={.immutable} {.type}",
                ),
            ).to.equal("true Opaque");
            expect(
                await checkout.kubectl(
                    "-n",
                    "mf-demo-dev",
                    "get",
                    "deployment",
                    "mf-demo",
                    "-o",
                    "jsonpath={.status.readyReplicas}",
                ),
            ).to.equal("1");
        });

        it("prints commands that work as they are", async () => {
            const { access, logs } = await outputs("dev");
            const key = /Bearer (\$\(.*?\))"/.exec(access ?? "")?.[1] ?? "";
            const { stdout } = succeeded(await checkout.run("sh", ["-c", `printf %s "${key}"`]));
            expect(stdout).to.match(/^[A-Za-z0-9]{40}$/);
            expect(logs)
                .to.contain("kubectl")
                .and.to.contain("-n".length > 0 ? "mf-demo-dev" : "");
        });

        it("changes nothing when nothing changed", async () => {
            succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "dev"));
            succeeded(await up("dev", "--expect-no-changes"));
        });

        it("takes an edited template for one update and shows the field, and a comment for none", async () => {
            checkout.edit("chart/templates/service.yaml", /^/, "{{- /* a comment */ -}}\n");
            expect(changes(await preview("dev"))).to.deep.equal([]);
            checkout.edit("chart/templates/service.yaml", /^metadata:$/m, 'metadata:\n  annotations: {team: "ml"}');
            const steps = await preview("dev");
            expect(changes(steps)).to.have.members([
                "update kubernetes:helm.sh/v3:Release",
                "update ml-api:index:RenderedObjects",
            ]);
            succeeded(await up("dev"));
            expect(
                await checkout.kubectl(
                    "-n",
                    "mf-demo-dev",
                    "get",
                    "service",
                    "mf-demo",
                    "-o",
                    "jsonpath={.metadata.annotations.team}",
                ),
            ).to.equal("ml");
            succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "dev"));
        });

        it("runs staging and production beside it on the one cluster", async () => {
            succeeded(await up("staging"));
            succeeded(
                await up(
                    "production",
                    "--config",
                    "kubernetes:context=" + (await checkout.kubectl("config", "current-context")),
                ),
            );
            const namespaces = await checkout.kubectl(
                "get",
                "deployments",
                "-A",
                "-l",
                "app.kubernetes.io/instance=mf-demo",
                "-o",
                "jsonpath={range .items[*]}{.metadata.namespace}={.spec.replicas} {end}",
            );
            expect(
                namespaces
                    .split(" ")
                    .filter((word) => word !== "")
                    .sort(),
            ).to.deep.equal(["mf-demo-dev=1", "mf-demo-production=3", "mf-demo-staging=2"]);
        });

        it("rotates the key in two deploys: first both keys are valid, then only the new one", async () => {
            const read = async (secret: string) =>
                Buffer.from(
                    await checkout.kubectl("-n", "mf-demo-dev", "get", "secret", secret, "-o", "jsonpath={.data.keys}"),
                    "base64",
                )
                    .toString()
                    .trim()
                    .split("\n");
            const before = await read("mf-demo-key-1");
            succeeded(await up("dev", "--config", "keyGeneration=2", "--config", "acceptPreviousKey=true"));
            const both = await read("mf-demo-key-2-with-1");
            expect(both).to.have.length(2);
            expect(both[1]).to.equal(before[0]);
            succeeded(await up("dev", "--config", "acceptPreviousKey=false"));
            expect(await read("mf-demo-key-2")).to.deep.equal([both[0]]);
            expect(
                await checkout.kubectl(
                    "-n",
                    "mf-demo-dev",
                    "get",
                    "secrets",
                    "--field-selector",
                    "type=Opaque",
                    "-o",
                    "name",
                ),
            ).to.equal("secret/mf-demo-key-2");
        });

        it("keeps the key out of previews, state and Helm's record", async () => {
            const key = Buffer.from(
                await checkout.kubectl(
                    "-n",
                    "mf-demo-dev",
                    "get",
                    "secret",
                    "mf-demo-key-2",
                    "-o",
                    "jsonpath={.data.key}",
                ),
                "base64",
            ).toString();
            expect(key).to.match(/^[A-Za-z0-9]{40}$/);
            const seen = [
                succeeded(await checkout.pulumi("preview", "--diff", "--stack", "dev")).text,
                succeeded(await checkout.pulumi("stack", "export", "--stack", "dev")).text,
                succeeded(await checkout.run("helm", ["get", "all", "mf-demo", "-n", "mf-demo-dev"])).text,
            ].join("\n");
            for (const form of [key, Buffer.from(key).toString("base64")]) expect(seen).not.to.contain(form);
            // The search finds it where it is.
            expect(
                succeeded(await checkout.pulumi("stack", "export", "--show-secrets", "--stack", "dev")).text,
            ).to.contain(key);
        });
    });

    describe("what it cannot deploy", () => {
        for (const [what, file, from, to, words] of [
            [
                "an unknown environment",
                "Pulumi.dev.yaml",
                "environment: dev",
                "environment: dve",
                ['"dve" has no values file in chart/environment, did you mean "dev"?', "Pulumi.dev.yaml:2"],
            ],
            [
                "a misspelt config key",
                "Pulumi.dev.yaml",
                "ml-api:environment: dev",
                "ml-api:environment: dev\n  ml-api:replica: 2",
                ["Pulumi.dev.yaml:3 (replica): there is no such key"],
            ],
            [
                "a key of a misspelt project",
                "Pulumi.dev.yaml",
                "ml-api:environment: dev",
                "ml-api:environment: dev\n  mlapi:protect: true",
                [
                    'Pulumi.dev.yaml:3 (mlapi:protect): nothing reads the namespace "mlapi", did you mean "ml-api:protect"?',
                ],
            ],
            [
                "a values file that no stack uses",
                "Pulumi.staging.yaml",
                "environment: staging",
                "environment: production",
                ["chart/environment/staging/values-staging.yaml:1: no stack uses this values file"],
            ],
            [
                "a values file that is not YAML",
                "chart/environment/dev/values-dev.yaml",
                "replicas: 1",
                "replicas: [1",
                ["chart/environment/dev/values-dev.yaml:"],
            ],
            [
                "an ambiguous value",
                "chart/environment/dev/values-dev.yaml",
                "replicas: 1",
                "replicas: 0x1",
                ["`0x1` is a number to Helm or to other tools, but not the same one to all"],
            ],
            [
                "a misspelt value",
                "chart/environment/dev/values-dev.yaml",
                "replicas: 1",
                "replica: 1",
                [
                    "the chart ./chart cannot be rendered with these values",
                    /chart\/environment\/dev\/values-dev\.yaml:\d+: .*'replica' not allowed, did you mean "replicas"\?/,
                ],
            ],
            [
                "a broken template",
                "chart/templates/service.yaml",
                /^/,
                "{{ .Values.nothing.at.all }}\n",
                ["the chart ./chart cannot be rendered", /chart\/templates\/service\.yaml:1:\d+: /],
            ],
            [
                "a chart that is no chart",
                "chart/Chart.yaml",
                "name: ml-api",
                "nam: ml-api",
                ["the chart ./chart cannot be rendered", /chart\.metadata\.name|name is required/],
            ],
        ] as [string, string, string | RegExp, string, (string | RegExp)[]][]) {
            const test = ["a misspelt config key", "a misspelt value", "a broken template"].includes(what)
                ? it
                : itThoroughly;
            test(`is refused in the preview: ${what}`, async () => {
                await edited(file, from, to, async () => {
                    refused(await checkout.pulumi("preview", "--stack", "dev"), ...words);
                });
            });
        }

        it("is refused in the update, and leaves cluster and stack as they were", async () => {
            const records = () =>
                checkout.kubectl("-n", "mf-demo-dev", "get", "secrets", "-l", "owner=helm", "-o", "name");
            const before = await records();
            await edited("chart/environment/dev/values-dev.yaml", "replicas: 1", "replicas: many", async () => {
                refused(await up("dev"), "replicas");
            });
            expect(await records()).to.equal(before);
            succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "dev"));
        });

        async function edited(
            file: string,
            from: string | RegExp,
            to: string,
            use: () => Promise<void>,
        ): Promise<void> {
            const before = checkout.read(file);
            checkout.edit(file, from, to);
            try {
                await use();
            } finally {
                checkout.write(file, before);
            }
        }

        it("is told at once when the cluster does not answer, and a preview does without it", async () => {
            checkout.write("dead.yaml", kubeconfig({ token: "x" }));
            const env = { KUBECONFIG: checkout.file("dead.yaml"), ML_API_CONTEXT: "" };
            succeeded(await checkout.run("pulumi", ["preview", "--stack", "staging", "--non-interactive"], { env }));
            checkout.edit("chart/environment/staging/values-staging.yaml", "replicas: 2", "replicas: 3");
            const ended = await checkout.run(
                "pulumi",
                ["up", "--yes", "--skip-preview", "--stack", "staging", "--non-interactive"],
                { env },
            );
            checkout.edit("chart/environment/staging/values-staging.yaml", "replicas: 3", "replicas: 2");
            refused(ended, /connection refused|unreachable/);
        });

        it("is told when the kubeconfig has no credentials, where the provider would wait for ever", async () => {
            checkout.write("bare.yaml", kubeconfig({}));
            const env = { KUBECONFIG: checkout.file("bare.yaml"), ML_API_CONTEXT: "" };
            refused(
                await checkout.run("pulumi", ["preview", "--stack", "staging", "--non-interactive"], {
                    env,
                    seconds: 60,
                }),
                "has no credential",
            );
        });

        function kubeconfig(user: object): string {
            return JSON.stringify({
                "current-context": "dead",
                contexts: [{ name: "dead", context: { cluster: "dead", user: "dead" } }],
                clusters: [{ name: "dead", cluster: { server: "https://127.0.0.1:1" } }],
                users: [{ name: "dead", user }],
            });
        }
    });

    describe("taking away", () => {
        it("runs a second API that is data only, in a namespace it does not adopt and leaves when it goes", async () => {
            await checkout.kubectl("create", "namespace", "shared");
            checkout.write("apis/guest/values-dev.yaml", checkout.read("chart/environment/dev/values-dev.yaml"));
            const settings = {
                environment: "dev",
                name: "guest",
                valuesDir: "apis/guest",
                namespace: "shared",
                createNamespace: "false",
            };
            const lines = Object.entries(settings).map(([key, value]) => `  ml-api:${key}: "${value}"\n`);
            checkout.write("Pulumi.guest-dev.yaml", `config:\n${lines.join("")}`);
            succeeded(await checkout.pulumi("stack", "init", "guest-dev"));
            succeeded(await up("guest-dev"));
            expect(await outputs("guest-dev")).to.deep.include({
                release: "guest",
                url: "http://guest.shared.svc.cluster.local",
            });
            succeeded(await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "guest-dev"));
            const phase = ["get", "namespace", "shared", "-o", "jsonpath={.status.phase}"];
            expect(await checkout.kubectl(...phase)).to.equal("Active");
            expect(await checkout.kubectl("-n", "shared", "get", "all,secrets", "-o", "name")).to.equal("");
            succeeded(await checkout.pulumi("stack", "rm", "--yes", "guest-dev"));
            await checkout.kubectl("delete", "namespace", "shared", "--wait=false");
        });

        it("destroys a stack without leaving an object", async () => {
            succeeded(await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev"));
            expect(await checkout.kubectl("get", "namespaces", "-o", "name")).not.to.contain("mf-demo-dev");
        });

        it("refuses to destroy a protected stack, and says the way out", async () => {
            refused(
                await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "production"),
                "protect",
                "pulumi state unprotect",
            );
            expect(
                await checkout.kubectl(
                    "-n",
                    "mf-demo-production",
                    "get",
                    "deployment",
                    "mf-demo",
                    "-o",
                    "jsonpath={.status.readyReplicas}",
                ),
            ).to.equal("3");
        });
    });
});
