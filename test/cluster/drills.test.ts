import * as fs from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { expect } from "chai";
import { openAccess } from "../../components/config/kubeconfig";
import { diagnosis } from "../../components/guarded-release/diagnose/companion";
import { selfSigned } from "../chart/certificate";
import { Checkout, succeeded } from "./checkout";
import { DrilledStack, failedWith, saidAfter, timed, UP } from "./drill";

interface Drill {
    readonly breaks: (stack: DrilledStack) => Promise<void> | void;
    readonly words: readonly RegExp[];
    readonly mends?: (stack: DrilledStack) => Promise<unknown>;
    /** The cluster is not touched: it was refused before. */
    readonly before?: true;
}

/** `DRILLS=disk,quota` narrows the test. */
const ONLY = process.env["DRILLS"]?.split(",");

/** Failures that the control plane makes, on a cluster whose pods only pretend to run. */
describe("a deploy that fails on a cluster's own rules", function () {
    let checkout: Checkout;
    let webhook: Server;
    const stacks: DrilledStack[] = [];

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        checkout.env["XDG_STATE_HOME"] = checkout.file("state");
        // Long enough for the words to come before Helm gives up, and no longer.
        checkout.edit("chart/templates/_helpers.tpl", /"releaseTimeout" .*/, '"releaseTimeout" 20');
        webhook = await denyingWebhook(checkout);
    });
    after(async () => {
        await checkout.kubectl("delete", "validatingwebhookconfiguration", "drill", "--ignore-not-found");
        for (const stack of stacks) await stack.remove();
        webhook.close();
        checkout.remove();
    });

    /** What a kubelet says of its node's disk; the control plane taints the node for it. */
    async function diskPressure(status: "True" | "False"): Promise<void> {
        const patch = JSON.stringify({ status: { conditions: [{ type: "DiskPressure", status }] } });
        const names = await checkout.kubectl("get", "nodes", "--output", "name");
        for (const name of names.trim().split("\n"))
            await checkout.kubectl("patch", name, "--subresource=status", "--patch", patch);
    }

    const drills: Readonly<Record<string, Drill>> = {
        quota: {
            breaks: async (stack) => {
                await stack.kubectl("create", "quota", "small", "--hard=requests.memory=200Mi");
                stack.set({ image: { repository: "localhost/mf-demo", tag: "other" } });
            },
            words: [
                /ReplicaSet\/mf-demo-\S+: the quota small of the namespace is used up: a pod asks for requests\.memory=192Mi; in use are requests\.memory=192Mi of requests\.memory=200Mi/,
            ],
            mends: (stack) => stack.kubectl("delete", "quota", "small"),
        },
        "pod-security": {
            breaks: (stack) => {
                stack.set({
                    merge: { pod: { volumes: [{ name: "foreign", nfs: { server: "127.0.0.1", path: "/" } }] } },
                });
            },
            words: [
                /Deployment\/mf-demo spec\.template\.spec: its pods would never start: namespace mf-demo-pod-security enforces Pod Security "restricted": .*"nfs"/,
            ],
            before: true,
        },
        unschedulable: {
            breaks: (stack) => {
                stack.set({ resources: { requests: { memory: "900Ti" } } });
            },
            words: [/Pod\/mf-demo-\S+: no node takes it: 0\/2 nodes are available: 2 Insufficient memory\. → lower/],
        },
        disk: {
            breaks: async (stack) => {
                await diskPressure("True");
                stack.set({ image: { repository: "localhost/mf-demo", tag: "other" } });
            },
            words: [
                /Pod\/mf-demo-\S+: no node takes it: 0\/2 nodes are available: 2 node\(s\) had untolerated taint\(s\): node\.kubernetes\.io\/disk-pressure \(2\)\. → make room on the node's disk/,
            ],
            mends: () => diskPressure("False"),
        },
        webhook: {
            breaks: async (stack) => {
                await stack.kubectl("label", "namespace", stack.namespace, "drill=denied");
                stack.set({ image: { repository: "localhost/mf-demo", tag: "other" } });
            },
            words: [/the admission webhook drill\.example\.org refuses it: a pod needs an owner → do what it asks for/],
            mends: (stack) => stack.kubectl("label", "namespace", stack.namespace, "drill-"),
        },
        invalid: {
            breaks: (stack) => {
                stack.set({ merge: { pod: { dnsPolicy: "Nonsense" } } });
            },
            words: [/Deployment\/mf-demo spec\.template\.spec\.dnsPolicy: Unsupported value: "Nonsense"/],
            before: true,
        },
    };

    const chosen = Object.entries(drills).filter(([name]) => ONLY?.includes(name) ?? true);
    for (const [name, { breaks, words, mends, before }] of chosen) {
        it(`because of ${name}, says so in time, leaves the old version serving, and converges afterwards`, async () => {
            const stack = new DrilledStack(checkout, name, {});
            stacks.push(stack);
            await stack.init();
            succeeded(await stack.up());
            const serving = await stack.serving();
            await breaks(stack);

            const ended = await stack.up();
            if (before === true) {
                expect(ended.code).not.to.equal(0);
                for (const one of words) saidAfter(ended, one);
                expect(await stack.history()).to.deep.equal(["1 deployed"]);
            } else {
                const folder = failedWith(ended, words);
                expect(folder.startsWith(checkout.file("state"))).to.equal(true);
                expect(fs.readFileSync(path.join(folder, "findings.md"), "utf8")).to.match(words[0] ?? / /);
                expect(await stack.history()).to.deep.equal(["1 superseded", "2 failed", "3 deployed"]);
            }
            expect(await stack.serving()).to.equal(serving);

            await mends?.(stack);
            stack.set({});
            succeeded(await stack.up());
            succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", name));
            expect((await stack.history()).at(-1)).to.match(/ deployed$/);
        });
    }

    it("is watched at the cost of less than a second when it succeeds", async () => {
        const { KUBECONFIG, ML_API_CONTEXT } = checkout.env;
        const access = await openAccess(ML_API_CONTEXT, { KUBECONFIG }, 15_000);
        const silent = (): void => undefined;
        const target = {
            release: "mf-demo",
            stack: "quota",
            namespace: "mf-demo-quota",
            objects: () =>
                Promise.resolve([{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "mf-demo" } }]),
            timeoutSeconds: () => Promise.resolve(300),
            say: silent,
        };
        const say = { inform: silent, warn: silent, complain: silent, progress: silent };
        const milliseconds: number[] = [];
        for (let run = 0; run < 5; run++) {
            const began = performance.now();
            const { ended } = await diagnosis({ event: "update", target, access, ...say });
            await ended({ kind: "succeeded" });
            milliseconds.push(Math.round(performance.now() - began));
        }
        process.stdout.write(`    start and end of the watch: ${milliseconds.join(", ")} ms\n`);
        expect(Math.max(...milliseconds)).to.be.below(1000);
    });

    it("is ended early by ml-api when it cannot heal, cleanly", async () => {
        const stack = new DrilledStack(checkout, "early", {});
        stacks.push(stack);
        await stack.init();
        succeeded(await stack.up());
        checkout.edit("chart/templates/_helpers.tpl", '"releaseTimeout" 20', '"releaseTimeout" 120');
        await stack.kubectl("label", "namespace", stack.namespace, "drill=denied");
        stack.set({ image: { repository: "localhost/mf-demo", tag: "other" } });
        const command = path.join(__dirname, "..", "..", "cli", "give-up");
        const script = `
            const { foregroundUntilHopeless } = require(${JSON.stringify(command)});
            const options = { env: process.env, cwd: process.cwd() };
            foregroundUntilHopeless("pulumi", ${JSON.stringify([...UP, "--stack", "early"])}, options).then((code) => process.exit(code));`;
        const words = ["--require", require.resolve("ts-node/register/transpile-only"), "--eval", script];
        const ended = await timed(checkout, process.execPath, words);
        checkout.edit("chart/templates/_helpers.tpl", '"releaseTimeout" 120', '"releaseTimeout" 20');

        const folder = failedWith(ended, [
            /This cannot succeed any more, .*\nReplicaSet\/mf-demo-\S+: the admission webhook drill\.example\.org refuses it/,
        ]);
        expect(ended.pieces.at(-1)?.at).to.be.at.most(30);
        expect(ended.text.trimEnd().split("\n").at(-1)).to.contain(folder);
        expect(fs.readFileSync(path.join(folder, "objects.yaml"), "utf8")).to.contain("kind: ReplicaSet");
        expect(await stack.history()).to.deep.equal(["1 superseded", "2 failed", "3 deployed"]);
        await stack.kubectl("label", "namespace", stack.namespace, "drill-");
        stack.set({});
        const { text } = succeeded(await stack.up());
        expect(text).not.to.contain("pending operation");
    });
});

