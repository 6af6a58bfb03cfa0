import { expect } from "chai";
import * as fs from "node:fs";
import * as path from "node:path";
import { renderStack } from "../../cli/rendered-stack";
import { changesBetween } from "../../components/guarded-release/changes/changes";
import { canonicalJson, digestOf } from "../../components/guarded-release/render/digest";
import { objectsIn } from "../../components/guarded-release/render/manifest";
import type { RenderedObject } from "../../components/guarded-release/render/render";
import { Checkout, succeeded } from "./checkout";

const VALUES = "chart/environment/dev/values-dev.yaml";
const SERVICE = "chart/templates/service.yaml";

type Edit = readonly [what: string, apply: (checkout: Checkout) => void];

/** Edits after which the release is what it was: no update. */
const WITHOUT_UPDATE: readonly Edit[] = [
    [
        "a comment in a template",
        (c) => {
            c.edit(SERVICE, /^/, "{{- /* a comment */ -}}\n");
        },
    ],
    [
        "a YAML comment in a template",
        (c) => {
            append(c, SERVICE, "# a comment\n");
        },
    ],
    [
        "a comment in a helper",
        (c) => {
            append(c, "chart/templates/_helpers.tpl", "{{/* a comment */}}\n");
        },
    ],
    [
        "a helper that nobody calls",
        (c) => {
            append(c, "chart/templates/_helpers.tpl", '{{- define "unused" -}}x{{- end -}}\n');
        },
    ],
    [
        "a template that renders to nothing",
        (c) => {
            c.write("chart/templates/nothing.yaml", "{{- /* nothing */ -}}\n");
        },
    ],
    [
        "NOTES.txt, which is printed and never installed",
        (c) => {
            append(c, "chart/templates/NOTES.txt", "\nOne more line.\n");
        },
    ],
    [
        "the chart's README",
        (c) => {
            append(c, "chart/README.md", "\nOne more line.\n");
        },
    ],
    [
        ".helmignore",
        (c) => {
            append(c, "chart/.helmignore", "*.md\n");
        },
    ],
    [
        "the chart's description",
        (c) => {
            c.edit("chart/Chart.yaml", /^description: .*/m, "description: Another one.");
        },
    ],
    [
        "the chart's appVersion",
        (c) => {
            append(c, "chart/Chart.yaml", 'appVersion: "2"\n');
        },
    ],
    [
        "a description in the schema",
        (c) => {
            c.edit("chart/values.schema.json", '"Number of pods.', '"How many pods.');
        },
    ],
    [
        "a comment in the chart's defaults",
        (c) => {
            c.edit("chart/values.yaml", /^/, "# a comment\n");
        },
    ],
    [
        "a default that the values file overrides",
        (c) => {
            c.edit("chart/values.yaml", /^replicas: 1\b/m, "replicas: 4");
        },
    ],
    [
        "a file of the chart that no template reads",
        (c) => {
            c.write("chart/files/unread/note.txt", "text\n");
        },
    ],
    [
        "the differences that the environments may have",
        (c) => {
            append(c, "chart/environment/differences.yaml", "# a comment\n");
        },
    ],
    [
        "the values file of another environment",
        (c) => {
            c.edit("chart/environment/staging/values-staging.yaml", /^replicas: \d+/m, "replicas: 5");
        },
    ],
    [
        "the stack file of another stack",
        (c) => {
            append(c, "Pulumi.staging.yaml", "  ml-api:protect: true\n");
        },
    ],
    [
        "a comment in the stack file",
        (c) => {
            c.edit("Pulumi.dev.yaml", /^/, "# a comment\n");
        },
    ],
    [
        "a comment in the values file",
        (c) => {
            c.edit(VALUES, /^/, "# a comment\n");
        },
    ],
    [
        "the order of keys in the values file",
        (c) => {
            moveLineDown(c, VALUES, /^replicas: \d+\n/m);
        },
    ],
    [
        "spaces and empty lines in the values file",
        (c) => {
            c.edit(VALUES, /^replicas: (\d+)$/m, "\n\nreplicas:    $1   ");
        },
    ],
    [
        "the quotes of a text in the values file",
        (c) => {
            c.edit(VALUES, /^( +tag:) "(.*)"$/m, "$1 '$2'");
        },
    ],
    [
        "quotes around a word in the values file",
        (c) => {
            c.edit(VALUES, "environment: dev", 'environment: "dev"');
        },
    ],
    [
        "a comment in the program",
        (c) => {
            append(c, "components/ml-api/ml-api.ts", "// a comment\n");
        },
    ],
    [
        "the line ends of all templates",
        (c) => {
            for (const file of filesBelow(c, "chart/templates")) toCrlf(c, file);
        },
    ],
    [
        "the line ends of the chart's other files",
        (c) => {
            for (const file of ["chart/values.yaml", "chart/Chart.yaml", "chart/values.schema.json"]) toCrlf(c, file);
        },
    ],
    [
        "the line ends of the values file",
        (c) => {
            toCrlf(c, VALUES);
        },
    ],
];

