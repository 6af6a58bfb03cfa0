import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { expect } from "chai";
import { digestOf } from "../../components/guarded-release/render/digest";
import { objectsIn } from "../../components/guarded-release/render/manifest";
import { Checkout, type Ended, succeeded } from "./checkout";
import { KilledRun } from "./killed-run";

interface Release {
    version: number;
    manifest: string;
    config: { replicas?: number; global?: Record<string, string> };
    info: { status: string; description: string; last_deployed: string };
    hooks?: { manifest: string }[];
}
interface RecordSecret {
    metadata: { name: string; labels: Record<string, string>; [field: string]: unknown };
    data: { release: string };
}

const NAMESPACE = "mf-demo-dev";

/** What somebody else, or a run that died, can do to a live release; and that the next update puts it right, as one update. */
describe("a live release that is not what the stack left behind", function () {
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        for (const stack of ["dev", "staging"]) succeeded(await checkout.pulumi("stack", "init", stack));
        succeeded(await up("--skip-preview"));
    });
    after(async () => {
        for (const stack of ["dev", "staging"]) {
            await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await checkout.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        checkout.remove();
    });

    it("is left alone while all is well, and compared in every preview", async () => {
        const { text } = succeeded(await preview("--expect-no-changes"));
        expect(text).to.contain("compared with the live release (revision 1): no change");
        checkout.edit("chart/environment/dev/values-dev.yaml", "replicas: 1", "replicas: 2");
        const edited = succeeded(await preview()).text;
        checkout.edit("chart/environment/dev/values-dev.yaml", "replicas: 2", "replicas: 1");
        expect(edited).to.match(
            /compared with the live release \(revision 1\): \d objects? changes?: Deployment\/mf-demo .*spec\.replicas 1 → 2/,
        );
        expect(edited).not.to.contain("warning");
    });

    it("is upgraded from the last good revision when a run died in the middle, and what that run had done is taken back", async () => {
        // The run had changed a Service, made a ConfigMap and not yet touched the rest.
        const dead = await newest();
        const added = `---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: left\ndata:\n  a: b\n`;
        dead.manifest = dead.manifest.replace("kind: Service\nmetadata:\n", "$&  annotations: {left: over}\n") + added;
        expect(dead.manifest).to.contain("left: over");
        dead.config.global = { ...dead.config.global, renderDigest: digestOfRelease(dead) };
        await plant({ ...dead, version: 2, info: { ...dead.info, status: "pending-upgrade" } });
        await kubectl("annotate", "service", "mf-demo", "left=over");
        await kubectl("create", "configmap", "left");
        await kubectl("label", "configmap", "left", "app.kubernetes.io/managed-by=Helm");
        await kubectl(
            ...["annotate", "configmap", "left", "meta.helm.sh/release-name=mf-demo"],
            `meta.helm.sh/release-namespace=${NAMESPACE}`,
        );

        const { text } = oneUpdate(await up());
        expect(text).to.contain('revision 2 of the live release is "pending-upgrade" since');
        expect(text).to.contain('revision 2 was "pending-upgrade"; it is marked as failed');
        expect(text).to.contain("taken back to revision 1: Service/mf-demo");
        expect(text).to.contain("deleted, because revision 1 does not have it: ConfigMap/left");
        expect(await history()).to.deep.equal(["1 superseded", "2 failed", "3 deployed"]);
        expect(await kubectl("get", "service", "mf-demo", "-o", "jsonpath={.metadata.annotations.left}")).to.equal("");
        expect(await kubectl("get", "configmaps", "-o", "name")).not.to.contain("left");
        succeeded(await preview("--expect-no-changes"));
    });

    it("is not touched while somebody else's helm may be at work on it", async () => {
        const running = await newest();
        running.config = { replicas: 3 };
        running.info = { ...running.info, status: "pending-upgrade", last_deployed: new Date().toISOString() };
        await plant({ ...running, version: 4 });
        const ended = await up("--skip-preview");
        expect(ended.code, ended.text).not.to.equal(0);
        expect(ended.text).to.contain("a helm that is not this program's may be at work, so nothing was changed");
        expect(ended.text).to.contain("If you know that it is: npx --no ml-api recover dev --force");
        expect(ended.text).not.to.match(/^\s+at .*[:(]\d+:\d+\)?$/m);
        expect((await history()).at(-1)).to.equal("4 pending-upgrade");
        await kubectl("delete", "secret", "sh.helm.release.v1.mf-demo.v4");
    });

    it("is put right after somebody's failed helm upgrade", async () => {
        const failing = ["--set", "resources.requests.memory=900Ti", "--wait", "--timeout", "1s"];
        expect((await helm("upgrade", "mf-demo", "./chart", "--reuse-values", ...failing)).code).not.to.equal(0);
        const { text } = oneUpdate(await up());
        expect(text).to.contain('revision 4 of the live release is "failed" (Upgrade "mf-demo" failed: ');
        expect(text).to.contain("taken back to revision 3: Deployment/mf-demo");
        expect(await history()).to.deep.equal(["1 superseded", "2 failed", "3 superseded", "4 failed", "5 deployed"]);
    });

    it("is put right after somebody's helm upgrade", async () => {
        succeeded(await helm("upgrade", "mf-demo", "./chart", "--reuse-values", "--set", "replicas=2", "--wait"));
        expect(await replicas()).to.equal("2");
        const { text } = oneUpdate(await up());
        expect(text).to.contain("revision 6 of the live release holds other objects than this program made");
        expect(text).to.match(/Deployment\/mf-demo .*spec\.replicas 2 → 1/);
        expect(await replicas()).to.equal("1");
    });

    it("is put right after somebody's helm rollback", async () => {
        checkout.edit("chart/environment/dev/values-dev.yaml", "replicas: 1", "replicas: 2");
        succeeded(await up("--skip-preview"));
        succeeded(await helm("rollback", "mf-demo", "7", "--wait"));
        expect(await replicas()).to.equal("1");
        const { text } = oneUpdate(await up());
        expect(text).to.contain("revision 9 of the live release was rolled back to revision 7");
        expect(await replicas()).to.equal("2");
    });

    it("is taken over again when Helm's records are lost, twice in a row", async () => {
        for (let round = 0; round < 2; round++) {
            await kubectl("delete", "secrets", "-l", "owner=helm,name=mf-demo");
            const uid = await kubectl("get", "deployment", "mf-demo", "-o", "jsonpath={.metadata.uid}");
            const { text } = oneUpdate(await up());
            expect(text).to.contain("Helm has lost its record of this release");
            expect(text).to.match(/it gets one of what is there: .*Deployment\/mf-demo/);
            expect(await history()).to.deep.equal(["1 superseded", "2 deployed"]);
            expect(await kubectl("get", "deployment", "mf-demo", "-o", "jsonpath={.metadata.uid}")).to.equal(uid);
        }
    });

    it("makes no difference to a state that is older than the repair value", async () => {
        const { stdout } = succeeded(await checkout.pulumi("stack", "export", "--show-secrets", "--stack", "dev"));
        // Among inputs and outputs, and in what the provider keeps of the inputs as a text within the text.
        const older = stdout.replace(/,?\s*(\\*")repair\1:\s*\1missing-[^"\\]*\1/g, "");
        expect(stdout.length - older.length).to.be.greaterThan(3 * "repair".length);
        checkout.write("state.json", older);
        succeeded(await checkout.pulumi("stack", "import", "--file", checkout.file("state.json"), "--stack", "dev"));
        const { text } = succeeded(await preview("--expect-no-changes"));
        expect(text).not.to.contain("cannot ignore changes");
    });

    describe("that cannot be asked", () => {
        let swallowing: Server;
        const sockets = new Set<Socket>();
        before(async () => {
            swallowing = createServer((socket) => sockets.add(socket));
            await new Promise<void>((resolve) => swallowing.listen(0, "127.0.0.1", resolve));
        });
        after(() => {
            for (const socket of sockets) socket.destroy();
            swallowing.close();
        });

        it("makes no difference to a preview, which says what was not compared", async () => {
            const dead = await timedPreview("https://127.0.0.1:1");
            expect(dead.text).to.contain(
                "not compared with the live release: the API server https://127.0.0.1:1 refuses connections",
            );
            const server = `https://127.0.0.1:${(swallowing.address() as AddressInfo).port}`;
            const slow = await timedPreview(server);
            expect(slow.text).to.contain(
                `not compared with the live release: the API server ${server} does not answer within 2 s`,
            );
        });

        async function timedPreview(server: string): Promise<Ended> {
            const kubeconfig = {
                "current-context": "dead",
                contexts: [{ name: "dead", context: { cluster: "dead", user: "dead" } }],
                clusters: [{ name: "dead", cluster: { server, "insecure-skip-tls-verify": true } }],
                users: [{ name: "dead", user: { token: "x" } }],
            };
            checkout.write("dead.yaml", JSON.stringify(kubeconfig));
            const env = { KUBECONFIG: checkout.file("dead.yaml"), ML_API_CONTEXT: "" };
            const args = ["preview", "--expect-no-changes", "--stack", "dev", "--non-interactive"];
            return succeeded(await checkout.run("pulumi", args, { env }));
        }
    });

    it("is cleared away when its very first install was killed", async () => {
        const values = "chart/environment/staging/values-staging.yaml";
        checkout.edit(values, /memory: .*/, "memory: 900Ti");
        const killed = new KilledRun(checkout, ["up", "--yes", "--skip-preview", "--stack", "staging"]);
        const place = ["-n", "mf-demo-staging"];
        try {
            const until = Date.now() + 60_000;
            while (!(await checkout.kubectl(...place, "get", "deployments", "-o", "name")).includes("mf-demo")) {
                if (Date.now() > until) throw new Error("the install did not begin");
                await sleep(200);
            }
        } finally {
            await killed.killFamily();
        }
        await checkout.pulumi("cancel", "--yes", "--stack", "staging");
        const uid = () => checkout.kubectl(...place, "get", "deployment", "mf-demo", "-o", "jsonpath={.metadata.uid}");
        const before = await uid();
        checkout.edit(values, "memory: 900Ti", "memory: 256Mi");

        const { text } = succeeded(await up("--stack", "staging"));
        expect(text).to.contain('revision 1 of the live release is "pending-install" since');
        expect(text).to.contain("an earlier install of mf-demo in namespace mf-demo-staging never came to an end");
        expect(await uid()).not.to.equal(before);
        succeeded(await checkout.pulumi("preview", "--expect-no-changes", "--stack", "staging"));
    });

    /** An update that changed the Release and nothing else. */
    function oneUpdate(ended: Ended): Ended {
        succeeded(ended);
        expect(ended.text.match(/~ 1 updated/g), ended.text).to.have.length(1);
        return ended;
    }

    function up(...args: string[]): Promise<Ended> {
        return checkout.pulumi("up", "--yes", ...(args.includes("--stack") ? [] : ["--stack", "dev"]), ...args);
    }

    function preview(...args: string[]): Promise<Ended> {
        return checkout.pulumi("preview", "--stack", "dev", ...args);
    }

    function helm(...args: string[]): Promise<Ended> {
        return checkout.run("helm", [...args, "--namespace", NAMESPACE]);
    }

    function kubectl(...args: string[]): Promise<string> {
        return checkout.kubectl("-n", NAMESPACE, ...args);
    }

    function replicas(): Promise<string> {
        return kubectl("get", "deployment", "mf-demo", "-o", "jsonpath={.spec.replicas}");
    }

    async function history(): Promise<string[]> {
        const { stdout } = succeeded(await helm("history", "mf-demo", "--output", "json"));
        return (JSON.parse(stdout) as { revision: number; status: string }[]).map(
            ({ revision, status }) => `${revision} ${status}`,
        );
    }

    async function newest(): Promise<Release> {
        const list = JSON.parse(await kubectl("get", "secrets", "-l", "owner=helm,name=mf-demo", "-o", "json")) as {
            items: RecordSecret[];
        };
        const releases = list.items.map(({ data }) => {
            const packed = Buffer.from(Buffer.from(data.release, "base64").toString(), "base64");
            return JSON.parse(gunzipSync(packed).toString()) as Release;
        });
        return releases.reduce((a, b) => (a.version > b.version ? a : b));
    }

    /** Stores a revision as Helm would. */
    async function plant(release: Release): Promise<void> {
        const packed = gzipSync(JSON.stringify(release)).toString("base64");
        const labels = {
            name: "mf-demo",
            owner: "helm",
            status: release.info.status,
            version: String(release.version),
        };
        const secret = {
            apiVersion: "v1",
            kind: "Secret",
            type: "helm.sh/release.v1",
            metadata: { name: `sh.helm.release.v1.mf-demo.v${release.version}`, labels },
            stringData: { release: packed },
        };
        checkout.write("planted.json", JSON.stringify(secret));
        await kubectl("create", "-f", checkout.file("planted.json"));
    }

    function digestOfRelease({ manifest, hooks = [] }: Release): string {
        return digestOf(
            [manifest, ...hooks.map((hook) => hook.manifest)].flatMap((text) => objectsIn(text, NAMESPACE)),
        );
    }
});