/** Refuses the pods of every namespace with the label drill=denied. */
async function denyingWebhook(checkout: Checkout): Promise<Server> {
    const { key, cert } = selfSigned("127.0.0.1");
    const server = createServer({ key, cert }, (request, response) => {
        let body = "";
        request.setEncoding("utf8").on("data", (text: string) => (body += text));
        request.on("end", () => {
            const { uid } = (JSON.parse(body) as { request: { uid: string } }).request;
            const status = { message: "a pod needs an owner", code: 403 };
            const review = {
                apiVersion: "admission.k8s.io/v1",
                kind: "AdmissionReview",
                response: { uid, allowed: false, status },
            };
            response.setHeader("content-type", "application/json").end(JSON.stringify(review));
        });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const configuration = {
        apiVersion: "admissionregistration.k8s.io/v1",
        kind: "ValidatingWebhookConfiguration",
        metadata: { name: "drill" },
        webhooks: [
            {
                name: "drill.example.org",
                clientConfig: {
                    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`,
                    caBundle: Buffer.from(cert).toString("base64"),
                },
                namespaceSelector: { matchLabels: { drill: "denied" } },
                rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }],
                admissionReviewVersions: ["v1"],
                sideEffects: "None",
                failurePolicy: "Fail",
            },
        ],
    };
    checkout.write("webhook.json", JSON.stringify(configuration));
    await checkout.kubectl("apply", "--filename", checkout.file("webhook.json"));
    return server;
}