/** Edits that change the release: one update each, of exactly the objects that the preview names. */
const WITH_UPDATE: readonly [...Edit, objects: RegExp][] = [
    [
        "a value that repeats the default: it is none of an object, but Helm records the values",
        (c) => {
            append(c, VALUES, "service:\n  port: 80\n");
        },
        /^$/,
    ],
    [
        "a value",
        (c) => {
            c.edit(VALUES, /^replicas: 1$/m, "replicas: 2");
        },
        /^Deployment\/mf-demo/,
    ],
    [
        "the same value in the stack file",
        (c) => {
            c.edit("Pulumi.dev.yaml", /^ {2}ml-api:environment: dev$/m, "$&\n  ml-api:values:\n    replicas: 3");
        },
        /^Deployment\/mf-demo/,
    ],
    [
        "a default that the values file does not override",
        (c) => {
            c.edit("chart/values.yaml", /^( +maxConcurrentRequests: )16/m, "$117");
        },
        /Deployment\/mf-demo/,
    ],
    [
        "a template",
        (c) => {
            c.edit(SERVICE, /^spec:$/m, "spec:\n  sessionAffinity: ClientIP");
        },
        /^Service\/mf-demo$/,
    ],
    [
        "a helper",
        (c) => {
            c.edit("chart/templates/_helpers.tpl", "helm.sh/chart", "helm.sh/chart-name");
        },
        /Deployment\/mf-demo.*Service\/mf-demo.*ServiceAccount\/mf-demo/,
    ],
    [
        "the chart's version",
        (c) => {
            c.edit("chart/Chart.yaml", /^version: .*/m, "version: 9.9.9");
        },
        /Deployment\/mf-demo.*Service\/mf-demo.*ServiceAccount\/mf-demo/,
    ],
    [
        "the test of `helm test`, which runs only on demand",
        (c) => {
            c.edit("chart/templates/tests/test-connection.yaml", "http://%s:%d", "http://%s:%d/");
        },
        /^Job\/mf-demo-test$/,
    ],
    [
        "a file that a template reads",
        (c) => {
            append(c, "chart/files/ask.py", "# more\n");
        },
        /Job\/mf-demo-test/,
    ],
    [
        "a new template in a subfolder",
        (c) => {
            c.write("chart/templates/more/map.yaml", configMap("more"));
        },
        /^ConfigMap\/more$/,
    ],
    [
        "another name for an object",
        (c) => {
            c.write("chart/templates/more/map.yaml", configMap("other"));
        },
        /^ConfigMap\/more ConfigMap\/other$/,
    ],
];

/**
 * What an edit does, on a real engine, a real Helm and a real API server: the number of updates, and whether the objects that a
 * preview names are the objects that the update changes.
 */
