import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import { checkoutRoot } from "../../local/paths";
import { ensureTools } from "../../local/tools";
import { environmentValues, merged } from "../chart/helm";
import { allowed, type End, type Policy } from "../chart/network-rules";
import { ENGINE, enforcePolicies, outsideWorld } from "./network-engine";
import { eventually, ownNode, type OwnNode, skipWithoutNode } from "./own-node";

const HERE = "network";
const ELSEWHERE = "elsewhere";
const RELEASE = "wine";
const PYTHON = "/opt/venv/bin/python";
const WORLD = { name: "the internet", address: "192.0.2.1" };
const METADATA = { name: "the metadata service", address: "169.254.169.254" };
/** The API's, and one that nobody listens at. */
const PORTS = [8080, 8081];

/** Tries to connect to each address and port of its argument, all at once; who hears nothing for two seconds was not let through. */
const CONNECT = `
import concurrent.futures, json, socket, sys
def through(target):
    try:
        socket.create_connection(target, timeout=2).close()
    except ConnectionRefusedError:
        pass
    except OSError as error:
        return str(error)
    return "through"
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(through, [tuple(target) for target in json.loads(sys.argv[1])]))))
`;

/** Where connections begin and end. */
interface Place {
    readonly end: End;
    readonly address: string;
    /** Runs Python there; undefined where none begins. */
    readonly python?: (...args: readonly string[]) => Promise<string>;
}
interface Answer {
    readonly pair: string;
    readonly through: boolean;
    readonly mayPass: boolean;
}

/** Real packets between real pods, and an engine that decides over each by the policies that the API server has. */
describe("NetworkPolicies that are enforced, on the local node", function () {
    this.timeout(300_000);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-network-"));
    let engine = "";
    let node: OwnNode | undefined;
    let places: readonly Place[] = [];
    let policies: readonly Policy[] = [];

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        engine = (await ensureTools([ENGINE]))[ENGINE].path;
        node = await ownNode("network test", HERE);
        const elsewhere = await node.beside(ELSEWHERE);
        await deploy();
        await start(node, "neighbour", {});
        for (const job of ["test", "verify"]) await start(node, `as-${job}`, labelsOf(job));
        await start(elsewhere, "stranger", {});
        policies = parseAllDocuments((await helm("get", "manifest", RELEASE)).stdout)
            .map((document) => document.toJS() as { kind?: string; spec: Policy } | null)
            .flatMap((object) => (object?.kind === "NetworkPolicy" ? [object.spec] : []));
        const world = await outsideWorld(node, [WORLD.address, METADATA.address]);
        places = [
            ...(await podsIn(node, HERE)),
            ...(await podsIn(elsewhere, ELSEWHERE)),
            { end: WORLD, address: WORLD.address, python: (...args) => running().inside(...world, "python3", ...args) },
            { end: METADATA, address: METADATA.address },
        ];
    });
    after(async () => {
        await node?.down();
        fs.rmSync(folder, { recursive: true, force: true });
    });

    const running = (): OwnNode => {
        if (node === undefined) throw new Error("no node");
        return node;
    };
    const labelsOf = (component: string) => ({
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/name": "ml-api",
    });
    async function helm(...args: readonly string[]) {
        const result = await running().helm(...args);
        expect(result.failure, result.stderr).to.equal(undefined);
        return result;
    }
    async function deploy(logLevel = "info"): Promise<void> {
        const values = merged(environmentValues("dev"), {
            image: { ...running().image },
            apiKey: { existingSecret: "key" },
            ...{ replicas: 2, api: { logLevel } },
        });
        const flags = ["--install", "--atomic", "--timeout", "180s", "--values", running().valuesFile(values)];
        await helm("upgrade", RELEASE, path.join(checkoutRoot, "chart"), ...flags);
    }
    async function start(on: OwnNode, name: string, labels: Readonly<Record<string, string>>): Promise<void> {
        const file = on.valuesFile({
            ...{ apiVersion: "v1", kind: "Pod", metadata: { name, labels } },
            spec: {
                automountServiceAccountToken: false,
                terminationGracePeriodSeconds: 0,
                securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: "RuntimeDefault" } },
                containers: [
                    {
                        name: "end",
                        image: `${on.image.repository}:${on.image.tag}`,
                        command: [PYTHON, "-c", "import time; time.sleep(3600)"],
                        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
                    },
                ],
            },
        });
        await on.kubectl("apply", "--filename", file);
        await on.kubectl("wait", "--for=condition=Ready", `pod/${name}`, "--timeout=60s");
    }
    async function podsIn(on: OwnNode, namespace: string): Promise<Place[]> {
        const { items } = JSON.parse(await on.kubectl("get", "pods", "--output", "json")) as {
            items: {
                metadata: { name: string; labels?: Readonly<Record<string, string>> };
                status: { phase: string; podIP: string };
            }[];
        };
        return items
            .filter(({ status }) => status.phase === "Running")
            .map(({ metadata: { name, labels = {} }, status: { podIP } }) => ({
                end: { name, namespace, labels },
                address: podIP,
                python: (...args) => on.kubectl("exec", name, "--", PYTHON, ...args),
            }));
    }

    /** Every place asks every other one, at each port; nobody outside is asked from outside. */
    async function answers(): Promise<readonly Answer[]> {
        const asked = await Promise.all(
            places.map(async ({ end: from, python }) => {
                if (python === undefined) return [];
                const targets = places
                    .filter(({ end: to }) => to !== from && ("namespace" in from || "namespace" in to))
                    .flatMap((place) => PORTS.map((port) => ({ ...place, port })));
                const list = JSON.stringify(targets.map(({ address, port }) => [address, port]));
                const answered = JSON.parse(await python("-c", CONNECT, list)) as string[];
                return targets.map(({ end: to, port }, index) => ({
                    pair: `${from.name} → ${to.name}, ${port}`,
                    through: answered[index] === "through",
                    mayPass: allowed({ policies, here: HERE }, from, to, port, "TCP"),
                }));
            }),
        );
        return asked.flat();
    }

    it("would not be missed without an engine: everything is let through", async () => {
        const all = await answers();
        expect(all.filter(({ through }) => !through)).to.deep.equal([]);
        expect(all.filter(({ mayPass }) => !mayPass).length, "pairs that are forbidden").to.be.at.least(40);
    });

    it("let through what the rules say, and nothing else", async () => {
        await enforcePolicies(running(), engine, folder);
        const all = await eventually(async () => {
            const found = await answers();
            expect(found.filter(({ through, mayPass }) => through !== mayPass)).to.deep.equal([]);
            return found;
        }, 20);
        const pairs = (through: boolean) => all.filter((one) => one.through === through).map(({ pair }) => pair);
        const [passed, keptOff] = [pairs(true), pairs(false)];
        process.stdout.write(
            `    ${all.length} connections: ${passed.length} let through, ${keptOff.length} kept off\n`,
        );
        expect(keptOff).to.include("neighbour → as-test, 8080");
        for (const { end } of places) {
            if (!("namespace" in end) || end.namespace !== HERE) continue;
            const component = end.labels["app.kubernetes.io/component"];
            if (component !== undefined) expect(keptOff).to.include(`${end.name} → ${METADATA.name}, 8080`);
            if (component !== "api") continue;
            expect(keptOff).to.include(`stranger → ${end.name}, 8080`);
            expect(passed).to.include.members([`neighbour → ${end.name}, 8080`, `as-test → ${end.name}, 8080`]);
        }
    });

    it("keep no deploy from being ready and verified, nor `helm test` from its answer", async () => {
        await deploy("debug");
        await helm("test", RELEASE, "--timeout", "120s");
    });
});
