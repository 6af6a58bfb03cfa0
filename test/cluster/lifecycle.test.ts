import { expect } from "chai";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse, stringify } from "yaml";
import { clusterContext, type ClusterInfo } from "../../local/clusters/cluster";
import { nodeCluster } from "../../local/clusters/node";
import { buildImage } from "../../local/image/build";
import { loadImage } from "../../local/image/load";
import { cacheDir, checkoutHash, checkoutRoot } from "../../local/paths";
import { run } from "../../local/run";
import { ensureTools } from "../../local/tools";
import { customResources } from "../../scan/custom-resources";
import { environments, environmentValues, merged, type Values } from "../chart/helm";
import { modelIn } from "./demo-model";
import { type Case, cards, notShown, plainApi, shown } from "./lifecycle-cases";
import { clusterObjects, objectsIn, volumeIn } from "./lifecycle-objects";
import { skipWithoutNode } from "./own-node";

const instance = createHash("sha256").update(`${checkoutHash()} lifecycle test`).digest("hex").slice(0, 10);
const checkedOut = path.join(checkoutRoot, "chart");
const examples = fs.readdirSync(path.join(checkedOut, "ci")).map((file) => path.basename(file, ".yaml"));

/** A release that is installed, tested, upgraded, rolled back and uninstalled, in a namespace of its own. */
interface Lifecycle {
    readonly release: string;
    readonly namespace: string;
    readonly values: Values;
    readonly pods: number;
}
/** What was seen of it, for the test to look at. */
interface Seen {
    readonly seconds: number;
    /** After install, upgrade and rollback. */
    readonly states: readonly State[];
    readonly test: string;
    /** Names of objects in the namespace, before the install and after the uninstall. */
    readonly before: readonly string[];
    readonly after: readonly string[];
}
interface State {
    readonly status: string;
    readonly revision: number;
    readonly template: unknown;
    readonly readyPods: readonly string[];
}
interface Pod {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: { readonly conditions?: readonly { type: string; status: string }[] };
}

describe("the life of a release", () => {
    it("is shown for every example, or it is said why not", () => {
        expect([...Object.keys(shown), ...Object.keys(notShown)]).to.have.members(examples);
        for (const [name, why] of Object.entries(notShown))
            process.stdout.write(`      ${name} is not shown: ${why}\n`);
    });
});

/** As many at once as keep two cores busy: most of a lifecycle is waiting. */
const atOnce = 8;
/** The change of each upgrade; what is in no file of chart/ci and no environment. */
const change: Values = { api: { logLevel: "warning" } };

