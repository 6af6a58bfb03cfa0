import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { readPage, shellBlocks } from "../docs/markdown";
import { writeScript } from "../docs/clone";
import { Checkout, type Ended, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const NAMESPACE = "models";
const VALUES = `environment: dev
image:
  repository: localhost/mf-demo
  tag: "1"
replicas: 2
apiKey:
  enabled: false
verify:
  onDeploy: false
`;

/** Every block of the page that can be run, in its order. */
const BLOCKS = shellBlocks(readPage("docs/adopt.md"))
    .filter(({ tags }) => !("needs" in tags))
    .map(({ text }) => text);
const [PLANNED = "", TAKEN = "", SHOWN = "", APPLIED = "", BESIDE = ""] = BLOCKS;

/** What runs by other means becomes a stack, and its pods never notice: what docs/adopt.md says, typed as it stands there. */
describe("ml-api adopt", function () {
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        for (const entry of fs.readdirSync(ROOT).filter((name) => !/^(?:node_modules|\.git|Pulumi\..*)$/.test(name)))
            fs.cpSync(path.join(ROOT, entry), checkout.file(entry), { recursive: true });
        await checkout.kubectl("create", "namespace", NAMESPACE);
        checkout.write("values.yaml", VALUES);
        fs.mkdirSync(checkout.file("bin"));
        const npx = '[ "$1 $2" = "--no ml-api" ] || exit 64; shift 2; exec cli/ml-api.js "$@"';
        writeScript(checkout.file("bin"), "npx", npx);
    });
    after(async () => {
        for (const stack of ["churn-dev", "prices-dev", "scores-api-dev"]) {
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        await checkout.kubectl("delete", "namespace", NAMESPACE);
        checkout.remove();
    });

    const adopt = (...words: string[]): Promise<Ended> =>
        checkout.run("cli/ml-api.js", ["adopt", ...words, "--namespace", NAMESPACE]);
    /** Types a block of the page. */
    const typed = (block: string): Promise<Ended> => {
        const PATH = `${checkout.file("bin")}${path.delimiter}${checkout.env["PATH"] ?? ""}`;
        return checkout.run("bash", ["-euo", "pipefail", "-c", block], { env: { PATH } });
    };
    const pods = (selector: string): Promise<string> =>
        checkout.kubectl(
            ...[
                "-n",
                NAMESPACE,
                "get",
                "pods",
                "-l",
                selector,
                "-o",
                "jsonpath={range .items[*]}{.metadata.uid} {end}",
            ],
        );
    const noChange = async (stack: string): Promise<void> => {
        succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", stack));
    };

    it("is what the page says, block by block", () => {
        expect(BLOCKS).to.have.lengthOf(5);
    });

    it("says what there is when nothing has that name", async () => {
        const { code, text } = await adopt("chrun");
        expect(code).to.equal(1);
        expect(text).to.contain("neither a Helm release nor a Deployment").and.not.to.contain("    at ");
    });

    describe("a release of plain Helm", () => {
        before(async () => {
            const args = ["install", "churn", "chart", "-n", NAMESPACE, "-f", "values.yaml", "--wait"];
            succeeded(await checkout.run("helm", args));
        });

        it("is shown and left alone with --plan, and without a terminal to ask at", async () => {
            const shown = succeeded(await typed(PLANNED));
            expect(shown.text).to.contain("a Helm release, revision 1").and.to.contain("nothing in the cluster");
            const { code, text } = await adopt("churn");
            expect(code).to.equal(1);
            expect(text).to.contain("--yes");
            expect(() => checkout.read("Pulumi.churn-dev.yaml")).to.throw();
        });

        it("becomes a stack whose preview has nothing to say; the pods are the same", async () => {
            const before = await pods("app.kubernetes.io/instance=churn");
            const { text } = succeeded(await typed(TAKEN));
            expect(text).to.contain("the same 2 pods serve; none was restarted");
            expect(await pods("app.kubernetes.io/instance=churn")).to.equal(before);
            expect(parse(checkout.read("apis/churn/values-dev.yaml"))).to.deep.equal(parse(VALUES));
            expect(checkout.read("Pulumi.churn-dev.yaml")).to.contain('createNamespace: "false"');
            const history = succeeded(await checkout.run("helm", ["history", "churn", "-n", NAMESPACE])).text;
            expect(history).to.match(/^2\s.*deployed/m);
        });

        it("is not adopted twice", async () => {
            const { code, text } = await adopt("churn", "--yes");
            expect(code).to.equal(1);
            expect(text).to.contain("stack churn-dev has resources in its state already");
        });

        it("is updated and destroyed as if its stack had made it", async () => {
            checkout.edit("apis/churn/values-dev.yaml", "replicas: 2", "replicas: 3");
            succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "churn-dev"));
            expect((await pods("app.kubernetes.io/instance=churn")).trim().split(" ")).to.have.lengthOf(3);
            succeeded(await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "churn-dev"));
            const left = await checkout.kubectl("-n", NAMESPACE, "get", "deployment,service", "-o", "name");
            expect(left).to.equal("");
            await checkout.kubectl("get", "namespace", NAMESPACE);
        });
    });

    describe("a release of a fork that adds objects and values", () => {
        before(async () => {
            succeeded(await checkout.run("cp", ["-r", "chart", "fork"]));
            checkout.write("fork/values.schema.json", "{}");
            checkout.edit(
                "fork/templates/service.yaml",
                "  type: ClusterIP",
                "  type: ClusterIP\n  sessionAffinity: ClientIP",
            );
            checkout.write(
                "fork/templates/map.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fork-map}\ndata: {a: b}\n",
            );
            checkout.write("fork-values.yaml", `${VALUES}team: {channel: churn}\nenv: {DB_PASSWORD: hunter2}\n`);
            const args = ["install", "fork", "fork", "-n", NAMESPACE, "-f", "fork-values.yaml", "--wait"];
            succeeded(await checkout.run("helm", args));
        });
        after(async () => {
            await checkout.run("helm", ["uninstall", "fork", "-n", NAMESPACE]);
        });

        it("is told object by object, with what was left out and what restarts, and no secret", async () => {
            const { text } = succeeded(await adopt("fork", "--plan"));
            expect(text).to.contain("team was left out");
            expect(text).to.match(/env\.DB_PASSWORD was left out/);
            expect(text).to.contain("- ConfigMap/fork-map");
            expect(text).to.contain("sessionAffinity").and.to.contain("pods      restart by that");
            expect(text).not.to.contain("hunter2");
            const { stdout } = succeeded(await adopt("fork", "--json"));
            expect(JSON.parse(stdout)).to.deep.include({
                mode: "release",
                stack: "fork-dev",
                restarts: ["Deployment/fork"],
            });
        });
    });

    describe("a release whose stack has lost its state", () => {
        const NAMESPACE_OF_DEV = "mf-demo-dev";
        const VALUES_OF_DEV = "chart/environment/dev/values-dev.yaml";

        it("finds its stack again, once nothing is made that is there", async () => {
            succeeded(await checkout.pulumi("stack", "init", "dev"));
            succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
            succeeded(await checkout.pulumi("stack", "rm", "--yes", "--force", "dev", "--preserve-config"));
            const again = (...words: string[]): Promise<Ended> =>
                checkout.run("cli/ml-api.js", ["adopt", "mf-demo", "--namespace", NAMESPACE_OF_DEV, ...words]);
            const { code, text } = await again("--plan");
            expect(code).to.equal(1);
            expect(text)
                .to.contain("createNamespace: false")
                .and.to.contain("existingSecret: mf-demo-key-1, generation: 1");
            checkout.edit("Pulumi.dev.yaml", /^config:\n/m, 'config:\n  ml-api:createNamespace: "false"\n');
            checkout.write(
                VALUES_OF_DEV,
                `${checkout.read(VALUES_OF_DEV)}\napiKey: { existingSecret: mf-demo-key-1, generation: 1 }\n`,
            );
            expect(succeeded(await again("--yes")).text).to.contain("none was restarted");
            await noChange("dev");
        });
        after(async () => {
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
            await checkout.pulumi("stack", "rm", "--yes", "--force", "dev", "--preserve-config");
            await checkout.run("kubectl", ["delete", "namespace", NAMESPACE_OF_DEV]);
        });
    });

    describe("objects that were applied without Helm", () => {
        before(async () => {
            const args = ["template", "prices", "chart", "-n", NAMESPACE, "-f", "values.yaml", "--no-hooks"];
            checkout.write("prices.yaml", succeeded(await checkout.run("helm", args)).stdout);
            await checkout.kubectl("apply", "-f", "prices.yaml");
            await checkout.kubectl(
                "-n",
                NAMESPACE,
                "label",
                "service",
                "prices",
                "app.kubernetes.io/managed-by-",
                "hand=made",
            );
            await checkout.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/prices", "--timeout=60s");
        });

        it("are taken over with the values that they were rendered from, pods and all", async () => {
            const before = await pods("app.kubernetes.io/instance=prices");
            const plan = succeeded(await typed(SHOWN)).text;
            expect(plan).to.contain("a Deployment without Helm").and.to.contain("Service/prices");
            expect(plan).to.contain("hand").and.to.contain("none restarts by that");
            const { text } = succeeded(await typed(APPLIED));
            expect(text).to.contain("npx --no ml-api up prices-dev");
            expect(text).not.to.match(/^\s*(?:-|\+-|-\+) kubernetes:/m);
            expect(await pods("app.kubernetes.io/instance=prices")).to.equal(before);
            const labels = await checkout.kubectl(
                "-n",
                NAMESPACE,
                "get",
                "service",
                "prices",
                "-o",
                "jsonpath={.metadata.labels}",
            );
            expect(labels).to.contain("Helm").and.not.to.contain("hand");
            await noChange("prices-dev");
        });
    });

    describe("a Deployment of another making", () => {
        before(async () => {
            checkout.write("scores.yaml", OLD);
            await checkout.kubectl("apply", "-f", "scores.yaml");
            await checkout.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/scores", "--timeout=60s");
        });

        it("cannot be taken over under its name, and the way beside it is told", async () => {
            const { code, text } = await adopt("scores", "--environment", "dev");
            expect(code).to.equal(1);
            expect(text).to.contain("spec.selector").and.to.contain("--as scores-api");
            expect(text).not.to.contain("    at ");
        });

        it("goes on while a release beside it starts, and the printed commands lead its clients over, and back", async () => {
            const before = await pods("app=scores");
            const { stdout } = succeeded(await typed(BESIDE));
            const values = parse(checkout.read("apis/scores-api/values-dev.yaml")) as Record<string, unknown>;
            expect(values).to.deep.include({ replicas: 2, service: { port: 8000 } });
            succeeded(await checkout.pulumi("stack", "init", "scores-api-dev"));
            succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "scores-api-dev"));
            expect(await pods("app=scores")).to.equal(before);
            const [over = "", back = ""] = stdout.split("\n").filter((line) => line.includes("patch service"));
            const addresses = async (): Promise<string[]> => {
                const path = "jsonpath={range .items[*].endpoints[*]}{.targetRef.name}:{.conditions.ready} {end}";
                const slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=scores", "-o", path];
                return (await checkout.kubectl("-n", NAMESPACE, ...slices)).split(" ").filter((one) => one !== "");
            };
            const lead = async (command: string, to: RegExp): Promise<void> => {
                succeeded(await checkout.run("sh", ["-c", command.trim().replace(/^# and back: /, "")]));
                for (let tries = 0; tries < 40; tries++) {
                    const now = await addresses();
                    if (now.length === 2 && now.every((one) => to.test(one))) return;
                    await new Promise((resolve) => setTimeout(resolve, 250));
                }
                throw new Error(`the Service leads to ${(await addresses()).join(" ")}`);
            };
            await lead(over, /^scores-api-/);
            await lead(back, /^scores-(?!api)/);
            expect(await pods("app=scores")).to.equal(before);
        });
    });
});

const OLD = `apiVersion: apps/v1
kind: Deployment
metadata: {name: scores, namespace: ${NAMESPACE}, labels: {app: scores, owner: team-scores}}
spec:
  replicas: 2
  selector: {matchLabels: {app: scores}}
  template:
    metadata: {labels: {app: scores}}
    spec:
      containers:
        - name: server
          image: localhost/mf-demo:1
          ports: [{containerPort: 9000}]
          env: [{name: MODE, value: fast}]
          resources: {requests: {cpu: 50m, memory: 128Mi}}
          readinessProbe: {httpGet: {path: /readyz, port: 9000}}
---
apiVersion: v1
kind: Service
metadata: {name: scores, namespace: ${NAMESPACE}}
spec:
  selector: {app: scores}
  ports: [{port: 8000, targetPort: 9000}]
`;