describe("an edit", function () {
    const checkouts: Checkout[] = [];
    let checkout: Checkout;

    before(async () => {
        if (process.env["ML_API_TEST_KUBECONFIG"] === undefined)
            throw new Error("these tests need a cluster: run `make test`");
        checkout = another();
        succeeded(await checkout.pulumi("stack", "init", "dev"));
        succeeded(await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev"));
    });
    after(async () => {
        await checkout.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev");
        await checkout.pulumi("stack", "rm", "--yes", "--force", "dev");
        for (const one of checkouts) one.remove();
    });

    /** A further copy of the checkout, in another folder, for the same stack. */
    function another(): Checkout {
        const copy = new Checkout();
        // The salt of the stack's secrets stands in the stack file.
        if (checkouts[0] !== undefined) copy.write("Pulumi.dev.yaml", checkouts[0].read("Pulumi.dev.yaml"));
        checkouts.push(copy);
        return copy;
    }

    describe("that changes nothing is no update:", () => {
        let changing: Promise<readonly string[]> | undefined;

        /** All edits at once; only when they change something, each alone, to name those that do. */
        async function changingEdits(): Promise<readonly string[]> {
            const all = another();
            for (const [, apply] of WITHOUT_UPDATE) apply(all);
            if ((await previewed(all)).updates === 0) return [];
            const found: string[] = [];
            for (const [what, apply] of WITHOUT_UPDATE) {
                const alone = another();
                apply(alone);
                if ((await previewed(alone)).updates !== 0) found.push(what);
            }
            return found.length > 0 ? found : WITHOUT_UPDATE.map(([what]) => what);
        }

        for (const [what] of WITHOUT_UPDATE) {
            it(what, async () => {
                expect(await (changing ??= changingEdits())).not.to.include(what);
            });
        }

        it("the folder of the checkout", async () => {
            expect(await previewed(another())).to.deep.equal({ updates: 0, objects: [] });
        });
    });

    describe("that changes something is one update, of the objects that the preview names:", () => {
        for (const [what, apply, objects] of WITH_UPDATE) {
            it(what, async () => {
                const wasRendered = await rendered(checkout);
                apply(checkout);
                const isRendered = await rendered(checkout);
                const before = await release(checkout);
                const { preview, updates } = await upped(checkout);
                const after = await release(checkout);
                expect(updates).to.equal(1);
                expect(after.revision).to.equal(before.revision + 1);
                const changed = changesBetween(before.objects, after.objects).map(({ name }) => name);
                expect(preview.objects, "the preview").to.deep.equal(changed);
                const compared = changesBetween(wasRendered, isRendered).map(({ name }) => name);
                expect(compared, "the comment of a pull request").to.deep.equal(changed);
                expect(preview.updates).to.equal(1);
                expect(changed.join(" ")).to.match(objects);
            });
        }

        it("and afterwards there is nothing left to do", async () => {
            expect(await previewed(checkout)).to.deep.equal({ updates: 0, objects: [] });
        });
    });

    describe("whose update fails and is taken back", () => {
        it("is still to be done, after a refresh too, and the state holds the objects that run", async () => {
            const before = await release(checkout);
            checkout.edit("Pulumi.dev.yaml", "replicas: 3", "replicas: 4");
            // No node has this label, so the hook's pod never runs, and the hook's second ends.
            checkout.write("chart/templates/hook.yaml", FAILING_HOOK);
            const failed = await checkout.pulumi("up", "--yes", "--skip-preview", "--stack", "dev");
            expect(failed.code, failed.text).not.to.equal(0);
            const after = await release(checkout);
            expect(after.revision).to.equal(before.revision + 2);
            expect(changesBetween(before.objects, after.objects)).to.deep.equal([]);

            succeeded(await checkout.pulumi("refresh", "--yes", "--skip-preview", "--stack", "dev"));
            expect(await previewed(checkout)).to.deep.equal({
                updates: 1,
                objects: ["Deployment/mf-demo", "Job/mf-demo-hook"],
            });
            const { stdout } = succeeded(await checkout.pulumi("stack", "export", "--stack", "dev"));
            const { deployment } = JSON.parse(stdout) as { deployment: { resources: Resource[] } };
            const shown = deployment.resources.find(({ type }) => type === RENDERED_OBJECTS)?.inputs?.objects ?? {};
            expect(digestOf(Object.values(shown))).to.equal(digestOf(before.objects));
        });
    });
});

const FAILING_HOOK = `apiVersion: batch/v1
kind: Job
metadata:
  name: mf-demo-hook
  annotations: {helm.sh/hook: pre-upgrade}
spec:
  activeDeadlineSeconds: 1
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {there-is: none}
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: hook
          image: localhost/none
          resources: {limits: {memory: 16Mi}, requests: {cpu: 1m, memory: 16Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`;

const RENDERED_OBJECTS = "ml-api:index:RenderedObjects";
const RELEASE = "kubernetes:helm.sh/v3:Release";
const NAMESPACE = "mf-demo-dev";

interface Resource {
    readonly type: string;
    readonly inputs?: { readonly objects?: Readonly<Record<string, RenderedObject>> };
}
interface Step {
    readonly op: string;
    readonly oldState?: Resource;
    readonly newState?: Resource;
}

/** What a preview says: how many releases it would update, and which objects it shows a difference for. */
interface Previewed {
    readonly updates: number;
    readonly objects: readonly string[];
}

function readPreview({ steps }: { steps: readonly Step[] }): Previewed {
    const changing = steps.filter(({ op }) => op !== "same");
    const [shown] = changing.filter(({ newState }) => newState?.type === RENDERED_OBJECTS);
    const before = shown?.oldState?.inputs?.objects ?? {};
    const after = shown?.newState?.inputs?.objects ?? {};
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    const text = (object: RenderedObject | undefined) => (object === undefined ? "" : canonicalJson(object));
    return {
        updates: changing.filter(({ newState }) => newState?.type === RELEASE).length,
        objects: names.filter((name) => text(before[name]) !== text(after[name])),
    };
}

async function previewed(checkout: Checkout): Promise<Previewed> {
    const { stdout } = succeeded(await checkout.pulumi("preview", "--json", "--stack", "dev"));
    return readPreview(JSON.parse(stdout) as { steps: Step[] });
}

/** Runs `pulumi up` with its preview: what the preview said, and how many releases were updated. */
async function upped(checkout: Checkout): Promise<{ preview: Previewed; updates: number }> {
    const { stdout } = succeeded(await checkout.pulumi("up", "--yes", "--json", "--stack", "dev"));
    // First the preview, a document of several lines, then the events of the update, one a line.
    const end = stdout.indexOf("\n}\n") + 3;
    const events = stdout
        .slice(end)
        .split("\n")
        .filter((line) => line.startsWith('{"sequence"'))
        .map((line) => JSON.parse(line) as { resOutputsEvent?: { metadata: { op: string; type: string } } });
    const updated = events.flatMap(({ resOutputsEvent: { metadata } = {} }) =>
        metadata !== undefined && metadata.type === RELEASE && metadata.op !== "same" ? [metadata.op] : [],
    );
    return { preview: readPreview(JSON.parse(stdout.slice(0, end)) as { steps: Step[] }), updates: updated.length };
}

/** The newest revision of the release as Helm has recorded it, with its hooks. */
async function release(checkout: Checkout): Promise<{ revision: number; objects: RenderedObject[] }> {
    const { stdout } = succeeded(
        await checkout.run("helm", ["status", "mf-demo", "--namespace", NAMESPACE, "--output", "json"]),
    );
    const { version, manifest, hooks } = JSON.parse(stdout) as {
        version: number;
        manifest: string;
        hooks?: { manifest: string }[];
    };
    const text = [manifest, ...(hooks ?? []).map((hook) => hook.manifest)].join("\n---\n");
    return { revision: version, objects: objectsIn(text, NAMESPACE) };
}

/** What the chart renders to without Pulumi and a cluster, which is what a pull request is told. */
async function rendered(checkout: Checkout): Promise<readonly RenderedObject[]> {
    return (await renderStack(checkout.root, "dev", checkout.env["ML_API_HELM"] ?? "helm")).objects;
}

function append(checkout: Checkout, file: string, text: string): void {
    const before = checkout.read(file);
    checkout.write(file, (before.endsWith("\n") ? before : `${before}\n`) + text);
}

function toCrlf(checkout: Checkout, file: string): void {
    checkout.edit(file, /^[^]*$/, checkout.read(file).replaceAll(/\r?\n/g, "\r\n").replaceAll("$", "$$$$"));
}

function moveLineDown(checkout: Checkout, file: string, line: RegExp): void {
    const [found = ""] = line.exec(checkout.read(file)) ?? [];
    checkout.edit(file, line, "");
    append(checkout, file, found);
}

function filesBelow(checkout: Checkout, folder: string): string[] {
    return fs
        .readdirSync(checkout.file(folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.relative(checkout.root, path.join(entry.parentPath, entry.name)));
}

function configMap(name: string): string {
    return `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\ndata:\n  a: b\n`;
}
