import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import {
    chartFolder,
    containerIn,
    deploymentIn,
    environmentOf,
    merged,
    refusal,
    render,
    renderObjects,
    smallest,
    type Container,
    type Values,
} from "./helm";

const sha256 = "0123456789abcdef".repeat(4);
const url = "https://models.example.org/churn/7/model.onnx";
const network: Values = { to: { models: { cidr: "203.0.113.0/24" } } };
const downloaded: Values = merged(smallest, { model: { download: { url, sha256, file: "model.onnx" } }, network });

interface Volume {
    readonly name: string;
    readonly [source: string]: unknown;
}
interface Mount {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
    readonly subPath?: string;
}

/** What the pods of these values have to do with a model. */
function podOf(values: Values) {
    const { spec } = deploymentIn(renderObjects(values)).spec.template;
    const api = containerIn({ metadata: {}, spec });
    const mine = ({ name }: { name: string }): boolean => name === "models" || name === "model-url";
    const mounts = (container: Container | undefined): Mount[] =>
        (container as unknown as { volumeMounts: Mount[] } | undefined)?.volumeMounts ?? [];
    return {
        fetch: spec.initContainers?.[0],
        api,
        modelDir: environmentOf(api).MODEL_DIR,
        volumes: (spec.volumes as unknown as Volume[]).filter(mine),
        apiMounts: mounts(api).filter(mine),
        fetchMounts: mounts(spec.initContainers?.[0]),
    };
}

const example = (name: string): Values =>
    parse(readFileSync(join(chartFolder, "ci", `${name}.yaml`), "utf8")) as Values;

