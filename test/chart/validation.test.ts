import { expect } from "chai";
import { merged, refusal, render, smallest, type Values } from "./helm";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

interface Rule {
    rule: string;
    broken: Values;
    release?: string;
    /** Parts of the message: what was found, where, and what to do. */
    says: string[];
    /** The same values, put right the way the message advises. */
    mended: Values[];
}

const rules: Rule[] = [
    {
        rule: "a release name that can name a Service",
        broken: {},
        release: "mf.demo",
        says: ['release name "mf.demo"', "lower-case letters, digits and -"],
        mended: [],
    },
    {
        rule: "an environment",
        broken: { environment: "" },
        says: ["environment is empty", "dev, staging or production"],
        mended: [{ environment: "dev" }, { environment: "production" }],
    },
    {
        rule: "an image",
        broken: { image: { repository: "" } },
        says: ["image.repository is empty", "set it to the name of your image"],
        mended: [{ image: { repository: "churn" } }],
    },
    {
        rule: "an image with a tag in staging",
        broken: { environment: "staging", image: { tag: "" } },
        says: ["image.tag is empty", '"latest"', 'environment "staging"', "Set image.digest"],
        mended: [{ image: { tag: "1.4.2" } }, { image: { digest } }, { environment: "dev" }],
    },
    {
        rule: "an image with another tag than latest in production",
        broken: { environment: "production", image: { tag: "latest" } },
        says: ['image.tag is "latest"', 'environment "production"', "Set image.digest"],
        mended: [{ image: { tag: "1.4.2" } }, { image: { digest } }, { environment: "dev" }],
    },
    {
        rule: "no latest in production for an image that only the nodes have, either",
        broken: { environment: "production", image: { repository: "localhost/mf-demo", tag: "latest" } },
        says: ['image.tag is "latest"', "a tag that never moves"],
        mended: [{ image: { tag: "0123456789abcdef" } }],
    },
    {
        rule: "a CPU limit that is not below the request",
        broken: { resources: { requests: { cpu: "1500m" }, limits: { cpu: 1.2 } } },
        says: ['resources.limits.cpu "1.2"', 'resources.requests.cpu "1500m"', "raise the limit"],
        mended: [
            { resources: { limits: { cpu: "1.5" } } },
            { resources: { limits: { cpu: "" } } },
            { resources: { requests: { cpu: "1200m" } } },
        ],
    },
    {
        rule: "a memory limit that is not below the request",
        broken: { resources: { requests: { memory: "1Gi" }, limits: { memory: "1000Mi" } } },
        says: ['resources.limits.memory "1000Mi"', 'resources.requests.memory "1Gi"', "raise the limit"],
        mended: [
            { resources: { limits: { memory: "1024Mi" } } },
            { resources: { limits: { memory: "" } } },
            { resources: { requests: { memory: "1000Mi" } } },
        ],
    },
    {
        rule: "no variable that has a key of its own",
        broken: { env: { LOG_LEVEL: "debug" } },
        says: ["env.LOG_LEVEL", "from api.logLevel", "remove env.LOG_LEVEL"],
        mended: [{ env: { LOG_LEVEL: null } }],
    },
    {
        rule: "no thread variable that follows the CPU",
        broken: { env: { OMP_NUM_THREADS: "4" } },
        says: ["env.OMP_NUM_THREADS", "resources.limits.cpu", "remove env.OMP_NUM_THREADS"],
        mended: [{ env: { OMP_NUM_THREADS: null } }],
    },
    {
        rule: "no variable that the chart fixes",
        broken: { env: { UVICORN_TIMEOUT_KEEP_ALIVE: "5" } },
        says: ["env.UVICORN_TIMEOUT_KEEP_ALIVE", "to 75", "remove"],
        mended: [{ env: { UVICORN_TIMEOUT_KEEP_ALIVE: null } }],
    },
    {
        rule: "an API key, or the word that none is wanted",
        broken: { apiKey: { existingSecret: "" } },
        says: [
            "apiKey.existingSecret is empty",
            "kubectl -n shop create secret generic mf-demo-key --from-literal=keys=$KEY --from-literal=key=$KEY",
            "apiKey.existingSecret: mf-demo-key",
            "apiKey.enabled: false",
        ],
        mended: [{ apiKey: { existingSecret: "mf-demo-key" } }, { apiKey: { enabled: false } }],
    },
];

describe("chart: rules between values", function () {
    this.timeout(20_000);

    for (const { rule, broken, release, says, mended } of rules) {
        it(`asks for ${rule}`, () => {
            const options = { namespace: "shop", ...(release === undefined ? {} : { release }) };
            const values = merged(smallest, broken);
            const message = refusal(values, options);
            for (const part of says) {
                expect(message).to.contain(part);
            }
            expect(message.match(/^- /gm), "one problem").to.have.lengthOf(1);
            for (const mend of mended) {
                render(merged(values, mend), options);
            }
        });
    }

    it("tells all broken rules at once", () => {
        const message = refusal({ env: { PORT: "1", LOG_LEVEL: "debug" } });
        expect(message.match(/^- /gm)).to.have.lengthOf(5);
        expect(message).to.contain('The values of release "mf-demo" are refused:');
    });

    it("accepts latest in dev, written or not, and then asks for the image at each start", () => {
        for (const tag of ["latest", ""]) {
            const pulled = render(merged(smallest, { image: { tag } }));
            expect(pulled).to.contain('image: "registry.example.org/team/churn:latest"');
            expect(pulled).to.contain("imagePullPolicy: Always");
            expect(render(merged(smallest, { image: { repository: "localhost/churn", tag } }))).not.to.contain(
                "Always",
            );
        }
    });

    it("pins by the digest whatever the tag says", () => {
        const pinned = merged(smallest, { environment: "production", image: { tag: "latest", digest } });
        expect(render(pinned)).to.contain(`image: "registry.example.org/team/churn:latest@${digest}"`);
        expect(render(merged(pinned, { image: { tag: "" } }))).to.contain(
            `image: "registry.example.org/team/churn@${digest}"`,
        );
        expect(render(pinned)).not.to.contain("Always");
    });
});
