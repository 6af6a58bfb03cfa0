import { expect } from "chai";
import { openAccess } from "../../components/config/kubeconfig";
import { endHold, findHold, placeHold } from "../../components/guarded-release/hold/hold";
import { request } from "../../components/guarded-release/live/api";
import { decodeRecord, recordsIn, withStatus } from "../../components/guarded-release/live/record";
import { resourceOf } from "../../rbac/resource-name";
import { Checkout, type Ended, succeeded } from "./checkout";
import { Recorder } from "./recorder";

const NAMESPACE = "mf-demo-dev";
const OTHER = "mf-demo-staging";

interface Rule {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly verbs: readonly string[];
}

/** What the published provider asks, and the stand-in does not. */
const NOT_SHOWN = ["watch secrets: the published provider watches until a Secret that it deleted is gone"];

/**
 * The Role that `ml-api rbac` prints, by a token that has nothing else, on a real API server. All that the token asks goes through a
 * recorder, so that the Role is shown to hold everything that is needed, and nothing that is not.
 */
describe("the rights that ml-api rbac prints", function () {
    let admin: Checkout;
    let recorder: Recorder;
    /** As the deployer of dev; of a pull request. */
    let deployer: NodeJS.ProcessEnv;
    let pullRequest: NodeJS.ProcessEnv;
    let person: NodeJS.ProcessEnv;
    const tokens = new Map<string, string>();

    before(async () => {
        const kubeconfig = process.env["ML_API_TEST_KUBECONFIG"];
        if (kubeconfig === undefined) throw new Error("these tests need a cluster: run `make test`");
        admin = Checkout.whole();
        // With two pods there is a disruption budget as well: a new kind would need another Role first.
        admin.edit("chart/environment/dev/values-dev.yaml", "replicas: 1", "replicas: 2");
        for (const stack of ["dev", "staging"]) {
            succeeded(await admin.pulumi("stack", "init", stack));
            succeeded(await admin.pulumi("config", "set", "createNamespace", "false", "--stack", stack));
            await apply(stack, "--bootstrap");
        }
        await admin.kubectl("create", "namespace", "ci");
        for (const name of ["deploy-dev", "pull-request", "person"])
            await admin.kubectl("-n", "ci", "create", "serviceaccount", name);
        await apply("dev", "--to", "serviceaccount:ci/deploy-dev");
        await apply("dev", "--pull-request", "--to", "serviceaccount:ci/pull-request");
        await apply("dev", "--open", "--to", "serviceaccount:ci/person");
        recorder = await Recorder.start(kubeconfig);
        deployer = await tokenOf("deploy-dev");
        pullRequest = await tokenOf("pull-request");
        person = await tokenOf("person");
    });
    after(async () => {
        for (const stack of ["dev", "staging"]) {
            await admin.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack);
            await admin.pulumi("stack", "rm", "--yes", "--force", stack);
        }
        recorder.stop();
        await admin.kubectl("delete", "namespace", "ci", NAMESPACE, OTHER);
        await admin.kubectl("delete", "clusterroles", "-l", "app.kubernetes.io/managed-by=ml-api");
        admin.remove();
    });

    describe("let a deployer", () => {
        it("preview the first deploy, with the API server's own word on every object", async () => {
            const { text } = succeeded(await as(deployer, "preview"));
            expect(text).not.to.match(/not checked|may not/);
        });
        it("deploy", async () => {
            const { text } = succeeded(await up());
            expect(text).not.to.match(/no Lease is kept|not marked|not known|did not say/);
            expect(await history()).to.deep.equal(["deployed"]);
        });
        it("preview a change and deploy it", async () => {
            admin.edit("chart/environment/dev/values-dev.yaml", "replicas: 2", "replicas: 3");
            // A label stands on every object.
            admin.edit("chart/environment/dev/values-dev.yaml", /owner: .*/, "owner: another-team");
            const { text } = succeeded(await as(deployer, "preview"));
            expect(text)
                .to.contain("spec.replicas 2 → 3")
                .and.not.to.match(/not checked|may not/);
            succeeded(await up());
        });
        it("fail, with the diagnosis, and go back to what ran", async () => {
            const files = ["chart/environment/dev/values-dev.yaml", "chart/templates/_helpers.tpl"] as const;
            const before = files.map((file) => admin.read(file));
            admin.write(files[0], `${before[0] ?? ""}\nmerge: {pod: {nodeSelector: {disk: none}}}\n`);
            // It is to fail soon.
            admin.edit(files[1], /"releaseTimeout" \(.*\)$/m, '"releaseTimeout" 20');
            const { code, text } = await up();
            for (const [index, file] of files.entries()) admin.write(file, before[index] ?? "");
            expect(code, text).not.to.equal(0);
            expect(text)
                .to.contain("why mf-demo failed:")
                .and.not.to.match(/forbidden|cannot .* resource/);
            expect((await history()).slice(-2)).to.deep.equal(["failed", "deployed"]);
        });
        it("put right what a killed run left behind", async () => {
            const list = await admin.kubectl("-n", NAMESPACE, "get", "secrets", "-l", "owner=helm", "-o", "json");
            const newest = recordsIn(list).at(-1);
            if (newest === undefined) throw new Error("there is no record");
            expect(decodeRecord(newest.secret).status).to.equal("deployed");
            const pending = {
                apiVersion: "v1",
                kind: "Secret",
                ...withStatus(newest.secret, "pending-upgrade", "killed"),
            };
            admin.write("pending.json", JSON.stringify(pending));
            await admin.kubectl("-n", NAMESPACE, "replace", "-f", admin.file("pending.json"));
            const { text } = succeeded(await up());
            expect(text)
                .to.contain("it is marked as failed")
                .and.not.to.match(/forbidden|cannot .* resource/);
            const events = await admin.kubectl("-n", NAMESPACE, "get", "events", "-o", "jsonpath={.items[*].reason}");
            expect(events).to.contain("ReleaseRecovered");
        });
        it("rotate the key, without a way to the pods to see it accepted", async () => {
            const rotate = (...options: string[]) =>
                admin.run("cli/ml-api.js", ["rotate-key", "dev", "--yes", ...options], { env: deployer });
            expect(succeeded(await rotate()).text).to.contain("may not forward a port");
            expect(succeeded(await rotate("--finish")).text).to.contain("key 2 is the only one");
            const secrets = await admin.kubectl("-n", NAMESPACE, "get", "secrets", "-o", "name");
            expect(secrets).to.contain("secret/mf-demo-key-2").and.not.to.contain("mf-demo-key-1");
        });
        it("compare, look for drift, read a log, hold the release after a rollback", async () => {
            succeeded(await admin.run("cli/ml-api.js", ["diff", "dev"], { env: deployer }));
            const drift = await admin.run("cli/ml-api.js", ["drift", "dev"], { env: deployer });
            expect(drift.text).not.to.match(/forbidden|may not/);
            const access = await openAccess(undefined, deployer, 5000);
            const pod = await admin.kubectl("-n", NAMESPACE, "get", "pods", "-o", "name");
            const log = `/api/v1/namespaces/${NAMESPACE}/pods/${(pod.split("\n")[0] ?? "").replace("pod/", "")}/log`;
            expect((await request(access, { path: log, timeoutMs: 5000 })).status).not.to.equal(403);
            const owner = { release: "mf-demo", namespace: NAMESPACE };
            const hold = {
                id: "1",
                stack: "dev",
                commit: "a".repeat(40),
                branch: "b",
                to: "c",
                by: "d",
                at: "",
                reason: "e",
            };
            await placeHold(access, owner, hold);
            await placeHold(access, owner, { ...hold, reason: "f" });
            expect(await findHold(access, owner)).to.include({ reason: "f" });
            await endHold(access, owner);
        });
    });

    describe("one verb less", () => {
        const cases: readonly {
            readonly verb: string;
            readonly of: string;
            readonly says: RegExp;
            readonly fails: boolean;
        }[] = [
            { verb: "list", of: "secrets", says: /may not list the Secrets of namespace mf-demo-dev/, fails: false },
            {
                verb: "patch",
                of: "deployments",
                says: /not checked: needs patch on deployments in mf-demo-dev/,
                fails: false,
            },
            { verb: "get", of: "services", says: /services "mf-demo" is forbidden/, fails: true },
        ];
        // Helm needs its rights to go back, too; the next update after that is like any other.
        const goesOn = async () => {
            succeeded(await up());
            expect((await history()).at(-1)).to.equal("deployed");
        };
        for (const { verb, of, says, fails } of cases) {
            it(`says so: ${verb} ${of}`, async () => {
                const restore = await take(verb, of);
                admin.edit("chart/environment/dev/values-dev.yaml", "replicas: 3", "replicas: 2");
                const ended = fails ? await up() : await as(deployer, "preview");
                admin.edit("chart/environment/dev/values-dev.yaml", "replicas: 2", "replicas: 3");
                await restore();
                expect(ended.text).to.match(says);
                if (fails) expect(ended.code).not.to.equal(0);
                await goesOn();
            });
        }
        it("keeps an update from being made, before or by Helm: create secrets", async () => {
            const restore = await take("create", "secrets");
            admin.edit("chart/environment/dev/values-dev.yaml", "replicas: 3", "replicas: 2");
            const { code, text } = await up();
            admin.edit("chart/environment/dev/values-dev.yaml", "replicas: 2", "replicas: 3");
            await restore();
            expect(code, text).not.to.equal(0);
            expect(text, text).to.match(/cannot create resource "secrets"/);
            await goesOn();
        });
    });

    describe("reach", () => {
        it("nothing of another environment", async () => {
            const rules = await rulesOf(deployer, OTHER);
            const own = rules.filter(({ apiGroups }) => !apiGroups.some((group) => /^auth/.test(group)));
            expect(own).to.deep.equal([]);
            const { code, text } = await as(deployer, "up", ["--yes", "--skip-preview"], "staging");
            expect(code, text).not.to.equal(0);
            expect(text).to.contain(`in the namespace "${OTHER}"`);
            expect(await admin.kubectl("-n", OTHER, "get", "deployments,secrets", "-o", "name")).to.equal("");
        });
        it("the state of a release for a person, who may change nothing", async () => {
            const { text } = succeeded(await admin.run("cli/ml-api.js", ["status", "dev"], { env: person }));
            expect(text)
                .to.contain("deployed")
                .and.not.to.match(/forbidden|may not|answers 403/);
            const own = (await rulesOf(person, NAMESPACE)).filter(
                ({ apiGroups }) => !apiGroups.some((group) => /^auth/.test(group)),
            );
            const writing = own.filter(({ verbs }) => verbs.some((verb) => !["get", "list", "watch"].includes(verb)));
            expect(writing.flatMap(({ resources }) => resources)).to.deep.equal(["pods/portforward"]);
        });
        it("no write and no Secret for a pull request, whose preview works", async () => {
            const rules = await rulesOf(pullRequest, NAMESPACE);
            const own = rules.filter(({ apiGroups }) => !apiGroups.some((group) => /^auth/.test(group)));
            expect(new Set(own.flatMap(({ verbs }) => verbs))).to.deep.equal(new Set(["get", "list"]));
            expect(own.flatMap(({ resources }) => resources)).not.to.include("secrets");
            const { text } = succeeded(await as(pullRequest, "preview"));
            expect(text).to.contain("may not list the Secrets");
        });
        it("the API server's own names of all its kinds", async () => {
            const access = await openAccess(undefined, { KUBECONFIG: process.env["ML_API_TEST_KUBECONFIG"] }, 5000);
            const ask = async (at: string) =>
                JSON.parse((await request(access, { path: at, timeoutMs: 5000 })).body) as unknown;
            const groups = ((await ask("/apis")) as { groups: { preferredVersion: { groupVersion: string } }[] })
                .groups;
            for (const apiVersion of ["v1", ...groups.map(({ preferredVersion }) => preferredVersion.groupVersion)]) {
                const at = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
                const { resources } = (await ask(at)) as { resources: { name: string; kind: string }[] };
                for (const { name, kind } of resources.filter((one) => !one.name.includes("/")))
                    expect(resourceOf({ apiVersion, kind }).resource, kind).to.equal(name);
            }
        });
    });

    describe("let a deployer, in the end,", () => {
        it("destroy what it deployed", async () => {
            const { text } = succeeded(await as(deployer, "destroy", ["--yes", "--skip-preview"]));
            expect(text).not.to.match(/forbidden|cannot .* resource/);
            expect(await admin.kubectl("-n", NAMESPACE, "get", "deployments,services,secrets", "-o", "name")).to.equal(
                "",
            );
        });

        it("with no right that nothing uses", async () => {
            const used = (rule: Rule, verb: string) =>
                recorder.asked.some(
                    ({ group, resource, namespace, name, status, token, ...one }) =>
                        status !== 403 &&
                        token === tokens.get("deploy-dev") &&
                        one.verb === verb &&
                        namespace === NAMESPACE &&
                        rule.apiGroups.includes(group) &&
                        rule.resources.includes(resource) &&
                        (rule.resourceNames === undefined || rule.resourceNames.includes(name ?? "")),
                );
            const role = JSON.parse(
                await admin.kubectl("-n", NAMESPACE, "get", "role", "ml-api-mf-demo-deployer", "-o", "json"),
            ) as { rules: Rule[] };
            const unused = role.rules.flatMap((rule) =>
                rule.verbs.filter((verb) => !used(rule, verb)).map((verb) => `${verb} ${rule.resources.join()}`),
            );
            expect(unused).to.deep.equal(NOT_SHOWN.map((line) => line.split(":")[0]));
        });
    });

    /** Prints by the command, and applies as whoever may. */
    async function apply(stack: string, ...options: string[]): Promise<void> {
        const { stdout } = succeeded(await admin.run("cli/ml-api.js", ["rbac", stack, ...options]));
        admin.write("rbac.yaml", stdout);
        await admin.kubectl("apply", "-f", admin.file("rbac.yaml"));
    }

    async function tokenOf(account: string): Promise<NodeJS.ProcessEnv> {
        const token = await admin.kubectl("-n", "ci", "create", "token", account, "--duration", "1h");
        tokens.set(account, token);
        admin.write(`${account}.kubeconfig`, recorder.kubeconfig(token));
        return {
            KUBECONFIG: admin.file(`${account}.kubeconfig`),
            ML_API_CONTEXT: "recorded",
            // Evidence of what fails goes with the test.
            XDG_STATE_HOME: admin.file(".state"),
        };
    }

    function as(who: NodeJS.ProcessEnv, command: string, options: string[] = [], stack = "dev"): Promise<Ended> {
        return admin.run("pulumi", [command, ...options, "--stack", stack, "--non-interactive"], { env: who });
    }
    function up(): Promise<Ended> {
        return as(deployer, "up", ["--yes", "--skip-preview"]);
    }

    async function history(): Promise<string[]> {
        const list = await admin.kubectl("-n", NAMESPACE, "get", "secrets", "-l", "owner=helm", "-o", "json");
        return recordsIn(list).map(({ status }) => status);
    }

    /** Takes a verb out of the Role, and waits until the server has seen it. */
    async function take(verb: string, resource: string): Promise<() => Promise<void>> {
        const get = async () => admin.kubectl("-n", NAMESPACE, "get", "role", "ml-api-mf-demo-deployer", "-o", "json");
        const put = async (rules: Rule[], allowed: string) => {
            admin.write("rules.json", JSON.stringify({ rules }));
            const file = admin.file("rules.json");
            await admin.kubectl(
                "-n",
                NAMESPACE,
                "patch",
                "role",
                "ml-api-mf-demo-deployer",
                "--type=merge",
                "--patch-file",
                file,
            );
            for (const until = Date.now() + 20_000; ;) {
                const asked = await admin.run("kubectl", ["auth", "can-i", verb, resource, "-n", NAMESPACE], {
                    env: deployer,
                });
                if (asked.stdout.trim() === allowed) return;
                if (Date.now() > until) throw new Error(`the server does not say ${allowed} to it: ${asked.text}`);
            }
        };
        const { rules } = JSON.parse(await get()) as { rules: Rule[] };
        await put(
            rules.map((rule) =>
                rule.resources.includes(resource) ? { ...rule, verbs: rule.verbs.filter((one) => one !== verb) } : rule,
            ),
            "no",
        );
        return () => put(rules, "yes");
    }

    async function rulesOf(who: NodeJS.ProcessEnv, namespace: string): Promise<Rule[]> {
        const access = await openAccess(undefined, who, 5000);
        const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectRulesReview", spec: { namespace } };
        const { body } = await request(access, {
            method: "POST",
            path: "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            body: JSON.stringify(review),
            timeoutMs: 5000,
        });
        return (JSON.parse(body) as { status: { resourceRules: Rule[] } }).status.resourceRules;
    }
});