describe("chart: where the model comes from", function () {
    this.timeout(20_000);
    const readOnly: Mount = { name: "models", mountPath: "/models", readOnly: true };

    it("is the API's own image unless something else is said: no volume, no variable, no further container", () => {
        expect(podOf(smallest)).to.deep.include({
            fetch: undefined,
            modelDir: undefined,
            volumes: [],
            apiMounts: [],
        });
    });

    it("is fetched to the pod's own disk before the API starts, which then only reads it", () => {
        const { fetch, fetchMounts, ...pod } = podOf(downloaded);
        expect(pod).to.deep.include({ modelDir: `/models/${sha256}`, apiMounts: [readOnly] });
        // 1Gi and a little for the list of checksums.
        expect(pod.volumes).to.deep.equal([{ name: "models", emptyDir: { sizeLimit: "1074790400" } }]);
        expect(fetchMounts).to.deep.equal([{ name: "models", mountPath: "/models" }]);
        expect(environmentOf(fetch as Container)).to.deep.include({
            MODEL_URL: url,
            MODEL_SHA256: sha256,
            MODEL_FILE: "model.onnx",
            MODEL_SIZE_BYTES: "1073741824",
            MODEL_FETCH_BUDGET_SECONDS: "300",
        });
    });

    it("is fetched by the API's image, as locked up as the API, in a pod that is no harder to place", () => {
        const { fetch, api } = podOf(downloaded);
        for (const key of ["image", "imagePullPolicy", "securityContext", "resources"] as const) {
            expect(fetch?.[key], key).to.deep.equal(api[key]);
        }
        const limited = podOf(merged(downloaded, { resources: { limits: { cpu: "2", memory: "1Gi" } } }));
        expect(limited.fetch?.resources).to.deep.equal(limited.api.resources);
        expect(limited.fetch?.resources?.limits).to.deep.include({ cpu: "2", memory: "1Gi" });
    });

    it("takes disk that the pod asks for: twice its size when it is unpacked there, none of it in a claim", () => {
        const disk = (download: Values): number => {
            const { requests } = podOf(merged(downloaded, { model: { download } })).api.resources ?? {};
            return Number.parseInt(requests?.["ephemeral-storage"] ?? "", 10);
        };
        const none = disk({ cacheClaim: "models", size: "2Gi" });
        expect(disk({ size: "2Gi" })).to.equal(none + 2048 + 1);
        expect(disk({ size: "2Gi", unpack: true, file: "" })).to.equal(none + 4096 + 1);
    });

    it("is given the time of the fetch on top of the time that it loads", () => {
        const deadline = (fetchBudgetSeconds: number): number =>
            deploymentIn(renderObjects(merged(downloaded, { model: { download: { fetchBudgetSeconds } } }))).spec
                .progressDeadlineSeconds;
        expect(deadline(1000) - deadline(300)).to.equal(700);
    });

    it("is fetched with a URL out of a Secret that only the fetch sees, onto a claim that pods share", () => {
        const { fetch, fetchMounts, ...pod } = podOf(example("model-cache"));
        expect(pod.volumes).to.deep.equal([
            { name: "models", persistentVolumeClaim: { claimName: "models" } },
            {
                name: "model-url",
                secret: { secretName: "churn-model-url", defaultMode: 0o440, items: [{ key: "url", path: "url" }] },
            },
        ]);
        expect(pod.apiMounts).to.deep.equal([readOnly]);
        expect(fetchMounts.map(({ name, subPath }) => subPath ?? name)).to.deep.equal([
            "models",
            "model-url",
            "SSL_CERT",
        ]);
        const env = environmentOf(fetch as Container);
        expect(env).to.include({
            MODEL_URL_FILE: "/var/run/ml-api/model-url/url",
            MODEL_FILE: "",
            SSL_CERT_FILE: fetchMounts[2]?.mountPath,
        });
        expect(env).not.to.have.property("MODEL_URL");
        expect(env.SSL_CERT_FILE).to.equal(environmentOf(pod.api).SSL_CERT_FILE);
    });

    it("is fetched over the proxy that the API has, and with nothing else of its variables", () => {
        const env = { HTTPS_PROXY: "http://proxy.example.org:3128", NO_PROXY: "10.0.0.0/8", FEATURE: "on" };
        const seen = environmentOf(podOf(merged(downloaded, { env })).fetch as Container);
        expect(seen).to.include({ HTTPS_PROXY: env.HTTPS_PROXY, NO_PROXY: env.NO_PROXY });
        expect(seen).not.to.have.property("FEATURE");
    });

    it("keeps a URL as it is written, whatever Kubernetes could read into it", () => {
        const odd = `${url}?a=$(POD_UID)&b=$$x`;
        const { fetch } = podOf(merged(downloaded, { model: { download: { url: odd } } }));
        expect(environmentOf(fetch as Container).MODEL_URL).to.equal(odd.replaceAll("$", () => "$$"));
    });

    it("is found by a link where no checksum is known, in dev", () => {
        expect(podOf(merged(downloaded, { model: { download: { sha256: "" } } })).modelDir).to.equal("/models/latest");
    });

    it("is a volume, mounted read-only", () => {
        const { fetch, modelDir, volumes, apiMounts } = podOf(example("model-volume"));
        expect({ fetch, modelDir, apiMounts }).to.deep.equal({
            fetch: undefined,
            modelDir: "/models/churn/7",
            apiMounts: [readOnly],
        });
        expect(volumes).to.deep.equal([
            { name: "models", persistentVolumeClaim: { claimName: "models", readOnly: true } },
        ]);
        expect(podOf(merged(example("model-volume"), { model: { volume: { path: "" } } })).modelDir).to.equal(
            "/models",
        );
    });

    it("is an image, by its digest", () => {
        const values = example("model-image");
        const { fetch, modelDir, volumes, apiMounts } = podOf(values);
        expect({ fetch, modelDir, apiMounts }).to.deep.equal({
            fetch: undefined,
            modelDir: "/models",
            apiMounts: [readOnly],
        });
        const reference = `registry.example.org/team/churn-model@sha256:${"fedcba9876543210".repeat(4)}`;
        expect(volumes).to.deep.equal([{ name: "models", image: { reference, pullPolicy: "IfNotPresent" } }]);
    });

    it("restarts the pods when it is another one, and not when only its URL's signature is", () => {
        const pods = (values: Values): unknown => deploymentIn(renderObjects(values)).spec.template;
        expect(pods(merged(downloaded, { model: { download: { sha256: "f".repeat(64) } } }))).not.to.deep.equal(
            pods(downloaded),
        );
        // The Secret keeps its name; its text is in no render.
        expect(render(example("model-cache")))
            .to.contain("churn-model-url")
            .and.not.to.contain("https://models");
    });
});

