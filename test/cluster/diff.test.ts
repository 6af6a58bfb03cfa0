import { expect } from "chai";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { compareWithCluster } from "../../cli/diff-compare";
import type { StackDiff } from "../../cli/diff-report";
import { renderStack } from "../../cli/rendered-stack";
import { canonicalJson } from "../../components/guarded-release/render/digest";
import { itThoroughly } from "../thorough";
import { Checkout, succeeded } from "./checkout";

const ROOT = path.join(__dirname, "..", "..");
const NAMESPACE = "mf-demo-dev";
const helm = process.env["ML_API_HELM"] ?? "helm";

/** What a person wrote of an object, as far as a cluster keeps it. */
interface Live {
    readonly kind: string;
    readonly metadata: {
        readonly name: string;
        readonly labels?: Record<string, string>;
        readonly annotations?: Record<string, string>;
        readonly ownerReferences?: unknown;
    };
    readonly spec?: unknown;
    readonly data?: unknown;
    readonly type?: string;
}

describe("ml-api diff against a live release", function () {
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = new Checkout();
        succeeded(await checkout.pulumi("stack", "init", "dev"));
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        checkout.remove();
    });

    const diff = async (): Promise<StackDiff> => {
        const [found] = await compareWithCluster(checkout.root, ["dev"], helm);
        if (found === undefined) throw new Error("nothing was compared");
        return found;
    };
    const up = async () => succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));

    /** Everything in the namespace that people or Helm made, by the name that the diff uses. */
    async function live(): Promise<Map<string, string>> {
        const kinds =
            "deployments,services,serviceaccounts,configmaps,secrets,networkpolicies,poddisruptionbudgets,jobs";
        const { items } = JSON.parse(
            await checkout.kubectl("--namespace", NAMESPACE, "get", kinds, "--output", "json"),
        ) as { items: Live[] };
        const own = items.filter(
            ({ type, metadata: { name, ownerReferences } }) =>
                type !== "helm.sh/release.v1" &&
                ownerReferences === undefined &&
                !["default", "kube-root-ca.crt"].includes(name),
        );
        return new Map(
            own.map(({ kind, metadata: { name, labels, annotations }, spec, data }) => {
                // Kubernetes counts rollouts.
                const written = { ...annotations, "deployment.kubernetes.io/revision": "" };
                return [`${kind}/${name}`, canonicalJson({ labels, annotations: written, spec, data })];
            }),
        );
    }

    it("renders what the program renders: the digest is that of the preview", async () => {
        const { stdout } = succeeded(await checkout.pulumi("preview", "--json", "--stack", "dev"));
        const { steps } = JSON.parse(stdout) as {
            steps: { newState?: { type: string; inputs?: { values?: { global?: { renderDigest?: string } } } } }[];
        };
        const release = steps.find(({ newState }) => newState?.type === "kubernetes:helm.sh/v3:Release");
        const { digest } = await renderStack(checkout.root, "dev", helm);
        expect(release?.newState?.inputs?.values?.global?.renderDigest).to.equal(digest);
    });

    it("names everything before the first update", async () => {
        const { state, objects } = await diff();
        expect(state).to.equal("new");
        expect(objects.map(({ action }) => action))
            .to.include("create")
            .and.not.include("update");
        await up();
        const made = [...(await live()).keys()].sort();
        const named = objects.map(({ name }) => name).filter((name) => name !== `Namespace/${NAMESPACE}`);
        expect(withoutHooks(named)).to.deep.equal(made);
    });

    it("names nothing after it", async () => {
        expect(await diff()).to.deep.include({ state: "compared", notes: [], objects: [] });
    });

    it("names exactly the objects that the next update makes, changes and takes away", async () => {
        checkout.edit("chart/environment/dev/values-dev.yaml", /^replicas: 1$/m, "replicas: 2");
        checkout.edit("Pulumi.dev.yaml", /^config:\n/m, "config:\n  ml-api:keyGeneration: 2\n");
        checkout.write(
            "chart/templates/extra.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-extra\ndata:\n  a: b\n",
        );
        const { objects } = await diff();
        const named = new Map(objects.map((object) => [object.name, object]));
        expect(named.get("Deployment/mf-demo")?.restartsPods).to.equal(true);

        const before = await live();
        await up();
        const after = await live();
        const changed = [...new Set([...before.keys(), ...after.keys()])]
            .filter((name) => before.get(name) !== after.get(name))
            .sort();
        expect(withoutHooks([...named.keys()])).to.deep.equal(changed);
        for (const name of changed) {
            const action = !before.has(name) ? "create" : !after.has(name) ? "delete" : "update";
            expect(named.get(name)?.action, name).to.equal(action);
        }
        expect(changed).to.include.members(["ConfigMap/mf-demo-extra", "Secret/mf-demo-key-1", "Secret/mf-demo-key-2"]);
        expect((await diff()).objects).to.deep.equal([]);
    });

    /** Hooks, which are there for a moment or only during `helm test`. */
    function withoutHooks(names: readonly string[]): string[] {
        return names.filter((name) => !/^(Job|Service)\/mf-demo-(test|verify)$/.test(name)).sort();
    }
});

describe("ml-api check", () => {
    itThoroughly("passes in a fresh clone that has no cluster, no token and no secret", () => {
        const origin = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-origin-"));
        const clone = path.join(origin, "clone");
        const git = (cwd: string, ...args: string[]) => {
            const someone = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
            return execFileSync("git", [...someone, ...args], {
                cwd,
                encoding: "utf8",
                stdio: ["ignore", "pipe", "pipe"],
            });
        };
        try {
            for (const file of git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"))
                if (file !== "" && fs.existsSync(path.join(ROOT, file)))
                    fs.cpSync(path.join(ROOT, file), path.join(origin, "origin", file));
            const from = path.join(origin, "origin");
            git(from, "init", "--quiet", "--initial-branch=main");
            git(from, "add", "--all");
            git(from, "commit", "--quiet", "--message", "x");
            git(origin, "clone", "--quiet", from, clone);
            fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(clone, "node_modules"));

            const named = ["KUBECONFIG", "ML_API_CONTEXT", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE_FILE"];
            const env = { ...process.env, ...Object.fromEntries(named.map((name) => [name, undefined])), HOME: origin };
            const steps = ["stacks", "render", "secrets", "differences", "preview", "diff"];
            const ended = spawnSync(path.join(clone, "cli", "ml-api.js"), ["check", "--json", "--only", ...steps], {
                cwd: clone,
                env,
                encoding: "utf8",
            });
            const { ok, steps: results } = JSON.parse(ended.stdout) as {
                ok: boolean;
                steps: { name: string; status: string }[];
            };
            expect(
                results.map(({ name, status }) => `${name} ${status}`),
                ended.stdout,
            ).to.deep.equal(steps.map((name) => `${name} ok`));
            expect([ok, ended.status]).to.deep.equal([true, 0]);
            expect(git(clone, "status", "--porcelain", "--untracked-files=no")).to.equal("");
        } finally {
            fs.rmSync(origin, { recursive: true, force: true });
        }
    });
});
