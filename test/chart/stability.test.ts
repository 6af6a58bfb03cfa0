import { expect } from "chai";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
    chartFolder,
    inTemporaryFolder,
    merged,
    outcome,
    objectsIn,
    outcomes,
    render,
    smallest,
    template,
    templateMany,
    withChartCopy,
    withoutVersion,
    type KubernetesObject,
    type Run,
    type Values,
} from "./helm";
import { effects } from "./effects";
import { examples, leafKeys, nameOf, startsWith } from "./keys";

/** The pod templates by the object that makes them, as text. */
function podTemplates(objects: readonly KubernetesObject[]): Map<string, string> {
    return new Map(
        objects.flatMap(({ kind, metadata, spec }) =>
            spec?.template === undefined ? [] : [[`${kind}/${metadata.name}`, JSON.stringify(spec.template)]],
        ),
    );
}

const deployment = "Deployment/mf-demo";

describe("chart: stable renders", function () {
    this.timeout(300_000);

    const sets = examples.map(({ values }) => values);
    let now: ReturnType<typeof templateMany>;
    before(() => {
        now = templateMany(sets);
        expect(now.run.status, now.run.stderr).to.equal(0);
    });

    it(`prints the same bytes twice, and no others in a batch than alone (${examples.length} examples)`, async () => {
        const again = await outcomes(sets);
        const documents = (text: string): string[] =>
            text
                .split(/^---\n/m)
                .map((one) => one.trimEnd())
                .sort();
        examples.forEach(({ name, values }, index) => {
            expect(again[index], name).to.deep.equal({ kind: "rendered", manifests: now.manifests(index) });
            if (/^(smallest|production|ci.everything.*|ci.model-download.*)$/.test(name)) {
                // Of one kind, a batch sorts the objects of all its sets together.
                expect(documents(now.manifests(index)), name).to.deep.equal(documents(withoutVersion(render(values))));
            }
        });
        const broken = merged(smallest, { image: { repository: "" } });
        const [inBatch] = await outcomes([broken]);
        expect(inBatch?.kind).to.equal("refused");
        const message = inBatch?.kind === "refused" ? inBatch.message.trim() : "";
        expect(outcome(broken)).to.have.property("message").that.contains(message);
    });

    it("changes no pod with another version of the chart", () => {
        const next = (folder: string): void => {
            const file = join(folder, "Chart.yaml");
            const text = readFileSync(file, "utf8");
            const bumped = text
                .replace(/^version: .*$/m, "version: 99.0.0")
                .replace(/^appVersion: .*$/m, 'appVersion: "99"');
            expect(bumped).not.to.equal(text);
            writeFileSync(file, bumped);
        };
        withChartCopy(next, (chart) => {
            const then = templateMany(sets, chart);
            examples.forEach(({ name }, index) => {
                expect(then.manifests(index), name).to.contain("99.0.0").and.not.to.equal(now.manifests(index));
                const pods = podTemplates(now.objects(index));
                expect(pods.size, name).to.be.at.least(2);
                expect(podTemplates(then.objects(index)), name).to.deep.equal(pods);
            });
        });
    });

    it("asks nothing that changes by itself: no clock, no chance, no cluster, no count of upgrades", () => {
        const folder = join(chartFolder, "templates");
        const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => /[.]\w+$/.test(file));
        expect(files.length).to.be.at.least(5);
        const moving =
            /(?<![$.\w])(lookup|now|date|dateInZone|ago|htmlDate|rand[A-Z]\w*|shuffle|uuidv4|gen[A-Z]\w+|getHostByName|env|expandenv|derivePassword|htpasswd|encryptAES)\b(?=\s+[(".$])|[.](Capabilities|Release[.](Revision|IsInstall|IsUpgrade))\b|(?<![$.\w])(now|uuidv4)\b(?=\s*[|)}-])/g;
        for (const file of files) {
            const actions =
                readFileSync(join(folder, file), "utf8")
                    .replace(/{{-?\s*\/[*][^]*?[*]\/\s*-?}}/g, "")
                    .match(/{{[^]*?}}/g) ?? [];
            const found = actions.flatMap((action) =>
                [...action.replace(/"(\\.|[^"\\])*"|`[^`]*`/g, '""').matchAll(moving)].map(([word]) => word),
            );
            expect(found, file).to.deep.equal([]);
        }
    });
});

/** Values that the API's pods do not read: a change of one must not restart them. */
const notForPods: readonly string[] = [
    "replicas",
    "autoscaling",
    "service",
    "ingress",
    "gateway",
    "gpu.rollout",
    "network",
    "observability",
    "global",
];

describe("chart: a change restarts the pods that read it", function () {
    this.timeout(300_000);
    const restarted = new Map<string, readonly string[]>();

    before(async () => {
        for (const [key, effect] of (await effects()).effects) {
            if (effect.kind === "renders differently") {
                const [was, is] = [podTemplates(objectsIn(effect.before)), podTemplates(objectsIn(effect.after))];
                restarted.set(
                    nameOf(key),
                    [...is].filter(([name, text]) => was.get(name) !== text).map(([name]) => name),
                );
            }
        }
    });

    it(`changes the API's pods for no value that they do not read (${notForPods.length} sections)`, () => {
        for (const start of notForPods) {
            const tried = leafKeys.filter(({ path }) => startsWith(path, start.split("."))).map(nameOf);
            const rendered = tried.filter((name) => restarted.has(name));
            expect(rendered.length > 0 || start === "global", `no change of ${start} was rendered`).to.be.true;
            for (const name of rendered) {
                expect(restarted.get(name), name).not.to.include(deployment);
            }
        }
    });

    it("changes the API's pods, and not those of Jobs, for what only the API reads", () => {
        for (const key of [
            "resources.requests.memory",
            "env.*",
            "secrets.*.secret",
            "secrets.*.key",
            "secrets.*.version",
            "api.workers",
            "api.logLevel",
            "model.loadBudgetSeconds",
            "storage.cache",
        ]) {
            // A candidate is a pod of the API before it is one.
            const pods = (restarted.get(key) ?? []).filter((name) => name !== "Job/mf-demo-candidate");
            expect(pods, key).to.deep.equal([deployment]);
        }
    });

    it("changes the pods of both for a new image, key generation apart", () => {
        for (const key of ["image.repository", "image.tag", "image.digest", "labels.*"]) {
            expect(restarted.get(key), key).to.include.members([deployment, "Job/mf-demo-test", "Job/mf-demo-verify"]);
        }
        expect(restarted.get("apiKey.generation")).to.include(deployment);
    });

    it("changes only the Jobs' pods for another sample, unless the API warms up with it", () => {
        const sample = (age: number, warmUp: boolean): Values =>
            merged(smallest, { verify: { sample: { age }, warmUp } });
        const { run, objects } = templateMany([sample(1, false), sample(2, false), sample(1, true), sample(2, true)]);
        expect(run.status, run.stderr).to.equal(0);
        const [one, other, warmOne, warmOther] = [0, 1, 2, 3].map((index) => podTemplates(objects(index)));
        expect(one?.get(deployment)).to.be.a("string").that.equals(other?.get(deployment));
        expect(one?.get("Job/mf-demo-test")).to.be.a("string").that.does.not.equal(other?.get("Job/mf-demo-test"));
        expect(warmOne?.get(deployment)).to.be.a("string").that.does.not.equal(warmOther?.get(deployment));
    });
});

describe("chart: as a part of another chart", function () {
    this.timeout(300_000);

    /** Renders a parent chart that depends on this one under another name and shares global values with it. */
    function inParent(values: Values): Run {
        return inTemporaryFolder((folder) => {
            mkdirSync(join(folder, "charts"));
            cpSync(chartFolder, join(folder, "charts/ml-api"), { recursive: true });
            const dependencies = [{ name: "ml-api", version: "*", alias: "churn" }];
            writeFileSync(
                join(folder, "Chart.yaml"),
                JSON.stringify({ apiVersion: "v2", name: "shop", version: "0.0.0", dependencies }),
            );
            const global = { region: "eu", imageRegistry: "registry.example.org", nested: { list: [1, null] } };
            return template({ global, churn: values }, { chart: folder });
        });
    }

    it("renders what it renders alone, but for its own name", () => {
        for (const { name, values } of examples.filter(({ name }) =>
            /^(smallest|production|ci.everything.*)$/.test(name),
        )) {
            const { status, stdout, stderr } = inParent(values);
            expect(status, `${name}: ${stderr}`).to.equal(0);
            // Only names of the chart itself may differ: put its name back where the alias stands as the chart's.
            const own = withoutVersion(stdout).replaceAll("shop/charts/churn/", "ml-api/");
            const alone = new Set(withoutVersion(render(values)).split("\n"));
            const differing = own.split("\n").filter((line) => !alone.has(line));
            expect(differing, name).not.to.be.empty;
            for (const line of differing) {
                expect(line, name).to.match(/churn/);
            }
        }
    });

    it("stays as strict: an unknown key and a wrong value are refused, and so is a broken rule", () => {
        const unknown = inParent({ ...smallest, replica: 2 });
        expect(unknown.status).not.to.equal(0);
        expect(unknown.stderr).to.contain("churn:").and.to.contain("'replica'");
        const wrong = inParent({ ...smallest, replicas: "two" });
        expect(wrong.stderr).to.contain("at '/replicas'");
        const rule = inParent({ ...smallest, image: {} });
        expect(rule.status).not.to.equal(0);
        expect(rule.stderr).to.contain("image.repository");
    });

    it("takes no notice of what the parent shares", () => {
        const shared = inParent(smallest);
        expect(shared.status, shared.stderr).to.equal(0);
        expect(shared.stdout).not.to.match(/imageRegistry|\beu\b/);
    });
});