describe("chart: rules about the model", function () {
    this.timeout(20_000);

    const download = (over: Values): Values => merged(downloaded, { model: { download: over } });
    const rules: { rule: string; broken: Values; says: string[]; mended: Values[] }[] = [
        {
            rule: "one source",
            broken: merged(downloaded, { model: { volume: { claim: "models" } } }),
            says: ["model.download and model.volume are set", "keep one"],
            mended: [{ model: { volume: { claim: "" } } }],
        },
        {
            rule: "one URL",
            broken: download({ urlSecret: "model-url" }),
            says: ["model.download.url and model.download.urlSecret are both set"],
            mended: [{ model: { download: { url: "" } } }, { model: { download: { urlSecret: "" } } }],
        },
        {
            rule: "a checksum in staging",
            broken: merged(download({ sha256: "" }), { environment: "staging" }),
            says: ['model.download.sha256 is empty in environment "staging"', "sha256sum FILE", "only dev"],
            mended: [{ model: { download: { sha256 } } }, { environment: "dev" }],
        },
        {
            rule: "a checksum for a cache, in dev too",
            broken: download({ sha256: "", cacheClaim: "models" }),
            says: ['model.download.cacheClaim is "models"', "model.download.sha256 is empty", "Set sha256"],
            mended: [{ model: { download: { sha256 } } }, { model: { download: { cacheClaim: "" } } }],
        },
        {
            rule: "https",
            broken: download({ url: "http://models.example.org/a" }),
            says: ['model.download.url starts with "http://"', "only https:// is fetched"],
            mended: [{ model: { download: { url } } }],
        },
        ...["X-Amz-Signature", "X-Goog-Signature", "sig", "access_token", "X-Amz-Security-Token"].map((name) => ({
            rule: `no secret in the URL: ${name}`,
            broken: download({ url: `${url}?v=1&${name}=5ecre7` }),
            says: ["model.download.url holds a signature", "model.download.urlSecret"],
            mended: [
                { model: { download: { url: `${url}?versionId=5&design=3` } } },
                { model: { download: { url: "", urlSecret: "model-url" } } },
            ],
        })),
        {
            rule: "a name for a file",
            broken: download({ file: "" }),
            says: ["model.download.file is empty", "model.onnx", "model.download.unpack: true"],
            mended: [{ model: { download: { file: "a.bin" } } }, { model: { download: { unpack: true } } }],
        },
        {
            rule: "no name for an archive",
            broken: download({ unpack: true }),
            says: ["model.download.unpack is true", 'model.download.file is "model.onnx"'],
            mended: [{ model: { download: { file: "" } } }, { model: { download: { unpack: false } } }],
        },
        {
            rule: "a way out of the network",
            broken: merged(downloaded, { network: { to: { models: null } } }),
            says: ["network.enabled is true", "no entry of network.to opens port 443", "network.to.models: {cidr: "],
            mended: [{ network: { to: { models: { cidr: "203.0.113.0/24" } } } }, { network: { enabled: false } }],
        },
        {
            rule: "the way out at the URL's port",
            broken: download({ url: "https://models.example.org:8443/model.onnx" }),
            says: ["no entry of network.to opens port 8443", "port: 8443"],
            mended: [{ network: { to: { models: { port: 8443 } } } }, { env: { HTTPS_PROXY: "http://proxy:3128" } }],
        },
        {
            rule: "a way out for a URL that is not known",
            broken: merged(download({ url: "", urlSecret: "model-url" }), { network: { to: { models: null } } }),
            says: ["no entry of network.to opens a way out"],
            mended: [{ network: { to: { any: { cidr: "203.0.113.0/24", port: 9000 } } } }],
        },
        ...(
            [
                ["sha256", sha256, ""],
                ["file", "model.onnx", ""],
                ["unpack", true, false],
                ["cacheClaim", "models", ""],
            ] as const
        ).map(([key, value, empty]) => ({
            rule: `no ${key} of a download that there is not`,
            broken: merged(smallest, { model: { download: { [key]: value } } }),
            says: [`model.download.${key} is set and nothing is downloaded`, "model.download.url"],
            mended: [{ model: { download: { [key]: empty } } }],
        })),
        {
            rule: "no path in a volume that there is not",
            broken: merged(smallest, { model: { volume: { path: "churn/7" } } }),
            says: ['model.volume.path is "churn/7"', "model.volume.claim is empty"],
            mended: [{ model: { volume: { claim: "models" } } }, { model: { volume: { path: "" } } }],
        },
        {
            rule: "a sample to warm up with",
            broken: merged(smallest, { verify: { warmUp: true } }),
            says: ["verify.warmUp is true", "verify.sample is empty"],
            mended: [{ verify: { sample: { rows: [[1]] } } }, { verify: { warmUp: false } }],
        },
    ];

    for (const { rule, broken, says, mended } of rules) {
        it(`ask for ${rule}`, () => {
            const message = refusal(broken);
            for (const part of says) expect(message).to.contain(part);
            expect(message.match(/^- /gm), message).to.have.lengthOf(1);
            for (const mend of mended) render(merged(broken, mend));
        });
    }

    // The schema knows these by themselves.
    for (const [what, model] of Object.entries<Values>({
        "a file outside MODEL_DIR": { download: { file: "../model.onnx" } },
        "a file in a folder": { download: { file: "a/model.onnx" } },
        "a path out of the volume": { volume: { claim: "models", path: "../other" } },
        "a path out of the volume, hidden": { volume: { claim: "models", path: "a/../../other" } },
        "an absolute path": { volume: { claim: "models", path: "/etc" } },
        "an image without digest": { image: { reference: "registry.example.org/churn-model:7" } },
        "a checksum that is none": { download: { sha256: "abc" } },
        "no size": { download: { size: "0" } },
        "a password in the URL": { download: { url: "https://user:word@models.example.org/model.onnx" } },
    })) {
        it(`refuse ${what}`, () => {
            const key = Object.keys(model)[0] ?? "";
            const base = key === "download" ? downloaded : smallest;
            expect(refusal(merged(base, { model }))).to.match(new RegExp(`/model/${key}/|model\\.${key}`));
        });
    }
});