describe("the life of a release with plain Helm, on the local node", function () {
    this.timeout(480_000);
    const folder = path.join(os.tmpdir(), `ml-api-lifecycle-${process.pid}`);
    // Somebody may edit the chart in the minutes that this takes.
    const chart = path.join(folder, "chart");
    const context = clusterContext({
        instance,
        stateDir: path.join(os.tmpdir(), `ml-api-test-${instance}`),
        log: () => undefined,
    });
    const variables = { ...process.env, KUBECACHEDIR: path.join(folder, "kubectl"), HELM_CACHE_HOME: folder };
    let programs: { readonly helm: string; readonly kubectl: string } | undefined;
    let info: ClusterInfo;
    let namespacedKinds: string;
    let lives: ReadonlyMap<string, Promise<Seen>> = new Map<string, Promise<Seen>>();

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        const { helm, kubectl: program } = await ensureTools(["helm", "kubectl"], { log: () => undefined });
        programs = { helm: helm.path, kubectl: program.path };
        fs.mkdirSync(folder);
        fs.cpSync(checkedOut, chart, { recursive: true });
        await nodeCluster.down(context);
        info = await nodeCluster.up(context);
        const image = await buildImage(context);
        await loadImage(context, image);
        await prepareNode();
        namespacedKinds = await kinds("--namespaced=true");

        const model = modelIn(image.file, folder);
        const all = lifecycles(image.reference);
        for (const one of all) await prepareNamespace(one, model);
        lives = started(all);
    });
    after(async () => {
        await Promise.allSettled(lives.values());
        if (programs !== undefined) await nodeCluster.down(context);
        fs.rmSync(folder, { recursive: true, force: true });
    });

    function lifecycles(image: string): readonly Lifecycle[] {
        const [repository = "", tag = ""] = image.split(":");
        // The key's Secret, the image of this checkout, and another sample's server where the example is of another image.
        const own: Values = { image: { repository, tag, digest: "" } };
        const small: Values = { resources: { requests: { cpu: "20m", memory: "192Mi" } } };
        const plain: Values = { merge: { container: { command: ["python3", "-I", "-c", plainApi] } } };
        const { sample } = environmentValues("production")["verify"] as { readonly sample: Values };
        const example = ([name, { adds = {}, pods, plainApi: isPlain }]: readonly [string, Case]): Lifecycle => {
            const file = parse(fs.readFileSync(path.join(chart, "ci", `${name}.yaml`), "utf8")) as Values;
            const asked = { ...file, verify: { ...(file["verify"] as Values | undefined), sample } };
            const values = [own, small, adds].reduce(merged, isPlain === true ? merged(file, plain) : asked);
            return { release: name, namespace: name, values, pods: pods ?? Number(values["replicas"] ?? 1) };
        };
        return [
            // Three pods of the size for production and one more during a rollout fit onto the node: nothing is cut down.
            ...[...environments].reverse().map((environment) => {
                const key: Values = { apiKey: { existingSecret: "churn-key" } };
                const values = [own, key].reduce(merged, environmentValues(environment));
                const pods = Number(values["replicas"]);
                return { release: "mf-demo", namespace: `mf-demo-${environment}`, values, pods };
            }),
            ...Object.entries(shown).map(example),
        ];
    }

    /** Starts a few, and each other one when one of them has ended. */
    function started(all: readonly Lifecycle[]): ReadonlyMap<string, Promise<Seen>> {
        let free = atOnce;
        const waiting: (() => void)[] = [];
        const inTurn = async (one: Lifecycle): Promise<Seen> => {
            if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
            else free--;
            try {
                return await live(one);
            } finally {
                const next = waiting.shift();
                if (next === undefined) free++;
                else next();
            }
        };
        return new Map(
            all.map((one) => {
                const seen = inTurn(one);
                // Its test tells.
                seen.catch(() => undefined);
                return [one.namespace, seen];
            }),
        );
    }

    async function kubectl(...args: readonly string[]): Promise<string> {
        return succeed(programs?.kubectl ?? "", ["--kubeconfig", info.kubeconfig, ...args]);
    }
    async function succeed(program: string, args: readonly string[]): Promise<string> {
        const { stdout, stderr, failure } = await run(program, args, { variables, timeLimit: 240_000 });
        if (failure !== undefined) throw new Error(`${program} ${args.join(" ")} ${failure}: ${stderr}${stdout}`);
        return stdout;
    }
    async function kinds(scope: string): Promise<string> {
        const names = await kubectl("api-resources", "--verbs=list", scope, "--output=name");
        // What happened stays to be read.
        return names.trim().split("\n").filter((name) => !name.startsWith("events")).join(","); // prettier-ignore
    }

    /** What the examples expect of a cluster: optional kinds, a class of pods, cards. */
    async function prepareNode(): Promise<void> {
        const definitions = await customResources(cacheDir(), () => undefined);
        for (const file of definitions) await eventually(() => kubectl("apply", "--server-side", "--filename", file));
        await apply("cluster", clusterObjects);
        const node = (await kubectl("get", "nodes", "--output", "name")).trim();
        await kubectl("label", node, "nvidia.com/gpu.product=NVIDIA-L4");
        const patch = JSON.stringify({ status: { capacity: cards, allocatable: cards } });
        await kubectl("patch", node, "--subresource=status", "--type=merge", "--patch", patch);
    }

    /** What a person makes before the install, for the model's example with a volume that has it. */
    async function prepareNamespace({ namespace }: Lifecycle, model: string): Promise<void> {
        const volume = path.join(folder, "volume");
        const hasVolume = namespace === "model-volume";
        if (hasVolume) fs.cpSync(model, path.join(volume, "churn", "7"), { recursive: true });
        await apply(namespace, [...objectsIn(namespace), ...(hasVolume ? volumeIn(namespace, volume) : [])]);
        // Made by controllers, after the namespace.
        const made = ["serviceaccount/default", "configmap/kube-root-ca.crt"];
        await eventually(() => kubectl("get", "--namespace", namespace, ...made));
    }
    async function apply(name: string, objects: readonly object[]): Promise<void> {
        const file = path.join(folder, `${name}-objects.yaml`);
        fs.writeFileSync(file, objects.map((object) => stringify(object)).join("---\n"));
        await kubectl("apply", "--filename", file);
    }

    async function live({ release, namespace, values, pods }: Lifecycle): Promise<Seen> {
        const began = performance.now();
        const where = ["--kubeconfig", info.kubeconfig, "--namespace", namespace];
        const helm = (...args: readonly string[]) => succeed(programs?.helm ?? "", [...args, ...where]);
        const wait = ["--wait", "--timeout", "200s"];
        const file = path.join(folder, `${namespace}.yaml`);
        // JSON, in which no word is another thing to YAML 1.1.
        fs.writeFileSync(file, JSON.stringify(values));
        const upgraded = path.join(folder, `${namespace}-upgraded.yaml`);
        fs.writeFileSync(upgraded, JSON.stringify(merged(values, change)));
        const names = async () =>
            (await kubectl("get", namespacedKinds, "--namespace", namespace, "--output", "name")).trim().split("\n");

        /** Pods that are ready and stay, once there are as many as there should be. */
        const ready = async (): Promise<readonly string[]> => {
            const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=api`;
            const text = await kubectl("get", "pods", "--namespace", namespace, "-l", selector, "--output", "json");
            const found = (JSON.parse(text) as { items: Pod[] }).items.filter(
                ({ metadata, status }) =>
                    metadata.deletionTimestamp === undefined &&
                    status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true,
            );
            if (found.length !== pods) throw new Error(`${namespace} has ${found.length} ready pods, not ${pods}`);
            return found.map(({ metadata }) => metadata.name);
        };
        const state = async (): Promise<State> => {
            const { info: told, version } = JSON.parse(await helm("status", release, "--output", "json")) as {
                readonly info: { readonly status: string };
                readonly version: number;
            };
            const text = await kubectl("get", "deployment", release, "--namespace", namespace, "--output", "json");
            const { template } = (JSON.parse(text) as { spec: { template: unknown } }).spec;
            return { status: told.status, revision: version, template, readyPods: await eventually(ready) };
        };

        const before = await names();
        await helm("install", release, chart, ...wait, "--values", file);
        const states = [await state()];
        const test = await helm("test", release, "--timeout", "100s");
        await helm("upgrade", release, chart, ...wait, "--values", upgraded);
        states.push(await state());
        await helm("rollback", release, "1", ...wait);
        states.push(await state());
        await helm("uninstall", release, ...wait, "--cascade", "foreground");
        const after = await eventually(async () => {
            const left = await names();
            if (left.length > before.length) throw new Error(`${namespace} still has ${left.join(", ")}`);
            return left;
        }, 3000).catch(() => names());
        return { seconds: (performance.now() - began) / 1000, states, test, before, after };
    }

    for (const name of [
        ...environments.map((environment) => `mf-demo-${environment}`).reverse(),
        ...Object.keys(shown),
    ]) {
        it(`${name}: serves, is upgraded, goes back, and leaves nothing`, async () => {
            const seen = await lives.get(name);
            if (seen === undefined) throw new Error("not started");
            const { states, test, before, after, seconds } = seen;
            expect(states.map(({ status, revision }) => `${revision} ${status}`)).to.deep.equal([
                "1 deployed",
                "2 deployed",
                "3 deployed",
            ]);
            const [first, second, third] = states;
            expect(test).to.match(/Phase: +Succeeded/);
            expect(second?.template, "the upgrade's pods").not.to.deep.equal(first?.template);
            expect(second?.readyPods, "pods that outlived the upgrade").not.to.include.members([
                ...(first?.readyPods ?? []),
            ]);
            expect(third?.template, "the pods of the way back").to.deep.equal(first?.template);
            expect(third?.readyPods, "pods that outlived the way back").not.to.include.members([
                ...(second?.readyPods ?? []),
            ]);
            expect(after, "what is in the namespace afterwards").to.have.members([...before]);
            const { unseen } = shown[name] ?? {};
            process.stdout.write(
                `      ${seconds.toFixed(0)} s${unseen === undefined ? "" : `; not seen: ${unseen}`}\n`,
            );
        });
    }

    it("leaves nothing in the cluster either", async () => {
        const all = `${namespacedKinds},${await kinds("--namespaced=false")}`;
        const ours = await kubectl(
            "get",
            all,
            "--all-namespaces",
            "-l",
            "app.kubernetes.io/managed-by=Helm",
            "-o",
            "name",
        );
        expect(ours).to.equal("");
    });
});

/** Tries for a minute. */
async function eventually<T>(look: () => Promise<T>, pause = 500): Promise<T> {
    for (let attempt = 1; ; attempt++) {
        try {
            return await look();
        } catch (error) {
            if (attempt * pause >= 60_000) throw error;
            await sleep(pause);
        }
    }
}
