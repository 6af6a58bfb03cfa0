import { expect } from "chai";
import fc from "fast-check";
import { changesBetween } from "../../components/guarded-release/changes/changes";
import {
    redacted,
    redactedObject,
    redactedText,
    redactedValue,
    SECRET,
} from "../../components/guarded-release/changes/redaction";
import type { RenderedObject } from "../../components/guarded-release/render/render";

const at = (dotted: string, value: unknown) => redactedValue(dotted.split(" "), value, "Deployment");
const isHidden = (dotted: string, value: unknown = "correct horse") => at(dotted, value) === SECRET;
const KEY = "pV9xQ2rT7mK4wZ8sB3nH";

describe("a change that is shown", () => {
    it("hides what its name calls a secret", () => {
        for (const path of [
            "spec template spec containers [api] env [DB_PASSWORD] value",
            "spec template spec containers [api] env [OPENAI_API_KEY] value",
            "metadata annotations example.com/token",
            "spec clientSecret",
            "spec auth",
            "env HF_TOKEN",
            "spec basicAuth password",
            "data key",
            "spec credentials [0]",
        ])
            expect(isHidden(path), path).to.equal(true);
        expect(at("spec env", [{ name: "HF_TOKEN", value: "correct horse" }])).to.deep.equal([
            { name: "HF_TOKEN", value: SECRET },
        ]);
        expect(isHidden("spec password", 123456)).to.equal(true);
        expect(at("args", ["--password", "correct horse", "--verbose", "yes"])).to.deep.equal([
            "--password",
            SECRET,
            "--verbose",
            "yes",
        ]);
    });

    it("shows what only talks about a secret", () => {
        for (const path of [
            "apiKey existingSecret",
            "spec volumes [keys] secret secretName",
            "env [A] valueFrom secretKeyRef key",
            "env [A] valueFrom secretKeyRef name",
            "env [A] valueFrom configMapKeyRef key",
            "volumes [keys] secret items [keys] key",
            "volumes [keys] secret items [keys] path",
            "metadata annotations ml-api/key-generation",
            "spec topologySpreadConstraints [a] topologyKey",
            "spec topologySpreadConstraints [a] matchLabelKeys [0]",
            "spec tolerations [gpu] key",
            "spec selector matchExpressions [app] key",
            "spec containers [api] env [API_KEYS_FILE] value",
            "ingress tlsSecret",
            "model download urlSecret",
            "secrets DB_PASSWORD secret",
            "secrets DB_PASSWORD key",
            "spec serviceAccountToken path",
            "spec imagePullSecrets [pull] name",
            "spec publicKey",
            "metadata annotations checksum/secret",
            "spec monkey",
        ])
            expect(isHidden(path), path).to.equal(false);
        expect(at("apiKey generation", 2)).to.equal(2);
        expect(at("spec automountServiceAccountToken", false)).to.equal(false);
        expect(at("env [MAX_TOKENS] value", "512")).to.equal("512");
        expect(at("env [DB_PASSWORD] value", "")).to.equal("");
    });

    it("hides everything in a Secret, and in data of whatever kind nobody named", () => {
        const change = { path: ["data", "model.json"], before: "YQ==", after: { nested: ["YQ=="] } };
        expect(redacted(change, "Secret")).to.deep.equal({
            path: ["data", "model.json"],
            before: SECRET,
            after: { nested: [SECRET] },
        });
        expect(redacted(change).before).to.equal(SECRET);
        expect(redacted(change, "ConfigMap").before).to.equal("YQ==");

        const secret = (data: object): RenderedObject => ({
            apiVersion: "v1",
            kind: "Secret",
            metadata: { name: "s" },
            ...data,
        });
        for (const [before, after] of [
            [secret({ data: { a: "YQ==" } }), secret({ data: { a: "Yg==" } })],
            [secret({}), secret({ stringData: { a: "horse" } })],
        ] as const) {
            const [found] = changesBetween([before], [after]);
            if (found === undefined) throw new Error("no change");
            expect(JSON.stringify(redactedObject(found))).not.to.match(/YQ|Yg|horse/);
        }
    });

    it("hides what looks like a secret inside a text, and leaves the rest to be read", () => {
        for (const [text, shown] of [
            ["postgres://user:hunter2@db:5432/x", `postgres://${SECRET}@db:5432/x`],
            ["postgres://user:p/w@db/x", `postgres://${SECRET}@db/x`],
            ["https://ghp-user@github.com/x", `https://${SECRET}@github.com/x`],
            [
                "https://s3.example.com/m.onnx?X-Amz-Date=1&X-Amz-Signature=abc&versionId=2",
                `https://s3.example.com/m.onnx?X-Amz-Date=1&X-Amz-Signature=${SECRET}&versionId=2`,
            ],
            ["https://blob/m?sv=1&sig=ab%2Fc", `https://blob/m?sv=1&sig=${SECRET}`],
            ["Authorization: Bearer abc.def-123", `Authorization: Bearer ${SECRET}`],
            ["password=hunter2 user=x", `password=${SECRET} user=x`],
            ['{"client_secret": "hunter2", "id": 1}', `{"client_secret": ${SECRET}, "id": 1}`],
            ["AccountKey=hunter2;Endpoint=x", `AccountKey=${SECRET};Endpoint=x`],
            [`key is ${KEY}, keep it`, `key is ${SECRET}, keep it`],
            ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl", SECRET],
            ["AKIAIOSFODNN7EXAMPLE", SECRET],
            ["-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nrest", `${SECRET}\nrest`],
            ["-----BEGIN RSA PRIVATE KEY-----\nMIIE cut off", SECRET],
            [Buffer.from(`user:${KEY}-${KEY}`).toString("base64"), SECRET],
            ["9f8a3c1d7e2b4065f1a9c3d8e7b2a4f60c5d1e9b", SECRET],
        ] as const)
            expect(redactedText(text), text).to.equal(shown);
    });

    it("shows texts that people need to read", () => {
        for (const text of [
            "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN",
            "terminationGracePeriodSeconds",
            "BackoffLimitExceeded",
            "/var/run/ml-api/keys/keys",
            "topology.kubernetes.io/zone",
            "registry.example.org:5000/team/churn:1.4.2",
            `oci://registry.example.org:5000/churn@sha256:${"0123456789abcdef".repeat(4)}`,
            "2026-11-22T10:00:00Z",
            "123e4567-e89b-42d3-a456-426614174000",
            "http://mf-demo.mf-demo-dev.svc.cluster.local:8080/predict?version=2",
            "od280_od315_of_diluted_wines",
            "resnet50_v1-5_fp16_20240101.onnx",
            "fc180745d75facf6",
            "ip-10-0-1-23.eu-central-1.compute.internal",
        ])
            expect(redactedText(text)).to.equal(text);
        const commit = "9f8a3c1d7e2b4065f1a9c3d8e7b2a4f60c5d1e9b";
        expect(at("spec containers [api] image", `a:${commit}`)).to.equal(`a:${commit}`);
    });

    it("hides generated keys of every usual form, wherever they stand", () => {
        const alphabets = [
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "0123456789abcdef",
        ];
        fc.assert(
            fc.property(
                fc
                    .constantFrom(...alphabets)
                    .chain((letters) =>
                        fc.string({ unit: fc.constantFrom(...Array.from(letters)), minLength: 40, maxLength: 64 }),
                    ),
                fc.string(),
                (key, around) => {
                    // A key of one letter or of 40 digits is possible, and nobody makes it.
                    fc.pre(isVaried(key));
                    const shown = redactedText(`${around} ${key}\n${around}`);
                    expect(shown).not.to.contain(key);
                },
            ),
            { numRuns: 500 },
        );
    });

    it("keeps the shape of what it shows", () => {
        fc.assert(
            fc.property(fc.jsonValue(), (value) => {
                const shape = (one: unknown): unknown =>
                    Array.isArray(one)
                        ? one.map(shape)
                        : typeof one === "object" && one !== null
                          ? Object.fromEntries(Object.entries(one).map(([key, inner]) => [key, shape(inner)]))
                          : typeof one === "boolean" || one === null
                            ? one
                            : "leaf";
                expect(shape(redactedValue(["spec"], value, "A"))).to.deep.equal(shape(value));
            }),
        );
    });
});

function isVaried(key: string): boolean {
    const classes = Array.from(key, (letter) => (/\d/.test(letter) ? 0 : /[a-z]/.test(letter) ? 1 : 2));
    const steps = classes.filter((one, index) => index > 0 && one !== classes[index - 1]).length;
    return steps >= key.length * 0.3 && new Set(Array.from(key)).size >= 10;
}
